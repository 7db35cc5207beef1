'use strict';

const { AsyncResource } = require('node:async_hooks');
const { inspect } = require('node:util');
const { Operation } = require('../boundary/outbox.js');
const { callIn } = require('../boundary/request.js');
const { channels, hasSubscribers, isTraced, tracing } = require('./channels.js');

/** @import { TracingChannel } from 'node:diagnostics_channel' */
/** @import { InspectOptions } from 'node:util' */
/** @import { Callback, Connection, Location, Served, SessionObject, Sessions, Settings } from '../types.d.ts' */

/** @typedef {keyof typeof CHANNEL_OF} OperationName */
/** @typedef {<Result>(begin: (callback: Callback) => Result) => Result} Run */

/** The channel of each operation. */
const CHANNEL_OF = {
  get: channels.get,
  set: channels.set,
  touch: channels.touch,
  destroy: channels.destroy,
  all: channels.scan,
  ids: channels.scan,
  length: channels.scan,
  scan: channels.scan,
  clear: channels.clear,
};

/** The command of each kind of request. A `?` stands for each key, id and value. */
const COMMAND_OF = {
  [Operation.GET]: Object.freeze(['GET', '?']),
  [Operation.GET_TIMED]: Object.freeze(['GET', '?']),
  [Operation.SET]: Object.freeze(['SET', '?', '?']),
  [Operation.SET_EXISTING]: Object.freeze(['SET', '?', '?']),
  [Operation.SET_NEW]: Object.freeze(['SET', '?', '?']),
  [Operation.SET_IF_EQUAL]: Object.freeze(['SET', '?', '?']),
  [Operation.TOUCH]: Object.freeze(['PEXPIRE', '?', '?']),
  [Operation.DESTROY]: Object.freeze(['DEL', '?']),
  [Operation.LENGTH]: Object.freeze(['SCAN', '?']),
  [Operation.CLEAR]: Object.freeze(['SCAN', '?']),
  [Operation.PAGE]: Object.freeze(['SCAN', '?']),
  [Operation.SCRIPT]: Object.freeze(['EVALSHA', '?', '1', '?', '?']),
  [Operation.DESTROY_IF_EQUAL]: Object.freeze(['EVALSHA', '?', '1', '?', '?']),
};

/** The message of all events of an operation. Shows the hash of the session id, never the id. */
class OperationContext {
  #settings;
  #id;

  /**
   * @param {OperationName} operation
   * @param {Location} location
   * @param {string} transport
   * @param {Settings} settings
   * @param {unknown} id of the session, if the operation has one; may be invalid
   */
  constructor(operation, { address, port, database }, transport, settings, id) {
    this.operation = operation;
    this.serverAddress = address;
    this.serverPort = port;
    this.database = database;
    this.transport = transport;
    /** @type {'hit' | 'miss' | 'shared' | undefined} */
    this.cache = undefined;
    this.attempts = 0;
    /** Set before the event `error`. @type {unknown} */
    this.error = undefined;
    this.#settings = settings;
    this.#id = id;
  }

  /** Computed when it is read, since it takes longer than the rest of a trace. */
  get sessionHash() {
    return typeof this.#id === 'string' ? this.#settings.sessionHash(this.#id) : undefined;
  }

  toJSON() {
    return { ...this, sessionHash: this.sessionHash };
  }

  /** @param {number} depth @param {InspectOptions} options */
  [inspect.custom](depth, options, show = inspect) {
    return depth < 0 ? '[OperationContext]' : `OperationContext ${show(this.toJSON(), options)}`;
  }
}

/**
 * Publishes the events of one operation, and those of its command: `start` and `end` around the call, the others before
 * the operation's callback. As an AsyncResource, it runs that callback in the async context of the call: what runs in
 * between is in the context of the stores that are bound to `start`.
 */
class OperationTrace extends AsyncResource {
  #channel;
  #callback;
  #connection;
  #isStarting = true;
  /** The message of the command's events, once a command was submitted. @type {any} */
  #command;

  /**
   * @param {TracingChannel} channel
   * @param {OperationContext} context
   * @param {Callback} callback of the operation
   * @param {Connection} connection
   */
  constructor(channel, context, callback, connection) {
    super('RedisStore');
    tracing.isActive = true;
    this.context = context;
    this.#channel = channel;
    this.#callback = callback;
    this.#connection = connection;
  }

  /**
   * Begins the operation, with a callback that carries this trace, and returns what `begin` does.
   *
   * @type {Run}
   */
  run(begin) {
    /** @type {Callback} */
    const done = (error, result) => {
      this.#end();
      callIn(this, this.#finish, error, result);
    };
    done.trace = this;
    return this.#channel.start.runStores(this.context, this.#start, this, begin, done);
  }

  /** @template Result @param {(callback: Callback) => Result} begin @param {Callback} done */
  #start(begin, done) {
    const result = begin(done);
    this.#end();
    return result;
  }

  /** Publishes `end`: when the call returns, or earlier if it has called back already. */
  #end() {
    if (!this.#isStarting) return;
    this.#isStarting = false;
    this.#channel.end.publish(this.context);
  }

  /** Publishes the command of the operation when its first request is submitted. @param {number} operation */
  submitted(operation) {
    if (this.#command !== undefined || !hasSubscribers(channels.command)) return;
    const { database, serverAddress, serverPort } = this.context;
    const args = COMMAND_OF[operation];
    const command = { command: args[0], args, database, serverAddress, serverPort };
    this.#command = command;
    channels.command.start.runStores(command, () => channels.command.end.publish(command));
  }

  /**
   * Notes how a step of the operation was served. Without an address, the configured one stays.
   *
   * @param {Served} served
   */
  served({ address, port, attempts, isShared }) {
    const { context } = this;
    context.attempts += attempts;
    if (isShared) context.cache = 'shared';
    if (address === undefined) return;
    context.serverAddress = address;
    context.serverPort = port;
  }

  /** Publishes the remaining events, then calls back. @type {Callback} */
  #finish = (error, result) => {
    const { context } = this;
    // It may have changed since the call, if the TLS handshake failed.
    context.transport = this.#connection.transport;
    if (this.#command !== undefined) {
      this.#command.serverAddress = context.serverAddress;
      this.#command.serverPort = context.serverPort;
      publishResult(channels.command, this.#command, error);
    }
    publishResult(this.#channel, context, error);
    const callback = this.#callback;
    callback(error, result);
  };
}

/** @param {TracingChannel} channel @param {{ error?: unknown }} context @param {unknown} error */
function publishResult({ error: errorChannel, asyncStart, asyncEnd }, context, error) {
  if (error) {
    context.error = error;
    errorChannel.publish(context);
  }
  asyncStart.publish(context);
  asyncEnd.publish(context);
}

/** Runs the operations of a store, each in a trace if its channel has subscribers. */
class Tracer {
  #parts;

  /** @param {{ connection: Connection, settings: Settings }} parts of the store; its settings change */
  constructor(parts) {
    this.#parts = parts;
  }

  /**
   * Runs an operation, and returns what `begin` does, which receives the callback to use.
   *
   * @type {<Result>(operation: OperationName, id: unknown, callback: Callback,
   *   begin: (callback: Callback) => Result) => Result}
   */
  run(operation, id, callback, begin) {
    const channel = CHANNEL_OF[operation];
    if (!isTraced(channel)) return begin(callback);
    const { connection, settings } = this.#parts;
    const { location, transport } = connection;
    const context = new OperationContext(operation, location, transport, settings, id);
    return new OperationTrace(channel, context, callback, connection).run(begin);
  }
}

/** The operations of `Sessions`, in traces. A class of its own, so that without subscribers none creates a closure. */
class TracedSessions {
  #tracer;
  #sessions;

  /** @param {Tracer} tracer @param {Sessions} sessions */
  constructor(tracer, sessions) {
    this.#tracer = tracer;
    this.#sessions = sessions;
  }

  /** @param {string} sid @param {Callback} callback */
  get(sid, callback) {
    return this.#tracer.run('get', sid, callback, (done) => this.#sessions.get(sid, done));
  }

  /** @type {(sid: string, session: SessionObject, callback: Callback, isPromised: boolean) => void} */
  set(sid, session, callback, isPromised) {
    this.#tracer.run('set', sid, callback, (done) => this.#sessions.set(sid, session, done, isPromised));
  }

  /** @type {(sid: string, session: SessionObject, callback: Callback, isPromised: boolean) => void} */
  touch(sid, session, callback, isPromised) {
    this.#tracer.run('touch', sid, callback, (done) => this.#sessions.touch(sid, session, done, isPromised));
  }

  /** @param {string} sid @param {Callback} callback */
  destroy(sid, callback) {
    this.#tracer.run('destroy', sid, callback, (done) => this.#sessions.destroy(sid, done));
  }
}

module.exports = { OperationTrace, TracedSessions, Tracer };
