import { type SessionData, Store } from 'express-session';

/** How sessions become the strings that Redis stores. */
export interface Serializer {
  /**
   * Turns a stored string into a session; may be asynchronous. Whatever it throws or rejects with is
   * the error of the operation that called it.
   */
  parse(text: string): SessionData | Promise<SessionData>;
  /**
   * Turns a session into what is stored, a string or bytes; synchronous. `parse` gets bytes as a string, decoded from
   * UTF-8.
   */
  stringify(session: SessionData): string | Uint8Array;
}

/**
 * A live client whose settings are read: node-redis 4 to 6 (`createClient`), ioredis 4 to 6
 * (`new Redis()`), iovalkey, valkey-glide 2. The store opens a connection of its own with the client's
 * address, path, database, user, password (or `credentialsProvider`), TLS settings, key prefix and time
 * limits. Where those cannot be carried over, as with a mock or with functions among the settings, and with any
 * other object that has `sendCommand(args)`, `call(command, ...args)` or `customCommand(args)`, commands are run
 * on the client itself: see `transport`.
 */
// biome-ignore lint/suspicious/noExplicitAny: clients of many packages and versions, none of which this one depends on
export type RedisClient = any;

/** Bounds of what is kept in this process; whole numbers above 0. */
export interface CacheOptions {
  /** Bytes of all that is kept, keys and overhead included. @default 67108864 */
  maxBytes?: number | undefined;
  /** Sessions. @default 1000000 */
  maxEntries?: number | undefined;
  /** Milliseconds for which a server that is not heard is taken at its last word. @default 2000 */
  maxStaleness?: number | undefined;
}

/** Counted since the connection was made, for all stores that share it. */
export interface CacheStats {
  /** Reads answered in this process. */
  hits: number;
  /** Reads of sessions that were not kept. */
  misses: number;
  /** Messages of Redis about changes. */
  invalidations: number;
  /** Sessions that are kept. */
  entries: number;
  /** What they take. */
  bytes: number;
  /** Sessions that made room for others. */
  evictions: number;
  /** Reads that went to Redis though the session was kept, since Redis had not been heard for `maxStaleness`. */
  distrusted: number;
}

/** An option that is `undefined` counts as left out, as in `url: process.env.REDIS_URL`. */
export interface RedisStoreOptions {
  /**
   * The Redis client of the app. Its settings are read when the store is made, so select the database
   * in the client's options rather than with a later `SELECT`. When the client ends (`quit`, `close`,
   * `destroy`), so does the store; valkey-glide and some others do not tell (docs/clients.md). Not to be combined
   * with `url` and whatever else says where Redis is.
   */
  client?: RedisClient;
  /**
   * Where Redis is, for apps that need no JavaScript client:
   * - `redis[s]://[[user]:password@]host[:port][/database]`
   * - `redis+unix:///path/to/socket[?db=N&user=U&pass=P]`, or `unix:` for short
   * - `redis[s]+sentinel://[[user]:password@]host[:port],host[:port]/name[/database]`: the primary that
   *   these sentinels watch under that name; user, password and TLS are the primary's (for those of the sentinels,
   *   there is `sentinel`)
   * - `redis[s]+cluster://[[user]:password@]host[:port],host[:port][/database]`: the cluster of these nodes
   * @default 'redis://127.0.0.1:6379'
   */
  url?: string | URL | undefined;
  /** The primary that sentinels watch; it is followed when they make another. Instead of `url`. */
  sentinel?: SentinelOptions | undefined;
  /** Some nodes of a cluster, from which the others are learnt. Instead of `url`. */
  cluster?: Address[] | ClusterOptions | undefined;
  /** The ACL user of the servers, beside `sentinel` or `cluster`. @default Redis's `default` user */
  username?: string | undefined;
  /** The password of the servers, beside `sentinel` or `cluster`. */
  password?: string | undefined;
  /** The database, beside `sentinel` or `cluster` (Valkey 9 and later); from 0 to 4294967295. A `url` has its own. @default 0 */
  database?: number | undefined;
  /**
   * Where sessions are read in a cluster. `'replica-preferred'`: from a replica, where one is connected and
   * does not put reads off, as one does that loads its data. A replica is behind its primary by the replication's
   * delay: a request that follows another closely may see the session as it was before. Refused with a TypeError
   * where Redis is no cluster. @default 'primary'
   */
  readFrom?: 'primary' | 'replica-preferred' | undefined;
  /**
   * By what commands are run: `'native'`, a connection of the store's own with the client's settings; or
   * `'client'`, the client itself, by its `sendCommand`, `call` or `customCommand`. A `TypeError` if that
   * cannot be: settings that cannot be carried over, or no client.
   * @default 'native' where the client's settings can be carried over, else 'client'
   */
  transport?: 'native' | 'client' | undefined;
  /**
   * TLS settings in the words of Node's `tls.connect`, for any server but a `client`'s; `true` for the defaults, as
   * does `rediss://`. Where `ca` is left out, the system's roots are trusted, and what Node trusts: its own roots, and
   * those of `NODE_EXTRA_CA_CERTS`.
   */
  tls?: boolean | TlsOptions | undefined;
  /**
   * Called for each attempt to connect, in place of `username` and `password`: for passwords that change. What it
   * throws or rejects with, or nothing within `connectTimeout`, fails the attempt (`ERR_CREDENTIALS`); another follows.
   */
  credentials?: (() => Credentials | Promise<Credentials>) | undefined;
  /**
   * How long one attempt to connect may take, in milliseconds. Beside an attempt that hangs for 750, another
   * one is begun. @default the client's own, else 5000
   */
  connectTimeout?: number | undefined;
  /**
   * How long an operation may take, in milliseconds: waiting for a connection and being sent again after
   * a lost one included. Those on all sessions take as long as they need; this is for each of their steps.
   * @default the client's own, else 5000
   */
  commandTimeout?: number | undefined;
  /**
   * How many operations may wait while there is no connection; more fail at once with
   * `ERR_REDIS_QUEUE_FULL`. In a cluster: those that a node which is away would have to serve. @default 20000
   */
  maxQueue?: number | undefined;
  /**
   * What becomes of requests while Redis is away. `'error'`: they wait and fail by `commandTimeout`.
   * `'sessionless'`: once the connection has been away for one second, express-session runs them without
   * `req.session`, by its events `disconnect` and `connect`. @default 'error'
   */
  onUnavailable?: 'error' | 'sessionless' | undefined;
  /**
   * Whether sessions that were read are kept in this process, coherent with all others by Redis's client tracking
   * (RESP3). A session that is kept is given in the same tick: the callback runs before `get` returns. Where the
   * server cannot tell of changes, the store works without, and an 'error' event says `ERR_CACHE_OFF`. Refused with a
   * TypeError where a cluster's replicas are read, or the client itself runs the commands. @default false
   */
  cache?: boolean | CacheOptions | undefined;
  /** What the keys of sessions start with; taken literally, whatever characters it has. @default 'sess:' */
  prefix?: string | undefined;
  /**
   * The lifetime, in seconds, of sessions whose cookie has no expiry; may be fractional. Or a
   * function that gives the lifetime of a session in seconds, which then rules alone. A lifetime of
   * 0 or less destroys the session. `0` as the option means the default.
   * @default 86400
   */
  ttl?: number | ((session: SessionData) => number) | undefined;
  /** Leaves the lifetime as the last `set` made it: `touch` does nothing. @default false */
  disableTouch?: boolean | undefined;
  /** Stores sessions without a lifetime; `touch` does nothing. @default false */
  disableTTL?: boolean | undefined;
  /** @default JSON */
  serializer?: Serializer | undefined;
  /**
   * The `COUNT` of the `SCAN` commands behind `ids`, `all`, `length`, `clear` and `scan`. Left out, it is
   * 1000, though the field says 100 as connect-redis's does. @default 100
   */
  scanCount?: number | undefined;
  /**
   * What a save does if the stored session has changed since this request loaded it; see
   * docs/sessions.md. `'overwrite'`: nothing, the last save wins. `'reject'`: it fails with
   * `ERR_SESSION_CONFLICT` ({@link SessionConflictError}). `'merge'`: top-level keys that this request did
   * not change keep their stored value; needs the default `serializer`. Or a function that gives the
   * session to store. In any case the cookie is that of this request. @default 'overwrite'
   */
  onConflict?: 'overwrite' | 'reject' | 'merge' | ResolveConflict | undefined;
  /**
   * Touches of a session that come closer together than this, in seconds, are answered at once and not
   * sent. Never more than half of a session's lifetime, which may so end that much earlier. @default 0
   */
  touchAfter?: number | undefined;
  /**
   * Lets a save bring back a session that was destroyed since it was loaded, as connect-redis does. By
   * default such a save does nothing but emit `discarded`. @default false
   */
  saveDestroyed?: boolean | undefined;
}

/**
 * Decides upon a conflict. `base` is what this request loaded (null if it did not), `theirs` what is stored,
 * `mine` what it saves. Its result is stored if nothing has changed again; else it is asked again.
 */
export type ResolveConflict = (
  base: SessionData | null,
  theirs: SessionData,
  mine: SessionData,
) => SessionData | Promise<SessionData>;

/**
 * An error of this package's own, as events have it. An operation also fails with what an app's function threw: hence
 * its `unknown`.
 */
export interface RedisStoreError extends Error {
  code: ErrorCode;
  /** The first word of the server's answer, with `ERR_REDIS_REPLY`. */
  reply?: string;
  /** Where a text is not JSON, with `ERR_SESSION_CORRUPT`. */
  position?: number;
}

/** What `onConflict: 'reject'` fails with, and `'merge'` where there is nothing to merge. */
export interface SessionConflictError extends RedisStoreError {
  code: 'ERR_SESSION_CONFLICT';
  /** The session that is stored, if it can be read. Not enumerable, so that it gets into no log. */
  stored?: SessionData;
}

export interface ScanOptions {
  /** The `COUNT` of the `SCAN` commands; 0 means the default. @default the store's `scanCount` */
  count?: number | undefined;
  /** A glob that ids must match, as Redis's `MATCH`. @default '*' */
  match?: string | undefined;
  /** Ends the iteration with the signal's reason. */
  signal?: AbortSignal | undefined;
}

/** What `scan` gives for each session. */
export type ScanEntry =
  | {
      id: string;
      session: SessionData;
      /** Seconds that it has left; null without an end. */
      ttl: number | null;
      error?: undefined;
    }
  /** A record that cannot be read as a session, or is no object; `error` has a `code` if it is not the app's. */
  | { id: string; session: null; ttl: number | null; error: unknown };

/**
 * `'host:port'` or its parts, without a scheme, user and password. The port defaults to 6379, of sentinels to 26379.
 */
export type Address = string | { host: string; port?: number | undefined };

/** From `'host:port'` as the servers announce themselves to where this process reaches them. */
export type NatMap = Record<string, Address>;

export interface SentinelOptions {
  /** What the sentinels call the primary. */
  name: string;
  /** Some sentinels; the others are learnt from them. */
  addresses: Address[];
  /** The sentinels' own ACL user, password and TLS settings: those of the servers do not count here. */
  username?: string | undefined;
  password?: string | undefined;
  tls?: boolean | TlsOptions | undefined;
  natMap?: NatMap | undefined;
}

export interface ClusterOptions {
  addresses: Address[];
  natMap?: NatMap | undefined;
}

/** The settings of Node's `tls.connect` that are taken over. PEM, as strings or Buffers. */
export interface TlsOptions {
  ca?: Pem | Pem[] | undefined;
  cert?: Pem | Pem[] | undefined;
  /** The key of `cert`, not encrypted. */
  key?: Pem | Pem[] | undefined;
  /** The name that the server's certificate must have. @default the host */
  servername?: string | undefined;
  /** @default true */
  rejectUnauthorized?: boolean | undefined;
}

type Pem = string | Uint8Array;

/** Who to be for Redis. */
export interface Credentials {
  /** An ACL user. @default Redis's `default` user */
  username?: string | undefined;
  password: string;
  /**
   * When they cease to be valid (a Date, or milliseconds since 1970): shortly before, the function is
   * called again and the connection authenticates anew; five seconds later, if they have ceased already.
   * `Infinity` is for ever.
   */
  expiresAt?: Date | number | undefined;
}

/** See `store.status`. */
export type Status = 'connecting' | 'ready' | 'reconnecting' | 'closed';

/** The codes of the errors that this package makes; see docs/errors.md for what to do about each. */
export type ErrorCode =
  /** An option or argument has the wrong type (a `TypeError`). */
  | 'ERR_INVALID_ARG_TYPE'
  /** An option or argument has a value that cannot be used (a `TypeError`). */
  | 'ERR_INVALID_ARG_VALUE'
  /** A number is out of its range (a `RangeError`). */
  | 'ERR_OUT_OF_RANGE'
  /**
   * There was no connection to Redis by the operation's deadline, or what was sent was put off or hung up on again
   * and again; or the app's client, where it runs the commands, failed.
   */
  | 'ERR_REDIS_UNAVAILABLE'
  /** Redis, or an earlier save of the session with `onConflict`, did not answer by the operation's deadline. */
  | 'ERR_REDIS_TIMEOUT'
  /** There was no connection to Redis, and `maxQueue` operations waited for one already. */
  | 'ERR_REDIS_QUEUE_FULL'
  /** The `credentials` function failed, or gave what cannot be used. */
  | 'ERR_CREDENTIALS'
  /** Redis answered with an error; `reply` is its first word, such as `WRONGTYPE`. */
  | 'ERR_REDIS_REPLY'
  /** A stored session is not valid JSON; `position` says where, as an index into the text. */
  | 'ERR_SESSION_CORRUPT'
  /** A function of the app failed without an error, or gave a promise that was not settled in time. */
  | 'ERR_APP_FUNCTION'
  /** The session was not saved, since it has changed since it was loaded; see `onConflict`. */
  | 'ERR_SESSION_CONFLICT'
  /** In an `error` event: the server does not tell what changes, so nothing is cached. */
  | 'ERR_CACHE_OFF'
  /** The store was closed, or its client is closed or has given up reconnecting; see the message. */
  | 'ERR_STORE_CLOSED'
  /** When the package is loaded: its binary is not there, or cannot be loaded. */
  | 'ERR_DLOPEN_FAILED'
  /** A defect of this package. */
  | 'ERR_INTERNAL';

/** What `all` gives: the sessions, each with its `id`. */
export interface Sessions extends Array<SessionData & { id: string }> {
  /**
   * How many records under the prefix were left out since they cannot be read as sessions
   * (not enumerable).
   */
  readonly corrupt: number;
}

/** A callback of an operation: gets an error, or `null` and the result. */
export type Callback<Result> = (error?: unknown, result?: Result | null) => void;

/** `Result` for calls without a callback. As a type parameter of the methods, callers would decide it. */
// biome-ignore lint/suspicious/noExplicitAny: for overrides; see the class
type Unless<None, Result> = None extends undefined ? Result : any;

/** Returns the class, as `require('connect-redis')(session)` does up to version 6. */
export function RedisStore(session: (...args: never[]) => unknown): typeof RedisStore;
/**
 * A session store for express-session that keeps sessions in Redis, byte for byte as connect-redis
 * does. Every method takes a callback and returns a promise.
 */
// biome-ignore lint/suspicious/noRedeclare: ambient functions and classes merge
export class RedisStore extends Store {
  /**
   * Opens the connection in the background; operations wait for it.
   * @throws {TypeError | RangeError} with a `code` if an option cannot be used.
   */
  constructor(options?: RedisStoreOptions);

  /**
   * What the connection is doing: `'connecting'` for the first time, serving, or coming back after a loss. `'closed'`
   * after `close()`, and while the app's client is closed.
   */
  readonly status: Status;

  /** Which transport runs the commands. See the `transport` option; may become `'client'` at the first TLS handshake. */
  readonly transport: 'native' | 'client';

  /** The connection serves, for the first time or again. */
  on(event: 'ready', listener: () => void): this;
  /** The connection was lost (why), and is being made again. */
  on(event: 'reconnecting', listener: (reason: RedisStoreError) => void): this;
  /**
   * An attempt to connect failed; another follows. Or, on a connection that serves: nothing can be cached
   * (`ERR_CACHE_OFF`), or new credentials were refused. Never thrown when nobody listens.
   */
  on(event: 'error', listener: (error: RedisStoreError) => void): this;
  /** With `onUnavailable: 'sessionless'`: Redis has been away for a while; and: it is back. */
  on(event: 'disconnect' | 'connect', listener: () => void): this;
  /** A save did nothing, since the session had been destroyed since it was loaded, or saved before. */
  on(event: 'discarded', listener: (event: { operation: 'set'; id: string }) => void): this;
  on(event: string | symbol, listener: (...args: never[]) => void): this;

  /** The client given as an option. */
  readonly client: RedisClient | undefined;
  /**
   * This and the next five are read for each operation, as in connect-redis: they may be class fields or accessors of a
   * subclass, or accessors defined on the store, such as a prefix for the tenant of the request.
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
   * The lifetime of a session in seconds, by `ttl` and the cookie's expiry. An override of a subclass decides instead
   * of them. `_getTTL`, its name in connect-redis up to version 8, works as well.
   */
  protected getTTL(session: SessionData): number;

  // With a callback, the promise fulfils with what that returns, as connect-redis's does. The type parameter of the first
  // overloads is never passed: TypeScript takes it for `any` when it compares an override, and the result with it, so a
  // subclass written for connect-redis, where everything is `any`, compiles.

  /**
   * Reads a session; `null` if there is none. Its `cookie.expires` is the expiry in force, which a `touch`
   * moves.
   */
  get<None extends undefined = undefined>(
    sid: string,
    callback?: None,
  ): Promise<Unless<None, SessionData | null>>;
  // biome-ignore lint/suspicious/noExplicitAny: what a callback returns is the app's
  get(sid: string, callback?: Callback<SessionData>): Promise<any>;

  /**
   * Stores a session and its lifetime; destroys it if that is 0 or less. Discards the save of a session that was
   * loaded from this id, or saved under it, and was destroyed or expired since: the result is `'discarded'` then, and
   * the event of that name follows. With `saveDestroyed`, it is stored.
   */
  set<None extends undefined = undefined>(
    sid: string,
    session: SessionData,
    callback?: None,
  ): Promise<Unless<None, null | 'discarded'>>;
  // biome-ignore lint/suspicious/noExplicitAny: what a callback returns is the app's
  set(sid: string, session: SessionData, callback?: Callback<null | 'discarded'>): Promise<any>;

  /** Gives a stored session its lifetime anew, without changing the session. */
  touch<None extends undefined = undefined>(
    sid: string,
    session: SessionData,
    callback?: None,
  ): Promise<Unless<None, null>>;
  // biome-ignore lint/suspicious/noExplicitAny: what a callback returns is the app's
  touch(sid: string, session: SessionData, callback?: Callback<null>): Promise<any>;

  /** Deletes a session; it is no error if there is none. */
  destroy<None extends undefined = undefined>(sid: string, callback?: None): Promise<Unless<None, null>>;
  // biome-ignore lint/suspicious/noExplicitAny: what a callback returns is the app's
  destroy(sid: string, callback?: Callback<null>): Promise<any>;

  /**
   * Reads every session under the prefix. Records that cannot be read as sessions are left out and
   * counted in the result's `corrupt`.
   */
  all<None extends undefined = undefined>(callback?: None): Promise<Unless<None, Sessions>>;
  // biome-ignore lint/suspicious/noExplicitAny: what a callback returns is the app's
  all(callback?: Callback<Sessions>): Promise<any>;

  /** The ids of all sessions under the prefix. */
  ids<None extends undefined = undefined>(callback?: None): Promise<Unless<None, string[]>>;
  // biome-ignore lint/suspicious/noExplicitAny: what a callback returns is the app's
  ids(callback?: Callback<string[]>): Promise<any>;

  /** How many sessions there are under the prefix. */
  length<None extends undefined = undefined>(callback?: None): Promise<Unless<None, number>>;
  // biome-ignore lint/suspicious/noExplicitAny: what a callback returns is the app's
  length(callback?: Callback<number>): Promise<any>;

  /** Deletes every session under the prefix, and nothing else. */
  clear<None extends undefined = undefined>(callback?: None): Promise<Unless<None, null>>;
  // biome-ignore lint/suspicious/noExplicitAny: what a callback returns is the app's
  clear(callback?: Callback<null>): Promise<any>;

  /**
   * Gives every session under the prefix, or those whose ids match, one by one: a page is read when the one
   * before is used up, so memory does not grow with their number. Each that is there all the while comes
   * once; leaving the loop ends it.
   */
  scan(options?: ScanOptions): AsyncGenerator<ScanEntry, void, undefined>;

  /** What the cache has done; `null` without the option `cache`. */
  cacheStats(): CacheStats | null;

  /**
   * Lets the operations under way finish, then closes the connection, if no other store shares it; the
   * client given as an option is not touched. Later operations fail with `ERR_STORE_CLOSED`. May be called again.
   */
  close(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

export default RedisStore;
