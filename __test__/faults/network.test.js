'use strict';

const { setTimeout: sleep } = require('node:timers/promises');
const { startProxy } = require('../support/proxy.js');
const { useRedis } = require('../support/redis.js');
const { closeAll, familySources, openStore } = require('../support/stores.js');
const { until } = require('../support/until.js');
const { DEADLINE_MS, options } = require('./limits.js');
const { underTraffic } = require('./traffic.js');

const redis = useRedis();
let network;
beforeEach(async () => {
  network = await startProxy(redis.port);
});
afterEach(async () => {
  await closeAll();
  await network?.close();
});

/** A damaged reply may promise more than will come, and is waited for as long as operations are. */
const damage = { mayDamage: true, returnMs: DEADLINE_MS + 1000 };

/** Runs `fault`, and mends the network. */
async function during(source, fault, { deadline = DEADLINE_MS, ...more } = {}) {
  const store = await openStore(source, network.port, { ...options, commandTimeout: deadline });
  return underTraffic(store, { deadline, ...more }, async (traffic) => {
    await fault(traffic);
    await network.heal();
  });
}

describe.each(familySources)('a network, by %s,', (source) => {
  test('that takes 200 ms: every operation is served', async () => {
    const { failed, longest } = await during(source, async () => {
      network.delay({ request: 100, reply: 100 });
      await sleep(1500);
    });
    expect(failed).toEqual({});
    // Without the delay, it would be a few.
    expect(longest).toBeGreaterThanOrEqual(150);
  });

  test('that takes 200 ms from the beginning: every operation is served', async () => {
    network.delay({ request: 100, reply: 100 });
    const { failed } = await during(source, () => sleep(500));
    expect(failed).toEqual({});
  });

  test('that takes longer than the deadline: operations are given up', async () => {
    const { failed } = await during(source, async () => {
      // Either alone is too long, also for what was half-way when it began.
      network.delay({ request: 2 * DEADLINE_MS, reply: 2 * DEADLINE_MS });
      await sleep(2 * DEADLINE_MS);
    });
    expect(Object.keys(failed)).toEqual(['ERR_REDIS_TIMEOUT']);
  });

  test('that delivers byte by byte: every operation is served', async () => {
    const { failed } = await during(source, async () => {
      network.drip();
      await sleep(500);
    });
    expect(failed).toEqual({});
  });

  test('that cuts replies in two: every operation is sent again', async () => {
    const { failed } = await during(source, async (traffic) => {
      for (const bytes of [1, 2, 3, 30, 31, 32, 33, 65, 130]) {
        const before = network.accepted;
        network.cutAfter(bytes);
        // The client of the app connects anew, too.
        await until(() => network.accepted > before);
        await network.heal();
        await traffic.served();
      }
    });
    expect(failed).toEqual({});
  });

  test('that resets connections in the midst of the set-up: it is tried again', async () => {
    const { failed } = await during(source, async (traffic) => {
      for (const bytes of [0, 1, 40, 150]) {
        network.cutAfter(bytes);
        const before = network.accepted;
        network.reset();
        await until(() => network.accepted > before + 1);
        await network.heal();
        await traffic.served();
      }
    });
    expect(failed).toEqual({});
  });

  test('that ends connections in one direction: they are replaced', async () => {
    const { failed } = await during(source, async (traffic) => {
      for (let times = 0; times < 5; times++) {
        network.halfClose();
        await traffic.served();
      }
    });
    expect(failed).toEqual({});
  });

  test('that damages replies: no value reaches another session', async () => {
    const before = network.accepted;
    const { damaged, issued } = await during(
      source,
      async () => {
        for (let seed = 1; seed <= 8; seed++) {
          network.corrupt({ seed, oneIn: 3000 });
          await sleep(250);
        }
      },
      damage,
    );
    // It did, both in values and in what is around them.
    expect(damaged).toBeGreaterThan(0);
    expect(network.accepted).toBeGreaterThan(before + 2);
    expect(issued).toBeGreaterThan(100);
  });

  test('that makes a reply so long that it swallows the others: the connection is replaced', async () => {
    const store = await openStore(source, network.port, { commandTimeout: DEADLINE_MS });
    const text = 'x'.repeat(123_400);
    const size = JSON.stringify({ text }).length;
    await store.set('large', { text });
    // Bytes keep coming, but no answer that is whole.
    const { failed } = await underTraffic(store, { deadline: DEADLINE_MS }, async () => {
      network.damage(`$${size}`, `$9${String(size).slice(1)}`);
      await expect(store.get('large')).rejects.toMatchObject({ code: 'ERR_REDIS_TIMEOUT' });
    });
    expect([[], ['ERR_REDIS_TIMEOUT']]).toContainEqual(Object.keys(failed));
    expect(await store.get('large')).toEqual({ text });
  });

  test('that refuses connections: they are tried until one is accepted', async () => {
    const { failed } = await during(source, async () => {
      network.refuse();
      await sleep(1.5 * DEADLINE_MS);
    });
    expect(Object.keys(failed)).toEqual(['ERR_REDIS_UNAVAILABLE']);
  });

  test('without anybody who listens: connecting is tried until somebody does', async () => {
    const { failed } = await during(source, async () => {
      await network.stopListening();
      await sleep(1.5 * DEADLINE_MS);
    });
    expect(Object.keys(failed)).toEqual(['ERR_REDIS_UNAVAILABLE']);
  });

  test('that swallows everything: operations are given up, and served when it works again', async () => {
    const { failed } = await during(source, async () => {
      network.silence();
      await sleep(3 * DEADLINE_MS);
    });
    expect(Object.keys(failed)).toEqual(['ERR_REDIS_TIMEOUT']);
  });

  test('that delivers late what was sent again already: it overwrites nothing', async () => {
    const { failed } = await during(
      source,
      async (traffic) => {
        network.stall();
        // Operations are sent again by another connection, and further ones follow.
        await traffic.served();
        await sleep(100);
      },
      { deadline: 3 * DEADLINE_MS },
    );
    expect(failed).toEqual({});
  });
});

test.each([20_000, 1800])(
  'an attempt to connect that hangs, and may for %d ms, is not waited for: another one that is answered serves',
  async (connectTimeout) => {
    network.silence();
    const store = await openStore('url', network.port, { connectTimeout, commandTimeout: 20_000 });
    const failures = [];
    store.on('error', ({ message }) => failures.push(message));
    const found = store.get('nobody');
    await until(() => network.lost > 0);
    await network.heal();
    // What the first attempt has sent is lost, and its time is not over.
    expect(await found).toBeNull();
    expect(failures).toEqual([]);
  },
);

test('an attempt whose bytes are lost just before the network is well again: there is service within a second', async () => {
  const store = await openStore('url', network.port, { commandTimeout: DEADLINE_MS });
  const { failed } = await underTraffic(store, { deadline: DEADLINE_MS }, async () => {
    const before = network.accepted;
    let lost;
    network.silence();
    await until(() => {
      if (network.accepted === before) lost = network.lost;
      return network.accepted > before && network.lost > lost;
    });
    await network.heal();
  });
  expect(Object.keys(failed)).toEqual(['ERR_REDIS_TIMEOUT']);
});

test('attempts to connect that hang do not pile up', async () => {
  network.silence();
  const store = await openStore('url', network.port, { connectTimeout: 20_000, commandTimeout: 20_000 });
  const found = store.get('nobody');
  let most = 0;
  await until(() => {
    most = Math.max(most, network.open);
    return network.accepted >= 6;
  }, 8000);
  // One that was given up may still be open at the proxy.
  expect(most).toBeLessThanOrEqual(4);
  await network.heal();
  expect(await found).toBeNull();
});
