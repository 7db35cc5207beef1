'use strict';

const path = require('node:path');
const { endedWith, runNode } = require('../support/run.js');

// Run in their own processes: Jest loads modules by its own means.
test.each(['imports.mjs', 'imports.cjs'])('%s imports the same class under every name', async (program) => {
  expect(await runNode(path.join(__dirname, 'programs', program))).toEqual(endedWith('one class'));
});
