#!/usr/bin/env node
'use strict';

// npx connect-redis-native build: builds the addon where no prebuilt binary is installed.

const { parseArgs } = require('node:util');
const { build } = require('./build.js');

const USAGE = `Usage: connect-redis-native build

Builds the addon for this machine from the source in the package, in a temporary folder. Needs Rust and a C compiler,
and takes some minutes.`;

async function main() {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { help: { type: 'boolean' } },
  });
  if (values.help) console.log(USAGE);
  else if (positionals.join() === 'build') console.log(`Built ${await build()}`);
  else throw new Error(USAGE);
}

main().catch((error) => {
  console.error(error.message);
  process.exitCode = 1;
});
