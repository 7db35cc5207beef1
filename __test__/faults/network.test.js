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

/** Runs `fault`, and mends the network. */
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

describe.each(familySources)('a network, by %s,', (source) => {
  test('that takes 200 ms: every operation is served', async () => {
    const { failed } = await during(source, async (traffic) => {
      network.delay({ request: 100, reply: 100 });
      await until(() => traffic.longest >= 200);
      await traffic.served();
    });
    expect(failed).toEqual({});
  });

  test('that takes 200 ms from the beginning: every operation is served', async () => {
    network.delay({ request: 100, reply: 100 });
    const { failed } = await during(source, (traffic) => traffic.served());
    expect(failed).toEqual({});
  });

  test('that takes longer than the deadline: operations are given up', async () => {
    await failsDuring(source, 'ERR_REDIS_TIMEOUT', () => {
      // Either alone is too long, also for what was half-way when it began.
      network.delay({ request: HANG_MS, reply: HANG_MS });
    });
  });

  test('that delivers byte by byte: every operation is served', async () => {
    const { failed } = await during(source, async (traffic) => {
      network.drip();
      for (let times = 0; times < 5; times++) await traffic.served();
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
    const run = async (traffic) => {
      // Until it has, both in values and in what is around them.
      for (let seed = 1; seed <= 8 || traffic.damaged === 0 || network.accepted <= before + 2; seed++) {
        const { issued } = traffic;
        network.corrupt({ seed, oneIn: 3000 });
        await until(() => traffic.issued > issued + 100);
      }
    };
    // A damaged reply may promise more than will come, and is waited for until the deadline.
    await during(source, run, { deadline: DEADLINE_MS, mayDamage: true });
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
    await failsDuring(source, 'ERR_REDIS_UNAVAILABLE', () => network.refuse());
  });

  test('without anybody who listens: connecting is tried until somebody does', async () => {
    await failsDuring(source, 'ERR_REDIS_UNAVAILABLE', () => network.stopListening());
  });

  test('that swallows everything: operations are given up, and served when it works again', async () => {
    await failsDuring(source, 'ERR_REDIS_TIMEOUT', () => network.silence());
  });

  test('that delivers late what was sent again already: it overwrites nothing', async () => {
    const { failed } = await during(source, async (traffic) => {
      network.stall();
      // Operations are sent again by another connection, and further ones follow.
      for (let times = 0; times < 3; times++) await traffic.served();
    });
    expect(failed).toEqual({});
  });
});

test.each([NEVER_MS, 1800])(
  'an attempt to connect that hangs, and may for %d ms, is not waited for: another one that is answered serves',
  async (connectTimeout) => {
    network.silence();
    const store = await openStore('url', network.port, { connectTimeout, commandTimeout: NEVER_MS });
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

test('an attempt whose bytes are lost just before the network is well again: another one serves', async () => {
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

test('attempts to connect that hang do not pile up', async () => {
  network.silence();
  const store = await openStore('url', network.port, { connectTimeout: NEVER_MS, commandTimeout: NEVER_MS });
  const found = store.get('nobody');
  let most = 0;
  await until(() => {
    most = Math.max(most, network.open);
    return network.accepted >= 6;
  });
  // One that was given up may still be open at the proxy.
  expect(most).toBeLessThanOrEqual(4);
  await network.heal();
  expect(await found).toBeNull();
});
