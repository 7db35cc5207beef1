'use strict';

const { RedisStore: ConnectRedis } = require('connect-redis8');
const Ioredis = require('ioredis');
const { RedisStore } = require('../..');
const { connectRaw, startRedis } = require('../support/redis.js');
const { describeServers } = require('../support/servers.js');
const { liveSession } = require('../support/sessions.js');
const { closeAll, keepStore } = require('../support/stores.js');
const { HANG_MS } = require('../support/until.js');

// Forbids each command that the store or connect-redis sends, one at a time: what still works must be no less than with
// connect-redis under the same rights.

const LIMIT_MS = 120_000;
/** Only a hang takes longer. */
const TASK_LIMIT_MS = 20_000;
const PASSWORD = 'of-the-app';
const OPERATIONS = ['set', 'get', 'touch', 'destroy', 'all', 'ids', 'length', 'clear'];
const LISTINGS = ['all', 'ids', 'length', 'clear'];

/** The operations that fail without each command. */
const TABLE = {
  get: [],
  mget: [],
  set: ['set'],
  pttl: [],
  ttl: [],
  pexpire: [],
  expire: [],
  del: [],
  unlink: [],
  scan: LISTINGS,
  exists: [],
  keys: [],
  hello: [],
  client: [],
  ping: [],
  info: [],
  echo: [],
  eval: [],
  evalsha: [],
};

let server;
let raw;
afterEach(async () => {
  await closeAll();
});

async function start(options) {
  server = await startRedis(options);
  raw = await connectRaw(server.port);
}

async function stop() {
  await raw?.close();
  await server?.stop();
}

/** For each operation: runs it, and resolves to true if it has taken effect in Redis. */
const tasks = {
  async set(store) {
    await store.set('abc', liveSession('abc', { n: 1 }));
    return JSON.parse(await raw.command('GET', 'sess:abc')).n === 1;
  },
  async get(store) {
    return (await store.get('abc')).n === 1;
  },
  async touch(store) {
    await store.touch('abc', liveSession('abc', { n: 1 }, { maxAge: 60_000 }));
    return (await raw.command('PTTL', 'sess:abc')) > 30_000;
  },
  async destroy(store) {
    await store.destroy('abc');
    return (await raw.command('EXISTS', 'sess:abc')) === 0;
  },
  async all(store) {
    return (await store.all()).length === 2;
  },
  async ids(store) {
    return (await store.ids()).sort().join() === 'abc,def';
  },
  async length(store) {
    return (await store.length()) === 2;
  },
  async clear(store) {
    await store.clear();
    return (await raw.command('DBSIZE')) === 0;
  },
};

/** Returns the operations that fail. */
async function failing(store) {
  const failed = [];
  for (const operation of OPERATIONS) {
    await raw.command('FLUSHALL');
    for (const id of operation === 'set' ? [] : ['abc', 'def'])
      await raw.command('SET', `sess:${id}`, JSON.stringify({ cookie: {}, n: 1 }), 'PX', 20_000);
    let timer;
    const limit = new Promise((resolve) => {
      timer = setTimeout(resolve, TASK_LIMIT_MS, false);
    });
    const isDone = await Promise.race([tasks[operation](store).catch(() => false), limit]);
    clearTimeout(timer);
    if (!isDone) failed.push(operation);
  }
  return failed;
}

async function failingOurs(login, options) {
  const url = `redis://${login ? `app:${PASSWORD}@` : ''}127.0.0.1:${server.port}`;
  const store = keepStore(new RedisStore({ url, commandTimeout: HANG_MS, ...options }));
  const lost = [];
  store.on('reconnecting', (error) => lost.push(error.message));
  const failed = await failing(store);
  expect(lost).toEqual([]);
  return failed;
}

async function failingTheirs(login) {
  const account = login ? { username: 'app', password: PASSWORD } : {};
  const client = new Ioredis({ port: server.port, host: '127.0.0.1', ...account, maxRetriesPerRequest: 0 });
  client.on('error', () => {});
  try {
    return await failing(new ConnectRedis({ client }));
  } finally {
    client.disconnect();
  }
}

const allow = (...rights) =>
  raw.command('ACL', 'SETUSER', 'app', 'reset', 'on', `>${PASSWORD}`, '~*', ...rights);

/** Expects these operations to fail, and no others that work with connect-redis. */
async function expectFailing(expected, login) {
  expect(await failingOurs(login)).toEqual(expected);
  const theirs = await failingTheirs(login);
  expect(expected.filter((operation) => !theirs.includes(operation))).toEqual([]);
}

describeServers('%s', (_name, program) => {
  describe('an ACL', () => {
    beforeAll(() => start({ program }));
    afterAll(stop);

    test.each(Object.entries(TABLE))(
      'only the expected operations fail when an ACL forbids %s',
      async (command, expected) => {
        await allow('+@all', `-${command}`);
        await expectFailing(expected, true);
      },
      LIMIT_MS,
    );

    test(
      'no operation fails when an ACL permits exactly the commands of connect-redis',
      async () => {
        await allow(...['-@all', '+get', '+set', '+expire', '+del', '+scan', '+mget', '+info', '+ping']);
        await expectFailing([], true);
      },
      LIMIT_MS,
    );

    test.each(['get', 'pttl', 'pexpire', 'del', 'unlink'])(
      "no operation fails when an ACL forbids %s and the app's client runs the commands",
      async (command) => {
        await allow('+@all', `-${command}`);
        const account = { username: 'app', password: PASSWORD };
        const client = new Ioredis({ host: '127.0.0.1', port: server.port, ...account });
        try {
          const store = keepStore(new RedisStore({ client, transport: 'client', commandTimeout: HANG_MS }));
          expect(await failing(store)).toEqual([]);
          await store.close();
        } finally {
          client.disconnect();
        }
      },
    );

    test('only `touch`, `destroy` and `clear` fail when an ACL forbids both a command and its substitute', async () => {
      await allow('+@all', '-pexpire', '-expire', '-del', '-unlink', '-pttl', '-ttl');
      await expectFailing(['touch', 'destroy', 'clear'], true);
    });

    test('no operation fails with the cache when an ACL forbids its commands', async () => {
      await allow('+@all', '-get', '-pttl', '-pexpire', '-unlink');
      expect(await failingOurs(true, { cache: true })).toEqual([]);
      await allow('+@all', '-client', '-hello');
      expect(await failingOurs(true, { cache: true })).toEqual([]);
    });

    test('writes keep their order when the first of them is sent again with a substitute command', async () => {
      await allow('+@all', '-pexpire');
      for (let round = 0; round < 5; round++) {
        const store = keepStore(new RedisStore({ url: `redis://app:${PASSWORD}@127.0.0.1:${server.port}` }));
        await raw.command('SET', 'sess:abc', '{"cookie":{},"n":1}', 'PX', 20_000);
        await Promise.all([
          store.touch('abc', liveSession('abc', {}, { maxAge: 10_000 })),
          store.set('abc', liveSession('abc', { n: 2 }, { maxAge: 500_000 })),
          store.touch('abc', liveSession('abc', {}, { maxAge: 60_000 })),
          store.set('gone', liveSession('gone', { n: 2 })),
          store.touch('gone', liveSession('gone', {}, { maxAge: 60_000 })),
          store.destroy('gone'),
        ]);
        const left = await raw.command('PTTL', 'sess:abc');
        expect(left).toBeGreaterThan(50_000);
        expect(left).toBeLessThanOrEqual(61_000);
        expect(await raw.command('EXISTS', 'sess:gone')).toBe(0);
      }
    });

    test('a command that was forbidden is tried again after a reconnect', async () => {
      await allow('+@all', '-pexpire');
      const store = keepStore(new RedisStore({ url: `redis://app:${PASSWORD}@127.0.0.1:${server.port}` }));
      const touch = () => store.touch('abc', liveSession('abc', {}, { maxAge: 60_000 }));
      await touch();
      await allow('+@all');
      await raw.command('CLIENT', 'KILL', 'USER', 'app');
      await raw.command('CONFIG', 'RESETSTAT');
      await touch();
      const stats = String(await raw.command('INFO', 'commandstats'));
      expect(stats).toMatch(/cmdstat_pexpire/);
      expect(stats).not.toMatch(/cmdstat_expire/);
    });
  });

  describe('rename-command', () => {
    afterEach(stop);

    // The test itself needs the others.
    const renamed = Object.entries(TABLE).filter(
      ([command]) => !['get', 'set', 'pttl', 'exists', 'ping', 'info'].includes(command),
    );
    test.each(renamed)(
      'only the expected operations fail when %s is renamed',
      async (command, expected) => {
        await start({ program, args: ['--rename-command', command, ''] });
        await expectFailing(expected, false);
      },
      LIMIT_MS,
    );
  });
});
