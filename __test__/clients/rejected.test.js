'use strict';

const { ClientSideCache, GlideClient } = require('@valkey/valkey-glide');
const Redis = require('ioredis');
const redis6 = require('redis');
const redis3 = require('redis3');
const redis5 = require('redis5');
const { RedisStore } = require('../..');
const { closeAll, keepStore } = require('../support/stores.js');

afterEach(closeAll);

function refusal(client) {
  try {
    new RedisStore({ client });
  } catch (error) {
    return error;
  }
  throw new Error('The client was accepted.');
}

// Each can send commands or creates clients that can, but has no readable settings: as a client, it would be a store on
// localhost:6379, whoever owns that Redis.
const withoutSettings = {
  'a client of redis3': () =>
    redis3.createClient({ port: 1, retry_strategy: () => undefined }).on('error', () => {}),
  'the legacy interface of redis5': () => redis5.createClient().legacy(),
  'the legacy interface of redis6': () => redis6.createClient().legacy(),
  'a transaction of redis6': () => redis6.createClient().multi(),
  'the class Redis of ioredis': () => Redis,
  'the module redis': () => redis6,
};

test.each(Object.keys(withoutSettings))(
  'the constructor rejects %s as a client and names what it expects',
  (name) => {
    const error = refusal(withoutSettings[name]());
    expect(error).toBeInstanceOf(TypeError);
    expect(error).toMatchObject({
      code: expect.stringMatching(/^ERR_INVALID_ARG_(TYPE|VALUE)$/),
      message: expect.stringMatching(/^The "client" option must be a client of redis/),
    });
  },
);

test('the constructor rejects a cluster client without a node', () => {
  expect(refusal(new Redis.Cluster([], { lazyConnect: true }))).toMatchObject({
    name: 'TypeError',
    code: 'ERR_INVALID_ARG_VALUE',
    message: 'The "client" option must be one that names a server to begin with',
  });
});

test.each([
  ['redis', () => redis6.createClient()],
  ['ioredis', () => new Redis({ lazyConnect: true })],
])('the constructor rejects a client of %s in place of the options', (_name, make) => {
  expect(() => new RedisStore(make())).toThrow(
    expect.objectContaining({
      name: 'TypeError',
      code: 'ERR_INVALID_ARG_TYPE',
      message: expect.stringMatching(/^The argument of RedisStore must be .* such as \{ client \}; received/),
    }),
  );
});

// Its cache returns destroyed sessions; its compressed values cannot be compared.
test.each([
  ['clientSideCache', { clientSideCache: ClientSideCache.create(1024, 60_000) }],
  ['compression', { compression: { enabled: true } }],
])(
  'the constructor rejects a valkey-glide client with %s for the client transport',
  async (setting, config) => {
    const addresses = [{ host: '127.0.0.1', port: 1 }];
    const client = await GlideClient.createClient({ addresses, lazyConnect: true, ...config });
    expect(() => new RedisStore({ client, transport: 'client' })).toThrow(
      expect.objectContaining({
        name: 'TypeError',
        code: 'ERR_INVALID_ARG_VALUE',
        message: `The "client" option must be one without "${setting}" where it runs the commands itself`,
      }),
    );
    expect(keepStore(new RedisStore({ client })).transport).toBe('native');
    client.close();
  },
);
