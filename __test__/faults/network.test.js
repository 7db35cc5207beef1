'use strict';

const { startProxy } = require('../support/proxy.js');
const { useRedis } = require('../support/redis.js');
const { closeAll, familySources, openStore } = require('../support/stores.js');
const { HANG_MS, NEVER_MS, until } = require('../support/until.js');
const { AMPLE_MS, DEADLINE_MS, options } = require('./limits.js');
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

/** Runs `fault`, and then heals the network. */
async function during(source, fault, { deadline = AMPLE_MS, ...more } = {}) {
  const store = await openStore(source, network.port, { ...options, commandTimeout: deadline });
  return underTraffic(store, { deadline, ...more }, async (traffic) => {
    await fault(traffic);
    await network.heal();
  });
}

/** Runs `fault` until operations fail by their deadlines, all of them with `code`. */
async function failsDuring(source, code, fault) {
  const run = async (traffic) => {
    await fault();
    expect(Object.keys(await traffic.fails(code))).toEqual([code]);
  };
  await during(source, run, { deadline: DEADLINE_MS });
}

describe.each(familySources)('a faulty network, by %s', (source) => {
  test('no operation fails when the network delays it by 200 ms', async () => {
    const { failed } = await during(source, async (traffic) => {
      network.delay({ request: 100, reply: 100 });
      await until(() => traffic.longest >= 200);
      await traffic.served();
    });
    expect(failed).toEqual({});
  });

  test('no operation fails when the network delays it by 200 ms from the beginning', async () => {
    network.delay({ request: 100, reply: 100 });
    const { failed } = await during(source, (traffic) => traffic.served());
    expect(failed).toEqual({});
  });

  test('operations reject with ERR_REDIS_TIMEOUT when the network delays them beyond the deadline', async () => {
    await failsDuring(source, 'ERR_REDIS_TIMEOUT', () => {
      // Either alone is too long, also for operations that were half-way when it began.
      network.delay({ request: HANG_MS, reply: HANG_MS });
    });
  });

  test('no operation fails when the network delivers byte by byte', async () => {
    const { failed } = await during(source, async (traffic) => {
      network.drip();
      for (let times = 0; times < 5; times++) await traffic.served();
    });
    expect(failed).toEqual({});
  });

  test('no operation fails when the network cuts replies in two', async () => {
    const { failed } = await during(source, async (traffic) => {
      for (const bytes of [1, 2, 3, 30, 31, 32, 33, 65, 130]) {
        const before = network.accepted;
        network.cutAfter(bytes);
        // The app's client reconnects, too.
        await until(() => network.accepted > before);
        await network.heal();
        await traffic.served();
      }
    });
    expect(failed).toEqual({});
  });

  test('the handshake is retried when the network resets the connection', async () => {
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

  test('connections are replaced when the network closes one direction', async () => {
    const { failed } = await during(source, async (traffic) => {
      for (let times = 0; times < 5; times++) {
        network.halfClose();
        await traffic.served();
      }
    });
    expect(failed).toEqual({});
  });

  test('no value reaches another session when the network damages replies', async () => {
    const before = network.accepted;
    const run = async (traffic) => {
      // Until it has damaged both values and the bytes around them.
      for (let seed = 1; seed <= 8 || traffic.damaged === 0 || network.accepted <= before + 2; seed++) {
        const { issued } = traffic;
        network.corrupt({ seed, oneIn: 3000 });
        await until(() => traffic.issued > issued + 100);
      }
    };
    // A damaged reply may promise more bytes than will arrive, and is waited for until the deadline.
    await during(source, run, { deadline: DEADLINE_MS, mayDamage: true });
  });

  test('the connection is replaced when a damaged length makes a reply swallow the next ones', async () => {
    const store = await openStore(source, network.port, { commandTimeout: DEADLINE_MS });
    const text = 'x'.repeat(123_400);
    const size = JSON.stringify({ text }).length;
    await store.set('large', { text });
    // Bytes keep arriving, but no complete reply.
    const { failed } = await underTraffic(store, { deadline: DEADLINE_MS }, async () => {
      network.damage(`$${size}`, `$9${String(size).slice(1)}`);
      await expect(store.get('large')).rejects.toMatchObject({ code: 'ERR_REDIS_TIMEOUT' });
    });
    expect([[], ['ERR_REDIS_TIMEOUT']]).toContainEqual(Object.keys(failed));
    expect(await store.get('large')).toEqual({ text });
  });

  test('connecting is retried until a connection is accepted', async () => {
    await failsDuring(source, 'ERR_REDIS_UNAVAILABLE', () => network.refuse());
  });

  test('connecting is retried until a server listens', async () => {
    await failsDuring(source, 'ERR_REDIS_UNAVAILABLE', () => network.stopListening());
  });

  test('operations reject with ERR_REDIS_TIMEOUT while the network drops everything, and succeed afterwards', async () => {
    await failsDuring(source, 'ERR_REDIS_TIMEOUT', () => network.silence());
  });

  test('a delayed write that was already sent again overwrites nothing', async () => {
    const { failed } = await during(source, async (traffic) => {
      network.stall();
      // Operations are sent again on another connection, and others follow.
      for (let times = 0; times < 3; times++) await traffic.served();
    });
    expect(failed).toEqual({});
  });
});

test.each([NEVER_MS, 1800])(
  'operations succeed on another connection while an attempt to connect hangs, with a connectTimeout of %d ms',
  async (connectTimeout) => {
    network.silence();
    const store = await openStore('url', network.port, { connectTimeout, commandTimeout: NEVER_MS });
    const failures = [];
    store.on('error', ({ message }) => failures.push(message));
    const found = store.get('nobody');
    await until(() => network.lost > 0);
    await network.heal();
    // The bytes of the first attempt are lost, and its connectTimeout has not passed.
    expect(await found).toBeNull();
    expect(failures).toEqual([]);
  },
);

test('operations succeed on another connection when the bytes of an attempt are lost just before the network recovers', async () => {
  const store = await openStore('url', network.port, {
    commandTimeout: DEADLINE_MS,
    connectTimeout: NEVER_MS,
  });
  await underTraffic(store, { deadline: DEADLINE_MS }, async () => {
    const before = network.accepted;
    let lost;
    network.silence();
    await until(() => {
      if (network.accepted === before) lost = network.lost;
      return network.accepted > before && network.lost > lost;
    });
    await network.heal();
  });
});

test('hanging attempts to connect do not accumulate', async () => {
  network.silence();
  const store = await openStore('url', network.port, { connectTimeout: NEVER_MS, commandTimeout: NEVER_MS });
  const found = store.get('nobody');
  let most = 0;
  await until(() => {
    most = Math.max(most, network.open);
    return network.accepted >= 6;
  });
  // One that was abandoned may still be open at the proxy.
  expect(most).toBeLessThanOrEqual(4);
  await network.heal();
  expect(await found).toBeNull();
});
