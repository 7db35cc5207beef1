'use strict';

// Writes to a file all that an app can observe of the store, each as a line of text that begins with its source. Is
// required before the store, so that it sees every channel.

const diagnosticsChannel = require('node:diagnostics_channel');
const fs = require('node:fs');
const { inspect } = require('node:util');

const PACKAGE = 'connect-redis-native:';
const EVENTS = ['start', 'end', 'asyncStart', 'asyncEnd', 'error'];

let file;

/** Writes a value as a log would show it: by `inspect` at any depth, with and without its own form, and as JSON. */
function record(source, value) {
  const options = { depth: Infinity, maxArrayLength: Infinity, maxStringLength: Infinity, getters: true };
  const shown = [
    inspect(value, options),
    inspect(value, { ...options, customInspect: false }),
    toJson(value),
  ];
  for (const text of new Set(shown)) fs.writeSync(file, `[${source}] ${text}\n`);
}

/** Returns a value as JSON; without what JSON cannot express. */
function toJson(value) {
  const path = [];
  return JSON.stringify(value, function replace(_key, child) {
    while (path.length > 0 && path.at(-1) !== this) path.pop();
    if (path.includes(child)) return undefined;
    if (child !== null && typeof child === 'object') path.push(child);
    return typeof child === 'bigint' ? String(child) : child;
  });
}

/** Starts to write to `path`, and to subscribe to every channel of the store as soon as it is created. */
function captureTo(path) {
  file = fs.openSync(path, 'a');
  const subscribed = new Set();
  const subscribe = (channel, source) => {
    if (!String(channel.name).includes(PACKAGE) || subscribed.has(channel.name)) return;
    subscribed.add(channel.name);
    channel.subscribe((message) => record(source, message));
  };
  const { channel: plain, tracingChannel } = diagnosticsChannel;
  diagnosticsChannel.channel = (name) => {
    const channel = plain(name);
    subscribe(channel, `channel ${name}`);
    return channel;
  };
  diagnosticsChannel.tracingChannel = (name) => {
    const channels = tracingChannel(name);
    for (const event of EVENTS) subscribe(channels[event], `channel ${name} ${event}`);
    return channels;
  };
}

/** Writes the events of a store, and the store itself. */
function captureEvents(store) {
  const { emit } = store;
  store.emit = function (name, ...args) {
    for (const arg of args) record(`event ${name}`, arg);
    return emit.call(this, name, ...args);
  };
  // Some events are emitted only if there are listeners.
  for (const event of ['error', 'created', 'destroyed', 'expired', 'discarded', 'conflict'])
    store.on(event, () => {});
  return store;
}

/** Waits for a promise, and writes the error with which it rejects. */
async function settle(name, promise) {
  try {
    return await promise;
  } catch (error) {
    record(`error of ${name}`, error);
    console.error(error);
    return error;
  }
}

module.exports = { captureEvents, captureTo, record, settle };
