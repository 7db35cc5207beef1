'use strict';

const { connectRaw, startRedis } = require('../support/redis.js');
const { closeAll, openStore } = require('../support/stores.js');

let server;
beforeEach(async () => {
  server = await startRedis();
});
afterEach(async () => {
  await closeAll();
  await server.stop();
});

test('no operation fails when connections are cut repeatedly', async () => {
  const store = await openStore('url', server.port);
  const raw = await connectRaw(server.port);
  await store.set('abc', { n: 1 });
  for (let time = 0; time < 300; time++) {
    // Some operations come before the cut is noticed, some meanwhile, some after.
    const cut = raw.command('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
    const reads = [store.get('abc'), store.get('abc')];
    await cut;
    reads.push(store.get('abc'));
    for (let turn = 0; turn < time % 10; turn++) await new Promise(setImmediate);
    reads.push(store.get('abc'));
    expect(await Promise.all(reads)).toEqual(Array(4).fill({ n: 1 }));
  }
  await raw.close();
});

test('operations keep their order when the connection is lost', async () => {
  const store = await openStore('url', server.port);
  await store.set('abc', { n: 0 });
  await server.kill();
  const sets = [];
  for (let n = 1; n <= 500; n++) {
    sets.push(store.set('abc', { n }));
    if (n % 50 === 0) await new Promise(setImmediate);
  }
  await server.start();
  await Promise.all(sets);
  expect(await store.get('abc')).toEqual({ n: 500 });
});

test('operations reject with the server, the number of attempts and the last error when the server is gone', async () => {
  const store = await openStore('url', server.port, { commandTimeout: 1000 });
  await server.kill();

  const errors = await Promise.all([
    store.get('abc').catch((error) => error),
    store.set('abc', { secret: 's3cr3t' }).catch((error) => error),
    store.ids().catch((error) => error),
  ]);

  for (const [index, name] of ['get', 'set', 'ids'].entries()) {
    expect(errors[index]).toMatchObject({ code: 'ERR_REDIS_UNAVAILABLE' });
    expect(errors[index].message).toMatch(
      new RegExp(`^${name} failed: .*127\\.0\\.0\\.1:${server.port}.*refused`),
    );
    expect(errors[index].message).not.toMatch(/s3cr3t|abc/);
  }
});
