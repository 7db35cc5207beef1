'use strict';

const { adoptSettings } = require('./client.js');
const { outOfRange, wrongType, wrongValue } = require('./errors.js');
const { LONGEST_SECONDS } = require('./lifetime.js');

const DEFAULTS = { prefix: 'sess:', ttl: 86400, scanCount: 100 };
/** Options of older versions of connect-redis, which said where Redis is. */
const FORMER_ADDRESS = ['host', 'port', 'socket', 'db', 'pass', 'password', 'username'];

const name = (option) => `The "${option}" option`;

const check = {
  prefix(value) {
    if (value === undefined || value === null) return DEFAULTS.prefix;
    if (typeof value !== 'string') throw wrongType(name('prefix'), 'a string', value);
    return value;
  },

  ttl(value) {
    // 0 is no lifetime but connect-redis's way of asking for the default.
    if (value === undefined || value === null || value === 0) return DEFAULTS.ttl;
    if (typeof value === 'function') return value;
    if (typeof value !== 'number')
      throw wrongType(name('ttl'), 'a number of seconds or a function that returns one', value);
    if (!(value > 0 && value <= LONGEST_SECONDS))
      throw outOfRange(
        name('ttl'),
        'a number of seconds above 0 (for sessions without a lifetime, set "disableTTL")',
        value,
      );
    return value;
  },

  scanCount(value) {
    if (value === undefined || value === null || value === 0) return DEFAULTS.scanCount;
    if (typeof value !== 'number') throw wrongType(name('scanCount'), 'a whole number', value);
    if (!Number.isInteger(value) || value < 1 || value > 0xffffffff)
      throw outOfRange(name('scanCount'), 'a whole number from 1 to 4294967295', value);
    return value;
  },

  serializer(value) {
    if (value === undefined || value === null) return JSON;
    if (typeof value?.parse !== 'function' || typeof value?.stringify !== 'function')
      throw wrongType(name('serializer'), 'an object with the functions "parse" and "stringify"', value);
    return value;
  },

  disableTTL: (value) => flag('disableTTL', value),
  disableTouch: (value) => flag('disableTouch', value),
};

function flag(option, value) {
  if (value === undefined || value === null) return false;
  if (typeof value !== 'boolean') throw wrongType(name(option), 'true or false', value);
  return value;
}

/** Where Redis is: the part of the addon's options that the connection needs. */
function address(options) {
  const { client, url } = options;
  if (client !== undefined && client !== null) {
    if (url !== undefined && url !== null)
      throw wrongValue(name('url'), 'left out beside "client": either says where Redis is', undefined);
    return adoptSettings(client);
  }
  if (url !== undefined && url !== null) {
    if (typeof url !== 'string' && !(url instanceof URL))
      throw wrongType(name('url'), 'a string or a URL', url);
    return { url: { text: String(url) } };
  }
  const former = FORMER_ADDRESS.find((option) => options[option] !== undefined);
  if (former !== undefined)
    throw wrongValue(name(former), 'left out: "url" or "client" says where Redis is', undefined);
  return {};
}

module.exports = { address, check };
