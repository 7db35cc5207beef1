'use strict';

// Runs stores through every kind of fault with session ids, values and passwords that can be recognized, and writes to
// the file `argv[2]` all that an app can observe. What it prints is captured by the test. It also leaks decoys, one for
// each way, which the test must find.

const { captureEvents, captureTo, record, settle } = require('../capture.js');
captureTo(process.argv[2]);

const { randomBytes } = require('node:crypto');
const { channel, tracingChannel } = require('node:diagnostics_channel');
const { debuglog } = require('node:util');
const {
  InMemorySpanExporter,
  BasicTracerProvider,
  SimpleSpanProcessor,
} = require('@opentelemetry/sdk-trace-base');
const metricsSdk = require('@opentelemetry/sdk-metrics');
const Redis = require('ioredis');
const { Gauge, Registry } = require('prom-client');
const { createClient } = require('redis');
const { RedisStore } = require('../../..');
const { instrument } = require('../../../opentelemetry/index.js');
const { collect } = require('../../../prometheus/index.js');
const { serve } = require('../../support/app.js');
const { startCluster } = require('../../support/cluster.js');
const { startProxy } = require('../../support/proxy.js');
const { askOnce, startRedis } = require('../../support/redis.js');
const { liveSession } = require('../../support/sessions.js');
const { until } = require('../../support/until.js');

/** Parts of every id, value and password, repeated, so that also an excerpt of one contains it. */
const marked = (mark) => `${mark}-${mark}-${randomBytes(6).toString('hex')}-${mark}-${mark}`;
const newId = () => marked('iDeNt');
const newSession = (id) => liveSession(id, { user: marked('VaLuE'), nested: { list: [marked('VaLuE')] } });
const password = marked('pAsWd');

const spans = new InMemorySpanExporter();
const tracerProvider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(spans)] });
const metrics = new metricsSdk.InMemoryMetricExporter(metricsSdk.AggregationTemporality.CUMULATIVE);
const reader = new metricsSdk.PeriodicExportingMetricReader({
  exporter: metrics,
  exportIntervalMillis: 3_600_000,
});
const meterProvider = new metricsSdk.MeterProvider({ readers: [reader] });
const register = new Registry();
const stores = {};

function open(name, options) {
  const store = captureEvents(
    new RedisStore({ commandTimeout: 2000, userId: ({ user }) => user, ...options }),
  );
  stores[name] = store;
  return store;
}

const withPassword = ({ url }, secret = password) => url.replace('://', `://:${secret}@`);

/** The life of some sessions, at once and one after the other. */
async function use(name, store, count = 20) {
  const ids = Array.from({ length: count }, newId);
  await Promise.all(
    ids.map(async (id) => {
      await settle(`${name} set`, store.set(id, newSession(id)));
      const loaded = await settle(`${name} get`, store.get(id));
      if (loaded && !(loaded instanceof Error)) await settle(`${name} touch`, store.touch(id, loaded));
      await settle(`${name} get`, store.get(id));
    }),
  );
  return ids;
}

async function useEverything(name, store) {
  const [destroyed, overwritten, ...others] = await use(name, store);
  await settle(`${name} destroy`, store.destroy(destroyed));
  await settle(`${name} set`, store.set(overwritten, newSession(overwritten)));
  for (const method of ['all', 'ids', 'length']) await settle(`${name} ${method}`, store[method]());
  for await (const { id } of store.scan()) await settle(`${name} get`, store.get(id));
  const user = marked('VaLuE');
  for (const id of [newId(), newId(), newId()])
    await settle(`${name} set`, store.set(id, liveSession(id, { user })));
  for await (const { handle } of store.sessionsOf(user)) {
    await settle(`${name} destroyByHandle`, store.destroyByHandle(user, handle));
    break;
  }
  await settle(
    `${name} updateAllOf`,
    store.updateAllOf(user, ({ user: same }) => ({ user: same, cookie: {} })),
  );
  await settle(`${name} destroyAllOf`, store.destroyAllOf(user));
  const brief = newId();
  await settle(
    `${name} brief set`,
    store.set(brief, liveSession(brief, { user: marked('VaLuE') }, { maxAge: 50 })),
  );
  await until(async () => (await settle(`${name} brief get`, store.get(brief))) === null);
  await settle(`${name} bad id`, store.get({ id: newId() }));
  await settle(`${name} bad session`, store.set(newId(), marked('VaLuE')));
  await settle(`${name} null`, store.set(newId(), null));
  return others;
}

/** A save of a session that was destroyed after it was loaded. */
async function discard(name, store, server) {
  const [id] = await use(name, store, 1);
  const loaded = store.createSession({ sessionID: id, sessionStore: store }, await store.get(id));
  await askOnce(server, 'DEL', `sess:${id}`);
  await settle(`${name} discarded set`, store.set(id, loaded));
}

/** Sessions that cannot be read, and keys of other types. */
async function corrupt(name, store, server) {
  const [cut, list] = [newId(), newId()];
  const text = JSON.stringify(newSession(cut));
  for (const end of [1, 40, text.length - 1]) {
    await askOnce(server, 'SET', `sess:${cut}`, text.slice(0, end));
    await settle(`${name} corrupt get`, store.get(cut));
  }
  await askOnce(server, 'SET', `sess:${cut}`, `${text.slice(0, -1)},${marked('VaLuE')}}`);
  await settle(`${name} corrupt get`, store.get(cut));
  await askOnce(server, 'RPUSH', `sess:${list}`, marked('VaLuE'));
  await settle(`${name} wrong type get`, store.get(list));
  await settle(`${name} all`, store.all());
  for await (const entry of store.scan()) if (entry.error) record('error of scan', entry.error);
  await askOnce(server, 'DEL', `sess:${cut}`, `sess:${list}`);
}

/** Saves of sessions that others have changed. */
async function conflict(server) {
  const resolve = (_base, theirs) => theirs;
  for (const onConflict of ['reject', 'merge', resolve]) {
    const name = `conflict ${onConflict}`;
    const store = open(name, { url: withPassword(server), onConflict });
    const [id] = await use(name, store, 1);
    const mine = await settle(`${name} get`, store.get(id));
    await askOnce(server, 'SET', `sess:${id}`, JSON.stringify(newSession(id)));
    mine.user = marked('VaLuE');
    await settle(`${name} set`, store.set(id, mine));
  }
}

/** A server that is killed, stops answering and cuts connections while operations are in flight. */
async function outage(names, server, proxy) {
  const all = (action) => Promise.all(names.map((name) => action(name, stores[name])));
  proxy.lose();
  const lost = all((name, store) => use(`${name}, cut`, store, 5));
  await until(() => proxy.lost > 0);
  await proxy.heal();
  proxy.reset();
  await lost;

  server.pause();
  await all((name, store) => use(`${name}, paused`, store, 2));
  server.resume();

  const used = all((name, store) => use(`${name}, killed`, store));
  await server.kill();
  await used;
  const busy = open('queue', { url: withPassword(server), maxQueue: 1 });
  await use('queue', busy, 5);
  await server.start();
  await all((_name, store) =>
    until(() =>
      store.get('none').then(
        () => true,
        () => false,
      ),
    ),
  );
}

async function rejected(server) {
  for (const secret of [marked('pAsWd'), `${marked('pAsWd')}%20@%3A`])
    await use(
      'wrong password',
      open(`wrong password ${secret.length}`, { url: withPassword(server, secret) }),
      3,
    );
  await use('no password', open('no password', { url: server.url }), 3);
  const credentials = async () => ({ username: 'app', password: marked('pAsWd') });
  const url = server.url;
  await use('credentials', open('credentials', { url, credentials }), 3);
  await use('invalid', open('invalid', { url, credentials: () => ({ password: [marked('pAsWd')] }) }), 3);
  for (const wrong of [
    `redis://:${password}@`,
    `redis://u:${password}@127.0.0.1:port`,
    `http://:${password}@host`,
  ]) {
    try {
      open('invalid url', { url: wrong });
    } catch (error) {
      await settle('invalid url', Promise.reject(error));
    }
  }
}

async function redirects() {
  const cluster = await startCluster({ primaries: 3, replicas: 0, password });
  try {
    const store = open('cluster', { cluster: cluster.addresses.slice(0, 1), password, cache: true });
    const ids = await useEverything('cluster', store);
    const [, target] = await cluster.primaries();
    const slots = await Promise.all(ids.slice(0, 8).map((id) => cluster.slotOf(`sess:${id}`)));
    let isMoving = true;
    const moving = cluster.moveSlots([...new Set(slots)], target).finally(() => {
      isMoving = false;
    });
    while (isMoving) await Promise.all(ids.map((id) => settle('cluster set', store.set(id, newSession(id)))));
    await moving;
    await Promise.all(ids.map((id) => settle('cluster get', store.get(id))));
    // A cluster that is regarded as one server.
    await use('single node', open('single node', { url: withPassword(cluster.nodes[0]) }), 5);
  } finally {
    await cluster.stop();
  }
}

/** Visitors whose sessions express-session creates. */
async function visit(store) {
  const app = await serve(
    store,
    { genid: newId, cookie: { maxAge: 60_000 }, rolling: true },
    (express, middleware) => {
      express.use(middleware);
      express.get('/sign-in', (request, response) => {
        request.session.user = marked('VaLuE');
        response.json({});
      });
      express.get('/look', (_request, response) => response.json({}));
      express.get('/renew', (request, response, next) =>
        request.session.regenerate((error) => (error ? next(error) : response.json({}))),
      );
      express.get('/leave', (request, response, next) =>
        request.session.destroy((error) => (error ? next(error) : response.json({}))),
      );
    },
  );
  const visitors = Array.from({ length: 5 }, app.visitor);
  for (const path of ['/sign-in', '/look', '/renew', '/sign-in', '/leave'])
    for (const { body } of await Promise.all(visitors.map((visitor) => visitor.get(path))))
      record('response', body);
  await app.close();
}

/** Leaks in each way. */
function leakDecoys() {
  const decoy = (way) => `dEcOy ${way} `;
  const deep = (way) => ({ a: { b: { c: { d: { e: decoy(way) } } } } });
  channel('connect-redis-native:decoy').publish(deep('channel'));
  tracingChannel('connect-redis-native:decoys').error.publish({
    error: new Error('e', { cause: new Error(decoy('cause')) }),
  });
  stores.native.emit('decoy', deep('event'));
  debuglog('connect-redis-native')(decoy('debug log'));
  console.error(decoy('stderr'));
  process.emitWarning(decoy('warning'));
  tracerProvider
    .getTracer('decoy')
    .startSpan('decoy', { attributes: { decoy: decoy('span') } })
    .end();
  meterProvider
    .getMeter('decoy')
    .createCounter('decoy')
    .add(1, { decoy: decoy('metric') });
  const gauge = new Gauge({ name: 'decoy', help: 'A decoy', labelNames: ['decoy'], registers: [register] });
  gauge.set({ decoy: decoy('scrape') }, 1);
  return settle('decoy', Promise.reject(Object.assign(new Error('e'), { detail: decoy('error') })));
}

async function main() {
  const server = await startRedis({ args: ['--requirepass', password] });
  server.password = password;
  const proxy = await startProxy(server.port);
  const node = createClient({ url: withPassword(server), socket: { reconnectStrategy: 100 } }).on(
    'error',
    () => {},
  );
  const ioredis = new Redis({ port: server.port, password }).on('error', () => {});
  await node.connect();
  open('native', { url: withPassword(proxy), prefix: 'sess:' });
  open('cached', { url: withPassword(proxy), cache: { maxEntries: 10 } });
  open('other', { url: withPassword(server) });
  open('node-redis', { client: node, transport: 'client' });
  open('ioredis', { client: ioredis, transport: 'client' });
  open('settings', { client: ioredis });
  const instrumented = { ...stores };
  instrument({ tracerProvider, meterProvider, stores: instrumented, sessionHash: true });
  collect(instrumented, { register });

  for (const [name, store] of Object.entries(instrumented)) {
    await useEverything(name, store);
    await discard(name, store, server);
    await corrupt(name, store, server);
    await visit(store);
  }
  // Another process writes what this one has cached.
  const [id] = await use('cached', stores.cached, 1);
  await stores.other.set(id, newSession(id));
  await conflict(server);
  await outage(Object.keys(instrumented), server, proxy);
  await rejected(server);
  await redirects();
  await leakDecoys();

  await settle('clear', stores.native.clear());
  await meterProvider.forceFlush();
  record(
    'spans',
    spans
      .getFinishedSpans()
      .map(({ name, attributes, events, status }) => ({ name, attributes, events, status })),
  );
  record('metrics', metrics.getMetrics());
  record('scrape', await register.metrics());
  for (const [name, store] of Object.entries(stores)) {
    record(`stats of ${name}`, store.stats());
    record(`store ${name}`, JSON.parse(JSON.stringify(store)));
    console.error(store);
    await settle(`${name} close`, store.close());
    await settle(`${name} after close`, store.get(newId()));
  }
  await node.disconnect();
  ioredis.disconnect();
  await proxy.close();
  await server.stop();
  await meterProvider.shutdown();
}

main().catch((error) => {
  console.log(`FAILED ${error.stack}`);
  process.exit(1);
});
