'use strict';

// npm run demo: set-up, then the app of examples/demo, which starts its own Redis or uses the one at REDIS_URL.

const { setUp } = require('./setup.js');

async function main() {
  await setUp({ redis: !process.env.REDIS_URL });
  // Loads npm packages, which a fresh clone does not have before the set-up.
  const { serve } = require('../examples/demo/server.js');
  await serve();
}

main().catch((error) => {
  console.error(error.message);
  process.exitCode = 1;
});
