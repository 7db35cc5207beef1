'use strict';

const { Registry, register: defaultRegister } = require('prom-client');
const { collect } = require('../../prometheus');
const dashboard = require('../../examples/grafana/dashboard.json');
const { useRedis } = require('../support/redis.js');
const { liveSession } = require('../support/sessions.js');
const { closeAll, openClient, openStore, keepStore } = require('../support/stores.js');
const { RedisStore } = require('../..');

const PREFIX = 'connect_redis_native_';

const redis = useRedis();
let collection;
afterEach(async () => {
  collection?.disable();
  collection = undefined;
  await closeAll();
});

/** Registers the metrics of stores in a new registry, and returns it. */
function collectFrom(stores, options) {
  const register = new Registry();
  collection = collect(stores, { register, ...options });
  return register;
}

/** Returns the values of a scrape: numbers by names with labels. */
async function scrape(register) {
  const lines = (await register.metrics()).split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return Object.fromEntries(
    lines.map((line) => {
      const at = line.lastIndexOf(' ');
      return [line.slice(0, at), Number(line.slice(at + 1))];
    }),
  );
}

/** The names of the metrics of a scrape, without labels. */
const namesOf = (values) => new Set(Object.keys(values).map((name) => name.split('{')[0]));

test('a scrape shows the operations of a store, their latencies and their errors', async () => {
  const store = await openStore('url', redis.port);
  const register = collectFrom(store);
  await store.set('id', liveSession('id'));
  for (const id of ['id', 'id', 'none']) await store.get(id);
  await redis.command('RPUSH', 'sess:list', 'value');
  await store.get('list').catch(() => {});

  const values = await scrape(register);
  const get = 'store="0",operation="get"';
  expect(values).toMatchObject({
    [`${PREFIX}operations_total{${get}}`]: 4,
    [`${PREFIX}operations_total{store="0",operation="set"}`]: 1,
    [`${PREFIX}operations_total{store="0",operation="clear"}`]: 0,
    [`${PREFIX}operations_failed_total{${get}}`]: 1,
    [`${PREFIX}errors_total{store="0",code="ERR_REDIS_REPLY"}`]: 1,
    [`${PREFIX}connection_ready{store="0"}`]: 1,
    [`${PREFIX}operations_queued{store="0"}`]: 0,
    [`${PREFIX}operation_duration_seconds_count{${get}}`]: 4,
  });
  expect(values[`${PREFIX}connection_io_bytes_total{store="0",direction="receive"}`]).toBeGreaterThan(0);
  const sum = values[`${PREFIX}operation_duration_seconds_sum{${get}}`];
  expect(sum).toBeGreaterThan(0);
  expect(sum).toBeLessThan(60);
});

test('the buckets of a latency are cumulative, from 50 µs to infinity', async () => {
  const store = await openStore('url', redis.port);
  const register = collectFrom(store);
  for (let n = 0; n < 20; n++) await store.get('none');

  const values = await scrape(register);
  const bucket = /^connect_redis_native_operation_duration_seconds_bucket\{.*operation="get".*\}$/;
  const buckets = Object.entries(values).filter(([name]) => bucket.test(name));
  const bounds = buckets.map(([name]) => /le="([^"]+)"/.exec(name)[1]);
  const counts = buckets.map(([, count]) => count);
  expect(Number(bounds[0])).toBe(0.00005);
  expect(bounds.at(-1)).toBe('+Inf');
  expect(counts).toEqual([...counts].sort((a, b) => a - b));
  expect(counts.at(-1)).toBe(20);
});

test('several stores have their names, else their positions, as a label', async () => {
  const [shop, admin] = [await openStore('url', redis.port), await openStore('url', redis.port)];
  await shop.get('none');
  const count = (store) => `${PREFIX}operations_total{store="${store}",operation="get"}`;
  expect(await scrape(collectFrom({ shop, admin }))).toMatchObject({
    [count('shop')]: 1,
    [count('admin')]: 0,
  });
  expect(await scrape(collectFrom([admin, shop]))).toMatchObject({ [count('0')]: 0, [count('1')]: 1 });
});

test('a scrape shows the cache of a store that has one', async () => {
  const store = await openStore('url', redis.port, { cache: true });
  const register = collectFrom(store);
  await store.get('none');
  await store.get('none');

  const values = await scrape(register);
  const stats = store.cacheStats();
  expect(values[`${PREFIX}cache_reads_total{store="0",result="hit"}`]).toBe(stats.hits);
  expect(values[`${PREFIX}cache_reads_total{store="0",result="miss"}`]).toBe(stats.misses);
  expect(values[`${PREFIX}cache_size_bytes{store="0"}`]).toBe(stats.bytes);
});

test('figures that a store does not have are left out', async () => {
  const client = await openClient('redis6', redis.port);
  const store = keepStore(new RedisStore({ client, transport: 'client' }));
  const register = collectFrom(store);
  await store.get('none');

  const names = namesOf(await scrape(register));
  expect(names).toContain(`${PREFIX}operations_total`);
  expect(names).not.toContain(`${PREFIX}connection_io_bytes_total`);
  expect(names).not.toContain(`${PREFIX}cache_entries`);
});

test('a scrape reads the statistics of each store once, and no other time does', async () => {
  const store = await openStore('url', redis.port);
  const stats = jest.spyOn(store, 'stats');
  const register = collectFrom(store);
  await store.get('none');
  expect(stats).toHaveBeenCalledTimes(0);
  await register.metrics();
  expect(stats).toHaveBeenCalledTimes(1);
  await register.getMetricsAsJSON();
  expect(stats).toHaveBeenCalledTimes(2);
});

test('the metrics have the chosen prefix', async () => {
  const register = collectFrom(await openStore('url', redis.port), { prefix: 'sessions_' });
  for (const name of namesOf(await scrape(register))) expect(name).toMatch(/^sessions_(?!connect_redis)/);
});

test('without a registry, the metrics are in the default one, until `disable` is called', async () => {
  collection = collect(await openStore('url', redis.port));
  expect(await defaultRegister.metrics()).toContain(`# TYPE ${PREFIX}operations_total counter`);
  collection.disable();
  expect(await defaultRegister.metrics()).not.toContain(PREFIX);
});

test('the counters of an OpenMetrics registry end with _total once', async () => {
  const register = new Registry(Registry.OPENMETRICS_CONTENT_TYPE);
  collection = collect(await openStore('url', redis.port), { register });
  const text = await register.metrics();
  expect(text).toContain(`# TYPE ${PREFIX}operations counter`);
  expect(text).toContain(`${PREFIX}operations_total{store="0",operation="get"} 0`);
  expect(text).not.toContain('_total_total');
});

test('the metrics that the Grafana dashboard queries are exported', async () => {
  const store = await openStore('url', redis.port, { cache: true });
  await redis.command('RPUSH', 'sess:list', 'value');
  await store.get('list').catch(() => {});
  const names = namesOf(await scrape(collectFrom(store)));

  const queries = JSON.stringify(dashboard).match(/connect_redis_native_\w+/g);
  expect(queries.length).toBeGreaterThan(10);
  expect(queries.filter((name) => !names.has(name))).toEqual([]);
});

test.each([
  ['no store', [undefined], 'The "stores" option must be a RedisStore, an array'],
  ['something else as a store', [[{}]], 'The "stores" option must be a RedisStore, an array'],
  ['an unknown option', [[], { registry: {} }], 'The "collect.registry" option is unknown'],
  ['a prefix that is no string', [[], { prefix: 1 }], 'The "prefix" option must be a string'],
  ['a prefix that no metric may have', [[], { prefix: 'a-' }], 'The "prefix" option must be the beginning'],
])('`collect` rejects %s with a TypeError', (_what, args, message) => {
  expect(() => collect(...args)).toThrow(
    expect.objectContaining({
      name: 'TypeError',
      code: expect.stringMatching(/^ERR_INVALID_ARG_/),
      message: expect.stringContaining(message),
    }),
  );
});
