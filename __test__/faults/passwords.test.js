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

// Clients that never connect: what they do about a password is no part of the question.
function open(source, user) {
  const url = `redis://${user}@127.0.0.1:${server.port}`;
  const where = source === 'url' ? { url } : { client: clients[source](url) };
  return keepStore(new RedisStore({ ...where, ...patient }));
}

/** What an operation fails with, long before its deadline. */
const refusal = (store) => store.get('abc').catch((reason) => reason);

describe.each(familySources)('a password that is changed under way, by %s:', (source) => {
  test('it is refused at the next connection, by name, until it is right again', async () => {
    const store = open(source, ':first');
    const { failed } = await underTraffic(store, { deadline: AMPLE_MS }, async (traffic) => {
      await command('CONFIG', 'SET', 'requirepass', 'second');
      // A connection that was let in stays.
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

  test('a user who is switched off is refused until switched on', async () => {
    await command('ACL', 'SETUSER', 'shop', 'on', '>pw', '~*', '+@all');
    const store = open(source, 'shop:pw');
    const { failed } = await underTraffic(store, { deadline: AMPLE_MS }, async (traffic) => {
      // The server ends the user's connections.
      await command('ACL', 'DELUSER', 'shop');
      expect(await refusal(store)).toMatchObject({ code: 'ERR_REDIS_REPLY', reply: 'WRONGPASS' });
      await traffic.fails('WRONGPASS');
      await command('ACL', 'SETUSER', 'shop', 'on', '>pw', '~*', '+@all');
    });
    expect(Object.keys(failed)).toEqual(['WRONGPASS']);
  });

  test('a user who loses a command is told so at once', async () => {
    await command('ACL', 'SETUSER', 'shop', 'on', '>pw', '~*', '+@all');
    const store = open(source, 'shop:pw');
    const { failed } = await underTraffic(store, { deadline: AMPLE_MS }, async (traffic) => {
      // With the command that takes its place.
      await command('ACL', 'SETUSER', 'shop', '-get', '-mget');
      const error = await refusal(store);
      expect(error).toMatchObject({ code: 'ERR_REDIS_REPLY', reply: 'NOPERM' });
      await traffic.fails('NOPERM');
      await command('ACL', 'SETUSER', 'shop', '+get', '+mget');
    });
    expect(Object.keys(failed)).toEqual(['NOPERM']);
  });
});

describe('a function that gives the credentials', () => {
  let password;
  const credentials = () => ({ password });
  const openAt = (more) =>
    keepStore(new RedisStore({ url: `redis://127.0.0.1:${server.port}`, ...patient, credentials, ...more }));

  beforeEach(() => {
    password = 'first';
  });

  test('is asked at each connect: a password that changes costs no operation', async () => {
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

  test('that has the new password late is asked again', async () => {
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

  test('may be asynchronous, and name a user', async () => {
    await command('ACL', 'SETUSER', 'shop', 'on', '>pw', '~*', '+@all');
    const store = openAt({ credentials: async () => ({ username: 'shop', password: 'pw' }) });
    await store.set('abc', { n: 1 });
    expect(String(await command('CLIENT', 'LIST'))).toContain('user=shop');
  });

  test('is asked for what is under way when the store is closed', async () => {
    const store = openAt();
    const saved = store.set('abc', { n: 1 });
    await store.close();
    await saved;
    expect(String(await command('GET', 'sess:abc'))).toBe('{"n":1}');
  });

  // That it is asked before, and not just again, is tested where time can be paused: in the core.
  test('is asked again when what it gave expires, and the connection stays', async () => {
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
