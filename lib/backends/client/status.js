'use strict';

const { outside } = require('../../common/outside.js');
const { nextTick } = require('../../common/timers.js');
const { failures } = require('./errors.js');

/** @import { Failure, Watcher } from '../../types.d.ts' */

const State = {
  CONNECTED: 'connected',
  /** Not connected, but will be, as far as is known. */
  AWAY: 'away',
  /** Connected, but no reply arrives. */
  SILENT: 'silent',
  /** Connected, as far as the client reports, but all commands fail. */
  FAILING: 'failing',
  /** Closed by the app. */
  ENDED: 'ended',
};

/** The status of a client's connection: its state, the reason why it is down, and the events that report changes. */
class Status {
  /** The name of the server in error messages. */
  #server;
  /** @type {Set<Watcher>} */
  #watchers = new Set();
  /** The failures since the client was connected. */
  #failures = 0;
  #down = { attempts: 0, cause: 'still connecting', isTimeout: false };
  state = State.AWAY;
  isReady = false;
  /** An attempt to connect failed, or the connection was lost, since it was last ready. */
  hasFailed = false;
  /** Counts the client's connections, as far as its events and failures distinguish them. */
  link = 1;

  /** @param {string} server */
  constructor(server) {
    this.#server = server;
  }

  /** Reports events to a watcher, starting with the current status. @param {Watcher} watcher */
  watch(watcher) {
    this.#watchers.add(watcher);
    if (this.isReady) notify(watcher, 'ready');
  }

  /** @param {Watcher} watcher */
  unwatch(watcher) {
    this.#watchers.delete(watcher);
  }

  /** Returns true if the connection was not ready before: it may lead to another server. */
  setConnected() {
    this.state = State.CONNECTED;
    this.#failures = 0;
    if (this.isReady) return false;
    this.isReady = true;
    this.hasFailed = false;
    this.#notify('ready');
    return true;
  }

  /** Returns true if that is new. @param {string} state @param {string} cause */
  setDown(state, cause) {
    const wasConnected = this.state === State.CONNECTED;
    // The first cause says more than that it is still so.
    if (state === this.state && this.#failures > 0) return false;
    // A silent client has not reconnected yet.
    if (state !== State.SILENT) this.link++;
    this.state = state;
    if (wasConnected) this.#failures++;
    this.isReady = false;
    this.note(this.#failures, cause);
    if (wasConnected) this.#notify('reconnecting', this.unreachable(cause));
    return true;
  }

  /** Records a further failed attempt to connect. @param {string} cause */
  failAgain(cause) {
    this.isReady = false;
    this.note(++this.#failures, cause);
    this.#notify('error', this.unreachable(cause));
  }

  /** @param {number} attempts @param {string} cause */
  note(attempts, cause) {
    this.hasFailed = true;
    this.#down = { attempts, cause, isTimeout: this.state === State.SILENT };
  }

  unreachable(cause = this.#down.cause) {
    return failures.unreachable(this.#server, cause);
  }

  /** Creates the failure of an operation that reached its deadline without a connection. @param {number} waited */
  unavailable(waited) {
    const { attempts, cause, isTimeout } = this.#down;
    return failures[isTimeout ? 'silent' : 'unavailable'](this.#server, waited, attempts, cause);
  }

  /** @param {number} most */
  queueFull(most) {
    return failures.queueFull(this.#server, most, this.#down.attempts, this.#down.cause);
  }

  /** @param {string} event @param {Failure} [failure] */
  #notify(event, failure) {
    for (const watcher of this.#watchers) notify(watcher, event, failure);
  }
}

/**
 * Notifies a watcher in the next tick, outside the operation that revealed the change.
 *
 * @type {(watcher: Watcher, event: string, failure?: Failure) => void}
 */
function notify(watcher, event, failure) {
  outside.runInAsyncScope(nextTick, undefined, () => watcher.notify(event, failure?.toError()));
}

module.exports = { State, Status };
