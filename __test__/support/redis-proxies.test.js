'use strict';

const { describeProxies, startRedisProxy } = require('./redis-proxies.js');
const { askOnce, useRedis } = require('./redis.js');

const redis = useRedis();

describeProxies((name) => {
  let proxy;
  beforeAll(async () => {
    proxy = await startRedisProxy(name, [redis.port]);
  });
  afterAll(() => proxy?.stop());

  test('passes commands on to the server', async () => {
    expect(await askOnce(proxy, 'SET', `through-${name}`, 'abc')).toBe('OK');
    expect(String(await askOnce(redis.server, 'GET', `through-${name}`))).toBe('abc');
  });
});
