'use strict';

const { execFileSync } = require('node:child_process');
const path = require('node:path');
const { endedWith, runNode } = require('../support/run.js');

const program = path.join(__dirname, 'programs', 'faulty-client.js');
const faults = JSON.parse(execFileSync(process.execPath, [program, '--list'], { encoding: 'utf8' }));
/** Faults that do not affect the client's replies. */
const served = { 'a thenable that answers twice': 'session {"n":1}' };

test.each(faults)('a client that answers with %s fails that operation only', async (fault) => {
  const { stdout, ...ended } = await runNode(program, fault);

  expect({ ...ended, stdout: '' }).toEqual(endedWith(''));
  const outcome =
    served[fault] ?? expect.stringMatching(/^failed ERR_(REDIS_(REPLY|UNAVAILABLE|TIMEOUT)|INTERNAL)$/);
  expect(stdout.split('\n')).toEqual([
    expect.stringMatching(/^true /),
    'session null',
    'session {"good":true}',
  ]);
  expect(stdout.split('\n')[0].slice('true '.length)).toEqual(outcome);
});
