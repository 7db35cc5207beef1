'use strict';

const net = require('node:net');
const { RedisStoreError } = require('../lib/common/store-error.js');
const { REDIS_PORT } = require('../lib/connection/servers.js');

/** @import { Attributes } from '@opentelemetry/api' */
/** @import { OperationContext } from '../index.js' */

// The attributes of the semantic conventions for databases, version 1.45 (docs/db/database-spans.md and docs/db/redis.md
// of open-telemetry/semantic-conventions). Never `db.query.text`, whose keys contain session ids.

/** Returns the attributes that name a server; its port only if it is not the default, as the conventions have it. */
function serverAttributes(/** @type {string | undefined} */ address, /** @type {number | undefined} */ port) {
  /** @type {Attributes} */
  const attributes = {};
  if (address !== undefined) attributes['server.address'] = address;
  if (address !== undefined && port !== undefined && port !== REDIS_PORT) attributes['server.port'] = port;
  return attributes;
}

/** Returns the attributes that an operation has from its start. @param {OperationContext} context */
function startAttributes({ operation, serverAddress, serverPort, database }) {
  const target = ['get', 'set', 'touch', 'destroy'].includes(operation) ? 'session' : 'sessions';
  /** @type {Attributes} */
  const attributes = {
    'db.system.name': 'redis',
    'db.operation.name': operation,
    'db.query.summary': `${operation} ${target}`,
    ...serverAttributes(serverAddress, serverPort),
  };
  if (database !== undefined) attributes['db.namespace'] = String(database);
  return attributes;
}

/** Returns the attributes of a failed operation; none without an error. @param {unknown} error */
function errorAttributes(error) {
  if (!error) return {};
  const { reply, code, name } = Object(error);
  const type = [reply, code, name].find((text) => typeof text === 'string' && text !== '');
  return {
    'error.type': type ?? '_OTHER',
    ...(typeof reply === 'string' && { 'db.response.status_code': reply }),
  };
}

/** Returns the address of the node that replied last, if it is one of the network. @param {OperationContext} context */
function peerAttributes({ serverAddress, serverPort, attempts }) {
  if (attempts === 0 || serverAddress === undefined) return {};
  if (!net.isIP(serverAddress) && !serverAddress.startsWith('/')) return {};
  return {
    'network.peer.address': serverAddress,
    ...(serverPort !== undefined && { 'network.peer.port': serverPort }),
  };
}

/**
 * Returns the message of an error for the status of a span. That of an error which the app's own functions threw may
 * contain session data.
 *
 * @param {unknown} error
 */
const messageOf = (error) => (error instanceof RedisStoreError ? error.message : undefined);

module.exports = { errorAttributes, messageOf, peerAttributes, serverAttributes, startAttributes };
