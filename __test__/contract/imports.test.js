'use strict';

const path = require('node:path');
const { endedWith, runNode } = require('../support/run.js');

// In processes of their own: Jest loads modules by its own means.
test.each(['imports.mjs', 'imports.cjs'])('%s gets the same class by every name', async (program) => {
  expect(await runNode(path.join(__dirname, 'programs', program))).toEqual(endedWith('one class'));
});
