'use strict';

const { AsyncLocalStorage } = require('node:async_hooks');
const { tracingChannel } = require('node:diagnostics_channel');

const OPERATION_CHANNELS = ['get', 'set', 'touch', 'destroy', 'scan', 'clear'];
const CHANNELS = [...OPERATION_CHANNELS, 'command'];
const EVENTS = ['start', 'end', 'error', 'asyncStart', 'asyncEnd'];

/** The context of the caller, and of what runs inside a traced operation: `{ operation, outer }`. */
const context = new AsyncLocalStorage();

const channelOf = (name) => tracingChannel(`connect-redis-native:${name}`);

/**
 * Records the events of channels until `stop`. Each is `{ channel, event, message, shown, context }`: `shown` is a copy
 * of the message at that moment.
 *
 * @param {string[]} names of channels
 * @param {(event: object) => void} [onEvent]
 */
function recordTraces(names = CHANNELS, onEvent = () => {}) {
  const events = [];
  const subscriptions = names.map((channel) => {
    const handlers = Object.fromEntries(
      EVENTS.map((event) => [
        event,
        (message) => {
          events.push({ channel, event, message, shown: { ...message }, context: context.getStore() });
          onEvent(events.at(-1));
        },
      ]),
    );
    channelOf(channel).subscribe(handlers);
    return () => channelOf(channel).unsubscribe(handlers);
  });
  return {
    events,
    /** Returns the names of the events, with their channels. */
    get names() {
      return events.map(({ channel, event }) => `${channel} ${event}`);
    },
    /** Returns the messages of the operations that have ended. */
    get ended() {
      return events
        .filter(({ channel, event }) => channel !== 'command' && event === 'asyncEnd')
        .map(({ message }) => message);
    },
    stop() {
      for (const unsubscribe of subscriptions) unsubscribe();
    },
  };
}

/** Binds `context` to the start of operations and commands, as APM packages do, until the result is called. */
function bindContext(names = CHANNELS) {
  for (const name of names)
    channelOf(name).start.bindStore(context, (message) => ({
      operation: message.operation ?? message.command,
      outer: context.getStore(),
    }));
  return () => {
    for (const name of names) channelOf(name).start.unbindStore(context);
  };
}

module.exports = { CHANNELS, OPERATION_CHANNELS, bindContext, channelOf, context, recordTraces };
