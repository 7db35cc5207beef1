'use strict';

const { findServer, findServers } = require('../../scripts/servers.js');
const { askOnce, startRedis } = require('./redis.js');
const { describeServers } = require('./servers.js');

describeServers('%s', (name, program) => {
  let server;
  beforeAll(async () => {
    server = await startRedis({ program });
  });
  afterAll(() => server?.stop());

  test('the binary of findServers has the version of its name', async () => {
    const info = String(await askOnce(server, 'INFO', 'server'));
    const version = (field) => new RegExp(`^${field}:([\\d.]+)`, 'm').exec(info)?.[1];
    // Valkey reports a version of Redis as well, for clients that look for one.
    const [product, number] = version('valkey_version')
      ? ['Valkey', version('valkey_version')]
      : ['Redis', version('redis_version')];
    expect(`${product} ${number}`).toMatch(new RegExp(`^${name}\\.`));
  });
});

test('findServer finds a server of this project when PATH has none', () => {
  const [, ...others] = findServers().map(({ program }) => program);
  const { PATH } = process.env;
  process.env.PATH = '';
  try {
    expect(findServer()).toBe(others.findLast((program) => program !== null) ?? null);
  } finally {
    process.env.PATH = PATH;
  }
});
