'use strict';

const fs = require('node:fs');
const { fromEnvironment } = require('../common/environment.js');
const { optionName: name, wrongType, wrongValue } = require('../common/errors.js');

/** @import { Tls } from '../binding.js' */
/** @import { TlsOptions } from '../types.d.ts' */

/** TLS options of Node that the addon does not support: functions, and formats other than PEM. */
const NOT_CARRIED = ['checkServerIdentity', 'secureContext', 'pfx', 'passphrase', 'pskCallback', 'crl'];

/**
 * TLS options that restrict or extend what a client accepts. The option `tls` ignores them; a client that has one runs
 * the commands itself.
 */
const OF_CLIENTS = [
  'ciphers',
  'sigalgs',
  'ecdhCurve',
  'dhparam',
  'secureProtocol',
  'secureOptions',
  'maxVersion',
  'clientCertEngine',
  'privateKeyEngine',
  'privateKeyIdentifier',
  'ALPNProtocols',
  'localAddress',
  'localPort',
];

/**
 * Checks the option `option` and returns its TLS settings; undefined for a connection without TLS.
 *
 * @type {(option: string, value: any) => TlsOptions | undefined}
 */
function checkTls(option, value) {
  if (value == null || value === false) return undefined;
  if (value === true) return {};
  if (typeof value !== 'object') throw wrongType(name(option), 'true or an object of TLS settings', value);
  const lost = NOT_CARRIED.find((field) => value[field] != null);
  if (lost !== undefined)
    throw wrongValue(name(`${option}.${lost}`), 'left out: the connection cannot be made with it', undefined);
  for (const field of ['ca', 'cert', 'key'])
    for (const part of [value[field] ?? []].flat())
      if (typeof part !== 'string' && !ArrayBuffer.isView(part))
        throw wrongType(name(`${option}.${field}`), 'PEM, as a string or Buffer or an array of them', part);
  const { servername, rejectUnauthorized } = value;
  if (servername != null && typeof servername !== 'string')
    throw wrongType(name(`${option}.servername`), 'a string', servername);
  if (typeof (fromEnvironment(rejectUnauthorized) ?? true) !== 'boolean')
    throw wrongType(name(`${option}.rejectUnauthorized`), 'true or false', rejectUnauthorized);
  return value;
}

/**
 * Returns PEM as one string. Node accepts strings, Buffers and arrays of them, with a byte order mark or an old label.
 *
 * @param {TlsOptions['ca']} value
 */
function pem(value) {
  if (value == null) return undefined;
  const list = Array.isArray(value) ? value : [value];
  return list
    .map((part) => (typeof part === 'string' ? part : Buffer.from(part).toString('latin1')))
    .map((text) =>
      text.replace(/^(\uFEFF|\xEF\xBB\xBF)/, '').replaceAll('X509 CERTIFICATE-----', 'CERTIFICATE-----'),
    )
    .join('\n');
}

/**
 * Returns the certificates that Node's own connections trust, in PEM: an app's client uses only these, and a system may
 * have none.
 */
function trustedByNode() {
  // Loaded on demand: it takes time, and most apps do not use TLS.
  const tls = require('node:tls');
  // Since Node 22.15.
  if (tls.getCACertificates !== undefined) return tls.getCACertificates('default').join('\n');
  return [...(tls.rootCertificates ?? []), extraCertificates()].join('\n');
}

function extraCertificates() {
  try {
    return fs.readFileSync(process.env.NODE_EXTRA_CA_CERTS ?? '', 'latin1');
  } catch {
    // Node ignores a missing file as well.
    return '';
  }
}

/** Converts TLS options of Node, which `checkTls` has checked, to the addon's. @type {(options: TlsOptions) => Tls} */
function tlsSettings({ ca, cert, key, servername, rejectUnauthorized: given }) {
  const checked = /** @type {boolean | undefined} */ (fromEnvironment(given));
  const rejectUnauthorized = checked ?? process.env.NODE_TLS_REJECT_UNAUTHORIZED !== '0';
  const keyText = pem(key);
  const isTrusting = ca == null && rejectUnauthorized;
  return {
    ca: pem(ca),
    roots: isTrusting ? trustedByNode() : undefined,
    cert: pem(cert),
    key: keyText === undefined ? undefined : { text: keyText },
    servername: servername || undefined,
    rejectUnauthorized,
  };
}

module.exports = { NOT_CARRIED, OF_CLIENTS, checkTls, tlsSettings };
