'use strict';

// Commands and replies that are out of step: once something that was waited for in vain is given up, its reply must
// not be taken for another's, nor another's for it.

const { startProxy } = require('../support/proxy.js');
const { useRedis } = require('../support/redis.js');
const { closeAll, openStore } = require('../support/stores.js');
const { NEVER_MS, until } = require('../support/until.js');

const redis = useRedis();
let network;
let store;
beforeEach(async () => {
  network = await startProxy(redis.port);
  // Less than a server may be silent: operations are given up, not the connection.
  store = await openStore('url', network.port, { commandTimeout: 400 });
});
afterEach(async () => {
  await closeAll();
  await network?.close();
});

/** What is read of a session, however often that is given up. */
async function served(id) {
  let session;
  await until(async () => {
    session = await store.get(id).catch((error) => error);
    return session?.code !== 'ERR_REDIS_TIMEOUT';
  });
  return session;
}

const sessionOf = (length) => ({ text: 'x'.repeat(length - JSON.stringify({ text: '' }).length) });

test('a read whose reply vanishes is repeated, and what is asked afterwards is served', async () => {
  const patient = await openStore('url', network.port);
  await patient.set('first', { name: 'first' });
  await patient.set('second', { name: 'second' });
  const { accepted } = network;
  network.lose();
  const first = patient.get('first');
  await until(() => network.lost > 0);
  await network.heal();
  // The PING behind the late reply is answered in its place, so the connection is replaced.
  expect(await first).toEqual({ name: 'first' });
  expect(network.accepted).toBe(accepted + 1);
  expect(await patient.get('second')).toEqual({ name: 'second' });
});

test('where a reply swallows others to the end of a line, no session reaches who asked for another', async () => {
  // What follows the first session: the end of its line, its lifetime, and the head of the second.
  const between = '\r\n:86399999\r\n$181\r\n'.length;
  const patient = await openStore('url', redis.port);
  await patient.set('first', sessionOf(123));
  await patient.set('second', sessionOf(181));
  await patient.set('third', { name: 'third' });
  network.damage('$123\r\n', `$${123 + between + 181}\r\n`);
  await expect(store.get('first')).rejects.toMatchObject({ code: 'ERR_REDIS_TIMEOUT' });
  const [second, third] = await Promise.all(['second', 'third'].map(served));
  expect(second).toEqual(sessionOf(181));
  expect(third).toEqual({ name: 'third' });
  expect(await served('first')).toEqual(sessionOf(123));
});

test('where the answer to a save that looks for conflicts is none, it is asked for again', async () => {
  const guarded = await openStore('url', network.port, { commandTimeout: NEVER_MS, onConflict: 'reject' });
  expect(await guarded.get('abc')).toBeNull();
  const { accepted } = network;
  // That nothing was stored before.
  network.damage('_\r\n', '+\r\n');
  await guarded.set('abc', { n: 1 });
  expect(await guarded.get('abc')).toEqual({ n: 1 });
  expect(network.accepted).toBe(accepted + 1);
});
