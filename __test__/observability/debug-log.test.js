'use strict';

const { startCluster } = require('../support/cluster.js');
const { askOnce, startRedis } = require('../support/redis.js');
const { startSentinel } = require('../support/sentinel.js');
const { HANG_MS, until } = require('../support/until.js');
const { LoggingProcess } = require('./processes.js');

const LIMIT_MS = 240_000;
const PASSWORD = 'hunter2-of-the-server';
const ID = 'secret-session-id-0123456789';
const SESSION = { cookie: {}, value: 'secret-session-value' };

let stopping = [];
afterEach(async () => {
  for (const stop of stopping.splice(0).reverse()) await stop();
  stopping = [];
});

/** Starts a server, a process and so on, which are stopped after the test. */
async function keep(started) {
  const it = await started;
  stopping.push(() => (it instanceof LoggingProcess ? it.kill() : it.stop()));
  return it;
}

/** Expects lines that match these patterns in this order, others in between. */
function expectInOrder(lines, patterns) {
  let at = 0;
  for (const pattern of patterns) {
    const found = lines.findIndex((line, index) => index >= at && pattern.test(line));
    if (found === -1) throw new Error(`No line ${pattern} after line ${at} of:\n${lines.join('\n')}`);
    at = found + 1;
  }
}

/** Kills a server that has received a save, but not replied. Returns the promise of the save as `done`. */
async function killDuringSave(server, child) {
  await child.call('get', ID);
  await askOnce(server, 'CLIENT', 'PAUSE', HANG_MS, 'WRITE');
  const done = child.call('set', ID, SESSION);
  await until(async () => /cmd=set\b/.test(String(await askOnce(server, 'CLIENT', 'LIST'))));
  await server.kill();
  return { done };
}

function expectNoSecrets({ stderr }) {
  for (const secret of [PASSWORD, ID, SESSION.value, 'alice']) expect(stderr).not.toContain(secret);
}

test('the debug log shows refused attempts, the connection, its loss, the retries and the end', async () => {
  const server = await keep(startRedis());
  const { port } = server;
  await server.kill();
  const child = await keep(new LoggingProcess());
  await child.open({ url: `redis://127.0.0.1:${port}`, commandTimeout: HANG_MS });
  await until(() => child.has(/attempt 2 to connect failed/));
  await server.start();
  const saved = await killDuringSave(server, child);
  await until(() => child.has(/: retrying/));
  await server.start();
  await saved.done;
  await child.close();

  const { lines } = child;
  expectInOrder(lines, [
    /: connecting \(attempt 1\)$/,
    /: attempt 1 to connect failed: Connection refused \(ECONNREFUSED\)$/,
    /: connecting \(attempt 2\)$/,
    /: connected \((Redis|Valkey) [\d.]+, attempt \d+, \d+ ms\)$/,
    /: lost: .+; reconnecting$/,
    /: retrying 1 command$/,
    /: connected \(/,
    /: closed: the store was closed$/,
  ]);
  for (const line of lines) expect(line).toMatch(new RegExp(`^redis://127\\.0\\.0\\.1:${port}: `));
  expectNoSecrets(child);
});

test.each([[''], ['http']])('nothing is printed when NODE_DEBUG is "%s"', async (section) => {
  const server = await keep(startRedis());
  const child = await keep(new LoggingProcess(section));
  await child.open({ url: server.url, commandTimeout: HANG_MS, cache: true });
  await child.call('set', ID, SESSION);
  await server.kill();
  await until(async () => (await child.status()) === 'reconnecting');
  await server.start();
  await child.call('get', ID);
  await child.close();
  expect(child.stderr).not.toContain('CONNECT-REDIS-NATIVE');
});

test('the debug log of rejected credentials shows neither the password nor the user', async () => {
  const server = await keep(startRedis());
  await askOnce(server, 'ACL', 'SETUSER', 'alice', 'on', `>${PASSWORD}`, '~*', '+@all', '-select');
  const wrong = await keep(new LoggingProcess());
  await wrong.open({ url: `redis://alice:${PASSWORD}-wrong@127.0.0.1:${server.port}` });
  await until(() => wrong.has(/attempt 1 to connect failed: .*WRONGPASS/));
  await wrong.close();
  expectNoSecrets(wrong);

  const forbidden = await keep(new LoggingProcess());
  await forbidden.open({ url: `redis://alice:${PASSWORD}@127.0.0.1:${server.port}/1` });
  await until(() => forbidden.has(/failed: .*NOPERM/));
  await forbidden.close();
  expectNoSecrets(forbidden);
});

test('the debug log names sessions that leave the cache by their hashes', async () => {
  const server = await keep(startRedis());
  const child = await keep(new LoggingProcess());
  await child.open({ url: server.url, commandTimeout: HANG_MS, cache: { maxEntries: 1 } });
  for (const id of [ID, `${ID}-2`]) {
    await child.call('set', id, SESSION);
    await child.call('get', id);
  }
  await until(() => child.has(/: cached session [\w-]{22} evicted$/));
  await askOnce(server, 'DEL', `sess:${ID}`, `sess:${ID}-2`);
  await until(() => child.has(/: cached session [\w-]{22} invalidated$/));
  await child.call('set', ID, SESSION);
  await child.call('get', ID);
  await server.kill();
  await until(() => child.has(/: cache flushed: connection lost$/));
  await child.close();
  expectNoSecrets(child);
});

test('the debug log of a client of the app shows its connection, its loss and failed attempts', async () => {
  for (const kind of ['redis6', 'ioredis6']) {
    const server = await keep(startRedis());
    const child = await keep(new LoggingProcess());
    await child.open({ kind, port: server.port, transport: 'client', commandTimeout: HANG_MS });
    const saved = await killDuringSave(server, child);
    await until(() => child.has(/: attempt to connect failed/));
    await server.start();
    await saved.done;
    await child.close();
    expectInOrder(child.lines, [
      /^Redis through the app's .*client: connected$/,
      /: lost: .+; reconnecting$/,
      /: attempt to connect failed: .*ECONNREFUSED/,
      /: connected$/,
      /: closed: the store was closed$/,
    ]);
    expectNoSecrets(child);
  }
});

test(
  'the debug log shows the failover that Sentinels report',
  async () => {
    const group = await keep(startSentinel());
    const child = await keep(new LoggingProcess());
    await child.open({
      sentinel: { name: group.name, addresses: group.addresses },
      commandTimeout: HANG_MS,
    });
    await child.call('set', ID, SESSION);
    const former = await group.primary();
    const promoted = await group.failOver();
    await child.call('set', ID, SESSION);
    await child.close();
    expectInOrder(child.lines, [
      new RegExp(`: connected to 127\\.0\\.0\\.1:${former.port} \\(`),
      /: lost: .+; reconnecting$/,
      new RegExp(
        `: failover: primary is now 127\\.0\\.0\\.1:${promoted.port}, was 127\\.0\\.0\\.1:${former.port}$`,
      ),
      new RegExp(`: connected to 127\\.0\\.0\\.1:${promoted.port} \\(`),
    ]);
    expectNoSecrets(child);
  },
  LIMIT_MS,
);

test(
  'the debug log shows the redirects and the failover of a cluster',
  async () => {
    const cluster = await keep(startCluster());
    const child = await keep(new LoggingProcess());
    await child.open({ cluster: { addresses: cluster.addresses }, commandTimeout: HANG_MS });
    await child.call('set', ID, SESSION);
    const slot = await cluster.slotOf(`sess:${ID}`);
    const home = await cluster.ownerOf(slot);
    const target = (await cluster.primaries()).find(({ id }) => id !== home.id);
    await cluster.moveSlots([slot], target);
    await child.call('set', ID, SESSION);
    const redirect = `MOVED slot ${slot} from 127\\.0\\.0\\.1:${home.port} to 127\\.0\\.0\\.1:${target.port}$`;
    await until(() => child.has(new RegExp(redirect)));
    expect(child.has(/: retrying 1 command$/)).toBe(true);

    await cluster.failOver(target);
    await child.call('set', ID, SESSION);
    const failover = `: failover: primary is now 127\\.0\\.0\\.1:\\d+, was 127\\.0\\.0\\.1:${target.port}$`;
    await until(() => child.has(new RegExp(failover)));
    await child.close();
    expectInOrder(child.lines, [
      new RegExp(`^redis://127\\.0\\.0\\.1:${home.port}: connected \\(`),
      new RegExp(redirect),
      new RegExp(`^redis://127\\.0\\.0\\.1:${target.port}: lost: .+; reconnecting$`),
      new RegExp(failover),
    ]);
    expectNoSecrets(child);
  },
  LIMIT_MS,
);
