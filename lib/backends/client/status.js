'use strict';

const { outside } = require('../../common/outside.js');
const { nextTick } = require('../../common/timers.js');
const { ConnectionTrace, observedKinds } = require('../../observability/connection-trace.js');
const { Cause, failures } = require('./errors.js');

/** @import { Cause as Reason, Failure, Observation, Watcher } from '../../types.d.ts' */

const State = {
  CONNECTED: 'connected',
  DISCONNECTED: 'disconnected',
  /** Connected, as far as the client reports, but no reply arrives, or all commands fail. */
  STALLED: 'stalled',
  /** Closed by the app. */
  CLOSED: 'closed',
};

/** The status of a client's connection: its state, the reason why it is down, and the events that report changes. */
class Status {
  #server;
  /** @type {Set<Watcher>} */
  #watchers = new Set();
  #failedAttempts = 0;
  #lastError = new Cause('still connecting');
  #trace = new ConnectionTrace('client');
  state = State.DISCONNECTED;
  /** Stalled without a reply, rather than with failures. */
  isSilent = false;
  /** Counts the client's connections, as far as its events and failures distinguish them. */
  link = 1;
  #hasServed = false;
  /** The number of times that it was connected again. */
  reconnects = 0;

  /** @param {string} server */
  constructor(server) {
    this.#server = server;
  }

  get isReady() {
    return this.state === State.CONNECTED;
  }

  /** Reports events to a watcher, starting with the current status. @param {Watcher} watcher */
  watch(watcher) {
    this.#watchers.add(watcher);
    if (this.isReady) this.#notify('ready', undefined, [watcher]);
  }

  /** @param {Watcher} watcher */
  unwatch(watcher) {
    this.#watchers.delete(watcher);
  }

  setConnected() {
    if (this.#hasServed) this.reconnects++;
    this.#hasServed = true;
    this.state = State.CONNECTED;
    this.isSilent = false;
    this.#failedAttempts = 0;
    this.observe(() => ({ event: 'connected' }));
    this.#trace.leaveContext();
    this.#notify('ready');
  }

  /** Returns true if that is new. @param {string} state @param {Reason} cause */
  setDown(state, cause, isSilent = false) {
    const { isReady } = this;
    // The first cause says more than that it is still so.
    if (state === this.state && this.#failedAttempts > 0) return false;
    // A silent client has not reconnected yet.
    if (!isSilent) this.link++;
    this.state = state;
    this.isSilent = isSilent;
    this.#lastError = cause;
    if (!isReady) return true;
    this.#failedAttempts = 1;
    if (state === State.CLOSED) this.observe(() => ({ event: 'disconnected', reason: cause.message }));
    else this.#observeFailure('disconnected', cause.message);
    this.#notify('reconnecting', this.unreachable());
    return true;
  }

  /** Records a further failed attempt to connect. @param {Reason} cause */
  failAgain(cause) {
    this.isSilent = false;
    this.#lastError = cause;
    this.#failedAttempts++;
    this.#observeFailure('connectFailed', cause.message);
    this.#notify('error', this.unreachable());
  }

  /** Reports to the debug log and the subscribers, if there are any. @param {() => Observation} make */
  observe(make) {
    if (observedKinds() !== 0) this.#trace.observe(make(), this.#server);
  }

  /** @param {string} event @param {string} reason */
  #observeFailure(event, reason) {
    this.observe(() => ({ event, reason, error: this.unreachable().toError() }));
  }

  /** The last store that used the client is closed. */
  end() {
    if (this.isReady) this.observe(() => ({ event: 'disconnected', reason: 'the store was closed' }));
  }

  unreachable() {
    return failures.unreachable(this.#server, this.#lastError);
  }

  /** Creates the failure of an operation that reached its deadline without a connection. @param {number} waited */
  unavailable(waited) {
    return failures.unavailable(this.#server, waited, this.#failedAttempts, this.#lastError);
  }

  /** @param {number} most */
  queueFull(most) {
    return failures.queueFull(this.#server, most, this.#failedAttempts, this.#lastError);
  }

  /**
   * Notifies watchers in the next tick, outside the operation that revealed the change.
   *
   * @type {(event: string, failure?: Failure, watchers?: Iterable<Watcher>) => void}
   */
  #notify(event, failure = undefined, watchers = this.#watchers) {
    for (const watcher of watchers)
      outside.runInAsyncScope(nextTick, undefined, () => watcher.notify(event, failure?.toError()));
  }
}

module.exports = { State, Status };
