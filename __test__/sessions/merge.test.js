'use strict';

const { isDeepStrictEqual } = require('node:util');
const { useRedis } = require('../support/redis.js');
const { seeded } = require('../support/random.js');
const { closeAll, openStore } = require('../support/stores.js');
const { isSameContent, isSameJson, merge } = require('../../lib/session/merge.js');

const redis = useRedis();
afterEach(closeAll);

const merged = (...texts) => JSON.stringify(merge(...texts.map((text) => JSON.parse(text)), isSameJson));

describe('merge of base, theirs and mine', () => {
  test.each([
    ['keeps keys added on either side', '{}', '{"a":1}', '{"b":2}', '{"b":2,"a":1}'],
    ['keeps the stored value of an unchanged key', '{"n":0}', '{"n":1}', '{"n":0}', '{"n":1}'],
    ['prefers the own change', '{"n":0}', '{"n":1}', '{"n":2}', '{"n":2}'],
    ['stores a change that only this request made', '{"n":0}', '{"n":0}', '{"n":2}', '{"n":2}'],
    ['prefers the own value of a key that both added', '{}', '{"n":1}', '{"n":2}', '{"n":2}'],
    ['deletes a key that this request deleted', '{"n":0}', '{"n":1}', '{}', '{}'],
    ['deletes a key that others deleted', '{"n":0,"m":1}', '{"m":1}', '{"n":0,"m":1}', '{"m":1}'],
    ['keeps a changed key that others deleted', '{"n":0}', '{}', '{"n":2}', '{"n":2}'],
    ['takes the own cookie, even unchanged', '{"cookie":1}', '{"cookie":2}', '{"cookie":1}', '{"cookie":1}'],
    ['drops the cookie of others', '{}', '{"cookie":{"e":2}}', '{}', '{}'],
    ['copies values whole', '{"o":{}}', '{"o":{"a":1}}', '{"o":{"b":1}}', '{"o":{"b":1}}'],
    ['ignores the order of keys', '{"o":{"x":1,"y":2}}', '{"o":3}', '{"o":{"y":2,"x":1}}', '{"o":3}'],
    ['respects the order of items', '{"o":[1,2]}', '{"o":3}', '{"o":[2,1]}', '{"o":[2,1]}'],
    [
      'ignores the spelling of numbers',
      '{"a":1.0,"b":-0}',
      '{"a":2,"b":3}',
      '{"a":1,"b":0}',
      '{"a":2,"b":3}',
    ],
    [
      'ignores the spelling of strings',
      '{"\\u0061":"\\u00e9","\\uD800":1}',
      '{"a":2,"\\uD800":2}',
      '{"a":"é","\\ud800":1}',
      '{"a":2,"\\ud800":2}',
    ],
    ['takes the last of duplicate keys', '{}', '{"a":1,"a":2}', '{}', '{"a":2}'],
    [
      'rounds numbers as any save does',
      '{}',
      '{"n":12345678901234567890}',
      '{}',
      '{"n":12345678901234567000}',
    ],
    [
      'keeps keys that objects inherit',
      '{"toString":1}',
      '{"toString":2,"constructor":3}',
      '{"toString":1,"valueOf":4}',
      '{"toString":2,"valueOf":4,"constructor":3}',
    ],
    [
      'keeps a key `__proto__`',
      '{"__proto__":{"a":1}}',
      '{"__proto__":{"a":2}}',
      '{"__proto__":{"a":1},"b":1}',
      '{"__proto__":{"a":2},"b":1}',
    ],
    ['adds a key `__proto__`', '{}', '{"__proto__":{"a":1}}', '{"b":1}', '{"b":1,"__proto__":{"a":1}}'],
    ['deletes a key `__proto__`', '{"__proto__":{"a":1}}', '{"__proto__":{"a":2}}', '{}', '{}'],
  ])('%s', (_what, base, theirs, mine, expected) => {
    expect(merged(base, theirs, mine)).toBe(expected);
    expect(merged(base, expected, mine)).toBe(expected);
  });

  test('has each key as the side that changed it, for random sessions', () => {
    const KEYS = ['cookie', 'a', 'b', '1', '__proto__', 'toString'];
    const VALUES = [
      '0',
      '1',
      '"1"',
      'null',
      'true',
      '[]',
      '{}',
      '[1,[2]]',
      '{"a":1,"b":[]}',
      '{"b":[],"a":1}',
    ];
    const random = seeded(15);
    const pick = (list) => list[Math.floor(random() * list.length)];
    const session = () => {
      const fields = KEYS.filter(() => random() < 0.7).map((key) => `${JSON.stringify(key)}:${pick(VALUES)}`);
      return JSON.parse(`{${fields}}`);
    };
    const stateOf = (object, key) => (Object.hasOwn(object, key) ? [object[key]] : []);
    for (let n = 0; n < 3000; n++) {
      const [base, theirs, mine] = [session(), session(), session()];
      const result = JSON.parse(JSON.stringify(merge(base, theirs, mine, isSameJson)));
      for (const key of KEYS) {
        const isOwn = key === 'cookie' || !isDeepStrictEqual(stateOf(base, key), stateOf(mine, key));
        expect(stateOf(result, key)).toEqual(stateOf(isOwn ? mine : theirs, key));
      }
    }
  });
});

test.each([
  ['{"cookie":1,"a":[1]}', '{"a":[1],"cookie":2}', true],
  ['{"a":1}', '{"cookie":2,"a":1}', true],
  ['{"a":1}', '{"a":1,"b":1}', false],
  ['{"a":1}', '{"a":"1"}', false],
  ['{"a":null}', '{}', false],
  ['{"a":[]}', '{"a":{}}', false],
  ['{"a":{"b":1}}', '{"a":{"c":1}}', false],
  ['{"a":{"b":1}}', '{"a":{"__proto__":{}}}', false],
  ['"text"', '"text"', true],
  ['"text"', '"other"', false],
  ['null', '{}', false],
])('the contents of %s and %s are the same: %s', (one, other, expected) => {
  const [first, second] = [JSON.parse(one), JSON.parse(other)];
  expect(isSameContent(first, second, isSameJson)).toBe(expected);
  expect(isSameContent(second, first, isSameJson)).toBe(expected);
});

function canWrite(value) {
  try {
    return typeof JSON.stringify(value) === 'string';
  } catch {
    return false;
  }
}

describe('a save with `onConflict: "merge"`', () => {
  const put = (text) => redis.command('SET', 'sess:abc', text);
  const stored = async () => String(await redis.command('GET', 'sess:abc'));

  /** Saves a change of a session that held `base` when it was loaded, and holds `theirs` now. */
  async function saveOver(base, theirs, change) {
    const store = await openStore('url', redis.port, { onConflict: 'merge' });
    await put(base);
    const session = await store.get('abc');
    await put(theirs);
    return store.set('abc', Object.assign(session, change));
  }

  test('stores a key `__proto__` of others as a key', async () => {
    await saveOver('{"__proto__":{"n":0}}', '{"__proto__":{"n":1},"a":1}', { b: 1 });
    expect(await stored()).toBe('{"__proto__":{"n":1},"b":1,"a":1}');
    expect({}.n).toBeUndefined();
  });

  test('rejects and stores nothing when others have stored what JSON.stringify cannot write', async () => {
    const theirs = `{"deep":${'['.repeat(100_000)}${']'.repeat(100_000)}}`;
    const merged = { b: 1, ...JSON.parse(theirs) };

    // The depth that JSON.stringify can write depends on the version of Node; some have no limit.
    const isWritable = canWrite(merged);
    const saved = await saveOver('{}', theirs, { b: 1 }).catch((error) => error);

    if (isWritable) expect(saved).toBeNull();
    else expect(saved).toBeInstanceOf(RangeError);
    expect(await stored()).toBe(isWritable ? JSON.stringify(merged) : theirs);
  });

  test('with a new session succeeds if the stored one differs in the cookie alone', async () => {
    const store = await openStore('url', redis.port, { onConflict: 'merge' });
    await put('{"n":1,"cookie":{"path":"/other"}}');
    await store.set('abc', { cookie: { path: '/' }, n: 1 });
    expect(await stored()).toBe('{"cookie":{"path":"/"},"n":1}');
  });
});

test('a save does not count the time in which its process was stopped', async () => {
  const store = await openStore('url', redis.port, {
    commandTimeout: 500,
    onConflict: (_base, theirs, mine) => {
      // As long as the event loop does not run, nothing distinguishes this from a stop.
      if (theirs.n === 1) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 2000);
      return { ...theirs, ...mine };
    },
  });
  const put = (session) => redis.command('SET', 'sess:abc', JSON.stringify(session));
  await put({ n: 0 });
  const session = await store.get('abc');
  await put({ n: 1 });
  await store.set('abc', Object.assign(session, { mine: 1 }));
  expect(await redis.stored('sess:abc')).toEqual({ n: 0, mine: 1 });
});
