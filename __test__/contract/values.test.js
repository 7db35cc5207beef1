'use strict';

const { RedisStore: ConnectRedis10 } = require('connect-redis10');
const { useRedis } = require('../support/redis.js');
const { closeAll, openClient, openStore, styles } = require('../support/stores.js');
const { asRead, liveSession } = require('../support/sessions.js');

const redis = useRedis();
afterEach(closeAll);

const custom = (part) => ({ serializer: { parse: JSON.parse, stringify: JSON.stringify, ...part } });

function nested(depth) {
  let value = {};
  for (let level = 0; level < depth; level += 1) value = { value };
  return value;
}

describe('values that are set and read back', () => {
  test.each([
    ['text of every width', { text: 'aé値😀e\u0301' }],
    ['text of one width that is not ASCII', { text: 'ééé' }],
    ['NUL, line breaks and quotes', { text: '\u0000\r\n\t"\\/\u2028\u007F\u0080' }],
    ['lone surrogates', { text: '\uD83Dx\uDE00' }],
    ['an empty session', {}],
    ['an empty array', []],
    ['names of Object.prototype', JSON.parse('{"__proto__":{"admin":true},"constructor":1,"toString":2}')],
    [
      'numbers at the edges',
      { numbers: [0, -0, 1e21, 1e-7, 5e-324, 1.7976931348623157e308, 2 ** 53, -(2 ** 53), 0.1 + 0.2, 1 / 3] },
    ],
    ['a live session with a Cookie', liveSession('abc', { user: 'ann' })],
    ['1000 levels', nested(1000)],
    [
      '20,000 fields',
      Object.fromEntries(Array.from({ length: 20_000 }, (_, number) => [`field${number}`, number])),
    ],
    ['5 MB of ASCII', { text: 'x'.repeat(5_000_000) }],
    ['5 MB of wide characters', { text: '値'.repeat(1_700_000) }],
    ['5 MB that are ASCII but for the last character', { text: `${'x'.repeat(5_000_000)}é` }],
  ])('`get` returns what `set` stored as JSON: %s', async (_what, session) => {
    const store = await openStore('url', redis.port);
    await store.set('abc', session);

    const bytes = await redis.command('GET', 'sess:abc');
    expect(bytes.equals(Buffer.from(JSON.stringify(session)))).toBe(true);
    // Compared as texts: the matchers of Jest recurse, which is slow for megabytes.
    expect(JSON.stringify(await store.get('abc')) === JSON.stringify(session)).toBe(true);
  });

  test('a stored `__proto__` becomes an own field and does not reach the prototype', async () => {
    const store = await openStore('url', redis.port);
    await redis.command('SET', 'sess:abc', '{"__proto__":{"admin":true}}');

    for (const session of [await store.get('abc'), (await store.all())[0]]) {
      expect(Object.getPrototypeOf(session)).toBe(Object.prototype);
      expect(session.admin).toBeUndefined();
      expect(Object.hasOwn(session, '__proto__')).toBe(true);
    }
    expect({}.admin).toBeUndefined();
  });
});

describe('text from a serializer', () => {
  test.each([
    ['lone surrogates', 'a\uD83Db\uDE00c'],
    ['astral characters', '😀'.repeat(3)],
    ['NUL and RESP', '\u0000$5\r\n+OK\r\n'],
    ['a byte order mark', '\uFEFFabc'],
    ['latin1', 'éÿ\u0080'],
    ['a single character', 'x'],
  ])('text from a serializer is stored and read as connect-redis does: %s', async (_what, text) => {
    const options = custom({ stringify: () => text, parse: (read) => ({ read }) });
    const predecessor = new ConnectRedis10({ client: await openClient('redis6', redis.port), ...options });
    const store = await openStore('url', redis.port, options);

    await predecessor.set('theirs', {});
    await store.set('ours', {});

    const theirs = await redis.command('GET', 'sess:theirs');
    expect(await redis.command('GET', 'sess:ours')).toEqual(theirs);
    expect(await store.get('theirs')).toEqual(await predecessor.get('ours'));
  });
});

describe('bytes in Redis that are not UTF-8', () => {
  test.each([
    ['a byte that never occurs', [0xff]],
    ['two of them', [0xfe, 0xff]],
    ['a continuation alone', [0x80]],
    ['a sequence cut after one of two', [0xc3]],
    ['a sequence cut after two of three', [0xe5, 0x80]],
    ['a sequence cut after three of four', [0xf0, 0x9f, 0x98]],
    ['an overlong slash', [0xc0, 0xaf]],
    ['an overlong sequence of three', [0xe0, 0x80, 0xaf]],
    ['a surrogate as CESU-8', [0xed, 0xa0, 0xbd, 0xed, 0xb8, 0x80]],
    ['beyond the last character', [0xf4, 0x90, 0x80, 0x80]],
    ['latin1', [...Buffer.from('caf\xe9 \xfc', 'latin1')]],
    ['bad and good ones', [0xff, ...Buffer.from('値😀'), 0xc3, 0x28]],
  ])('bytes that are not UTF-8 are read as connect-redis reads them: %s', async (_what, bytes) => {
    const value = Buffer.concat([Buffer.from('{"text":"'), Buffer.from(bytes), Buffer.from('"}')]);
    await redis.command('SET', 'sess:abc', value);
    const predecessor = new ConnectRedis10({ client: await openClient('redis6', redis.port) });
    const store = await openStore('url', redis.port);

    const theirs = await predecessor.get('abc');
    expect(theirs.text).toContain('\uFFFD');
    expect(await store.get('abc')).toEqual(theirs);
    expect(await store.all()).toEqual([{ ...theirs, id: 'abc' }]);
  });
});

describe('a record that another program wrote', () => {
  test.each([
    ['white space around', ' \n{"user":"ann"}\t '],
    ['escapes where none are needed', '{"\\u0075ser":"\\u0061nn"}'],
    ['the same field twice', '{"user":"bob","user":"ann"}'],
    ['numbers beyond those of JavaScript', '{"user":"ann","n":[1e400,9007199254740993,-0.0,1e-400]}'],
    ['1,000 levels', `${'['.repeat(1000)}${']'.repeat(1000)}`],
    ['a string', '"text"'],
    ['a number', '17'],
    ['null', 'null'],
  ])('a record of another program is read as JSON.parse reads it: %s', async (_what, text) => {
    await redis.command('SET', 'sess:abc', text);
    const store = await openStore('url', redis.port);

    const session = await store.get('abc');

    expect(JSON.stringify(session)).toBe(JSON.stringify(JSON.parse(text)));
  });

  test('a record is read, however deeply it is nested', async () => {
    const depth = 100_000;
    await redis.command('SET', 'sess:abc', `${'{"value":'.repeat(depth)}{}${'}'.repeat(depth)}`);
    const store = await openStore('url', redis.port);

    let levels = 0;
    for (let value = await store.get('abc'); value.value; value = value.value) levels += 1;

    expect(levels).toBe(depth);
  });

  test('`get` rejects with ERR_SESSION_CORRUPT for a corrupt record, however deeply it is nested', async () => {
    const depth = 100_000;
    await redis.command('SET', 'sess:abc', '['.repeat(depth));
    const store = await openStore('url', redis.port);

    await expect(store.get('abc')).rejects.toMatchObject({ code: 'ERR_SESSION_CORRUPT' });
    expect((await store.all()).corrupt).toBe(1);
  });

  test('an empty record is not a session', async () => {
    await redis.command('SET', 'sess:abc', '');
    const store = await openStore('url', redis.port);

    expect(await store.get('abc')).toBeNull();
    expect(await (await openStore('url', redis.port, custom({ parse: () => ({}) }))).get('abc')).toBeNull();
  });
});

describe.each(Object.entries(styles))('a session that cannot be stored, in %s style', (_style, call) => {
  let store;
  beforeEach(async () => {
    store = await openStore('url', redis.port);
    await store.set('abc', { user: 'ann' });
  });

  /** Returns the error of storing `session`, which must leave what is stored. */
  async function setError(session) {
    const error = await call(store, 'set', 'abc', session).then(
      () => {
        throw new Error('it was stored');
      },
      (reason) => reason,
    );
    expect(await redis.keys()).toEqual(['sess:abc']);
    expect(await redis.stored('sess:abc')).toEqual({ user: 'ann' });
    return error;
  }

  function circular() {
    const session = { user: 'ann' };
    session.self = session;
    return session;
  }

  test.each([
    ['a circle', circular(), { name: 'TypeError', message: expect.stringMatching(/circular/) }],
    ['a bigint', { n: 1n }, { name: 'TypeError', message: expect.stringMatching(/BigInt/) }],
  ])('`set` rejects with the error of JSON.stringify: %s', async (_what, session, expected) => {
    expect(await setError(session)).toMatchObject(expected);
  });

  // V8 itself can go as deep since Node 26; then nothing is rejected.
  test('a million levels are stored, or rejected, as JSON.stringify does', async () => {
    const deep = nested(1_000_000);
    let text;
    try {
      text = JSON.stringify(deep);
    } catch (error) {
      expect(await setError(deep)).toMatchObject({ name: error.name, message: error.message });
      return;
    }
    await call(store, 'set', 'abc', deep);
    expect((await redis.command('GET', 'sess:abc')).equals(Buffer.from(text))).toBe(true);
  });

  test('`set` rejects with the error that toJSON throws', async () => {
    const thrown = new Error('not me');
    const session = {
      toJSON() {
        throw thrown;
      },
    };

    expect(await setError(session)).toBe(thrown);
  });

  test("`set` rejects with the error that the app's stringify throws", async () => {
    const thrown = new Error('not today');
    store.serializer = custom({
      stringify() {
        throw thrown;
      },
    }).serializer;

    expect(await setError({})).toBe(thrown);
  });

  test.each([undefined, null, 17, {}, new ArrayBuffer(2), Promise.resolve('{}')])(
    '`set` rejects with ERR_INVALID_ARG_TYPE when stringify returns %p',
    async (value) => {
      store.serializer = custom({ stringify: () => value }).serializer;

      expect(await setError({})).toMatchObject({
        name: 'TypeError',
        code: 'ERR_INVALID_ARG_TYPE',
        message: expect.stringMatching(/stringify.*string/),
      });
    },
  );

  test('`set` rejects with ERR_INVALID_ARG_TYPE when JSON.stringify returns undefined', async () => {
    expect(await setError({ toJSON: () => undefined })).toMatchObject({
      name: 'TypeError',
      code: 'ERR_INVALID_ARG_TYPE',
      message: expect.stringMatching(/stringify.*string/),
    });
  });

  test.each([undefined, null, 'text', 17, true])(
    '`set` rejects with ERR_INVALID_ARG_TYPE when the session is %p',
    async (session) => {
      expect(await setError(session)).toMatchObject({
        name: 'TypeError',
        code: 'ERR_INVALID_ARG_TYPE',
        message: expect.stringMatching(/session.*object/),
      });
    },
  );
});

test('an empty string from stringify is stored, and read as no session', async () => {
  const store = await openStore('url', redis.port, custom({ stringify: () => '' }));
  await store.set('abc', { user: 'ann' });

  expect(await redis.command('GET', 'sess:abc')).toEqual(Buffer.alloc(0));
  expect(await store.get('abc')).toBeNull();
});

describe.each(Object.entries(styles))('a key that does not hold a string, in %s style', (_style, call) => {
  beforeEach(async () => {
    await redis.command('LPUSH', 'sess:id-of-ann', 'a');
  });

  test("`get` rejects with Redis's WRONGTYPE, without the id", async () => {
    const store = await openStore('url', redis.port);

    const error = await call(store, 'get', 'id-of-ann').catch((reason) => reason);

    expect(error).toMatchObject({ name: 'RedisStoreError', code: 'ERR_REDIS_REPLY', reply: 'WRONGTYPE' });
    expect(error.message).toMatch(/^get/);
    expect(error.message).toContain('WRONGTYPE');
    expect(`${error.stack} ${JSON.stringify(error)} ${error.cause}`).not.toContain('id-of-ann');
  });

  test('`touch` and `destroy` work on a key that does not hold a string, and `set` replaces it', async () => {
    const store = await openStore('url', redis.port);
    const session = liveSession('id-of-ann', { user: 'ann' }, { maxAge: 20_000 });

    expect(await call(store, 'touch', 'id-of-ann', session)).toBeNull();
    expect(await redis.lifetime('sess:id-of-ann')).toBeLessThanOrEqual(20_000);
    expect(await call(store, 'set', 'id-of-ann', session)).toBeNull();
    expect(await call(store, 'get', 'id-of-ann')).toEqual(asRead(session));
    await redis.command('DEL', 'sess:id-of-ann');
    await redis.command('LPUSH', 'sess:id-of-ann', 'a');
    expect(await call(store, 'destroy', 'id-of-ann')).toBeNull();
    expect(await redis.keys()).toEqual([]);
  });
});
