'use strict';

const os = require('node:os');
const path = require('node:path');
const { RedisStore } = require('../..');
const { startRedis } = require('../support/redis.js');
const { closeAll, keepStore } = require('../support/stores.js');
const { clients } = require('../support/unconnected.js');

// No server listens there.
const port = 1;

afterEach(closeAll);

const failure = (options) =>
  keepStore(new RedisStore(options))
    .get('abc')
    .catch((reason) => reason);

// Runs all cases at once, since each is tried until its operation's deadline.
test('an operation rejects with the server, the number of attempts and the last error when no Redis is reachable', async () => {
  const socket = path.join(os.tmpdir(), 'no-redis-here.sock');
  const cases = [
    [{ url: `redis://127.0.0.1:${port}` }, `redis://127.0.0.1:${port}`, /refused/i],
    [{ url: `redis://:s3cret@127.0.0.1:${port}/7` }, `redis://127.0.0.1:${port}/7`, /refused/i],
    // RFC 6761: this name never resolves.
    [{ url: 'redis://redis.invalid' }, 'redis://redis.invalid:6379', /lookup|resol|known/i],
    [{ url: `redis+unix://${socket}?pass=s3cret` }, `redis+unix://${socket}`, /no such file/i],
    ...Object.values(clients).map((make) => [
      { client: make(`redis://ann:s3cret@127.0.0.1:${port}/7`) },
      `redis://127.0.0.1:${port}/7`,
      /refused/i,
    ]),
  ];

  const errors = await Promise.all(cases.map(([options]) => failure(options)));

  for (const [index, [, server, cause]] of cases.entries()) {
    const { code, message, stack } = errors[index];
    expect({ code, message }).toEqual({
      code: 'ERR_REDIS_UNAVAILABLE',
      message: expect.stringMatching(cause),
    });
    expect(message).toContain(`(${server};`);
    expect(message).toMatch(/^get failed: no connection within .*; \d+ attempts?; last error: /);
    expect(stack).not.toContain('s3cret');
  }
});

const hasIpv6 = Object.values(os.networkInterfaces())
  .flat()
  .some(({ address }) => address === '::1');

// Not every machine has an IPv6 loopback interface.
(hasIpv6 ? describe : describe.skip)('a Redis at an IPv6 address', () => {
  let server;
  beforeAll(async () => {
    server = await startRedis({ args: ['--bind', '::1'] });
  });
  afterAll(() => server?.stop());

  const cases = {
    url: (port) => ({ url: `redis://[::1]:${port}` }),
    redis6: (port) => ({ client: require('redis').createClient({ socket: { host: '::1', port } }) }),
    ioredis6: (port) => ({ client: new (require('ioredis'))({ host: '::1', port, lazyConnect: true }) }),
  };

  test.each(Object.keys(cases))('a Redis at an IPv6 address is reached by %s', async (source) => {
    const store = keepStore(new RedisStore(cases[source](server.port)));
    await store.set('abc', { n: 1 });
    expect(await store.get('abc')).toEqual({ n: 1 });
  });

  test('an error names an IPv6 address in brackets', async () => {
    const { message } = await failure({ url: `redis://[::1]:${port}` });
    expect(message).toContain('redis://[::1]:');
  });
});
