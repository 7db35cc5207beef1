'use strict';

// Commands and replies that no longer match: once an operation has been abandoned, its reply must not be taken for that
// of another, nor another's for it.

const { startProxy } = require('../support/proxy.js');
const { useRedis } = require('../support/redis.js');
const { closeAll, openStore } = require('../support/stores.js');
const { NEVER_MS, until } = require('../support/until.js');

const redis = useRedis();
let network;
let store;
beforeEach(async () => {
  network = await startProxy(redis.port);
  // Shorter than the read timeout: operations fail, but the connection stays.
  store = await openStore('url', network.port, { commandTimeout: 400 });
});
afterEach(async () => {
  await closeAll();
  await network?.close();
});

/** Returns the session that a read returns, however often reads are abandoned. */
async function served(id) {
  let session;
  await until(async () => {
    session = await store.get(id).catch((error) => error);
    return session?.code !== 'ERR_REDIS_TIMEOUT';
  });
  return session;
}

const sessionOf = (length) => ({ text: 'x'.repeat(length - JSON.stringify({ text: '' }).length) });

test('a read whose reply is lost is retried, and later operations succeed', async () => {
  const waiting = await openStore('url', network.port);
  await waiting.set('first', { name: 'first' });
  await waiting.set('second', { name: 'second' });
  const { accepted } = network;
  network.lose();
  const first = waiting.get('first');
  await until(() => network.lost > 0);
  await network.heal();
  // The PING after the late reply is answered in its place, so the connection is replaced.
  expect(await first).toEqual({ name: 'first' });
  expect(network.accepted).toBe(accepted + 1);
  expect(await waiting.get('second')).toEqual({ name: 'second' });
});

test('no session reaches the reader of another when a damaged reply swallows others up to the end of a line', async () => {
  // The bytes after the first session: the end of its line, its lifetime, and the head of the second.
  const between = '\r\n:86399999\r\n$181\r\n'.length;
  const waiting = await openStore('url', redis.port);
  await waiting.set('first', sessionOf(123));
  await waiting.set('second', sessionOf(181));
  await waiting.set('third', { name: 'third' });
  network.damage('$123\r\n', `$${123 + between + 181}\r\n`);
  await expect(store.get('first')).rejects.toMatchObject({ code: 'ERR_REDIS_TIMEOUT' });
  const [second, third] = await Promise.all(['second', 'third'].map(served));
  expect(second).toEqual(sessionOf(181));
  expect(third).toEqual({ name: 'third' });
  expect(await served('first')).toEqual(sessionOf(123));
});

test('a conditional save is repeated when its reply is not valid', async () => {
  const conditional = await openStore('url', network.port, {
    commandTimeout: NEVER_MS,
    onConflict: 'reject',
  });
  expect(await conditional.get('abc')).toBeNull();
  const { accepted } = network;
  // The reply that nothing was stored before.
  network.damage('_\r\n', '+\r\n');
  await conditional.set('abc', { n: 1 });
  expect(await conditional.get('abc')).toEqual({ n: 1 });
  expect(network.accepted).toBe(accepted + 1);
});
