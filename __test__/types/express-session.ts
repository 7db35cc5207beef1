import { RedisStore } from 'connect-redis-native';
import express from 'express';
import session, { type SessionData, type Store } from 'express-session';

declare module 'express-session' {
  interface SessionData {
    user: { name: string };
  }
}

const store = new RedisStore({ ttl: (stored: SessionData) => (stored.user ? 3600 : 60) });

export const asStore: Store = store;
export const middleware = session({ store, secret: 'keyboard cat', resave: false, saveUninitialized: false });
export const app = express().use(middleware);

store.on('disconnect', () => {});
store.get('abc', (_error, stored) => {
  if (stored) store.createSession({} as express.Request, stored).user.name satisfies string;
});

// The call of connect-redis up to version 6.
const Former = RedisStore(session);
export const former: RedisStore = new Former({ prefix: 'former:' });
export class FormerStore extends RedisStore(session) {}
