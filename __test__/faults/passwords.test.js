'use strict';

const { RedisStore } = require('../..');
const { connectRaw, startRedis } = require('../support/redis.js');
const { closeAll, familySources, keepStore } = require('../support/stores.js');
const { clients } = require('../support/unconnected.js');
const { AMPLE_MS, patient } = require('./limits.js');
const { underTraffic } = require('./traffic.js');

let server;
let raw;
beforeEach(async () => {
  server = await startRedis({ args: ['--requirepass', 'first'] });
  raw = await connectRaw(server.port);
  await command('AUTH', 'first');
});
afterEach(async () => {
  await closeAll();
  await raw?.close();
  await server?.stop();
});

async function command(...args) {
  const reply = await raw.command(...args);
  if (reply instanceof Error) throw reply;
  return reply;
}

const cutAll = () => command('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');

// Clients that never connect, so that their own handling of a password does not matter.
function open(source, user) {
  const url = `redis://${user}@127.0.0.1:${server.port}`;
  const where = source === 'url' ? { url } : { client: clients[source](url) };
  return keepStore(new RedisStore({ ...where, ...patient }));
}

/** Returns the error of an operation, which must fail long before its deadline. */
const refusal = (store) => store.get('abc').catch((reason) => reason);

describe.each(familySources)('a password that changes, by %s', (source) => {
  test('operations reject with the reply at the next connection after the password changed, until it is right again', async () => {
    const store = open(source, ':first');
    const { failed } = await underTraffic(store, { deadline: AMPLE_MS }, async (traffic) => {
      await command('CONFIG', 'SET', 'requirepass', 'second');
      // An authenticated connection stays.
      await traffic.served();
      expect(traffic.failed).toEqual({});

      await cutAll();
      const error = await refusal(store);
      expect(error).toMatchObject({ code: 'ERR_REDIS_REPLY', reply: 'WRONGPASS' });
      expect(error.message).not.toMatch(/first|second/);
      await traffic.fails('WRONGPASS');
      await command('CONFIG', 'SET', 'requirepass', 'first');
    });
    expect(Object.keys(failed)).toEqual(['WRONGPASS']);
  });

  test('operations reject with WRONGPASS after their user was deleted, and succeed when it is back', async () => {
    await command('ACL', 'SETUSER', 'shop', 'on', '>pw', '~*', '+@all');
    const store = open(source, 'shop:pw');
    const { failed } = await underTraffic(store, { deadline: AMPLE_MS }, async (traffic) => {
      // The server closes the user's connections.
      await command('ACL', 'DELUSER', 'shop');
      expect(await refusal(store)).toMatchObject({ code: 'ERR_REDIS_REPLY', reply: 'WRONGPASS' });
      await traffic.fails('WRONGPASS');
      await command('ACL', 'SETUSER', 'shop', 'on', '>pw', '~*', '+@all');
    });
    expect(Object.keys(failed)).toEqual(['WRONGPASS']);
  });

  test('an operation rejects with NOPERM at once when its user loses the command', async () => {
    await command('ACL', 'SETUSER', 'shop', 'on', '>pw', '~*', '+@all');
    const store = open(source, 'shop:pw');
    const { failed } = await underTraffic(store, { deadline: AMPLE_MS }, async (traffic) => {
      // And its substitute.
      await command('ACL', 'SETUSER', 'shop', '-get', '-mget');
      const error = await refusal(store);
      expect(error).toMatchObject({ code: 'ERR_REDIS_REPLY', reply: 'NOPERM' });
      await traffic.fails('NOPERM');
      await command('ACL', 'SETUSER', 'shop', '+get', '+mget');
    });
    expect(Object.keys(failed)).toEqual(['NOPERM']);
  });
});

describe('a credentials function', () => {
  let password;
  const credentials = () => ({ password });
  const openAt = (more) =>
    keepStore(new RedisStore({ url: `redis://127.0.0.1:${server.port}`, ...patient, credentials, ...more }));

  beforeEach(() => {
    password = 'first';
  });

  test('no operation fails when the password and the result of the credentials function change', async () => {
    const store = openAt();
    const { failed } = await underTraffic(store, { deadline: AMPLE_MS }, async (traffic) => {
      for (const next of ['second', 'third', 'fourth']) {
        await command('CONFIG', 'SET', 'requirepass', next);
        password = next;
        await cutAll();
        await traffic.served();
      }
    });
    expect(failed).toEqual({});
  });

  test('the credentials function is called again when it returned an old password', async () => {
    const store = openAt();
    const { failed } = await underTraffic(store, { deadline: AMPLE_MS }, async (traffic) => {
      await command('CONFIG', 'SET', 'requirepass', 'second');
      await cutAll();
      expect(await refusal(store)).toMatchObject({ reply: 'WRONGPASS' });
      await traffic.fails('WRONGPASS');
      password = 'second';
    });
    expect(Object.keys(failed)).toEqual(['WRONGPASS']);
  });

  test('the credentials function may be asynchronous, and return a user', async () => {
    await command('ACL', 'SETUSER', 'shop', 'on', '>pw', '~*', '+@all');
    const store = openAt({ credentials: async () => ({ username: 'shop', password: 'pw' }) });
    await store.set('abc', { n: 1 });
    expect(String(await command('CLIENT', 'LIST'))).toContain('user=shop');
  });

  test('the credentials function is called for pending operations when the store is closed', async () => {
    const store = openAt();
    const saved = store.set('abc', { n: 1 });
    await store.close();
    await saved;
    expect(String(await command('GET', 'sess:abc'))).toBe('{"n":1}');
  });

  // That it is called before the expiry, and not just again, is tested where time can be paused: in the core.
  test('the credentials function is called again when its result expires, and the connection stays open', async () => {
    await command('ACL', 'SETUSER', 'shop', 'on', '>one', '>two', '~*', '+@all');
    let given = 0;
    const store = openAt({
      credentials: () => {
        given += 1;
        return { username: 'shop', password: given % 2 ? 'one' : 'two', expiresAt: Date.now() + 500 };
      },
    });
    const id = async () => /id=(\d+).*user=shop/.exec(String(await command('CLIENT', 'LIST')))?.[1];
    let before;
    const { failed } = await underTraffic(store, { deadline: AMPLE_MS }, async (traffic) => {
      before = await id();
      while (given < 4) await traffic.served();
    });
    expect(await id()).toBe(before);
    expect(failed).toEqual({});
  });
});
