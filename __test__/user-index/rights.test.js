'use strict';

const fs = require('node:fs');
const path = require('node:path');
const { RedisStore } = require('../..');
const { askOnce, startRedis } = require('../support/redis.js');
const { describeServers } = require('../support/servers.js');
const { closeAll, keepStore } = require('../support/stores.js');
const { HANG_MS } = require('../support/until.js');
const { load, logIn, numbersOf, userId } = require('./support.js');

const RECIPES = fs.readFileSync(path.join(__dirname, '..', '..', 'docs', 'recipes.md'), 'utf8');
const rights = (start, end) => {
  const from = RECIPES.indexOf(start);
  return RECIPES.slice(from, RECIPES.indexOf(end, from)).match(/(?<=[ `])\+[a-z|-]+/g);
};
const OF_SESSIONS = rights('ACL SETUSER app on >password ~sess:*', 'In addition:');
const OF_INDEXES = rights('For the [sessions of a user]', 'Only `ids`');

let server;
afterEach(async () => {
  await closeAll();
  await server?.stop();
});

describeServers('%s', (_name, program) => {
  test('the documented rights suffice for the sessions of a user', async () => {
    server = await startRedis({ program });
    const known = await askOnce(server, 'COMMAND', 'INFO', 'HPEXPIREAT');
    const ofIndexes = OF_INDEXES.filter((right) => right !== '+hpexpireat' || known[0] !== null);
    const keys = ['~sess:*', '~sess-of:*', '-@all'];
    await askOnce(
      ...[server, 'ACL', 'SETUSER', 'app', 'on', '>secret', ...keys],
      ...[...OF_SESSIONS, ...ofIndexes],
    );
    const url = `redis://app:secret@127.0.0.1:${server.port}`;
    const store = keepStore(new RedisStore({ url, userId, maxSessionsOf: 2, commandTimeout: HANG_MS }));

    for (const n of [1, 2, 3]) await logIn(store, `s${n}`, 1, { n });
    await store.touch('s3', await load(store, 's3'));
    expect(await numbersOf(store, 1)).toEqual([2, 3]);
    expect(await store.updateAllOf(1, (session) => ({ ...session, n: session.n + 1 }))).toBe(2);
    expect(await store.reindex()).toBe(2);
    await store.destroy('s2');
    expect(await store.destroyAllOf(1, { notBefore: new Date() })).toBe(1);
    const log = await askOnce(server, 'ACL', 'LOG');
    const denied = log.map((entry) => String(entry[entry.findIndex((key) => String(key) === 'object') + 1]));
    expect(denied.filter((object) => !/^(client|info)/.test(object))).toEqual([]);
  });

  test('without the right to HPEXPIREAT, the key of an index expires as a whole', async () => {
    server = await startRedis({ program });
    const keys = ['~sess:*', '~sess-of:*', '-@all'];
    const ofIndexes = OF_INDEXES.filter((right) => right !== '+hpexpireat');
    await askOnce(
      ...[server, 'ACL', 'SETUSER', 'app', 'on', '>secret', ...keys],
      ...[...OF_SESSIONS, ...ofIndexes],
    );
    const url = `redis://app:secret@127.0.0.1:${server.port}`;
    const store = keepStore(new RedisStore({ url, userId, commandTimeout: HANG_MS }));
    await logIn(store, 'a', 1, { n: 1 });
    expect(await numbersOf(store, 1)).toEqual([1]);
    expect(await askOnce(server, 'PTTL', 'sess-of:user:1@sess:')).toBeGreaterThan(3_600_000);
  });
});
