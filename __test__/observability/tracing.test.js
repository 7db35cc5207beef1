'use strict';

const fs = require('node:fs');
const path = require('node:path');
const { inspect } = require('node:util');
const { RedisStore } = require('../..');
const { sessionHash } = require('../../lib/observability/session-hash.js');
const { useRedis } = require('../support/redis.js');
const { endedWith, runNode } = require('../support/run.js');
const { startHangUpProxy } = require('../support/scripted-server.js');
const { hit } = require('../support/hits.js');
const { closeAll, keepStore, openClient, openStore, styles } = require('../support/stores.js');
const { until } = require('../support/until.js');
const {
  CHANNELS,
  OPERATION_CHANNELS,
  bindContext,
  channelOf,
  context,
  recordTraces,
} = require('./traces.js');

const redis = useRedis();
const cleanUps = [];
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0)) await cleanUp();
  await closeAll();
});

const ID = 'Qm3x-session-id-9tZ';
const SECRET = 'a secret of the session';
const session = { cookie: {}, SECRET };

function record(...args) {
  const traces = recordTraces(...args);
  cleanUps.push(traces.stop);
  return traces;
}

function bind(names) {
  cleanUps.push(bindContext(names));
}

const open = {
  native: (options) => openStore('url', redis.port, options),
  client: async (options) => {
    const client = await openClient('redis6', redis.port);
    return keepStore(new RedisStore({ client, transport: 'client', ...options }));
  },
};
const transports = Object.keys(open);

/** Iterates over all sessions. The only method without a callback. */
async function iterate(store) {
  const entries = [];
  for await (const entry of store.scan()) entries.push(entry);
  return entries;
}

/** The operations: their channels, their arguments, and the commands that a native connection sends. */
const operations = {
  get: { channel: 'get', args: [ID], command: ['GET', '?'] },
  set: { channel: 'set', args: [ID, session], command: ['SET', '?', '?'] },
  touch: { channel: 'touch', args: [ID, session], command: ['PEXPIRE', '?', '?'] },
  destroy: { channel: 'destroy', args: [ID], command: ['DEL', '?'] },
  all: { channel: 'scan', args: [], command: ['SCAN', '?'] },
  ids: { channel: 'scan', args: [], command: ['SCAN', '?'] },
  length: { channel: 'scan', args: [], command: ['SCAN', '?'] },
  clear: { channel: 'clear', args: [], command: ['SCAN', '?'] },
  scan: { channel: 'scan', args: [], command: ['SCAN', '?'] },
};
const run = (style, store, name) =>
  name === 'scan' ? iterate(store) : styles[style](store, name, ...operations[name].args);
const calls = Object.keys(operations).flatMap((name) =>
  name === 'scan' ? [[name, 'promise']] : Object.keys(styles).map((style) => [name, style]),
);

/** The events of an operation with one command, as `native` publishes them; and the client, whose own these are. */
const eventsOf = (channel, transport, failed = false) => {
  const error = failed ? [`${channel} error`] : [];
  const after = [...error, `${channel} asyncStart`, `${channel} asyncEnd`];
  return transport === 'client'
    ? [`${channel} start`, `${channel} end`, ...after]
    : [
        `${channel} start`,
        'command start',
        'command end',
        `${channel} end`,
        ...(failed ? ['command error'] : []),
        'command asyncStart',
        'command asyncEnd',
        ...after,
      ];
};

describe.each(transports)('on the %s transport', (transport) => {
  test.each(calls)(
    '`%s` (%s form) publishes its events in order, all with one message',
    async (name, style) => {
      const store = await open[transport]();
      await store.set(ID, session);
      const traces = record();
      await run(style, store, name);
      const { channel, args, command } = operations[name];
      expect(traces.names).toEqual(eventsOf(channel, transport));
      const own = traces.events.filter((event) => event.channel === channel);
      expect(new Set(own.map(({ message }) => message)).size).toBe(1);
      const message = own.at(-1).message;
      expect({ ...message }).toEqual({
        operation: name,
        serverAddress: expect.stringMatching(/^(127\.0\.0\.1|localhost)$/),
        serverPort: redis.port,
        database: 0,
        transport,
        attempts: expect.any(Number),
        cache: undefined,
        error: undefined,
      });
      expect(message.sessionHash).toBe(args.length > 0 ? sessionHash(ID) : undefined);
      if (transport === 'client') return;
      const sent = traces.events.filter((event) => event.channel === 'command').map(({ message }) => message);
      expect(new Set(sent).size).toBe(1);
      const where = { database: 0, serverAddress: '127.0.0.1', serverPort: redis.port };
      expect(sent[0]).toEqual({ command: command[0], args: command, ...where });
    },
  );

  test.each(calls)(
    '`%s` (%s form) publishes the error that it fails with, before `asyncStart`',
    async (name, style) => {
      const store = await open[transport]();
      await store.close();
      const traces = record();
      const error = await run(style, store, name).catch((reason) => reason);
      expect(error.code).toBe('ERR_STORE_CLOSED');
      // An iteration that cannot begin reads no page.
      if (name === 'scan') expect(traces.names).toEqual([]);
      else {
        const { channel } = operations[name];
        const events = ['start', 'end', 'error', 'asyncStart', 'asyncEnd'];
        expect(traces.names).toEqual(events.map((event) => `${channel} ${event}`));
        expect(traces.ended).toMatchObject([{ operation: name, error, attempts: 0 }]);
        expect(traces.events.map(({ shown }) => shown.error)).toEqual([
          undefined,
          undefined,
          error,
          error,
          error,
        ]);
      }
    },
  );

  test.each(['get', 'set', 'touch', 'destroy'])(
    '`%s` publishes the error of an id that is no string, without a hash',
    async (name) => {
      const store = await open[transport]();
      const traces = record();
      const [, ...rest] = operations[name].args;
      await expect(store[name](Symbol('id'), ...rest)).rejects.toMatchObject({
        code: 'ERR_INVALID_ARG_TYPE',
      });
      expect(traces.ended).toMatchObject([{ operation: name, attempts: 0, sessionHash: undefined }]);
      expect(traces.ended[0].error.code).toBe('ERR_INVALID_ARG_TYPE');
    },
  );

  test("an error reply is published as the operation's and as its command's error", async () => {
    const store = await open[transport]();
    await redis.command('LPUSH', `sess:${ID}`, 'no string');
    const traces = record();
    const error = await store.get(ID).catch((reason) => reason);
    expect(error).toMatchObject({ code: 'ERR_REDIS_REPLY', reply: 'WRONGTYPE' });
    expect(traces.names).toEqual(eventsOf('get', transport, true));
    for (const { event, message } of traces.events)
      if (event === 'asyncEnd') expect(message.error).toBe(error);
  });

  test.each(calls)(
    '`%s` (%s form) runs in the context of bound stores, and its caller continues in its own',
    async (name, style) => {
      const store = await open[transport]();
      await store.set(ID, session);
      bind();
      const traces = record();
      await context.run('caller', async () => {
        await run(style, store, name);
        expect(context.getStore()).toBe('caller');
      });
      const inside = { operation: name, outer: 'caller' };
      const { channel, command } = operations[name];
      const seen = Object.fromEntries(
        traces.events.map((event) => [`${event.channel} ${event.event}`, event.context]),
      );
      const commands = {
        'command start': { operation: command[0], outer: inside },
        'command end': { operation: command[0], outer: inside },
        'command asyncStart': 'caller',
        'command asyncEnd': 'caller',
      };
      expect(seen).toEqual({
        [`${channel} start`]: inside,
        ...(transport === 'native' ? commands : {}),
        [`${channel} end`]: inside,
        [`${channel} asyncStart`]: 'caller',
        [`${channel} asyncEnd`]: 'caller',
      });
    },
  );

  test('callbacks run in the context of their callers, after `asyncEnd`', async () => {
    const store = await open[transport]();
    bind();
    const traces = record(OPERATION_CHANNELS);
    const results = await Promise.all(
      Object.keys(operations)
        .filter((name) => name !== 'scan')
        .map((name) => {
          const called = (resolve) => () => resolve([context.getStore(), traces.ended.at(-1).operation]);
          const call = (resolve) => store[name](...operations[name].args, called(resolve));
          return context.run(name, () => new Promise(call));
        }),
    );
    for (const [caller, ended] of results) expect(ended).toBe(caller);
    expect(traces.ended).toHaveLength(results.length);
  });

  test("the app's functions run inside the operation", async () => {
    const seen = {};
    const note = (name, result) => {
      seen[name] = context.getStore();
      return result;
    };
    const serializer = {
      parse: (text) => note('parse', JSON.parse(text)),
      stringify: (value) => note('stringify', JSON.stringify(value)),
    };
    const store = await open[transport]({ serializer, ttl: () => note('ttl', 60) });
    bind(OPERATION_CHANNELS);
    await context.run('caller', async () => {
      await store.set(ID, session);
      await store.get(ID);
    });
    const set = { operation: 'set', outer: 'caller' };
    expect(seen).toEqual({ ttl: set, stringify: set, parse: { operation: 'get', outer: 'caller' } });
  });

  test('`set` with a lifetime of 0 publishes the `destroy` that it calls, inside', async () => {
    const store = await open[transport]({ ttl: () => 0 });
    bind(OPERATION_CHANNELS);
    const traces = record(OPERATION_CHANNELS);
    await context.run('caller', () => store.set(ID, session));
    await context.run('caller', () => styles.callback(store, 'set', ID, session));
    expect(traces.ended.map(({ operation }) => operation)).toEqual(['destroy', 'set', 'destroy', 'set']);
    const starts = traces.events.filter(({ channel, event }) => channel === 'destroy' && event === 'start');
    const inside = { operation: 'destroy', outer: { operation: 'set', outer: 'caller' } };
    expect(starts.map((event) => event.context)).toEqual([inside, inside]);
  });

  test('`touch` that touchAfter or disableTouch answers publishes no command and no attempt', async () => {
    const fresh = await open[transport]({ touchAfter: 60 });
    const disabled = await open[transport]({ disableTouch: true });
    await fresh.set(ID, session);
    const loaded = await fresh.get(ID);
    await fresh.touch(ID, loaded);
    const traces = record();
    for (const store of [fresh, disabled])
      for (const style of Object.keys(styles)) await styles[style](store, 'touch', ID, loaded);
    const events = ['touch start', 'touch end', 'touch asyncStart', 'touch asyncEnd'];
    expect(traces.names).toEqual([...events, ...events, ...events, ...events]);
    for (const message of traces.ended) expect(message.attempts).toBe(0);
    expect(await redis.calls('pexpire')).toBe(0);
  });

  test('operations that wait for a conditional save publish one start and one end each', async () => {
    const store = await open[transport]({ onConflict: 'reject' });
    bind();
    const traces = record();
    const names = ['set', 'get', 'touch', 'destroy', 'set'];
    await Promise.all(
      names.map((name, number) =>
        context.run(number, async () => {
          await store[name](...operations[name].args);
          expect(context.getStore()).toBe(number);
        }),
      ),
    );
    const of = (event) =>
      traces.events
        .filter((each) => each.channel !== 'command' && each.event === event)
        .map(({ message }) => message);
    expect(of('start').map(({ operation }) => operation)).toEqual(names);
    expect(new Set(of('asyncEnd'))).toEqual(new Set(of('start')));
    expect(of('asyncEnd')).toHaveLength(names.length);
    expect(of('error')).toEqual([]);
    // The commands of those that waited are sent within their own operations.
    const outer = traces.events
      .filter(({ channel, event }) => channel === 'command' && event === 'start')
      .map((event) => event.context.outer);
    const expected = names.map((operation, number) => ({ operation, outer: number }));
    expect(outer).toEqual(transport === 'client' ? [] : expected);
  });

  test('each page of `scan` is one operation, whose time excludes the loop of the app', async () => {
    const store = await open[transport]({ scanCount: 10 });
    const ids = Array.from({ length: 500 }, (_, number) => `${number}`);
    await Promise.all(ids.map((id) => store.set(id, session)));
    const traces = record(['scan']);
    for await (const { id } of store.scan()) {
      expect(ids).toContain(id);
      expect(traces.names.at(-1)).toBe('scan asyncEnd');
    }
    expect(traces.ended.length).toBeGreaterThan(1);
    for (const { operation, sessionHash: hash } of traces.ended) {
      expect(operation).toBe('scan');
      expect(hash).toBeUndefined();
    }
  });

  test('no event contains a session id, a value or a password', async () => {
    const password = 'p4ssw0rd';
    await redis.command('ACL', 'SETUSER', 'traced', 'on', `>${password}`, '~*', '+@all');
    const url = `redis://traced:${password}@127.0.0.1:${redis.port}`;
    const client =
      transport === 'client'
        ? await openClient('redis6', redis.port, { username: 'traced', password })
        : undefined;
    const store = keepStore(new RedisStore(client ? { client, transport } : { url }));
    const traces = record();
    for (const [name, style] of calls) await run(style, store, name);
    await redis.command('SET', `sess:${ID}`, `{"SECRET":"${SECRET}`);
    await expect(store.get(ID)).rejects.toMatchObject({ code: 'ERR_SESSION_CORRUPT' });
    await store.all();
    expect(traces.ended.length).toBeGreaterThan(calls.length);
    const texts = traces.events.flatMap(({ message, shown }) => [
      JSON.stringify(message),
      inspect(message, { showHidden: true, depth: Number.POSITIVE_INFINITY }),
      inspect(shown, { showHidden: true, depth: Number.POSITIVE_INFINITY }),
      ...Reflect.ownKeys(message).map((key) => `${String(key)} ${inspect(message[key])}`),
    ]);
    for (const secret of [ID, SECRET, password])
      expect(texts.filter((text) => text.includes(secret))).toEqual([]);
    const hash = sessionHash(ID);
    const gets = traces.events.filter(({ channel }) => channel === 'get');
    for (const { message } of gets) {
      expect(inspect(message)).toContain(`sessionHash: '${hash}'`);
      expect(JSON.parse(JSON.stringify(message)).sessionHash).toBe(hash);
    }
    expect(inspect([gets[0].message], { depth: 0 })).toBe('[ [OperationContext] ]');
  });

  test('an operation publishes nothing once its channel has no subscribers', async () => {
    const store = await open[transport]();
    const stopped = recordTraces();
    await store.set(ID, session);
    stopped.stop();
    const before = stopped.names;
    expect(before).toEqual(eventsOf('set', transport));
    const onlyGets = record(['get']);
    for (const [name, style] of calls) await run(style, store, name);
    expect(stopped.names).toEqual(before);
    expect(onlyGets.ended.map(({ operation }) => operation)).toEqual(['get', 'get']);
  });

  test('a subscriber of one event alone receives it', async () => {
    const store = await open[transport]();
    const seen = [];
    const onEnd = ({ operation }) => seen.push(operation);
    channelOf('get').asyncEnd.subscribe(onEnd);
    cleanUps.push(() => channelOf('get').asyncEnd.unsubscribe(onEnd));
    await store.get(ID);
    expect(seen).toEqual(['get']);
  });
});

test('a subscriber of the commands alone receives them', async () => {
  const store = await open.native();
  const traces = record(['command']);
  await store.set(ID, session);
  await store.get(ID);
  const events = ['command start', 'command end', 'command asyncStart', 'command asyncEnd'];
  expect(traces.names).toEqual([...events, ...events]);
});

test('a cache hit publishes all events before its callback, in the tick of the call', async () => {
  const store = await open.native({ cache: true });
  await redis.command('SET', `sess:${ID}`, '{"n":1}');
  const traces = record();
  await until(async () => {
    await store.get(ID);
    return hit(store, ID) === 1;
  });
  expect(traces.ended[0]).toMatchObject({ operation: 'get', cache: 'miss' });
  traces.events.length = 0;
  bind();
  const seen = context.run('caller', () => {
    let names;
    store.get(ID, () => {
      names = [...traces.names, context.getStore()];
    });
    return names;
  });
  expect(seen).toEqual(['get start', 'get end', 'get asyncStart', 'get asyncEnd', 'caller']);
  const inside = { operation: 'get', outer: 'caller' };
  expect(traces.events.map((event) => event.context)).toEqual([inside, inside, 'caller', 'caller']);
  expect(traces.ended).toMatchObject([{ cache: 'hit', attempts: 0, error: undefined }]);
});

test('a session whose read is a traced cache hit counts as loaded', async () => {
  const store = await open.native({ cache: true, onConflict: 'reject' });
  await store.set(ID, { ...session, n: 1 });
  await until(async () => {
    await store.get(ID);
    return hit(store, ID) === 1;
  });
  const traces = record();
  const request = { sessionID: ID, sessionStore: store };
  const live = await new Promise((resolve) => {
    store.get(ID, (_error, loaded) => resolve(store.createSession(request, loaded)));
  });
  expect(traces.ended[0].cache).toBe('hit');
  live.n = 2;
  expect(await store.set(ID, live)).toBeNull();
  expect((await redis.stored(`sess:${ID}`)).n).toBe(2);
});

test('on the client transport, `attempts` counts how often a command was sent', async () => {
  let hangUps = 0;
  const proxy = await startHangUpProxy(redis.port, (name) => name === 'DEL' && hangUps++ < 2);
  cleanUps.push(proxy.stop);
  const client = await openClient('redis6', proxy.port);
  const store = keepStore(new RedisStore({ client, transport: 'client', commandTimeout: 60_000 }));
  const traces = record(OPERATION_CHANNELS);
  await store.destroy(ID);
  await store.get(ID);
  expect(traces.ended).toMatchObject([
    { operation: 'destroy', attempts: 3 },
    { operation: 'get', attempts: 1 },
  ]);
});

test.each([
  ['redis://h.example:7000/2', { serverAddress: 'h.example', serverPort: 7000, database: 2 }],
  ['rediss://:p%2Fw@[::1]', { serverAddress: '::1', serverPort: 6379, database: 0 }],
  ['valkey://', { serverAddress: '127.0.0.1', serverPort: 6379, database: 0 }],
  [
    'redis+unix:///no%20such.sock?db=3',
    { serverAddress: '/no such.sock', serverPort: undefined, database: 3 },
  ],
  ['redis+cluster://u:p@h:7000,g/4', { serverAddress: undefined, serverPort: undefined, database: 4 }],
  ['redis+sentinel://h,g/123/5', { serverAddress: undefined, serverPort: undefined, database: 5 }],
  ['redis+sentinel://h/123', { serverAddress: undefined, serverPort: undefined, database: 0 }],
])('the `start` of an operation on %s has the configured server', async (url, expected) => {
  const store = new RedisStore({ url, commandTimeout: 1 });
  store.on('error', () => {});
  const traces = record(['get']);
  const failed = store.get(ID).catch((error) => error);
  expect(traces.events[0].shown).toMatchObject(expected);
  expect(await failed).toBeInstanceOf(Error);
  await store.close();
});

test('the `start` of an operation has the server and database of a client, if it shows them', async () => {
  const client = await openClient('ioredis6', redis.port, { db: 3 });
  const wrapper = { call: (...words) => client.call(...words) };
  const traces = record(['get']);
  await keepStore(new RedisStore({ client })).get(ID);
  await keepStore(new RedisStore({ client: wrapper })).get(ID);
  const [copied, wrapped] = traces.events.filter(({ event }) => event === 'start').map(({ shown }) => shown);
  expect(copied).toMatchObject({ serverAddress: '127.0.0.1', serverPort: redis.port, database: 3 });
  expect(wrapped).toMatchObject({ serverAddress: undefined, serverPort: undefined, database: undefined });
});

// In processes of their own, since an uncaught exception would end a worker of Jest.
describe('in a process with subscribers', () => {
  const program = (folder, name) => path.join(__dirname, '..', folder, 'programs', name);
  const traced = (name, ...args) =>
    runNode(
      '-r',
      program('observability', 'subscribe.js'),
      program('contract', name),
      redis.server.url,
      ...args,
    );

  test('a subscriber that throws is reported as uncaught, and no operation fails', async () => {
    const { code, stdout, stderr } = await runNode(
      program('observability', 'throwing-subscriber.js'),
      redis.server.url,
    );
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(JSON.parse(stdout)).toEqual({
      results: [null, { user: 'ann' }, null, 1, null, null, 'ERR_INVALID_ARG_TYPE'],
      isReported: true,
      count: 6 * 8 + 5,
    });
  });

  test.each(
    ['native', 'client'].flatMap((transport) =>
      ['get', 'touch', 'all', 'clear'].map((name) => [name, transport]),
    ),
  )(
    'a callback of `%s` on the %s transport that throws is called once, and the others are called',
    async (method, transport) => {
      await redis.command('SET', 'sess:abc', '{"user":"ann"}');
      const { code, stdout, stderr } = await traced('throwing-callback.js', method, 50, 20, transport);
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
      const uncaught = ['thrown by the callback'];
      expect(JSON.parse(stdout)).toEqual({ calledOnce: 50, uncaught, worksAfterwards: true });
    },
  );

  test('a callback that throws ends the process, which shows the line that threw', async () => {
    const { code, stdout, stderr } = await traced('uncaught.js');
    expect({ code, stdout }).toEqual({ code: 1, stdout: 'called' });
    expect(stderr.split(':')[0]).toMatch(/uncaught\.js$/);
  });

  test('a callback that throws within a domain is reported to the domain', async () => {
    const methods = ['get', 'get', 'set', 'touch', 'destroy', 'all', 'ids', 'length', 'clear', 'get'];
    expect(await traced('domain.js')).toEqual(
      endedWith(methods.map((name) => `domain ${name} true`).join('\n')),
    );
  });
});

test('docs/observability.md and index.d.ts describe the channels and the fields of their messages', async () => {
  const [docs, types] = ['docs/observability.md', 'index.d.ts'].map((file) =>
    fs.readFileSync(path.join(__dirname, '../..', file), 'utf8'),
  );
  const store = await open.native();
  const traces = record();
  await store.get(ID);
  const fields = traces.events.flatMap(({ message }) => Object.keys(message));
  expect(fields).toContain('command');
  for (const field of new Set([...fields, 'sessionHash', 'error'])) {
    expect(docs).toContain(`\`${field}\``);
    expect(types).toContain(`  readonly ${field}`);
  }
  for (const name of CHANNELS) {
    expect(docs).toContain(`\`connect-redis-native:${name}\``);
    expect(types).toContain(`:${name}\``);
  }
});
