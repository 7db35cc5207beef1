'use strict';

// The sessions that are stored: a signed-in shop visitor's session, in exact sizes.

const { Cookie, Session } = require('express-session');

const DAY_MS = 86_400_000;

/**
 * `bytes` is the length of the session's JSON in UTF-8. One character beyond Latin-1 makes V8 use a two-byte
 * string, and stores may treat such values differently: hence the second kind.
 */
const KINDS = {
  '0.4 KB': { bytes: 448, count: 1000, name: 'Lucy Zolch' },
  '0.4 KB, not ASCII': { bytes: 448, count: 1000, name: 'Łucja Żółć' },
  '4 KB': { bytes: 4096, count: 1000, name: 'Lucy Zolch' },
  '64 KB': { bytes: 65_536, count: 100, name: 'Lucy Zolch' },
  '256 KB': { bytes: 262_144, count: 25, name: 'Lucy Zolch' },
};

// The same ids and orders in every run.
function randomNumbers(seed) {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

const ID_LETTERS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';

/** Returns as many ids as the kind has sessions, in the form of express-session's: 32 letters of base64url. */
function idsOf(kind) {
  const random = randomNumbers(Object.keys(KINDS).indexOf(kind) + 1);
  const letter = () => ID_LETTERS[random(ID_LETTERS.length)];
  return Array.from({ length: KINDS[kind].count }, () => Array.from({ length: 32 }, letter).join(''));
}

const contents = new Map();

/** Returns what the app stores in a session of a kind. Its size with a cookie of `newSession` is the kind's. */
function contentOf(kind) {
  if (!contents.has(kind)) contents.set(kind, JSON.stringify(makeContent(KINDS[kind])));
  return JSON.parse(contents.get(kind));
}

function makeContent({ bytes, name }) {
  const content = {
    passport: { user: '5e0d7c2a-6f3b-4c19-9a57-1b8f0e6d2c43' },
    profile: { name, email: 'lucy.zolch@example.com', roles: ['customer'], locale: 'en-GB' },
    csrfSecret: 'q7Yw3nXv9aLr2KfTz0PbMd81',
    visits: 1_000_000,
    cart: [],
    note: '',
  };
  const sizeOf = (value) => Buffer.byteLength(JSON.stringify(value));
  let missing = bytes - sizeOf(newSession({ sessionID: '' }, content));
  for (let number = 0; missing > 200; number++) {
    const item = {
      sku: `ART-${100_000 + number}`,
      title: 'Enamel mug, 350 ml',
      quantity: 1 + (number % 5),
      price: 12.95,
      gift: number % 7 === 0,
      colours: ['red', 'blue'],
    };
    content.cart.push(item);
    missing -= sizeOf(item) + (number === 0 ? 0 : 1); // the comma
  }
  content.note = 'n'.repeat(missing);
  return content;
}

/** Returns a session as express-session creates it for a request, with a cookie of one day. */
function newSession(req, content) {
  req.session = new Session(req);
  // First, as by its `generate`: the app's data comes later.
  req.session.cookie = new Cookie({ maxAge: DAY_MS, secure: false, sameSite: 'lax' });
  return Object.assign(req.session, content);
}

/**
 * Stores a kind's sessions and loads them again as express-session does, which is what a store sees of a
 * session in an app: `createSession` with what `get` returned.
 */
async function storeAndLoad(store, kind) {
  const ids = idsOf(kind);
  const sessions = [];
  for (const sid of ids) {
    const fresh = newSession({ sessionID: sid, sessionStore: store }, contentOf(kind));
    await new Promise((resolve, reject) => {
      store.set(sid, fresh, (error) => (error ? reject(error) : resolve()));
    });
    const stored = await new Promise((resolve, reject) => {
      store.get(sid, (error, found) => (error ? reject(error) : resolve(found)));
    });
    sessions.push(store.createSession({ sessionID: sid, sessionStore: store }, stored));
  }
  return { ids, sessions };
}

/** Returns a sequence of `length` numbers below `count`, to access sessions at random. */
function randomOrder(length, count) {
  return Uint16Array.from(
    { length },
    (() => {
      const random = randomNumbers(count);
      return () => random(count);
    })(),
  );
}

module.exports = { KINDS, DAY_MS, contentOf, newSession, storeAndLoad, randomOrder };
