'use strict';

const { RedisStore } = require('connect-redis-native');
const { RedisStore: ConnectRedis } = require('connect-redis10');
const { createClient } = require('redis');

const DEADLINE_MS = 4_000;
const TOUCH_AFTER_SECONDS = 60;

/** Opens the stores that the demo compares, all on one Redis. */
async function openStores(url) {
  const client = createClient({ url });
  client.on('error', () => {}); // The client reconnects; without a listener, the error would end the process.
  await client.connect();

  const peer = new ConnectRedis({ client, prefix: 'demo:connect-redis:' });
  const native = new RedisStore({
    client,
    prefix: 'demo:native:',
    onConflict: 'merge',
    commandTimeout: DEADLINE_MS,
  });
  const devices = new RedisStore({
    client,
    prefix: 'demo:devices:',
    indexPrefix: 'demo:devices-of:',
    userId: (session) => session.userId,
    promises: true,
  });

  /** A store for each position of the switches, by its name: `cache-on,touch-off`. */
  const measured = new Map();
  for (const cache of [false, true]) {
    for (const touch of [false, true]) {
      const store = new RedisStore({
        client,
        prefix: 'demo:measured:',
        cache,
        touchAfter: touch ? TOUCH_AFTER_SECONDS : 0,
      });
      measured.set(`cache-${cache ? 'on' : 'off'},touch-${touch ? 'on' : 'off'}`, store);
    }
  }

  return {
    client,
    peer,
    native,
    devices,
    measured,
    async close() {
      await Promise.all([native, devices, ...measured.values()].map((store) => store.close()));
      client.destroy();
    },
  };
}

module.exports = { openStores };
