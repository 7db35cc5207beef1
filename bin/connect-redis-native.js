#!/usr/bin/env node
'use strict';

// npx connect-redis-native build: builds the addon where no prebuilt binary is installed.

const { parseArgs } = require('node:util');
const { build } = require('./build.js');

const USAGE = `Usage: connect-redis-native build [options]

Builds the addon for this machine from the source in the package. Needs Rust and a C compiler, and takes some minutes.
  --target-dir <folder>  keep the files of the build there; by default, they are in a temporary folder, and removed
  --profile <name>       the profile of cargo: release, the default, or dev`;

async function main() {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      'target-dir': { type: 'string' },
      profile: { type: 'string' },
      help: { type: 'boolean' },
    },
  });
  if (values.help) console.log(USAGE);
  else if (positionals.join() === 'build') {
    const file = await build({ targetDir: values['target-dir'], profile: values.profile });
    console.log(`Built ${file}`);
  } else throw new Error(USAGE);
}

main().catch((error) => {
  console.error(error.message);
  process.exitCode = 1;
});
