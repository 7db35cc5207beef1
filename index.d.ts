import { type SessionData, Store } from 'express-session';

/** Converts sessions to the strings that Redis stores, and back. */
export interface Serializer<T extends SessionData = SessionData> {
  /**
   * Converts a stored string to a session; may be asynchronous. If it throws or rejects, the operation that
   * called it fails with that error.
   */
  parse(text: string): T | Promise<T>;
  /**
   * Converts a session to the value to store, a string or bytes; synchronous. Bytes are passed to `parse` as a string,
   * decoded from UTF-8.
   */
  stringify(session: T): string | Uint8Array;
}

// The function types below are those of methods, whose parameters TypeScript compares in both directions: a
// `RedisStore<T>` is a `RedisStore`, too.

/** Returns the lifetime of a session in seconds. */
type Lifetime<T> = { of(session: T): number }['of'];
type UserOf<T> = { of(session: T): UserId | null | undefined }['of'];
type SessionLimit<T> = { of(session: T): number }['of'];
type AuthenticationTime<T> = { of(session: T): Date | number | string | null | undefined }['of'];
type ChangeOfSession<T> = { change(session: T): unknown }['change'];

/**
 * Your Redis client: node-redis 4 to 6 (`createClient`), ioredis 4 to 6 (`new Redis()`), iovalkey or
 * valkey-glide 2. The store copies the client's address, path, database, user, password (or
 * `credentialsProvider`), TLS settings, key prefix and timeouts, and opens its own connection. If these settings
 * cannot be copied (mocks, settings that are functions), the store runs its commands on the client itself; see
 * `transport`. It does the same with any other object that has `sendCommand(args)`, `call(command, ...args)` or
 * `customCommand(args)`.
 *
 * The type accepts an object with one of these methods. It rejects strings, functions that create a client, and promises
 * of one (a missing `await`).
 */
export type RedisClient = (Commands | (Commands & { [member: string]: unknown })) & {
  then?: never;
  apply?: never;
};
type Commands =
  | { sendCommand(...args: never): unknown }
  | { call(...args: never): unknown }
  | { customCommand(...args: never): unknown };

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

/** The statistics of one operation. */
export interface OperationStats {
  /** Operations that have completed, including cache hits and those that failed. Each page of a `scan` counts. */
  count: number;
  /** Operations that failed. */
  failed: number;
  /** The times from the call to the completion, in seconds, of operations that were sent to the connection. */
  latency: {
    /** The upper bounds of the first counts. */
    bounds: number[];
    /** The number of operations up to each bound and above the one before; the last one counts those above all. */
    counts: number[];
    sum: number;
  };
}

/**
 * The statistics of a store since it was created. `server`, `bytes`, `reconnects`, `queued` and `inFlight` are those of
 * its connection, which stores with the same settings share; in a cluster, the sums of its nodes.
 */
export interface StoreStats {
  status: Status;
  transport: 'native' | 'client';
  server: {
    /** The host, or the path of the socket; with sentinels, that of the primary. Not known of a cluster. */
    address?: string;
    port?: number;
    database: number;
    /** The name that the server reports, such as `redis` or `valkey`. Not known with `transport: 'client'`. */
    name?: string;
    version?: string;
    /** Features in use, such as `RESP3`, `client-tracking`, `set-ifeq`, `script` and `EXPIRE for PEXPIRE`. */
    features: string[];
  };
  operations: Record<
    'get' | 'set' | 'touch' | 'destroy' | 'all' | 'ids' | 'length' | 'clear' | 'scan',
    OperationStats
  >;
  /** The number of failed operations by the `code` of their error; `OTHER` for errors of the app without one. */
  errors: Record<string, number>;
  /** Bytes read and written. Not known with `transport: 'client'`. */
  bytes?: { read: number; written: number };
  /** Links that have replaced a lost one. */
  reconnects: number;
  /** Operations that wait to be sent. */
  queued: number;
  /** Operations that were sent and are not answered. */
  inFlight: number;
  /** Saves that stored nothing, because the session was destroyed. */
  discarded: number;
  /** Saves that found another version than the one that was loaded. */
  conflicts: number;
  cache: CacheStats | null;
}

/** The part of a store that `connect-redis-native/opentelemetry` and `/prometheus` use. */
export interface ObservedStore {
  stats(): StoreStats;
}

/** A store, several, or an object with stores as values: its keys, else the positions, are the stores' names. */
export type ObservedStores =
  | ObservedStore
  | readonly ObservedStore[]
  | Readonly<Record<string, ObservedStore>>;

/**
 * Options that are `undefined` or `null` are treated as not set, as in `url: process.env.REDIS_URL`; only a `client`
 * needs a value, unless another option locates Redis.
 */
export interface RedisStoreOptions<T extends SessionData = SessionData> {
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
  ttl?: number | Lifetime<T> | undefined;
  /** Turns `touch` off: the lifetime starts at the last `set`. @default false */
  disableTouch?: boolean | undefined;
  /** Stores sessions without a lifetime; `touch` does nothing. @default false */
  disableTTL?: boolean | undefined;
  /** Converts sessions to strings and back. @default JSON */
  serializer?: Serializer<NoInfer<T>> | undefined;
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
  onConflict?: 'overwrite' | 'reject' | 'merge' | ResolveConflict<T> | undefined;
  /**
   * Minimum time, in seconds, between two touches of a session that are sent to Redis; those in between succeed
   * immediately. At most half of a session's lifetime takes effect. A session may expire earlier by this
   * time. @default 0
   */
  touchAfter?: number | undefined;
  /**
   * Time, in seconds, after which a session ends that is neither saved nor touched, whatever its cookie says; or a
   * function of the session that returns it (`Infinity` for none). In the place of a `ttl` that is a number; see
   * docs/lifetimes.md.
   */
  idleTimeout?: number | Lifetime<T> | undefined;
  /**
   * Time, in seconds, after which a session ends although it is in use, counted from its creation; or a function of the
   * session that returns it (`Infinity` for none). `regenerate` creates a session. See docs/lifetimes.md.
   */
  maxLifetime?: number | Lifetime<T> | undefined;
  /**
   * The top-level key of a session that holds its creation time, in ms since 1970, with `maxLifetime`.
   * @default '__createdAt'
   */
  createdAtKey?: string | undefined;
  /**
   * Lets a save restore a session that was destroyed after it was loaded, as connect-redis does. By default, the
   * store discards such a save and emits `discarded`. @default false
   */
  saveDestroyed?: boolean | undefined;
  /**
   * Makes `req.session.save`, `reload`, `regenerate` and `destroy` return a promise if they are called without a
   * callback. @default false
   */
  promises?: boolean | undefined;
  /**
   * The key of the hashes by which events, traces and logs name sessions. By default, it is a constant, so that hashes
   * agree between processes and restarts. With a secret, only those who know it can compute the hash of an id.
   */
  sessionHashKey?: string | undefined;
  /**
   * Returns the user of a session, or `undefined` for a session without one; see docs/user-sessions.md. The store then
   * keeps an index of each user's sessions, for `sessionsOf`, `destroyAllOf` and so on. It is `indexes` with one index,
   * `user`.
   */
  userId?: UserOf<T> | undefined;
  /** Indexes by any attributes, as `userId` is by user: `{ user: fn, idp: fn }`. Cannot be combined with `userId`. */
  indexes?: Record<string, UserOf<T>> | undefined;
  /** The prefix of the keys of indexes. Neither it nor `prefix` may begin with the other. @default 'sess-of:' */
  indexPrefix?: string | undefined;
  /** Puts a hash of the user into the keys of indexes, instead of the user. @default false */
  hashUserIds?: boolean | undefined;
  /** The maximum number of sessions of a user (the index `user`), or a function of the session. */
  maxSessionsOf?: number | SessionLimit<T> | undefined;
  /**
   * Handling of a new session of a user who has `maxSessionsOf` sessions. `'destroy-oldest'`: the oldest ones are
   * destroyed. `'reject'`: its save fails with `ERR_SESSION_LIMIT`. @default 'destroy-oldest'
   */
  onSessionLimit?: 'destroy-oldest' | 'reject' | undefined;
  /**
   * Returns when the user of a session has authenticated, for the `notBefore` of `destroyAllOf`.
   * @default (session) => session.authenticatedAt
   */
  authenticatedAt?: AuthenticationTime<T> | undefined;
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

/** The sessions of the user of a request, as `forRequest` returns them. */
export interface RequestSessions<T extends SessionData = SessionData> {
  list(): Promise<(UserSession<T> & { current: boolean })[]>;
  /** Destroys one session. Returns false if the user has no session with this `handle`. */
  destroy(handle: string): Promise<boolean>;
  /** Destroys all sessions but that of the request, and returns how many. */
  destroyOthers(): Promise<number>;
  /** Destroys all sessions, and returns how many. */
  destroyAll(): Promise<number>;
}

/** A session of a user, as `sessionsOf` yields it. */
export interface UserSession<T extends SessionData = SessionData> {
  /** Identifies the session without giving access to it: a hash of its id, which a page may contain. */
  handle: string;
  /** The session; `null` if it cannot be read, and `error` says why. */
  session: T | null;
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
export type ResolveConflict<T extends SessionData = SessionData> = {
  resolve(base: T | null, theirs: T, mine: T): T | Promise<T>;
}['resolve'];

/**
 * An error that this package creates. Events always pass one. An operation can also fail with a value that your own
 * function threw, and with an {@link OptionError} for a bad argument, so its error is `unknown`. It never contains a
 * password, session data or a session id, nor does its `cause`.
 */
export class RedisStoreError extends Error {
  /** For tests of error handlers. By default, `retryable` depends on the code. */
  constructor(message: string, details: RedisStoreErrorDetails);
  name: string;
  code: ErrorCode;
  /** The operation that failed; absent in events. */
  operation?: string;
  /** The host, or the path of the socket, of the server that failed, if it is known. */
  address?: string;
  port?: number;
  /** The number of failed attempts to connect, or to run the command. */
  attempts?: number;
  /** True if the same call may succeed later. */
  retryable: boolean;
  /** The first word of the server's reply; with `ERR_REDIS_REPLY`. */
  reply?: string;
  /** The index at which the stored text ceases to be valid JSON; with `ERR_SESSION_CORRUPT`. */
  position?: number;
  /** With an `error` event: the number of events with the same code that were left out since the last one. */
  suppressed?: number;
  cause?: ErrorCause;
  /** Returns all properties but the stack. */
  toJSON(): Record<string, unknown>;
}

/** The reason for the last failure. */
export interface ErrorCause extends Error {
  /** Node's code, such as `ECONNREFUSED`, `ENOTFOUND` or `CERT_HAS_EXPIRED`, or that of another error of this package. */
  code?: string;
  /** The first word of the server's error reply, such as `LOADING`. */
  reply?: string;
  address?: string;
  port?: number;
  syscall?: string;
}

/** The properties of a {@link RedisStoreError}. */
export interface RedisStoreErrorDetails {
  code: ErrorCode;
  operation?: string | undefined;
  address?: string | undefined;
  port?: number | undefined;
  attempts?: number | undefined;
  retryable?: boolean | undefined;
  reply?: string | undefined;
  position?: number | undefined;
  cause?: Error | undefined;
}

/** The error of a bad option or argument: a `TypeError` or a `RangeError`. */
export interface OptionError extends Error {
  code: 'ERR_INVALID_ARG_TYPE' | 'ERR_INVALID_ARG_VALUE' | 'ERR_OUT_OF_RANGE';
}

/** The message of the events on `connect-redis-native:connect`: one attempt to connect. */
export interface ConnectContext {
  /** The host or the path of the socket; with Sentinel, known once the attempt has succeeded. */
  serverAddress: string | undefined;
  serverPort: number | undefined;
  database: number | undefined;
  /** 1 for the first attempt since the connection was lost. */
  attempt: number;
  transport: 'native' | 'client';
  error?: RedisStoreError;
}

/** The message of the channel `connect-redis-native:connection:ready`. */
export interface ConnectionReadyMessage {
  /** The host or the path of the socket; undefined for the app's client, as are the port and the database. */
  serverAddress: string | undefined;
  serverPort: number | undefined;
  database: number | undefined;
  transport: 'native' | 'client';
  /** The version of the server, if it reports one. */
  version: string | undefined;
}

/** The message of the channel `connect-redis-native:connection:closed`. */
export interface ConnectionClosedMessage extends Omit<ConnectionReadyMessage, 'version'> {
  reason: string;
  /** Set if the connection was lost rather than closed. */
  error?: RedisStoreError;
}

/** The message of the channels `connect-redis-native:cache:invalidation` and `:eviction`. */
export interface CacheMessage {
  sessionHash: string;
}

/** The error of a save with `onConflict: 'reject'`, and with `'merge'` if the versions cannot be merged. */
export interface SessionConflictError extends RedisStoreError {
  code: 'ERR_SESSION_CONFLICT';
  /** The stored session, if it can be read. Not enumerable, so that loggers skip it. */
  stored?: SessionData;
}

/** Options of `get`, `all`, `ids`, `length` and `clear`, in the place of the callback or before it. */
export interface OperationOptions {
  /**
   * Aborts the operation: it fails at once with the signal's reason, or an `AbortError` instead of a falsy one. If the
   * signal is aborted already, nothing is sent. An aborted `clear` deletes no more than the sessions whose deletion is
   * in flight, usually one `scanCount`; those that it has deleted stay deleted.
   */
  signal?: AbortSignal | undefined;
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
export type ScanEntry<T extends SessionData = SessionData> =
  | {
      id: string;
      session: T;
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

/**
 * The message of all events of an operation on the channels `connect-redis-native:get`, `:set`, `:touch`, `:destroy`,
 * `:scan` (`all`, `ids`, `length` and each page of `scan`) and `:clear`; see docs/observability.md. Subscribers may add
 * properties.
 */
export interface OperationContext {
  readonly operation: 'get' | 'set' | 'touch' | 'destroy' | 'all' | 'ids' | 'length' | 'scan' | 'clear';
  /**
   * Names the session without giving access to it; computed when it is read. `undefined` if the operation has no valid
   * id.
   */
  readonly sessionHash: string | undefined;
  /**
   * The configured server, or the path of its socket; at `asyncEnd`, the one that served. `undefined` if it is not
   * known.
   */
  readonly serverAddress: string | undefined;
  readonly serverPort: number | undefined;
  readonly database: number | undefined;
  readonly transport: 'native' | 'client';
  /** The source of the result of `get`; `undefined` without the option `cache`, unless it shared the command of another read. */
  readonly cache: 'hit' | 'miss' | 'shared' | undefined;
  /** The number of times that its command was sent: 1 without a retry, 0 if none was sent; summed over the steps of an operation. */
  readonly attempts: number;
  /** The error that the operation fails with, from the event `error` on. */
  readonly error: unknown;
}

/** The message of the events on `connect-redis-native:command`: the first command of an operation. */
export interface CommandContext {
  readonly command: string;
  /** The name of the command, and `'?'` for each argument. */
  readonly args: readonly string[];
  readonly database: number | undefined;
  readonly serverAddress: string | undefined;
  readonly serverPort: number | undefined;
  readonly error?: unknown;
}

/** An event of a session. The session's id is a non-enumerable property, which loggers skip. */
export interface SessionEvent<Operation extends string = string> {
  /** The operation that noticed or caused it. */
  readonly operation: Operation;
  /** The name of the session in logs and traces; see `sessionHashKey`. */
  readonly sessionHash: string;
  /** The id of the session: a secret, which gives access to it (not enumerable). */
  readonly id: string;
}

/** A session ended. */
export interface SessionExpiredEvent extends SessionEvent<'get' | 'set' | 'touch'> {
  /** It was not used (`idle`), or its `maxLifetime` was over (`absolute`). */
  readonly reason: 'idle' | 'absolute';
}

/** Another request had changed the session that was to be saved. */
export interface SessionConflictEvent extends SessionEvent<'set'> {
  /** The save failed; or it stored both versions merged, or the result of the `onConflict` function. */
  readonly resolution: 'rejected' | 'merged' | 'function';
}

/** The arguments of the listeners of a store, by event. */
export interface RedisStoreEvents {
  /** The connection is ready, for the first time or again. */
  ready: [];
  /** The connection was lost; `reason` says why. The store reconnects. */
  reconnecting: [reason: RedisStoreError];
  /**
   * An attempt to connect failed; the store tries again. On a ready connection: the cache is off (`ERR_CACHE_OFF`), or
   * the server rejected new credentials. Without a listener, the event is ignored rather than thrown. Of events with
   * the same `code`, the first is emitted, then one every 10 seconds, with the number left out as `suppressed`; a ready
   * connection starts over.
   */
  error: [error: RedisStoreError];
  /** With `onUnavailable: 'sessionless'`: Redis has been unreachable for one second. */
  disconnect: [];
  /** With `onUnavailable: 'sessionless'`: Redis is back. */
  connect: [];
  /** A new session was stored for the first time. */
  created: [event: SessionEvent<'set'>];
  /** A session was destroyed. */
  destroyed: [event: SessionEvent<'destroy'>];
  /** A session that this store has read or written was found gone after its end. */
  expired: [event: SessionExpiredEvent];
  /** A save was discarded: the session was destroyed after it was loaded or last saved. */
  discarded: [event: SessionEvent<'set'>];
  /** A session to be saved had been changed by another request (`onConflict`). */
  conflict: [event: SessionConflictEvent];
}

/** The listener of an event of a store, or of an event of the app. */
export type RedisStoreListener<Name> = (
  // biome-ignore lint/suspicious/noExplicitAny: the arguments of the app's events
  ...args: Name extends keyof RedisStoreEvents ? RedisStoreEvents[Name] : any[]
) => void;

/** The result of `all`: the sessions, each with its `id`. */
export interface Sessions<T extends SessionData = SessionData> extends Array<T & { id: string }> {
  /**
   * The number of records under the prefix that were skipped because they cannot be read as sessions
   * (not enumerable).
   */
  readonly corrupt: number;
}

/** The callback of an operation. Receives an error, or `null` and the result. */
export type Callback<Result> = (error?: unknown, result?: Result | null) => void;

/** The return value of a callback. */
// biome-ignore lint/suspicious/noExplicitAny: it may return anything
type Returned = any;

/** `Result` for calls without a callback. As a type parameter of the methods, callers would decide it. */
// biome-ignore lint/suspicious/noExplicitAny: for overrides; see the class
type Unless<None, Result> = None extends OperationOptions | undefined ? Result : any;

/** Returns the class, like `require('connect-redis')(session)` up to version 6. */
export function RedisStore(session: (...args: never[]) => unknown): typeof RedisStore;
/**
 * A session store for express-session. It stores sessions in Redis in the same format as connect-redis, byte for
 * byte. Every method accepts a callback and returns a promise.
 */
// biome-ignore lint/suspicious/noRedeclare: ambient functions and classes merge
export class RedisStore<T extends SessionData = SessionData> extends Store {
  /**
   * Creates a store and connects in the background; operations wait for the connection.
   * @throws {TypeError | RangeError} with a `code`, if an option is invalid.
   */
  constructor(options?: RedisStoreOptions<T>);

  /**
   * The state of the connection: `'connecting'` for the first time, `'ready'`, `'reconnecting'` after it was lost, or
   * `'closed'` after `close()` and while your client is closed.
   */
  readonly status: Status;

  /** The transport that runs the commands; see the option. May change to `'client'` at the first TLS handshake. */
  readonly transport: 'native' | 'client';

  // The events that a store emits, and those of the app, whose arguments are its own.
  on<Name extends string | symbol>(event: Name, listener: RedisStoreListener<Name>): this;
  once<Name extends string | symbol>(event: Name, listener: RedisStoreListener<Name>): this;
  off<Name extends string | symbol>(event: Name, listener: RedisStoreListener<Name>): this;
  addListener<Name extends string | symbol>(event: Name, listener: RedisStoreListener<Name>): this;
  removeListener<Name extends string | symbol>(event: Name, listener: RedisStoreListener<Name>): this;
  prependListener<Name extends string | symbol>(event: Name, listener: RedisStoreListener<Name>): this;
  prependOnceListener<Name extends string | symbol>(event: Name, listener: RedisStoreListener<Name>): this;
  emit<Name extends string | symbol>(event: Name, ...args: Parameters<RedisStoreListener<Name>>): boolean;

  /** The client passed as an option. */
  // biome-ignore lint/suspicious/noExplicitAny: its methods are those of the app's client
  readonly client: any;
  /**
   * The key prefix. The store reads this and the next five fields for each operation, as connect-redis does. You can
   * define them as class fields or accessors of a subclass, or as accessors on the store, for example to use one
   * prefix per tenant.
   */
  prefix: string;
  ttl: number | Lifetime<T>;
  scanCount: number;
  serializer: Serializer<T>;
  disableTTL: boolean;
  disableTouch: boolean;
  readonly onConflict: 'overwrite' | 'reject' | 'merge' | ResolveConflict<T>;
  readonly touchAfter: number;
  readonly idleTimeout: number | Lifetime<T> | undefined;
  readonly maxLifetime: number | Lifetime<T> | undefined;
  readonly createdAtKey: string | undefined;
  readonly saveDestroyed: boolean;

  /**
   * Returns the lifetime of a session in seconds, based on `ttl` and the cookie's expiry. Your subclass can override
   * it. `_getTTL`, its name in connect-redis up to version 8, works as well.
   */
  protected getTTL(session: T): number;

  // With a callback, the promise fulfils with the callback's return value, as in connect-redis. The type parameters of
  // the overloads are never passed: TypeScript takes them for `any` when it compares an override, and the result with
  // them, so a subclass written for connect-redis, where everything is `any`, compiles.

  /**
   * Reads a session; the result is `null` if there is none. `cookie.expires` is the current expiry, including later
   * touches.
   */
  get<None extends OperationOptions | undefined = undefined>(
    sid: string,
    callback?: None,
  ): Promise<Unless<None, T | null>>;
  get<Options extends OperationOptions | undefined>(
    sid: string,
    options: Options,
    callback: Callback<T>,
  ): Promise<Returned>;
  get(sid: string, callback?: Callback<T>): Promise<Returned>;

  /**
   * Saves a session with its lifetime; destroys it if the lifetime is 0 or less. If the session was loaded or saved
   * under this id and has been destroyed or has expired since, the save is discarded: the result is `'discarded'`, and
   * the event of that name follows. With `saveDestroyed`, it is saved.
   */
  set<None extends undefined = undefined>(
    sid: string,
    session: T,
    callback?: None,
  ): Promise<Unless<None, null | 'discarded'>>;
  set(sid: string, session: T, callback?: Callback<null | 'discarded'>): Promise<Returned>;

  /** Renews the lifetime of a stored session without rewriting it. */
  touch<None extends undefined = undefined>(
    sid: string,
    session: T,
    callback?: None,
  ): Promise<Unless<None, void>>;
  touch(sid: string, session: T, callback?: Callback<null>): Promise<Returned>;

  /** Deletes a session. Succeeds also if there is none. */
  destroy<None extends undefined = undefined>(sid: string, callback?: None): Promise<Unless<None, void>>;
  destroy(sid: string, callback?: Callback<null>): Promise<Returned>;

  /**
   * Reads every session under the prefix. Skips records that cannot be read as sessions and counts them in the
   * result's `corrupt`.
   */
  all<None extends OperationOptions | undefined = undefined>(
    callback?: None,
  ): Promise<Unless<None, Sessions<T>>>;
  all<Options extends OperationOptions | undefined>(
    options: Options,
    callback: Callback<Sessions<T>>,
  ): Promise<Returned>;
  all(callback?: Callback<Sessions<T>>): Promise<Returned>;

  /** Returns the ids of all sessions under the prefix. */
  ids<None extends OperationOptions | undefined = undefined>(
    callback?: None,
  ): Promise<Unless<None, string[]>>;
  ids<Options extends OperationOptions | undefined>(
    options: Options,
    callback: Callback<string[]>,
  ): Promise<Returned>;
  ids(callback?: Callback<string[]>): Promise<Returned>;

  /** Counts the sessions under the prefix. */
  length<None extends OperationOptions | undefined = undefined>(
    callback?: None,
  ): Promise<Unless<None, number>>;
  length<Options extends OperationOptions | undefined>(
    options: Options,
    callback: Callback<number>,
  ): Promise<Returned>;
  length(callback?: Callback<number>): Promise<Returned>;

  /** Deletes every session under the prefix, and nothing else. */
  clear<None extends OperationOptions | undefined = undefined>(callback?: None): Promise<Unless<None, void>>;
  clear<Options extends OperationOptions | undefined>(
    options: Options,
    callback: Callback<null>,
  ): Promise<Returned>;
  clear(callback?: Callback<null>): Promise<Returned>;

  /**
   * Iterates over all sessions under the prefix, or those whose ids match, using constant memory: each page is read
   * when the previous one is used up. Yields every session that exists throughout the iteration exactly once. Leaving
   * the loop ends the iteration.
   */
  scan(options?: ScanOptions): AsyncGenerator<ScanEntry<T>, void, undefined>;

  /**
   * Iterates over the live sessions of a user, in pages. Needs the option `userId`, as the next methods do; see
   * docs/user-sessions.md.
   */
  sessionsOf(user: UserId, options?: UserSessionsOptions): AsyncGenerator<UserSession<T>, void, undefined>;

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
  updateAllOf(user: UserId, change: ChangeOfSession<T>, options?: UserSessionsOptions): Promise<number>;

  /**
   * Returns operations on the sessions of the user of a request, with the session of the request marked as `current`. A
   * request without a user has no sessions.
   */
  forRequest(request: object): RequestSessions<T>;

  /**
   * Adds the sessions to the indexes that were stored without `userId`, or by connect-redis. Returns the number of
   * sessions with a user.
   */
  reindex(options?: { signal?: AbortSignal | undefined }): Promise<number>;

  /** Returns the statistics of the store. They stay available after it is closed. */
  stats(): StoreStats;

  /**
   * Returns the name of a session in the store's logs, traces and events, for those of your own. It identifies the
   * session without giving access to it; see `sessionHashKey`.
   */
  sessionHash(sid: string): string;

  /** Returns the cache statistics, which are part of `stats()`; `null` without the option `cache`. */
  cacheStats(): CacheStats | null;

  /**
   * Waits for pending operations, then disconnects, unless another store shares the connection. Does not close the
   * client that you passed. Later operations fail with `ERR_STORE_CLOSED`. You can call it more than once.
   */
  close(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

export default RedisStore;
