// Mistakes that the types must reject: a directive without an error to expect is itself an error.

import { type ErrorCode, RedisStore } from 'connect-redis-native';
import type { SessionData } from 'express-session';

declare const store: RedisStore;
declare const session: SessionData;

// @ts-expect-error options are an object
new RedisStore('redis://127.0.0.1:6379');
// @ts-expect-error there is no such option
new RedisStore({ tll: 60 });
// @ts-expect-error a port is no url
new RedisStore({ url: 6379 });
// @ts-expect-error a prefix is a string
new RedisStore({ prefix: 17 });
// @ts-expect-error a ttl is a number of seconds
new RedisStore({ ttl: '60' });
// @ts-expect-error a ttl function is synchronous
new RedisStore({ ttl: async () => 60 });
// @ts-expect-error a flag is a boolean
new RedisStore({ disableTouch: 'yes' });
// @ts-expect-error a serializer has both functions
new RedisStore({ serializer: { stringify: JSON.stringify } });
// @ts-expect-error stringify is synchronous
new RedisStore({ serializer: { parse: JSON.parse, stringify: async () => '' } });

// @ts-expect-error an id is needed
store.get();
// @ts-expect-error an id is a string
store.get(17);
// @ts-expect-error a session is needed
store.set('abc');
// @ts-expect-error a session has a cookie
store.set('abc', {});
// @ts-expect-error a callback is a function
store.destroy('abc', 'done');
// @ts-expect-error the session may be missing
store.get('abc').then((found) => found.cookie);
// @ts-expect-error the session may be missing, whatever the caller expects
export const found: Promise<SessionData> = store.get('abc');
// @ts-expect-error the result of a save is no boolean
export const isSaved: Promise<boolean> = store.set('abc', session);
// @ts-expect-error the length is a number
export const length: Promise<string> = store.length();
// @ts-expect-error the callback gets a session
store.get('abc', (_error, found: string) => found);
// @ts-expect-error the callback gets a number
store.length((_error, length?: string) => length);

// @ts-expect-error a key is a string
new RedisStore({ sessionHashKey: 17 });
// @ts-expect-error the listener gets an event
store.on('created', (id: string) => id);
// @ts-expect-error the event has no such property
store.once('expired', ({ resolution }) => resolution);
// @ts-expect-error the listener gets no argument
store.off('ready', (status: string) => status);
// @ts-expect-error the event has an argument
store.emit('error');

// @ts-expect-error there is no such value
new RedisStore({ onConflict: 'ignore' });
// @ts-expect-error seconds are a number
new RedisStore({ touchAfter: '1 minute' });
// @ts-expect-error onConflict cannot be changed
store.onConflict = 'merge';

// @ts-expect-error the client cannot be replaced
store.client = {};
// @ts-expect-error a prefix is a string
store.prefix = 17;
// @ts-expect-error the count is a result
store.all().then((sessions) => sessions.corrupt++);
// @ts-expect-error there is no such code
export const code: ErrorCode = 'ERR_REDIS_GONE';

export default session;
