'use strict';

const { tracingChannel } = require('node:diagnostics_channel');

/** @import { TracingChannel } from 'node:diagnostics_channel' */

const PACKAGE = 'connect-redis-native';

/** The channels on which operations publish, and that of their commands. Held here: Node holds them weakly. */
const channels = {
  get: tracingChannel(`${PACKAGE}:get`),
  set: tracingChannel(`${PACKAGE}:set`),
  touch: tracingChannel(`${PACKAGE}:touch`),
  destroy: tracingChannel(`${PACKAGE}:destroy`),
  scan: tracingChannel(`${PACKAGE}:scan`),
  clear: tracingChannel(`${PACKAGE}:clear`),
  command: tracingChannel(`${PACKAGE}:command`),
};

/** True once an operation was traced. Until then, requests are not asked for their traces. */
const tracing = { isActive: false };

/**
 * Returns true if an event of a channel has subscribers. Before 20.13, Node has no getter for it.
 *
 * @param {TracingChannel} channel
 */
function hasSubscribers({ start, end, error, asyncStart, asyncEnd }) {
  return (
    start.hasSubscribers ||
    end.hasSubscribers ||
    error.hasSubscribers ||
    asyncStart.hasSubscribers ||
    asyncEnd.hasSubscribers
  );
}

/** Returns true if an operation that publishes on `channel` needs a trace. @param {TracingChannel} channel */
function isTraced(channel) {
  return hasSubscribers(channel) || hasSubscribers(channels.command);
}

module.exports = { channels, hasSubscribers, isTraced, tracing };
