// A store of sessions of the app's own type.

import {
  type OperationOptions,
  RedisStore,
  type RedisStoreOptions,
  type ResolveConflict,
  type ScanEntry,
  type Serializer,
  type Sessions,
} from 'connect-redis-native';
import session, { type SessionData, type Store } from 'express-session';

/** True only if the types are identical: `any` is identical to `any` alone. */
type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
declare function expectType<Expected>(): <Actual>(
  value: Actual,
  ...verdict: Same<Expected, Actual> extends true ? [] : ['is not of the expected type']
) => void;

interface CartData extends SessionData {
  cart: string[];
}
declare const cart: CartData;

const serializer: Serializer<CartData> = {
  parse: (text) => JSON.parse(text),
  stringify: ({ cart: items, cookie }) => JSON.stringify({ items, cookie }),
};
const onConflict: ResolveConflict<CartData> = (base, theirs, mine) => {
  expectType<CartData | null>()(base);
  return { ...mine, cart: [...theirs.cart, ...mine.cart] };
};
const options: RedisStoreOptions<CartData> = {
  ttl: ({ cart: items }) => items.length,
  serializer,
  onConflict,
};
const store = new RedisStore<CartData>(options);

expectType<RedisStore<CartData>>()(new RedisStore(options));
expectType<RedisStore<CartData>>()(new RedisStore({ ttl: ({ cart: items }: CartData) => items.length }));
expectType<RedisStore>()(new RedisStore());
expectType<RedisStore>()(new RedisStore({ serializer: JSON }));
expectType<RedisStore>()(new RedisStore({ ttl: ({ cookie }) => (cookie.expires ? 60 : 3600) }));

expectType<Promise<CartData | null>>()(store.get('abc'));
expectType<Promise<null | 'discarded'>>()(store.set('abc', cart));
expectType<Promise<void>>()(store.touch('abc', cart));
expectType<Promise<Sessions<CartData>>>()(store.all());
expectType<AsyncGenerator<ScanEntry<CartData>, void, undefined>>()(store.scan());
expectType<Serializer<CartData>>()(store.serializer);
store.get('abc', (_error, found) => expectType<CartData | null | undefined>()(found));
store.all((_error, found) => expectType<Sessions<CartData> | null | undefined>()(found));
store.ttl = (stored) => stored.cart.length;

// Every store is one of express-session, and of functions that take any store.
export const middleware = session({ store, secret: 'keyboard cat' });
export const asStore: Store = store;
export const asAny: RedisStore = store;

export class CartStore extends RedisStore<CartData> {
  override ttl = 60;
  override get(sid: string, callback?: (error?: unknown, found?: CartData | null) => void) {
    return super.get(sid, callback);
  }
  override async set(sid: string, stored: CartData): Promise<void> {
    await super.set(sid, { ...stored, cart: stored.cart.slice(0, 10) });
  }
  protected override getTTL({ cart: items }: CartData): number {
    return items.length;
  }
  items(sid: string): Promise<string[]> {
    return super.get(sid).then((found) => found?.cart ?? []);
  }
}
export class GenericStore<T extends SessionData> extends RedisStore<T> {
  async must(sid: string): Promise<T> {
    const found = await this.get(sid);
    if (found === null) throw new Error('no such session');
    return found;
  }
}
export const subclassed: RedisStore<CartData>[] = [new CartStore(), new GenericStore<CartData>()];
export class FormerStore extends RedisStore(session)<CartData> {}

const { signal } = new AbortController();
expectType<Promise<CartData | null>>()(store.get('abc', { signal }));
expectType<Promise<Sessions<CartData>>>()(store.all({ signal }));
expectType<Promise<string[]>>()(store.ids({ signal }));
expectType<Promise<number>>()(store.length({ signal }));
expectType<Promise<void>>()(store.clear({ signal }));
expectType<Promise<number>>()(store.length({}));
store.get('abc', { signal }, (_error, found) => expectType<CartData | null | undefined>()(found));
store.get('abc', undefined, (_error, found) => expectType<CartData | null | undefined>()(found));
store.all({ signal }, (_error, found) => expectType<Sessions<CartData> | null | undefined>()(found));
store.ids({ signal }, (_error, ids) => expectType<string[] | null | undefined>()(ids));
store.length({ signal }, (_error, length) => expectType<number | null | undefined>()(length));
store.clear({ signal }, () => {}).catch(() => {});

export function within(limit?: AbortSignal, given?: OperationOptions): Promise<CartData | null>[] {
  return [store.get('abc', { signal: limit }), store.get('abc', given)];
}
