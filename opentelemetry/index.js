'use strict';

const { optionName, wrongType } = require('../lib/common/errors.js');
const { loadPeer } = require('../lib/observability/peer.js');
const { checkKnown, namedStores } = require('../lib/observability/store-metrics.js');
const { version } = require('../package.json');
const { observeConnects } = require('./connects.js');
const { observeOperations } = require('./operations.js');
const { observeStores } = require('./stores.js');

/** @import { InstrumentOptions } from './index.js' */

/** The name of the instrumentation scope. */
const SCOPE = 'connect-redis-native';
const OPTIONS = ['tracerProvider', 'meterProvider', 'stores', 'sessionHash'];

/**
 * Creates spans for the operations of all stores in this process, and metrics.
 *
 * @param {InstrumentOptions} options
 */
function instrument(options = {}) {
  checkKnown('instrument', options, OPTIONS);
  const { stores = [], sessionHash = false } = options;
  if (typeof sessionHash !== 'boolean') throw wrongType(optionName('sessionHash'), 'a boolean', sessionHash);
  const named = namedStores(stores);
  const api = loadPeer('opentelemetry', '@opentelemetry/api', () => require('@opentelemetry/api'));
  const tracer = provider(options, 'tracerProvider', 'getTracer', api.trace).getTracer(SCOPE, version);
  const meter = provider(options, 'meterProvider', 'getMeter', api.metrics).getMeter(SCOPE, version);
  const ends = [
    observeOperations(api, tracer, meter, sessionHash),
    observeConnects(meter),
    observeStores(meter, named),
  ];
  return {
    disable() {
      for (const end of ends.splice(0)) end();
    },
  };
}

/**
 * Returns the option `name`, which has `method`; by default the global provider.
 *
 * @template Provider
 * @param {InstrumentOptions} options
 * @param {'tracerProvider' | 'meterProvider'} name
 * @param {string} method
 * @param {Provider} global
 * @returns {Provider}
 */
function provider(options, name, method, global) {
  /** @type {any} */
  const chosen = options[name] ?? global;
  if (typeof chosen[method] !== 'function')
    throw wrongType(optionName(name), `a provider, with ${method}()`, chosen);
  return chosen;
}

module.exports = { instrument };
