// Mistakes that the types must reject: a directive without an error to expect is itself an error.

import { type ErrorCode, RedisStore, type Serializer } from 'connect-redis-native';
import type { SessionData } from 'express-session';
import { Redis } from 'ioredis';
import { createClient } from 'redis';

interface CartData extends SessionData {
  cart: string[];
}
declare const carts: RedisStore<CartData>;
declare const cartSerializer: Serializer<{ cart: string[] } & SessionData>;

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

// @ts-expect-error a client, not a promise of one: `await` is missing
new RedisStore({ client: createClient().connect() });
// @ts-expect-error a client, not a function that creates one
new RedisStore({ client: createClient });
// @ts-expect-error an object of the class, not the class
new RedisStore({ client: Redis });
// @ts-expect-error a client, not an address
new RedisStore({ client: 'redis://127.0.0.1:6379' });
// @ts-expect-error a client runs commands
new RedisStore({ client: {} });
// @ts-expect-error a client is a value
new RedisStore({ client: null });

// @ts-expect-error the session has no cart
carts.set('abc', session);
// @ts-expect-error a touch has the session, too
carts.touch('abc', session);
// @ts-expect-error the cart is a list
carts.get('abc').then((found) => found?.cart.toFixed());
// @ts-expect-error sessions of express-session have cookies
export declare const plain: RedisStore<{ cart: string[] }>;
// @ts-expect-error there is no such field
carts.all().then(([first]) => first.missing);
// @ts-expect-error a cart is no number
new RedisStore<CartData>({ ttl: (stored) => stored.cart });
// @ts-expect-error a resolved session has a cart
new RedisStore<CartData>({ onConflict: (_base, { cookie }) => ({ cookie }) });
// @ts-expect-error a serializer of carts returns carts
new RedisStore<CartData>({ serializer: { ...cartSerializer, parse: () => session } });

// @ts-expect-error a signal is an AbortSignal
store.get('abc', { signal: 'now' });
// @ts-expect-error the option is "signal"
store.all({ sginal: AbortSignal.timeout(100) });
// @ts-expect-error a signal is in an object of options
store.ids(AbortSignal.timeout(100));
// @ts-expect-error a callback is a function
store.length({}, 'done');
// @ts-expect-error a save cannot be aborted
store.set('abc', session, { signal: AbortSignal.timeout(100) });
// @ts-expect-error a destroy cannot be aborted
store.destroy('abc', { signal: AbortSignal.timeout(100) });
// @ts-expect-error the session may be missing, with a signal, too
store.get('abc', { signal: AbortSignal.timeout(100) }).then((found) => found.cookie);

export default session;
