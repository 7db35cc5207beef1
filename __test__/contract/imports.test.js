'use strict';

const { spawn } = require('node:child_process');
const { once } = require('node:events');
const path = require('node:path');

// In processes of their own: Jest loads modules by its own means.
test.each(['imports.mjs', 'imports.cjs'])('%s gets the same class by every name', async (program) => {
  const child = spawn(process.execPath, [path.join(__dirname, 'programs', program)]);
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text) => {
      output += text;
    });
  }

  const [code] = await once(child, 'close');

  expect({ code, output }).toEqual({ code: 0, output: 'one class\n' });
});
