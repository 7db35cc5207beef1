// Shapes that several files of this folder share, and the types of its classes, which CommonJS modules export as values
// only. Checked by `npx tsc -p lib`; not part of the API.

// biome-ignore-all lint/suspicious/noExplicitAny: sessions, clients and results of callbacks are the app's

import type { AsyncResource } from 'node:async_hooks';
import type { RedisStoreErrorDetails, ResolveConflict, Serializer, TlsOptions } from '../index.js';
import type { CacheSettings, NatEntry, NodeAddress, StoreOptions } from './binding.js';

export type { NodeAddress, TlsOptions };

/** A client of any package and version; see lib/clients. */
export type RedisClient = any;

export type BulkRequest = InstanceType<typeof import('./session/all.js').BulkRequest>;
export type BulkOperations = InstanceType<typeof import('./session/bulk.js').BulkOperations>;
export type CacheReads = InstanceType<typeof import('./session/cache-reads.js').CacheReads>;
export type Command = InstanceType<typeof import('./backends/client/commands.js').Command>;
export type CompletionQueue = InstanceType<typeof import('./boundary/completions.js').CompletionQueue>;
export type Connection = InstanceType<typeof import('./connection/connection.js').Connection>;
export type Executor = InstanceType<typeof import('./backends/client/executor.js').Executor>;
export type Failure = InstanceType<typeof import('./backends/client/errors.js').Failure>;
export type Cause = InstanceType<typeof import('./backends/client/errors.js').Cause>;

/** The cause of an error: what Node's system errors have, and the server's reply. */
export interface CauseDetails {
  message: string;
  code?: string | undefined;
  reply?: string | undefined;
  address?: string | undefined;
  port?: number | undefined;
  syscall?: string | undefined;
}

/** The properties of a `RedisStoreError`. By default, `retryable` depends on the code. */
export type ErrorDetails = Omit<RedisStoreErrorDetails, 'cause'> & {
  cause?: Error | CauseDetails | undefined;
};

export type IndexKeys = InstanceType<typeof import('./user-index/index-keys.js').IndexKeys>;
export type KeyedQueue = InstanceType<typeof import('./session/keyed-queue.js').KeyedQueue>;
export type Keys = InstanceType<typeof import('./backends/client/keys.js').Keys>;
export type Lifetimes = InstanceType<typeof import('./session/lifetimes.js').Lifetimes>;
export type KnownEnds = InstanceType<typeof import('./session/known-ends.js').KnownEnds>;
export type KeyScan = InstanceType<typeof import('./backends/client/key-scan.js').KeyScan>;
export type Native = InstanceType<typeof import('./boundary/native.js').RedisStore>;
export type OperationTrace = InstanceType<typeof import('./observability/operation-trace.js').OperationTrace>;
export type Request = InstanceType<typeof import('./boundary/request.js').Request>;
export type SessionRegistry = InstanceType<typeof import('./session/session-registry.js').SessionRegistry>;
export type SessionContext = InstanceType<typeof import('./session/session-context.js').SessionContext>;
export type Sessions = InstanceType<typeof import('./session/sessions.js').Sessions>;
export type Settings = InstanceType<typeof import('./settings.js').Settings>;
export type Statistics = InstanceType<typeof import('./observability/stats.js').Statistics>;
export type StoreState = InstanceType<typeof import('./store-state.js').StoreState>;
export type Tracer = InstanceType<typeof import('./observability/operation-trace.js').Tracer>;

export type IndexedWrites = InstanceType<typeof import('./user-index/indexed-writes.js').IndexedWrites>;
export type UserSessions = InstanceType<typeof import('./user-index/user-sessions.js').UserSessions>;
export type UserIndex = InstanceType<typeof import('./user-index/user-index.js').UserIndex>;

export type Timer = { unref(): unknown };

/** Runs the operations of a store: `Outbox`, which submits them to the addon, or `ClientBackend`. */
export interface Backend {
  /** The name of the server in errors. */
  readonly server: string;
  /**
   * Adds a request, and returns what identifies it. `argument` is the lifetime in ms, 0 for none, or what identifies a
   * scan, or a request to abort; `base` the text that must be stored, for SET_IF_EQUAL; `since` the time of the call, by
   * `elapsed`, if it is not now.
   */
  add(
    operation: number,
    request: Receiver,
    id?: string,
    value?: Text,
    argument?: any,
    base?: Text,
    since?: number,
  ): unknown;
  /**
   * Adds a request for calls of a script, each on a key that belongs to no session, and with arguments. The replies come
   * as IDs, in the order of the calls.
   */
  addScript(request: Receiver, script: Script, calls: string[][], since?: number): void;
  /** Runs the requests added so far. */
  flush(): void;
  /** Opens a scan of the sessions whose ids match a glob; a `ScanKind` selects the content of its pages. */
  openScan(kind: number, match: string, scanCount?: number): Cursor;
  /** Uses a prefix for the requests that follow. */
  setPrefix(prefix: string): void;
  /** Calls `run` and returns its result. The requests that it adds use this prefix instead of the current one. */
  withPrefix<Result>(prefix: string, run: () => Result): Result;
  setScanCount(count: number): void;
  /** Uses a new connection, or the present one if operations are in flight. `watch` has to be called again. */
  reopen(): void;
  watch(watcher: Watcher): void;
  unwatch(): void;
  /** Returns the statistics of a client's connection; those of the addon are part of its own. */
  stats?(): ConnectionStats;
}

/** The statistics of a connection that are known. */
export type ConnectionStats = Partial<Omit<ReturnType<Native['stats']>, 'operations'>>;

/** An operation, or a part of it, that can end before it is complete. */
export interface Closable {
  close(): void;
}

/** The creation time and the deadline of a session that is saved. */
export type Creation = ReturnType<InstanceType<typeof import('./session/lifetimes.js').Lifetimes>['save']>;

/** A save as `set` has prepared it. `isTracked`: the object is the session of this id. */
export interface PreparedSave {
  sid: string;
  session: SessionObject;
  record: SessionRecord | undefined;
  isTracked: boolean;
  text: Text;
  ttl: number;
  creation: Creation | undefined;
  users: User[];
}

/** A script, and the name under which servers cache it. */
export interface Script {
  text: string;
  sha1: string;
}

/** An open scan. `number` identifies it in the requests for its pages. */
export interface Cursor extends Closable {
  readonly number: unknown;
}

/** Receives the events of a connection: from the addon as completions, from a client by `notify`. */
export interface Watcher extends Receiver {
  notify(event: string, error?: Error): void;
}

/** A fact that a connection reports to the debug log and the diagnostics channels; see core/src/observers.rs. */
export interface Observation {
  event: string;
  /** The name of the server in errors. */
  server?: string;
  serverAddress?: string | null;
  serverPort?: number | null;
  database?: number;
  attempt?: number;
  /** The name and the version of the server. */
  software?: [string, string] | null;
  reason?: string;
  /** The error, or its text in the addon's form. */
  error?: any;
  /** The id of a session, and its hash. */
  key?: string;
  sessionHash?: string;
  [detail: string]: unknown;
}

/** The arguments of a request's `complete`. */
export type Completion = Parameters<Receiver['complete']>;

/** Commands that a client runs for one request. `done` receives a reply, or a Failure, for each of them, once. */
export interface NewJob {
  /** The async context in which the commands are sent. */
  scope: AsyncResource & Traced;
  commands: Command[];
  done: (replies: any[]) => void;
}

/** A job in the executor. */
export interface Job extends NewJob {
  deadline: number;
  replies: any[];
  /** The number of commands without a reply. */
  missing: number;
  /** The number of times that the command was sent that was sent most often. */
  attempts: number;
  failedAttempts: number;
  /** The cause of the last failed attempt. */
  lastError?: Cause | undefined;
  isOver?: boolean;
}

export interface ExecutorSettings {
  command: CommandForm;
  readsFromReplicas?: boolean;
  commandTimeout: number;
  maxQueue: number;
  maxRetries?: number;
  failsOffline?: boolean;
  /** The name of the client in errors. */
  name: string;
}

/** The name of a command, and its arguments. */
export type Words = [name: string, ...args: Text[]];

/** A command in place of one that the server denies. By default, it has the same arguments and reply. */
export interface Substitute {
  name: string;
  words?: (args: Text[]) => Text[];
  restore?: (reply: any) => unknown;
}

/** Ties commands to the connection that runs the first of them. */
export interface Pin {
  link?: number;
}

/** Receives the error, or null and the result, of an operation. */
export type Callback<Result = any> = ((error: unknown, result: Result) => any) &
  Traced & {
    /** Returns true if the operation has ended, by its deadline. */
    isOver?: () => boolean;
  };

/** May belong to an operation that is traced. */
export interface Traced {
  trace?: OperationTrace | undefined;
}

/** The way in which a step of an operation was served; without an address, by the configured server. */
export interface Served {
  address?: string | undefined;
  port?: number | undefined;
  /** The number of times that its command was sent. */
  attempts: number;
  /** The command was that of another read. */
  isShared: boolean;
}

/** Where Redis is, as far as the options show it: the address or the path of its socket, and the database. */
export interface Location {
  address?: string | undefined;
  port?: number | undefined;
  database?: number | undefined;
}

/**
 * Handles the completions of a request. `text` is a session, an ID or an error. `number` is the time at which the
 * session expires, in ms since 1970, if it was requested; with COUNT, the count.
 */
export interface Receiver extends Readonly<Traced> {
  /** The settings that a request was issued with. */
  readonly store?: Settings | undefined;
  complete(kind: number, text: string, number?: number): void;
}
export type Complete = (kind: number, text: string, number: number) => void;

/** A session of any framework, a plain one of the app, or the parsed text of one. */
export interface SessionObject {
  cookie?: SessionCookie;
  /** The request of a session of express-session. */
  req?: HttpRequest;
  [key: PropertyKey]: any;
}

export interface SessionCookie {
  expires?: Date | string | number | null;
  originalMaxAge?: number | null;
  /** The expiry that @fastify/session has loaded. */
  originalExpires?: unknown;
}

/** A request of Node, with the properties that express-session adds. */
export interface HttpRequest {
  headers?: { cookie?: string };
  sessionID?: string;
  sessionStore?: unknown;
  session?: SessionObject;
}

/** The options of a store, checked and converted by lib/options.js, with its defaults. */
export interface CheckedOptions {
  client?: RedisClient;
  url?: string | URL;
  sentinel?: Account & {
    name: string;
    addresses: NodeAddress[];
    tls?: TlsOptions | false;
    natMap?: NatEntry[];
  };
  cluster?: { addresses: NodeAddress[]; natMap?: NatEntry[] };
  username?: string;
  password?: string;
  database: number;
  tls?: TlsOptions | false;
  credentials?: () => unknown;
  transport?: 'native' | 'client';
  readFrom: 'primary' | 'replica-preferred';
  connectTimeout: number;
  commandTimeout: number;
  maxQueue: number;
  onUnavailable: 'error' | 'sessionless';
  cache?: CacheSettings | false;
  prefix: string;
  ttl: number | ((session: SessionObject) => number);
  scanCount: number;
  serializer: Serializer;
  disableTTL: boolean;
  disableTouch: boolean;
  touchAfter: number;
  idleTimeout?: number | ((session: SessionObject) => number);
  maxLifetime?: number | ((session: SessionObject) => number);
  createdAtKey: string;
  promises: boolean;
  saveDestroyed: boolean;
  onConflict: 'overwrite' | 'reject' | 'merge' | ResolveConflict;
  sessionHashKey?: string;
  userId?: SessionFunction;
  indexes?: Record<string, SessionFunction>;
  indexPrefix: string;
  hashUserIds: boolean;
  maxSessionsOf?: number | SessionFunction;
  onSessionLimit?: 'destroy-oldest' | 'reject';
  authenticatedAt?: SessionFunction;
}

/** The user of a session, as an app's function returns it. */
export type User = string | number | bigint | undefined;

export type SessionFunction = (session: any) => unknown;

/** The options of the indexes of a store. */
export interface IndexOptions {
  /** The indexes: each with its name, the function that returns the user of a session, and its result in errors. */
  rules: { name: string; what: string; of: SessionFunction }[];
  prefix: string;
  hashUserIds: boolean;
  maxSessionsOf: SessionFunction | undefined;
  onSessionLimit: 'destroy-oldest' | 'reject' | undefined;
  authenticatedAt: SessionFunction;
}

export type CheckedScanOptions = { match: string; count?: number; signal?: AbortSignal };

/** The options that a store fixes in its constructor. */
export type FixedOptions = Pick<
  CheckedOptions,
  'onConflict' | 'touchAfter' | 'saveDestroyed' | 'sessionHashKey'
>;

/** The parts that all settings of a store have in common. */
export interface FixedParts extends FixedOptions {
  knownEnds: KnownEnds;
  promises: boolean;
  /** The keys of the indexes; undefined without any. */
  indexKeys: IndexKeys | undefined;
  /** Undefined without the options `idleTimeout` and `maxLifetime`. */
  lifetimes: Lifetimes | undefined;
}

export type SessionEventName = 'created' | 'destroyed' | 'expired' | 'discarded' | 'conflict';

/** The options that a store has as fields, which the app may set at any time. */
export type Fields = Pick<
  CheckedOptions,
  'prefix' | 'ttl' | 'scanCount' | 'serializer' | 'disableTTL' | 'disableTouch'
>;

/** The components of a store; see lib/store.js. */
export interface Parts {
  store: object;
  /** The descriptors of the accessors of the fields. */
  accessors: Record<string, PropertyDescriptor>;
  fixed: FixedParts;
  settings: Settings;
  stats: Statistics;
  outbox: Backend;
  sessions: Sessions;
  bulk: BulkOperations;
  index: UserIndex | undefined;
  /** The fields that the last operation has read, with the object that they belong to. */
  snapshot: Partial<ReturnType<typeof import('./fields.js').readFields>>;
}

/** Returns true if two values of sessions are the same. */
export type Compare = (one: any, other: any) => boolean;

/** The text of a session, or the bytes that an app's serializer returned. */
export type Text = string | Buffer;

/** The session registry's knowledge of a session object. */
export interface SessionRecord {
  id: string;
  prefix: string;
  /** The text that was loaded or last saved, if conflicts are detected; may be `UNKNOWN_BASE`. */
  base: Text | undefined;
  /** The texts that failed saves may have stored, and the bases that they then have. */
  unconfirmed: { stored: Text; known: Text }[] | undefined;
  /** The error of the first save, if it failed. */
  failure: string | undefined;
  /** The expiry of the stored session, in ms since 1970; 0 if it is not known. */
  ends: number;
  /** A time at which the session was alive, in ms since 1970 (0: not known); undefined if it may not be stored. */
  since: number | undefined;
  /** `regenerate` has replaced this session by another one. */
  isReplaced: boolean;
  /** The record of the same object under another id. */
  other: SessionRecord | undefined;
}

/** The settings of a connection: the addon's options without those of a store, or those of the client backend. */
export interface Target extends Omit<StoreOptions, 'prefix' | 'scanCount' | 'observed'> {
  /** Where Redis is, unless `url` shows it. */
  location?: Location | undefined;
  /** The client that runs the commands; see `ClientTarget`. */
  client?: RedisClient;
  /** Why the client runs them, if the app has not chosen that. */
  reason?: string | undefined;
  /** The target after a failed TLS handshake. */
  fallback?: ClientTarget | undefined;
  /** The function behind the number `credentials`. */
  askForCredentials?: (() => unknown) | undefined;
  renewals?: StreamingProvider | undefined;
}

/** The settings of the client backend. */
export interface ClientTarget extends Target {
  /** The name of the client in errors. */
  name: string;
  command: CommandForm;
}

/** A live client and its connection to Redis, as `describeClient` returns it. */
export type Description = { command: CommandForm } & OfflineLimits &
  (({ transport: 'native'; reason?: undefined } & ClientSettings) | { transport: 'client'; reason: string });

/** The call by which a client runs any command; else it has a method for each command. */
export type CommandForm =
  | 'call(command, ...args)'
  | 'sendCommand(args)'
  | 'v4.sendCommand(args)'
  | 'sendCommand(isReadonly, args)'
  | 'sendCommand(key, isReadonly, args)'
  | 'customCommand(args)'
  | 'command(...args)';

/** A client's limits on commands that wait while it is not connected. */
export interface OfflineLimits {
  /** All fail immediately. */
  failsOffline?: boolean;
  /** They fail after this many failed attempts to connect, plus one. */
  maxRetries?: number;
  /** The number of commands that may wait. */
  maxQueue?: number;
}

/** Settings of a client that a native connection can have. Those that the client does not specify are undefined. */
export interface ClientSettings {
  topology: 'standalone' | 'sentinel' | 'cluster';
  /** The server, or some nodes of a cluster. */
  nodes?: Node[];
  sentinel?: Account & { name: string; nodes: NodeAddress[]; tls?: TlsOptions };
  /** Maps each announced `host:port` to the address at which the client reaches it. */
  natMap?: Record<string, NodeAddress>;
  database?: number;
  username?: string;
  password?: string;
  credentials?: () => unknown;
  /** The provider that pushes new credentials. */
  renewals?: StreamingProvider;
  tls?: TlsOptions;
  keyPrefix?: string;
  /** Milliseconds, as the next one. */
  connectTimeout?: number;
  commandTimeout?: number;
}

export type Account = { username?: string; password?: string };
export type Node = Partial<NodeAddress> & { path?: string };

/** A provider of node-redis that pushes new credentials to its subscribers. */
export interface StreamingProvider {
  subscribe(listener: {
    onNext(credentials: unknown): void;
    onError(error: unknown): void;
  }): Promise<[current: unknown, subscription: { dispose?: () => unknown }]>;
}

/** A metric that is read from the statistics of a store. A `sum` is one of all stores, a `gauge` is not. */
export interface StoreMetric {
  /** In the form of OpenTelemetry, without the package's name. */
  name: string;
  type: 'counter' | 'sum' | 'gauge';
  /** In the form of UCUM: `By` for bytes, `{operation}` for a number of operations. */
  unit: string;
  help: string;
  /** Returns the values with their labels; undefined for a figure that the store does not have. */
  read(stats: StoreStats): Array<{ value: number | undefined } & Record<string, any>>;
}
