import { type EventEmitter, once } from 'node:events';
import type {
  RedisStore,
  RedisStoreError,
  RedisStoreEvents,
  SessionConflictEvent,
  SessionEvent,
  SessionExpiredEvent,
} from 'connect-redis-native';
import type { Store } from 'express-session';

/** True only if the types are identical: `any` is identical to `any` alone. */
type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
declare function expectType<Expected>(): <Actual>(
  value: Actual,
  ...verdict: Same<Expected, Actual> extends true ? [] : ['is not of the expected type']
) => void;

declare const store: RedisStore;

store.on('created', (event) => expectType<SessionEvent<'set'>>()(event));
store.once('destroyed', ({ operation }) => expectType<'destroy'>()(operation));
store.addListener('expired', ({ operation, reason }) => {
  expectType<'get' | 'set' | 'touch'>()(operation);
  expectType<'idle' | 'absolute'>()(reason);
});
store.prependListener('discarded', ({ id, sessionHash }) => {
  expectType<string>()(id);
  expectType<string>()(sessionHash);
});
store.prependOnceListener('conflict', ({ resolution }) => {
  expectType<'rejected' | 'merged' | 'function'>()(resolution);
});
const onError = (error: RedisStoreError) => error.code;
store.on('error', onError).off('error', onError).removeListener('error', onError);
store.on('ready', () => {}).on('reconnecting', (reason) => expectType<RedisStoreError>()(reason));
store.emit('connect');
store.emit('error', {} as RedisStoreError);

// Events of the app.
store.on('audit', (user: string, times: number) => `${user} ${times}`);
store.emit('audit', 'ann', 2);
store.on(Symbol('own'), () => {});
for (const name of Object.keys({} as RedisStoreEvents)) store.on(name, (event) => event?.sessionHash);

export async function wait(): Promise<void> {
  // The types of Node return `any[]`. Before @types/node 25, no declaration can add an overload to this function.
  const [event] = (await once(store, 'expired')) as RedisStoreEvents['expired'];
  expectType<SessionExpiredEvent>()(event);
  const [{ resolution }] = (await once(store, 'conflict')) as RedisStoreEvents['conflict'];
  expectType<SessionConflictEvent['resolution']>()(resolution);
}

export const asStore: Store = store;
export const asEmitter: EventEmitter = store;
// A parameter of another package.
export const listen = (emitter: NodeJS.EventEmitter): unknown => emitter.on('ready', () => {});
listen(store);
