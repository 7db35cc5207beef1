'use strict';

const { RedisStore } = require('../..');
const { startProxy } = require('../support/proxy.js');
const { askOnce } = require('../support/redis.js');
const { startSentinel } = require('../support/sentinel.js');
const { describeServers } = require('../support/servers.js');
const { closeAll, keepStore } = require('../support/stores.js');
const { until } = require('../support/until.js');
const { DEADLINE_MS, LIMIT_MS, throughChange } = require('./failover.js');

const PASSWORDS = { password: 'of-the-servers', sentinelPassword: 'of-the-sentinels' };

let group;
afterEach(async () => {
  await closeAll();
  await group?.stop();
});

/** Opens a store that knows some of the sentinels. */
function openStore(addresses = group.addresses, sentinel = {}, options = {}) {
  return keepStore(
    new RedisStore({
      sentinel: { name: group.name, addresses, password: group.sentinelPassword, ...sentinel },
      password: group.password,
      commandTimeout: DEADLINE_MS,
      ...options,
    }),
  );
}

/** Resolves when a former primary is a replica. Until it is demoted, it accepts writes, which are lost by that. */
function demoted({ port }) {
  const { password } = PASSWORDS;
  // A server that is demoted closes the connections of its clients, including this one: then it is queried again.
  const role = () => askOnce({ port, password }, 'ROLE').catch(({ message }) => message);
  return until(async () => String(await role()).startsWith('slave'));
}

/** Returns how many connections a sentinel has had, including the one of this query. */
async function connections({ port }) {
  const stats = String(await askOnce({ port, password: group.sentinelPassword }, 'INFO', 'stats'));
  return Number(/total_connections_received:(\d+)/.exec(stats)[1]);
}

/** Resolves when the store queries a sentinel repeatedly; the other sentinels connect to it once. */
async function isQueried(sentinel) {
  const before = await connections(sentinel);
  let times = 0;
  await until(async () => (await connections(sentinel)) - before - ++times >= 3);
}

const read = (key) => group.command('GET', key);

describeServers('%s', (name, program) => {
  test(
    'operations succeed after a primary died and a replica was promoted',
    async () => {
      group = await startSentinel({ program, ...PASSWORDS });

      await throughChange(openStore(), `${name}: primary killed`, read, () => group.failOver());
    },
    LIMIT_MS,
  );

  test(
    'a conditional save detects conflicts on the new primary, which has none of the scripts',
    async () => {
      group = await startSentinel({ program, ...PASSWORDS });
      const store = openStore(group.addresses, {}, { onConflict: 'merge' });
      await store.set('abc', { cookie: {}, n: 0 });
      const change = async (n) => {
        const session = await store.get('abc');
        const stored = JSON.parse(await read('sess:abc'));
        await group.command('SET', 'sess:abc', JSON.stringify({ ...stored, [`theirs${n}`]: n }));
        session[`mine${n}`] = n;
        await store.set('abc', session);
      };

      await change(1);
      await until(async () => (await group.command('WAIT', '1', '1000')) >= 1);
      await group.failOver();
      await change(2);

      expect(JSON.parse(await read('sess:abc'))).toMatchObject({
        mine1: 1,
        theirs1: 1,
        mine2: 2,
        theirs2: 2,
      });
    },
    LIMIT_MS,
  );
});

test(
  'operations succeed after a live primary was replaced',
  async () => {
    group = await startSentinel(PASSWORDS);

    await throughChange(openStore(), 'primary replaced', read, async () => {
      const former = await group.primary();
      const [{ port }] = group.sentinels;
      await askOnce({ port, password: PASSWORDS.sentinelPassword }, 'SENTINEL', 'FAILOVER', group.name);
      await group.promoted(former);
      await demoted(former);
    });
  },
  LIMIT_MS,
);

test(
  'operations succeed after a primary hung and resumed as a replica',
  async () => {
    group = await startSentinel(PASSWORDS);

    await throughChange(openStore(), 'primary paused', read, async (traffic) => {
      const former = await group.primary();
      former.pause();
      await group.promoted(former);
      await traffic.served();
      former.resume();
      await demoted(former);
    });
  },
  LIMIT_MS,
);

test(
  'sentinels that are not configured are discovered',
  async () => {
    group = await startSentinel(PASSWORDS);
    const [known] = group.sentinels;
    const store = openStore([{ host: '127.0.0.1', port: known.port }]);

    await throughChange(store, 'primary and the known sentinel killed', read, async () => {
      await group.addSentinel();
      await known.kill();
      await group.failOver();
    });
  },
  LIMIT_MS,
);

test(
  'sentinels that are added while the store is connected are discovered',
  async () => {
    group = await startSentinel({ ...PASSWORDS, sentinels: 1 });
    const [known] = group.sentinels;
    const store = openStore();

    await throughChange(store, 'primary and the first sentinel killed', read, async () => {
      const added = await group.addSentinel();
      await group.addSentinel();
      await isQueried(added);
      await known.kill();
      await group.failOver();
    });
  },
  LIMIT_MS,
);

test(
  'a primary is reached at the address of natMap, not at the one that the sentinels announce',
  async () => {
    group = await startSentinel(PASSWORDS);
    const proxies = await Promise.all(group.servers.map(({ port }) => startProxy(port)));
    try {
      const natMap = Object.fromEntries(
        group.servers.map(({ port }, index) => [
          `127.0.0.1:${port}`,
          { host: '127.0.0.1', port: proxies[index].port },
        ]),
      );
      await throughChange(openStore(group.addresses, { natMap }), 'by natMap', read, () => group.failOver());

      const primary = await group.primary();
      expect(proxies[0].accepted).toBeGreaterThan(0);
      expect(proxies[group.servers.indexOf(primary)].accepted).toBeGreaterThan(0);
    } finally {
      await closeAll();
      await Promise.all(proxies.map((proxy) => proxy.close()));
    }
  },
  LIMIT_MS,
);

test(
  'discovered sentinels are reached at the addresses of natMap, not at those that they announce',
  async () => {
    group = await startSentinel({ sentinels: 2, replicas: 0 });
    const [known, other] = group.sentinels;
    const announced = { host: '127.0.0.9', port: other.port };
    await askOnce(other, 'SENTINEL', 'CONFIG', 'SET', 'announce-ip', announced.host);
    await askOnce(other, 'SENTINEL', 'CONFIG', 'SET', 'announce-port', announced.port);
    await until(async () =>
      String(await askOnce(known, 'SENTINEL', 'SENTINELS', group.name)).includes(announced.host),
    );
    const store = keepStore(
      new RedisStore({
        sentinel: {
          name: group.name,
          addresses: [{ host: '127.0.0.1', port: known.port }],
          natMap: { [`${announced.host}:${announced.port}`]: { host: '127.0.0.1', port: other.port } },
        },
      }),
    );
    expect(await store.get('abc')).toBeNull();

    await known.kill();
    await group.servers[0].restart();
    expect(await store.get('abc')).toBeNull();
  },
  LIMIT_MS,
);

test(
  'a sentinel that is configured by name and announced by address is queried once',
  async () => {
    group = await startSentinel({ replicas: 0 });
    const [named, other] = group.sentinels;
    const store = openStore([{ host: 'localhost', port: named.port }]);
    expect(await store.get('abc')).toBeNull();
    const before = await Promise.all([connections(named), connections(other)]);
    const queriedSince = async () => {
      const after = await Promise.all([connections(named), connections(other)]);
      return after.map((count, n) => count - before[n]);
    };
    // The connections of these queries count as well: one at each, each time.
    let times = 0;
    let counts;
    await until(async () => {
      times++;
      counts = await queriedSince();
      return counts[1] - times >= 8;
    });
    // If it were queried by both names, it would be twice as often.
    expect(counts[0] - times).toBeLessThan(1.5 * (counts[1] - times));
  },
  LIMIT_MS,
);

test('operations reject with the name of the group when the sentinels do not know it', async () => {
  group = await startSentinel({ sentinels: 1, replicas: 0 });
  const store = keepStore(
    new RedisStore({ sentinel: { name: 'other', addresses: group.addresses }, commandTimeout: 2000 }),
  );
  await expect(store.get('abc')).rejects.toMatchObject({
    code: 'ERR_REDIS_UNAVAILABLE',
    message: expect.stringContaining('other'),
  });
});
