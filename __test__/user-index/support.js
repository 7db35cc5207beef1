'use strict';

const { liveSession } = require('../support/sessions.js');

const userId = (session) => session.userId;

/** Returns the key of the index of a user, by the documentation. */
const indexKey = (user) => `sess-of:user:${user}@sess:`;

/** Returns when an entry ends, by its value. */
const endOf = (value) => Number(String(value).split(' ')[2]);

/** Returns all that an async iterable yields. */
async function collect(iterable) {
  const all = [];
  for await (const one of iterable) all.push(one);
  return all;
}

/** Saves a new session of a user, as express-session does after a login. */
function logIn(store, sid, user, data = {}, maxAge = 3_600_000) {
  return store.set(sid, liveSession(sid, { userId: user, ...data }, { maxAge }));
}

/** Loads a session as a request does; the result can be changed and saved. */
async function load(store, sid) {
  const data = await store.get(sid);
  return data && store.createSession({ sessionID: sid, sessionStore: store }, data);
}

/** Returns the numbers (`data.n`) of the sessions of a user, sorted. */
async function numbersOf(store, user, options) {
  return (await collect(store.sessionsOf(user, options))).map(({ session }) => session.n).sort();
}

/** Makes an entry as old as if it had been asserted two minutes ago. */
async function age(redis, key, sid) {
  const [made, asserted, ...rest] = String(await redis.command('HGET', key, sid)).split(' ');
  const value = [made, asserted - 120_000, ...rest].join(' ');
  await redis.command('HSET', key, sid, value);
}

module.exports = { age, collect, endOf, indexKey, load, logIn, numbersOf, userId };
