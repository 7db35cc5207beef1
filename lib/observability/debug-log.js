'use strict';

const { debuglog } = require('node:util');

/** @import { Observation } from '../types.d.ts' */

const log = debuglog('connect-redis-native');
const isLogging = log.enabled === true;

/** The text of each observation, without the name of the server. @type {Record<string, (facts: any) => string>} */
const texts = {
  connecting: ({ attempt }) => `connecting (attempt ${attempt})`,
  connected: ({ software, attempt, milliseconds, serverAddress, serverPort, server }) => {
    const address = serverPort === undefined ? serverAddress : `${serverAddress}:${serverPort}`;
    const to = address === undefined || server.includes(address) ? '' : ` to ${address}`;
    const facts = [];
    if (software) facts.push(`${software[0][0].toUpperCase()}${software[0].slice(1)} ${software[1]}`);
    if (attempt !== undefined) facts.push(`attempt ${attempt}`, `${milliseconds} ms`);
    return `connected${to}${facts.length === 0 ? '' : ` (${facts.join(', ')})`}`;
  },
  connectFailed: ({ attempt, reason }) =>
    `attempt${attempt === undefined ? '' : ` ${attempt}`} to connect failed: ${reason}`,
  disconnected: ({ reason, error }) => (error ? `lost: ${reason}; reconnecting` : `closed: ${reason}`),
  retrying: ({ commands }) => `retrying ${commands} command${commands === 1 ? '' : 's'}`,
  redirected: ({ redirect, slot, from, to }) =>
    `${redirect} slot ${slot} from ${from} to ${to ?? 'an unnamed node'}`,
  failedOver: ({ from, to }) => `failover: primary is now ${to}, was ${from}`,
  cacheFlushed: ({ reason }) => `cache flushed: ${reason}`,
  invalidated: ({ sessionHash }) => `cached session ${sessionHash} invalidated`,
  evicted: ({ sessionHash }) => `cached session ${sessionHash} evicted`,
};

/** Writes a line about an observation, if the environment variable NODE_DEBUG asks for it. @param {Observation} facts */
function logObservation(facts) {
  if (!isLogging) return;
  // A client's messages may have several lines, and Redis names the user that lacks permissions.
  const text = texts[facts.event](facts)
    .replace(/\s+/g, ' ')
    .replace(/\bUser \S+ has no/, 'the user has no');
  log('%s: %s', facts.server, text);
}

module.exports = { isLogging, logObservation };
