'use strict';

const { channel } = require('node:diagnostics_channel');
const { inspect } = require('node:util');
const { nextTick } = require('../common/timers.js');

/** @import { InspectOptions } from 'node:util' */
/** @import { Request, SessionEventName, Settings } from '../types.d.ts' */

/** The diagnostics channels of the events. */
const channels = {
  created: channel('connect-redis-native:session:created'),
  destroyed: channel('connect-redis-native:session:destroyed'),
  expired: channel('connect-redis-native:session:expired'),
  discarded: channel('connect-redis-native:session:discarded'),
  conflict: channel('connect-redis-native:session:conflict'),
};

/** An event of a session. Logs show the session's hash: its id is not enumerable. */
class SessionEvent {
  /** @param {Settings} settings @param {string} operation @param {string} id @param {object} [details] */
  constructor(settings, operation, id, details) {
    this.operation = operation;
    Object.defineProperty(this, 'sessionHash', { get: () => settings.sessionHash(id), enumerable: true });
    Object.defineProperty(this, 'id', { value: id });
    Object.assign(this, details);
  }

  /** @param {number} depth @param {InspectOptions} options */
  [inspect.custom](depth, options, show = inspect) {
    return depth < 0 ? '[SessionEvent]' : `SessionEvent ${show({ ...this }, options)}`;
  }
}

/** Returns true if the app receives an event. @param {Settings} settings @param {SessionEventName} name */
function isObserved(settings, name) {
  return channels[name].hasSubscribers || settings.hasListener(name);
}

/**
 * Publishes and emits an event in a later tick, in the async context of the caller. An exception of a listener then
 * affects no operation.
 *
 * @type {(settings: Settings, name: SessionEventName, operation: string, id: string, details?: object) => void}
 */
function announce(settings, name, operation, id, details) {
  if (name === 'discarded') settings.stats.discarded++;
  if (!isObserved(settings, name)) return;
  const event = new SessionEvent(settings, operation, id, details);
  // The tick after the next one: within a domain, the callback of the operation runs in the next.
  nextTick(() =>
    nextTick(() => {
      channels[name].publish(event);
      settings.emit(name, event);
    }),
  );
}

/**
 * Announces an event of a request: after its callback, in the async context of its call. That of a traced request is in
 * the context of the stores that are bound to its channel.
 *
 * @type {(request: Request, name: SessionEventName, operation: string, id: string, details?: object) => void}
 */
function announceOf(request, name, operation, id, details) {
  const { store } = request;
  if (name === 'discarded' || isObserved(store, name))
    (request.trace ?? request).runInAsyncScope(announce, undefined, store, name, operation, id, details);
}

/**
 * Announces that a request has found a session gone, if the session was known to end, and has.
 *
 * @type {(request: Request, operation: string, id: string) => void}
 */
function announceGone(request, operation, id) {
  const { store } = request;
  const isOver = store.lifetimes?.takeOver(store, id);
  if (store.knownEnds.takePassed(store, id) || isOver)
    announceOf(request, 'expired', operation, id, { reason: isOver ? 'absolute' : 'idle' });
}

module.exports = { announce, announceGone, announceOf, channels, isObserved };
