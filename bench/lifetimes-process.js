'use strict';

// Runs random sequences on sessions with a `maxLifetime`, in a process whose clock steps.

const { RedisStore: ConnectRedis } = require('connect-redis10');
const { RedisStore } = require('connect-redis-native');
const { createClient } = require('redis');
const { fakeDate } = require('../__test__/lifetimes/clock.js');
const { runSequences } = require('../__test__/lifetimes/sequences.js');
const { connectRaw } = require('../__test__/support/redis.js');
const { serve } = require('./children.js');

serve({
  async run({ url, port, stores: options, hasSteps, maxLifetime, count, parallel, seed }) {
    const raw = await connectRaw(port);
    const client = await createClient({ url }).connect();
    const stores = options.map(
      ({ transport, ...rest }) =>
        new RedisStore({
          ...(transport === 'client' ? { client, transport } : { url }),
          maxLifetime: maxLifetime / 1000,
          ...rest,
        }),
    );
    const clock = fakeDate();
    const findings = await runSequences({
      stores,
      legacy: new ConnectRedis({ client }),
      command: raw.command,
      clock: hasSteps ? clock : undefined,
      maxLifetime,
      count,
      parallel,
      seed,
    });
    clock.restore();
    await Promise.all(stores.map((store) => store.close()));
    client.destroy();
    await raw.close();
    return findings;
  },
});
