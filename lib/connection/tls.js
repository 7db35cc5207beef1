'use strict';

const fs = require('node:fs');
const { fromEnvironment } = require('../common/env-vars.js');

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

/** Converts TLS options of Node, which were checked, to the addon's. @type {(options: TlsOptions) => Tls} */
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

module.exports = { NOT_CARRIED, OF_CLIENTS, tlsSettings };
