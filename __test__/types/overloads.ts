import {
  type Callback,
  type ErrorCode,
  RedisStore,
  type ScanEntry,
  type Serializer,
  type Sessions,
} from 'connect-redis-native';
import type { SessionData } from 'express-session';

/** True only if the types are identical: `any` is identical to `any` alone. */
type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
declare function expectType<Expected>(): <Actual>(
  value: Actual,
  ...verdict: Same<Expected, Actual> extends true ? [] : ['is not of the expected type']
) => void;

declare const store: RedisStore;
declare const session: SessionData;

expectType<Promise<SessionData | null>>()(store.get('abc'));
expectType<Promise<null | 'discarded'>>()(store.set('abc', session));
expectType<Promise<void>>()(store.touch('abc', session));
expectType<Promise<void>>()(store.destroy('abc'));
expectType<Promise<Sessions>>()(store.all());
expectType<Promise<string[]>>()(store.ids());
expectType<Promise<number>>()(store.length());
expectType<Promise<void>>()(store.clear());
expectType<Promise<void>>()(store.close());
expectType<AsyncGenerator<ScanEntry, void, undefined>>()(store.scan());

export async function list(signal: AbortSignal): Promise<void> {
  for await (const { session: found, ttl, error } of store.scan({ match: 'a*', count: 10, signal })) {
    expectType<number | null>()(ttl);
    if (found === null) expectType<unknown>()(error);
    else expectType<SessionData>()(found);
  }
}

export const resolving = new RedisStore({
  touchAfter: 60,
  saveDestroyed: true,
  onConflict: (base, theirs, mine) => {
    expectType<SessionData | null>()(base);
    expectType<SessionData>()(theirs);
    return { ...theirs, ...mine };
  },
});
resolving.on('error', ({ code }) => expectType<ErrorCode>()(code));
resolving.on('reconnecting', (reason: Error) => reason.message);

export const fromEnvironment = new RedisStore({
  url: process.env.REDIS_URL,
  ttl: undefined,
  cache: { maxBytes: undefined },
  credentials: undefined,
  tls: { ca: process.env.REDIS_CA },
});

store.get('abc', (error, found) => {
  expectType<unknown>()(error);
  expectType<SessionData | null | undefined>()(found);
});
store.set('abc', session, (error, result) => {
  expectType<unknown>()(error);
  expectType<null | 'discarded' | undefined>()(result);
});
store.set('abc', session, (error?: unknown) => error);
store.touch('abc', session, () => {}).catch(() => {});
store.destroy('abc', (error) => expectType<unknown>()(error)).then(() => {});
store.all((_error, sessions) => expectType<Sessions | null | undefined>()(sessions));
store.ids((_error, ids) => expectType<string[] | null | undefined>()(ids));
store.length((_error, length) => expectType<number | null | undefined>()(length));
store.clear(() => {}).finally(() => {});

export async function withOptionalCallback(sid: string, callback?: Callback<SessionData>): Promise<void> {
  await store.get(sid, callback);
  await store.destroy(sid, undefined);
}

export function discards(sid: string): Promise<boolean> {
  return store.set(sid, session).then((result) => result === 'discarded');
}
export async function remove(sid: string): Promise<void> {
  await store.touch(sid, session);
  return store.destroy(sid);
}
expectType<[sid: string, callback?: Callback<SessionData> | undefined]>()(
  {} as Parameters<RedisStore['get']>,
);

expectType<string>()(store.prefix);
expectType<number | ((session: SessionData) => number)>()(store.ttl);
expectType<number>()(store.scanCount);
expectType<Serializer>()(store.serializer);
expectType<boolean>()(store.disableTTL);
expectType<boolean>()(store.disableTouch);
store.prefix = 'shop:';
store.ttl = () => 60;
store.serializer = JSON;
store.serializer = { parse: async (text) => JSON.parse(text), stringify: (stored) => JSON.stringify(stored) };

export async function listed(): Promise<string[]> {
  const sessions = await store.all();
  expectType<number>()(sessions.corrupt);
  return sessions.map(({ id, cookie }) => `${id} ${cookie.path}`);
}

export function explain(code: ErrorCode): boolean {
  return code === 'ERR_REDIS_UNAVAILABLE' || code === 'ERR_REDIS_TIMEOUT';
}

export async function scoped(): Promise<number> {
  await using disposed = new RedisStore();
  return await disposed.length();
}
