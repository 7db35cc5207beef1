'use strict';

// Measures how long loading takes: what a package adds to the start of an app. Each time in a fresh process.

const { execFileSync } = require('node:child_process');
const { readdirSync, statSync } = require('node:fs');
const path = require('node:path');
const { median, rotated } = require('./rounds.js');
const { format, table } = require('./tables.js');

const TIMES = 20;
const TIMES_QUICK = 5;

const PACKAGES = [
  ['connect-redis-native'],
  ['connect-redis10', 'redis'],
  ['connect-redis8', 'ioredis'],
  ['express-session'],
];

const SCRIPT = `
  const [before, ...names] = process.argv.slice(1);
  if (before) require(before);
  const start = performance.now();
  for (const name of names) require(name);
  console.log(performance.now() - start);`;

function measureStartup({ node, quick }) {
  const tasks = PACKAGES.flatMap((names) =>
    ['', 'express-session'].map((before) => ({ names, before, ms: [] })),
  );
  for (let round = 0; round < (quick ? TIMES_QUICK : TIMES); round++) {
    for (const { names, before, ms } of rotated(tasks, round)) {
      const output = execFileSync(node, ['-e', SCRIPT, before, ...names], {
        cwd: __dirname,
        encoding: 'utf8',
      });
      ms.push(Number(output));
    }
  }

  const rows = PACKAGES.map((names) => [
    `require ${names.join(' and ')}`,
    ...tasks.filter((task) => task.names === names).map(({ ms }) => format(median(ms), 1)),
  ]);
  const version = execFileSync(node, ['--version'], { encoding: 'utf8' }).trim();
  console.log(table([`ms, Node ${version}`, 'alone', 'express-session loaded before'], rows));

  const folder = path.join(__dirname, '..', 'lib');
  for (const file of readdirSync(folder).filter((name) => name.endsWith('.node'))) {
    console.log(`\n${file}: ${format(statSync(path.join(folder, file)).size / 1e6, 2)} MB`);
  }
}

module.exports = { measureStartup };
