import { type SessionData, Store } from 'express-session';

/** Converts sessions to the strings that Redis stores, and back. */
export interface Serializer {
  /**
   * Converts a stored string to a session; may be asynchronous. If it throws or rejects, the operation that
   * called it fails with that error.
   */
  parse(text: string): SessionData | Promise<SessionData>;
  /**
   * Converts a session to the value to store, a string or bytes; synchronous. Bytes are passed to `parse` as a string,
   * decoded from UTF-8.
   */
  stringify(session: SessionData): string | Uint8Array;
}

/**
 * Your Redis client: node-redis 4 to 6 (`createClient`), ioredis 4 to 6 (`new Redis()`), iovalkey or
 * valkey-glide 2. The store copies the client's address, path, database, user, password (or
 * `credentialsProvider`), TLS settings, key prefix and timeouts, and opens its own connection. If these settings
 * cannot be copied (mocks, settings that are functions), the store runs its commands on the client itself; see
 * `transport`. It does the same with any other object that has `sendCommand(args)`, `call(command, ...args)` or
 * `customCommand(args)`.
 */
// biome-ignore lint/suspicious/noExplicitAny: clients of many packages and versions, none of which this one depends on
export type RedisClient = any;

/** Limits of the cache. All are integers above 0. */
export interface CacheOptions {
  /** Maximum size in bytes, including keys and overhead. @default 67108864 */
  maxBytes?: number | undefined;
  /** Maximum number of sessions. @default 1000000 */
  maxEntries?: number | undefined;
  /**
   * Time in milliseconds for which cached sessions may be served without confirmation from the server. @default 2000
   */
  maxStaleness?: number | undefined;
}

/** Cache statistics since the connection was created, for all stores that share it. */
export interface CacheStats {
  /** Reads answered from the cache. */
  hits: number;
  /** Reads of sessions that were not cached. */
  misses: number;
  /** Invalidation messages received from Redis. */
  invalidations: number;
  /** Sessions in the cache. */
  entries: number;
  /** Bytes used. */
  bytes: number;
  /** Sessions removed to stay within `maxBytes` and `maxEntries`. */
  evictions: number;
  /** Stale misses: cached sessions read from Redis, which had sent nothing for `maxStaleness`. */
  distrusted: number;
}

/**
 * Options that are `undefined` or `null` are treated as not set, as in `url: process.env.REDIS_URL`; only a `client`
 * needs a value, unless another option locates Redis.
 */
export interface RedisStoreOptions {
  /**
   * Your Redis client. The constructor reads its settings, so select the database in the client's options
   * rather than with a later `SELECT`. The store closes when the client does (`quit`, `close`, `destroy`) and opens
   * again with it; valkey-glide and some others do not report that they close (docs/clients.md). Cannot be combined
   * with `url` and the other options that locate Redis.
   */
  client?: RedisClient;
  /**
   * The address of Redis. Use it if your app needs no JavaScript client:
   * - `redis[s]://[[user]:password@]host[:port][/database]`
   * - `redis+unix:///path/to/socket[?db=N&user=U&pass=P]`, or `unix:` for short
   * - `redis[s]+sentinel://[[user]:password@]host[:port],host[:port]/name[/database]`: the primary that
   *   these sentinels monitor under that name; user, password and TLS apply to the primary (for the sentinels' own,
   *   use `sentinel`)
   * - `redis[s]+cluster://[[user]:password@]host[:port],host[:port][/database]`: a cluster, by some of its nodes
   * @default 'redis://127.0.0.1:6379'
   */
  url?: string | URL | undefined;
  /** The primary of a Sentinel deployment. The store follows it through failovers. Use it instead of `url`. */
  sentinel?: SentinelOptions | undefined;
  /** Some nodes of a cluster; the store discovers the others. Use it instead of `url`. */
  cluster?: Address[] | ClusterOptions | undefined;
  /** The ACL user of the servers; only with `sentinel` or `cluster`. @default Redis's `default` user */
  username?: string | undefined;
  /** The password of the servers; only with `sentinel` or `cluster`. */
  password?: string | undefined;
  /**
   * The database, from 0 to 4294967295; only with `sentinel` or `cluster` (Valkey 9 and later). A `url` names its
   * own. @default 0
   */
  database?: number | undefined;
  /**
   * The nodes of a cluster that serve reads. `'replica-preferred'`: a replica, if one is connected and returns no
   * transient error such as `LOADING`. Replication is asynchronous: a request that closely follows another may read
   * the session as it was before. Throws a `TypeError` without a cluster. @default 'primary'
   */
  readFrom?: 'primary' | 'replica-preferred' | undefined;
  /**
   * The transport that runs the commands. `'native'`: the store's own connection, with the client's settings.
   * `'client'`: the client itself, by its `sendCommand`, `call` or `customCommand`. Throws a `TypeError` if the
   * transport is not possible: the settings cannot be copied, or there is no client.
   * @default 'native' if the client's settings can be copied, else 'client'
   */
  transport?: 'native' | 'client' | undefined;
  /**
   * TLS options, named as in `tls.connect()`; `true` for the defaults, as with `rediss://`. Not allowed with `client`.
   * Without `ca`, the store trusts the system's roots and those that Node trusts: its bundled ones and those of
   * `NODE_EXTRA_CA_CERTS`.
   */
  tls?: boolean | TlsOptions | undefined;
  /**
   * Returns the credentials for each attempt to connect. Use it instead of `username` and `password` if your password
   * changes. If it throws, rejects or does not settle within `connectTimeout`, the attempt fails
   * (`ERR_CREDENTIALS`) and the store tries again.
   */
  credentials?: (() => Credentials | Promise<Credentials>) | undefined;
  /**
   * Timeout of one attempt to connect, in milliseconds. If an attempt hangs for 750 ms, the store starts a second
   * one in parallel. @default the client's own, else 5000
   */
  connectTimeout?: number | undefined;
  /**
   * Timeout of an operation, in milliseconds. It includes the wait for a connection and retries after a lost
   * one. For bulk operations (`all`, `ids`, `length`, `clear`, `scan`), the timeout applies to each page.
   * @default the client's own, else 5000
   */
  commandTimeout?: number | undefined;
  /**
   * Maximum number of operations that wait for a connection; further ones fail immediately with
   * `ERR_REDIS_QUEUE_FULL`. In a cluster, the limit applies to operations that wait for an unreachable
   * node. @default 20000
   */
  maxQueue?: number | undefined;
  /**
   * Handling of requests while Redis is unreachable. `'error'`: they wait, and fail after `commandTimeout`.
   * `'sessionless'`: after one second without a connection, express-session runs them without `req.session`; the
   * store emits its events `disconnect` and `connect`. @default 'error'
   */
  onUnavailable?: 'error' | 'sessionless' | undefined;
  /**
   * Caches sessions in this process after they were read, coherent with all other processes through client tracking
   * (RESP3). On a cache hit, the callback runs in the same tick, before `get` returns. If the server does not support
   * client tracking, the store works without the cache and emits `error` with `ERR_CACHE_OFF`. Throws a `TypeError`
   * if a cluster's replicas serve reads, or if the client itself runs the commands. @default false
   */
  cache?: boolean | CacheOptions | undefined;
  /** Key prefix. Glob characters have no special meaning. @default 'sess:' */
  prefix?: string | undefined;
  /**
   * Lifetime, in seconds, of sessions whose cookie has no expiry; may be fractional. Or a function that returns the
   * lifetime of a session in seconds; then the cookie's expiry has no effect. A lifetime of 0 or less destroys the
   * session. The option `0` selects the default.
   * @default 86400
   */
  ttl?: number | ((session: SessionData) => number) | undefined;
  /** Turns `touch` off: the lifetime starts at the last `set`. @default false */
  disableTouch?: boolean | undefined;
  /** Stores sessions without a lifetime; `touch` does nothing. @default false */
  disableTTL?: boolean | undefined;
  /** Converts sessions to strings and back. @default JSON */
  serializer?: Serializer | undefined;
  /**
   * `COUNT` of the `SCAN` commands behind `ids`, `all`, `length`, `clear` and `scan`. If it is not set, the field
   * reads 100, as in connect-redis. @default 1000
   */
  scanCount?: number | undefined;
  /**
   * Handling of a save if the stored session has changed since this request loaded it; see docs/sessions.md.
   * `'overwrite'`: the last save wins. `'reject'`: the save fails with `ERR_SESSION_CONFLICT`
   * ({@link SessionConflictError}). `'merge'`: top-level keys that this request did not change keep their stored
   * value; requires the default `serializer`. Or a function that returns the session to store. The cookie is
   * always that of this request. @default 'overwrite'
   */
  onConflict?: 'overwrite' | 'reject' | 'merge' | ResolveConflict | undefined;
  /**
   * Minimum time, in seconds, between two touches of a session that are sent to Redis; those in between succeed
   * immediately. At most half of a session's lifetime takes effect. A session may expire earlier by this
   * time. @default 0
   */
  touchAfter?: number | undefined;
  /**
   * Lets a save restore a session that was destroyed after it was loaded, as connect-redis does. By default, the
   * store discards such a save and emits `discarded`. @default false
   */
  saveDestroyed?: boolean | undefined;
  /**
   * Returns the user of a session, or `undefined` for a session without one; see docs/user-sessions.md. The store then
   * keeps an index of each user's sessions, for `sessionsOf`, `destroyAllOf` and so on. It is `indexes` with one index,
   * `user`.
   */
  userId?: ((session: SessionData) => string | number | bigint | null | undefined) | undefined;
  /** Indexes by any attributes, as `userId` is by user: `{ user: fn, idp: fn }`. Cannot be combined with `userId`. */
  indexes?: Record<string, (session: SessionData) => string | number | bigint | null | undefined> | undefined;
  /** The prefix of the keys of indexes. Neither it nor `prefix` may begin with the other. @default 'sess-of:' */
  indexPrefix?: string | undefined;
  /** Puts a hash of the user into the keys of indexes, instead of the user. @default false */
  hashUserIds?: boolean | undefined;
  /** The maximum number of sessions of a user (the index `user`), or a function of the session. */
  maxSessionsOf?: number | ((session: SessionData) => number) | undefined;
  /**
   * What happens to a new session of a user who has `maxSessionsOf` sessions. `'destroy-oldest'`: the oldest ones are
   * destroyed. `'reject'`: its save fails with `ERR_SESSION_LIMIT`. @default 'destroy-oldest'
   */
  onSessionLimit?: 'destroy-oldest' | 'reject' | undefined;
  /**
   * Returns when the user of a session has authenticated, for the `notBefore` of `destroyAllOf`.
   * @default (session) => session.authenticatedAt
   */
  authenticatedAt?: ((session: SessionData) => Date | number | string | null | undefined) | undefined;
}

/** The user of a session, as `userId` returns it. A number stands for the same user as its decimal digits. */
export type UserId = string | number | bigint;

/** Selects an index. */
export interface UserSessionsOptions {
  /** The name of an index of the option `indexes`. @default 'user' */
  index?: string | undefined;
}

export interface DestroyAllOptions extends UserSessionsOptions {
  /** The ids of sessions to keep, such as `req.sessionID`. */
  except?: string | string[] | undefined;
  /**
   * Refuses, for a day, new sessions of the user whose `authenticatedAt` is earlier: logins that were checked before
   * this call and are saved after it. Such a save fails with `ERR_SESSION_REVOKED`.
   */
  notBefore?: Date | number | undefined;
}

/** A session of a user, as `sessionsOf` yields it. */
export interface UserSession {
  /** Identifies the session without giving access to it: a hash of its id, which a page may contain. */
  handle: string;
  /** The session; `null` if it cannot be read, and `error` says why. */
  session: SessionData | null;
  /** When it became a session of this user. */
  createdAt: Date;
  /** When it was last saved or touched; `null` if that is not known: with a `ttl` function, or without an expiry. */
  lastSeenAt: Date | null;
  /** When it expires; `null` if it does not. */
  expiresAt: Date | null;
  /** Remaining lifetime in seconds; `null` if it does not expire. */
  ttl: number | null;
  error?: unknown;
}

/**
 * Resolves a conflict. `base` is the session that this request loaded (null if it loaded none), `theirs` the stored
 * one, `mine` the one to save. The store saves the session that you return, or calls the function again if the stored
 * session has changed in the meantime.
 */
export type ResolveConflict = (
  base: SessionData | null,
  theirs: SessionData,
  mine: SessionData,
) => SessionData | Promise<SessionData>;

/**
 * An error that this package creates. Events always pass one. An operation can also fail with a value that your own
 * function threw, so its error is `unknown`.
 */
export interface RedisStoreError extends Error {
  code: ErrorCode;
  /** The first word of the server's reply; with `ERR_REDIS_REPLY`. */
  reply?: string;
  /** The index at which the stored text ceases to be valid JSON; with `ERR_SESSION_CORRUPT`. */
  position?: number;
}

/** The error of a save with `onConflict: 'reject'`, and with `'merge'` if the versions cannot be merged. */
export interface SessionConflictError extends RedisStoreError {
  code: 'ERR_SESSION_CONFLICT';
  /** The stored session, if it can be read. Not enumerable, so that loggers skip it. */
  stored?: SessionData;
}

export interface ScanOptions {
  /** `COUNT` of the `SCAN` commands; 0 selects the default. @default the store's `scanCount` */
  count?: number | undefined;
  /** A glob that ids must match, as in Redis's `MATCH`. @default '*' */
  match?: string | undefined;
  /** Ends the iteration with the signal's reason. */
  signal?: AbortSignal | undefined;
}

/** An entry that `scan` yields. */
export type ScanEntry =
  | {
      id: string;
      session: SessionData;
      /** Remaining lifetime in seconds; null if the session does not expire. */
      ttl: number | null;
      error?: undefined;
    }
  /** A record that cannot be parsed, or is not an object. `error` has a `code` unless your own function threw it. */
  | { id: string; session: null; ttl: number | null; error: unknown };

/**
 * `'host:port'` or its parts, without scheme, user and password. The port defaults to 6379, for sentinels to 26379.
 */
export type Address = string | { host: string; port?: number | undefined };

/** Maps each `'host:port'` that the servers announce to the address at which your process reaches it. */
export type NatMap = Record<string, Address>;

export interface SentinelOptions {
  /** The name under which the sentinels monitor the primary. */
  name: string;
  /** Some sentinels; the store discovers the others. */
  addresses: Address[];
  /** The sentinels' own ACL user, password and TLS settings; those of the servers do not apply to them. */
  username?: string | undefined;
  password?: string | undefined;
  tls?: boolean | TlsOptions | undefined;
  natMap?: NatMap | undefined;
}

export interface ClusterOptions {
  addresses: Address[];
  natMap?: NatMap | undefined;
}

/** The supported options of Node's `tls.connect()`. Certificates and keys are PEM, as strings or Buffers. */
export interface TlsOptions {
  ca?: Pem | Pem[] | undefined;
  cert?: Pem | Pem[] | undefined;
  /** The private key of `cert`, not encrypted. */
  key?: Pem | Pem[] | undefined;
  /** The name that the server's certificate must contain. @default the host */
  servername?: string | undefined;
  /** @default true */
  rejectUnauthorized?: boolean | undefined;
}

type Pem = string | Uint8Array;

/** Redis credentials. */
export interface Credentials {
  /** An ACL user. @default Redis's `default` user */
  username?: string | undefined;
  password: string;
  /**
   * The time at which the credentials expire (a Date, or milliseconds since 1970). Shortly before it, the store calls
   * the function again and the connection authenticates again; if they have expired already, five seconds later.
   * `Infinity`: they never expire.
   */
  expiresAt?: Date | number | undefined;
}

/** The state of the connection; see `store.status`. */
export type Status = 'connecting' | 'ready' | 'reconnecting' | 'closed';

/** The codes of the errors that this package creates; see docs/errors.md for how to handle each. */
export type ErrorCode =
  /** An option or argument has the wrong type (a `TypeError`). */
  | 'ERR_INVALID_ARG_TYPE'
  /** An option or argument has an invalid value (a `TypeError`). */
  | 'ERR_INVALID_ARG_VALUE'
  /** A number is out of its range (a `RangeError`). */
  | 'ERR_OUT_OF_RANGE'
  /**
   * The store could not connect before the operation's deadline, or Redis kept rejecting the command (`LOADING`,
   * `READONLY`) or dropping the connection; or your client, if it runs the commands, failed.
   */
  | 'ERR_REDIS_UNAVAILABLE'
  /**
   * Redis did not reply before the operation's deadline, or an earlier save of the session did not finish
   * (`onConflict`).
   */
  | 'ERR_REDIS_TIMEOUT'
  /** There was no connection to Redis, and `maxQueue` operations were already waiting for one. */
  | 'ERR_REDIS_QUEUE_FULL'
  /** The `credentials` function failed, or returned an invalid value. */
  | 'ERR_CREDENTIALS'
  /** Redis replied with an error, whose first word is `reply`, such as `WRONGTYPE`; or its reply cannot be read. */
  | 'ERR_REDIS_REPLY'
  /** A stored session is not valid JSON; `position` is the index of the error in the text. */
  | 'ERR_SESSION_CORRUPT'
  /** A function of your app failed without an error, or returned a promise that did not settle in time. */
  | 'ERR_APP_FUNCTION'
  /** The session was not saved, because it has changed since it was loaded; see `onConflict`. */
  | 'ERR_SESSION_CONFLICT'
  | 'ERR_SESSION_LIMIT'
  | 'ERR_SESSION_REVOKED'
  /** In an `error` event: the server does not support client tracking, so the cache is off. */
  | 'ERR_CACHE_OFF'
  /** The store is closed, or its client is closed or has given up reconnecting; see the message. */
  | 'ERR_STORE_CLOSED'
  /** On loading the package: its binary is missing, or cannot be loaded. */
  | 'ERR_DLOPEN_FAILED'
  /** A bug in this package. */
  | 'ERR_INTERNAL';

/** The result of `all`: the sessions, each with its `id`. */
export interface Sessions extends Array<SessionData & { id: string }> {
  /**
   * The number of records under the prefix that were skipped because they cannot be read as sessions
   * (not enumerable).
   */
  readonly corrupt: number;
}

/** The callback of an operation. Receives an error, or `null` and the result. */
export type Callback<Result> = (error?: unknown, result?: Result | null) => void;

/** `Result` for calls without a callback. As a type parameter of the methods, callers would decide it. */
// biome-ignore lint/suspicious/noExplicitAny: for overrides; see the class
type Unless<None, Result> = None extends undefined ? Result : any;

/** Returns the class, like `require('connect-redis')(session)` up to version 6. */
export function RedisStore(session: (...args: never[]) => unknown): typeof RedisStore;
/**
 * A session store for express-session. It stores sessions in Redis in the same format as connect-redis, byte for
 * byte. Every method accepts a callback and returns a promise.
 */
// biome-ignore lint/suspicious/noRedeclare: ambient functions and classes merge
export class RedisStore extends Store {
  /**
   * Creates a store and connects in the background; operations wait for the connection.
   * @throws {TypeError | RangeError} with a `code`, if an option is invalid.
   */
  constructor(options?: RedisStoreOptions);

  /**
   * The state of the connection: `'connecting'` for the first time, `'ready'`, `'reconnecting'` after it was lost, or
   * `'closed'` after `close()` and while your client is closed.
   */
  readonly status: Status;

  /** The transport that runs the commands; see the option. May change to `'client'` at the first TLS handshake. */
  readonly transport: 'native' | 'client';

  /** The connection is ready, for the first time or again. */
  on(event: 'ready', listener: () => void): this;
  /** The connection was lost; `reason` says why. The store reconnects. */
  on(event: 'reconnecting', listener: (reason: RedisStoreError) => void): this;
  /**
   * An attempt to connect failed; the store tries again. On a ready connection: the cache is off (`ERR_CACHE_OFF`), or
   * the server rejected new credentials. Without a listener, the event is ignored rather than thrown.
   */
  on(event: 'error', listener: (error: RedisStoreError) => void): this;
  /**
   * With `onUnavailable: 'sessionless'`: Redis has been unreachable for one second (`disconnect`), or is back
   * (`connect`).
   */
  on(event: 'disconnect' | 'connect', listener: () => void): this;
  /** A save was discarded: the session was destroyed after it was loaded or last saved. */
  on(event: 'discarded', listener: (event: { operation: 'set'; id: string }) => void): this;
  on(event: string | symbol, listener: (...args: never[]) => void): this;

  /** The client passed as an option. */
  readonly client: RedisClient | undefined;
  /**
   * The key prefix. The store reads this and the next five fields for each operation, as connect-redis does. You can
   * define them as class fields or accessors of a subclass, or as accessors on the store, for example to use one
   * prefix per tenant.
   */
  prefix: string;
  ttl: number | ((session: SessionData) => number);
  scanCount: number;
  serializer: Serializer;
  disableTTL: boolean;
  disableTouch: boolean;
  readonly onConflict: 'overwrite' | 'reject' | 'merge' | ResolveConflict;
  readonly touchAfter: number;
  readonly saveDestroyed: boolean;

  /**
   * Returns the lifetime of a session in seconds, based on `ttl` and the cookie's expiry. Your subclass can override
   * it. `_getTTL`, its name in connect-redis up to version 8, works as well.
   */
  protected getTTL(session: SessionData): number;

  // With a callback, the promise fulfils with the callback's return value, as in connect-redis. The type parameter of
  // the first overloads is never passed: TypeScript takes it for `any` when it compares an override, and the result
  // with it, so a subclass written for connect-redis, where everything is `any`, compiles.

  /**
   * Reads a session; the result is `null` if there is none. `cookie.expires` is the current expiry, including later
   * touches.
   */
  get<None extends undefined = undefined>(
    sid: string,
    callback?: None,
  ): Promise<Unless<None, SessionData | null>>;
  // biome-ignore lint/suspicious/noExplicitAny: the callback may return anything
  get(sid: string, callback?: Callback<SessionData>): Promise<any>;

  /**
   * Saves a session with its lifetime; destroys it if the lifetime is 0 or less. If the session was loaded or saved
   * under this id and has been destroyed or has expired since, the save is discarded: the result is `'discarded'`, and
   * the event of that name follows. With `saveDestroyed`, it is saved.
   */
  set<None extends undefined = undefined>(
    sid: string,
    session: SessionData,
    callback?: None,
  ): Promise<Unless<None, null | 'discarded'>>;
  // biome-ignore lint/suspicious/noExplicitAny: the callback may return anything
  set(sid: string, session: SessionData, callback?: Callback<null | 'discarded'>): Promise<any>;

  /** Renews the lifetime of a stored session without rewriting it. */
  touch<None extends undefined = undefined>(
    sid: string,
    session: SessionData,
    callback?: None,
  ): Promise<Unless<None, null>>;
  // biome-ignore lint/suspicious/noExplicitAny: the callback may return anything
  touch(sid: string, session: SessionData, callback?: Callback<null>): Promise<any>;

  /** Deletes a session. Succeeds also if there is none. */
  destroy<None extends undefined = undefined>(sid: string, callback?: None): Promise<Unless<None, null>>;
  // biome-ignore lint/suspicious/noExplicitAny: the callback may return anything
  destroy(sid: string, callback?: Callback<null>): Promise<any>;

  /**
   * Reads every session under the prefix. Skips records that cannot be read as sessions and counts them in the
   * result's `corrupt`.
   */
  all<None extends undefined = undefined>(callback?: None): Promise<Unless<None, Sessions>>;
  // biome-ignore lint/suspicious/noExplicitAny: the callback may return anything
  all(callback?: Callback<Sessions>): Promise<any>;

  /** Returns the ids of all sessions under the prefix. */
  ids<None extends undefined = undefined>(callback?: None): Promise<Unless<None, string[]>>;
  // biome-ignore lint/suspicious/noExplicitAny: the callback may return anything
  ids(callback?: Callback<string[]>): Promise<any>;

  /** Counts the sessions under the prefix. */
  length<None extends undefined = undefined>(callback?: None): Promise<Unless<None, number>>;
  // biome-ignore lint/suspicious/noExplicitAny: the callback may return anything
  length(callback?: Callback<number>): Promise<any>;

  /** Deletes every session under the prefix, and nothing else. */
  clear<None extends undefined = undefined>(callback?: None): Promise<Unless<None, null>>;
  // biome-ignore lint/suspicious/noExplicitAny: the callback may return anything
  clear(callback?: Callback<null>): Promise<any>;

  /**
   * Iterates over all sessions under the prefix, or those whose ids match, using constant memory: each page is read
   * when the previous one is used up. Yields every session that exists throughout the iteration exactly once. Leaving
   * the loop ends the iteration.
   */
  scan(options?: ScanOptions): AsyncGenerator<ScanEntry, void, undefined>;

  /**
   * Iterates over the live sessions of a user, in pages. Needs the option `userId`, as the next methods do; see
   * docs/user-sessions.md.
   */
  sessionsOf(user: UserId, options?: UserSessionsOptions): AsyncGenerator<UserSession, void, undefined>;

  /** Counts the live sessions of a user. */
  countOf(user: UserId, options?: UserSessionsOptions): Promise<number>;

  /**
   * Destroys the sessions of a user until none is left, and returns how many. Requests in progress cannot restore
   * them.
   */
  destroyAllOf(user: UserId, options?: DestroyAllOptions): Promise<number>;

  /** Destroys one session of a user. Returns false if the user has no session with this `handle`. */
  destroyByHandle(user: UserId, handle: string, options?: UserSessionsOptions): Promise<boolean>;

  /**
   * Changes the sessions of a user by a function, which changes its argument or returns another session, or `false` to
   * leave the session as it is. It is called again if the session has changed in the meantime. Lifetimes stay as they
   * are. Returns how many sessions were changed.
   */
  updateAllOf(
    user: UserId,
    change: (session: SessionData) => unknown,
    options?: UserSessionsOptions,
  ): Promise<number>;

  /**
   * Adds the sessions to the indexes that were stored without `userId`, or by connect-redis. Returns the number of
   * sessions with a user.
   */
  reindex(options?: { signal?: AbortSignal | undefined }): Promise<number>;

  /** Returns the cache statistics; `null` without the option `cache`. */
  cacheStats(): CacheStats | null;

  /**
   * Waits for pending operations, then disconnects, unless another store shares the connection. Does not close the
   * client that you passed. Later operations fail with `ERR_STORE_CLOSED`. You can call it more than once.
   */
  close(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

export default RedisStore;
