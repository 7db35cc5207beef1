'use strict';

const { SpanKind, SpanStatusCode, context, trace } = require('@opentelemetry/api');
const { AsyncLocalStorageContextManager } = require('@opentelemetry/context-async-hooks');
const {
  AggregationTemporality,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
} = require('@opentelemetry/sdk-metrics');
const {
  BasicTracerProvider,
  InMemorySpanExporter,
  SimpleSpanProcessor,
} = require('@opentelemetry/sdk-trace-base');
const { instrument } = require('../../opentelemetry');
const { count, serve } = require('../support/app.js');
const { startProxy } = require('../support/proxy.js');
const { useRedis } = require('../support/redis.js');
const { liveSession } = require('../support/sessions.js');
const { closeAll, openStore } = require('../support/stores.js');
const { until } = require('../support/until.js');

const NEVER_EXPORTS_MS = 3_600_000;
const OWN = 'connect_redis_native';

const redis = useRedis();
const exporter = new InMemorySpanExporter();
const tracerProvider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] });
let metricExporter;
let meterProvider;
let instrumentation;
let app;
let proxy;

beforeAll(() => {
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
});
beforeEach(() => {
  metricExporter = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE);
  const reader = new PeriodicExportingMetricReader({
    exporter: metricExporter,
    exportIntervalMillis: NEVER_EXPORTS_MS,
  });
  meterProvider = new MeterProvider({ readers: [reader] });
});
afterEach(async () => {
  instrumentation?.disable();
  instrumentation = undefined;
  await app?.close();
  app = undefined;
  await closeAll();
  await proxy?.close();
  proxy = undefined;
  await meterProvider.shutdown();
  exporter.reset();
});
afterAll(() => context.disable());

function start(options) {
  instrumentation = instrument({ tracerProvider, meterProvider, ...options });
}

/** Serves an app that counts visits. Each request has a span, active while it is handled. */
async function serveTraced(store) {
  const tracer = tracerProvider.getTracer('app');
  app = await serve(store, { cookie: { maxAge: 60_000 } }, (express, middleware) => {
    express.use((request, response, next) => {
      const span = tracer.startSpan(`GET ${request.url}`, { kind: SpanKind.SERVER });
      response.on('close', () => span.end());
      context.with(trace.setSpan(context.active(), span), next);
    });
    express.use(middleware).get('/count', count);
    express.get('/leave', (request, response, next) =>
      request.session.destroy((error) => (error ? next(error) : response.json(null))),
    );
  });
  return app;
}

const spans = () => exporter.getFinishedSpans();
const storeSpans = () => spans().filter(({ instrumentationScope }) => instrumentationScope.name !== 'app');

/** Waits for the spans of `requests` requests, and returns the names of the store's spans in each. */
async function spansByRequest(requests) {
  const servers = () => spans().filter(({ kind }) => kind === SpanKind.SERVER);
  await until(() => servers().length === requests);
  return servers().map((server) => {
    const { traceId, spanId } = server.spanContext();
    const children = spans().filter(
      (span) => span.spanContext().traceId === traceId && span.parentSpanContext?.spanId === spanId,
    );
    return [server.name, ...children.map(({ name }) => name)];
  });
}

/** Returns the values of a metric by the name, each with its attributes. */
async function dataPoints(name) {
  await meterProvider.forceFlush();
  const found = metricExporter
    .getMetrics()
    .at(-1)
    .scopeMetrics.flatMap(({ metrics }) => metrics)
    .find(({ descriptor }) => descriptor.name === name);
  return found?.dataPoints ?? [];
}

describe('spans', () => {
  test('the spans of a store are children of the span of their request, with visitors at once', async () => {
    start();
    const { visitor } = await serveTraced(await openStore('url', redis.port));
    const visitors = Array.from({ length: 5 }, visitor);
    for (const path of ['/count', '/count', '/leave'])
      await Promise.all(visitors.map((one) => one.get(path)));

    const requests = await spansByRequest(15);
    expect(requests.map((names) => names.join(', ')).sort()).toEqual([
      ...Array(5).fill('GET /count, get session, set session'),
      ...Array(5).fill('GET /count, set session'),
      ...Array(5).fill('GET /leave, get session, destroy session'),
    ]);
    expect(storeSpans()).toHaveLength(25);
  });

  test('the span of a cache hit is a child of the span of its request', async () => {
    start();
    const store = await openStore('url', redis.port, { cache: true });
    const { visitor } = await serveTraced(store);
    const one = visitor();
    await one.get('/count');
    // A read makes it cached, unless the invalidation of an earlier write is still on its way.
    await until(async () => {
      exporter.reset();
      await one.get('/count');
      return storeSpans()[0]?.attributes[`${OWN}.cache`] === 'hit';
    });

    expect(await spansByRequest(1)).toEqual([['GET /count', 'get session', 'set session']]);
    expect(storeSpans()[0].attributes).toMatchObject({ [`${OWN}.cache`]: 'hit', [`${OWN}.attempts`]: 0 });
    expect(storeSpans()[0].attributes).not.toHaveProperty('network.peer.address');
  });

  test('a retried operation has one span, a child of the span of its request', async () => {
    start();
    proxy = await startProxy(redis.port);
    const { visitor } = await serveTraced(await openStore('url', proxy.port));
    const one = visitor();
    await one.get('/count');
    exporter.reset();

    proxy.lose();
    const second = one.get('/count');
    await until(() => proxy.lost > 0);
    await proxy.heal();
    proxy.reset();
    expect((await second).body).toBe(2);

    expect(await spansByRequest(1)).toEqual([['GET /count', 'get session', 'set session']]);
    const [read] = storeSpans();
    expect(read.attributes[`${OWN}.attempts`]).toBeGreaterThan(1);
    expect(read.status.code).toBe(SpanStatusCode.UNSET);
  });

  test('a span has the attributes of the semantic conventions, and neither id nor command', async () => {
    start();
    const store = await openStore('url', redis.port);
    await store.set('secret-id', liveSession('secret-id', { user: 'secret-user' }));
    await store.ids();

    const address = { 'server.address': '127.0.0.1', 'server.port': redis.port };
    const peer = { 'network.peer.address': '127.0.0.1', 'network.peer.port': redis.port };
    const attributes = (operation, summary) => ({
      ...{ 'db.system.name': 'redis', 'db.operation.name': operation, 'db.query.summary': summary },
      ...{ 'db.namespace': '0', ...address, ...peer },
      ...{ [`${OWN}.transport`]: 'native', [`${OWN}.attempts`]: 1 },
    });
    expect(storeSpans().map(({ name, kind, attributes }) => ({ name, kind, attributes }))).toEqual([
      { name: 'set session', kind: SpanKind.CLIENT, attributes: attributes('set', 'set session') },
      { name: 'ids sessions', kind: SpanKind.CLIENT, attributes: attributes('ids', 'ids sessions') },
    ]);
  });

  test('with `sessionHash`, the spans of a session have its hash', async () => {
    start({ sessionHash: true });
    const store = await openStore('url', redis.port);
    for (const id of ['one', 'one', 'other']) await store.get(id);

    const hashes = storeSpans().map(({ attributes }) => attributes[`${OWN}.session_hash`]);
    expect(hashes[0]).toMatch(/^[\w-]{22}$/);
    expect([hashes[1] === hashes[0], hashes[2] === hashes[0]]).toEqual([true, false]);
  });

  test('the span of a failed operation has the error code, the reply and the message of the error', async () => {
    start();
    await redis.command('RPUSH', 'sess:list', 'value');
    const store = await openStore('url', redis.port);
    const error = await store.get('list').catch((reason) => reason);

    const [{ attributes, status, events }] = storeSpans();
    expect(attributes).toMatchObject({ 'error.type': 'WRONGTYPE', 'db.response.status_code': 'WRONGTYPE' });
    expect(status).toEqual({ code: SpanStatusCode.ERROR, message: error.message });
    expect(events).toEqual([]);

    await store.close();
    exporter.reset();
    await store.get('closed').catch(() => {});
    const [closed] = storeSpans();
    expect(closed.attributes['error.type']).toBe('ERR_STORE_CLOSED');
    expect(closed.attributes).not.toHaveProperty('db.response.status_code');
  });

  test("the span of an operation that failed by the app's function lacks the message of the error", async () => {
    start();
    const serializer = {
      stringify: JSON.stringify,
      parse: (text) => {
        throw new RangeError(`cannot read ${text}`);
      },
    };
    const store = await openStore('url', redis.port, { serializer });
    await store.set('id', liveSession('id', { user: 'secret-user' }));
    await store.get('id').catch(() => {});

    const { attributes, status } = storeSpans().at(-1);
    expect(attributes['error.type']).toBe('RangeError');
    expect(status).toEqual({ code: SpanStatusCode.ERROR });
  });

  test('`disable` ends the spans, also of operations in progress', async () => {
    start();
    const store = await openStore('url', redis.port);
    const read = store.get('id');
    instrumentation.disable();
    await read;
    await store.get('id');
    expect(storeSpans()).toEqual([]);
  });
});

describe('metrics', () => {
  test('db.client.operation.duration counts operations by their attributes', async () => {
    start();
    const store = await openStore('url', redis.port);
    for (const id of ['one', 'other']) await store.get(id);
    await redis.command('RPUSH', 'sess:list', 'value');
    await store.get('list').catch(() => {});

    const points = await dataPoints('db.client.operation.duration');
    const common = {
      ...{ 'db.system.name': 'redis', 'db.operation.name': 'get', 'db.query.summary': 'get session' },
      ...{ 'db.namespace': '0', 'server.address': '127.0.0.1', 'server.port': redis.port },
      [`${OWN}.transport`]: 'native',
    };
    expect(points.map(({ attributes, value }) => [attributes, value.count])).toEqual([
      [common, 2],
      [{ ...common, 'error.type': 'WRONGTYPE', 'db.response.status_code': 'WRONGTYPE' }, 1],
    ]);
    const [{ value }] = points;
    expect(value.buckets.boundaries).toEqual(
      expect.arrayContaining([0.00005, 0.0001, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10]),
    );
    expect(value.sum).toBeGreaterThan(0);
    expect(value.sum).toBeLessThan(60);
  });

  test('db.client.connection.create_time counts connections', async () => {
    start();
    const store = await openStore('url', redis.port);
    await store.get('id');

    const [{ attributes, value }] = await dataPoints('db.client.connection.create_time');
    expect(attributes).toEqual({ 'db.client.connection.pool.name': `127.0.0.1:${redis.port}` });
    expect(value.count).toBe(1);
  });

  test('the statistics of `stores` are metrics with their names, read once per collection', async () => {
    const [shop, other] = [await openStore('url', redis.port), await openStore('url', redis.port)];
    start({ stores: { shop } });
    for (const store of [shop, other]) await store.get('none');
    const stats = jest.spyOn(shop, 'stats');

    const points = await dataPoints(`${OWN}.operations`);
    expect(stats).toHaveBeenCalledTimes(1);
    expect(points.map(({ attributes, value }) => [attributes, value])).toContainEqual([
      { [`${OWN}.store`]: 'shop', 'db.operation.name': 'get' },
      1,
    ]);
    const pending = await dataPoints('db.client.connection.pending_requests');
    expect(pending).toMatchObject([{ attributes: { 'db.client.connection.pool.name': 'shop' }, value: 0 }]);

    instrumentation.disable();
    stats.mockClear();
    await meterProvider.forceFlush();
    expect(stats).not.toHaveBeenCalled();
  });
});

test.each([
  ['options that are no object', [null], 'The options of instrument must be an object'],
  ['an unknown option', [{ tracer: {} }], 'The "instrument.tracer" option is unknown'],
  ['a provider without tracers', [{ tracerProvider: {} }], 'The "tracerProvider" option must be a provider'],
  ['a provider without meters', [{ meterProvider: {} }], 'The "meterProvider" option must be a provider'],
  ['stores that are none', [{ stores: [{}] }], 'The "stores" option must be a RedisStore, an array'],
  ['a hash that is no boolean', [{ sessionHash: 1 }], 'The "sessionHash" option must be a boolean'],
])('`instrument` rejects %s with a TypeError', (_what, args, message) => {
  expect(() => instrument(...args)).toThrow(
    expect.objectContaining({
      name: 'TypeError',
      code: expect.stringMatching(/^ERR_INVALID_ARG_/),
      message: expect.stringContaining(message),
    }),
  );
});
