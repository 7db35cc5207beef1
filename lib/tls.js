'use strict';

/** Node takes a string, a Buffer or an array of either. */
function pem(value) {
  if (value === undefined || value === null) return undefined;
  const list = Array.isArray(value) ? value : [value];
  return list
    .map((part) => (typeof part === 'string' ? part : Buffer.from(part).toString('latin1')))
    .join('\n');
}

/** TLS settings in Node's words, in the form that the addon takes. */
function tlsSettings({ ca, cert, key, servername, rejectUnauthorized }) {
  const keyText = pem(key);
  return {
    ca: pem(ca),
    cert: pem(cert),
    key: keyText === undefined ? undefined : { text: keyText },
    servername: servername || undefined,
    rejectUnauthorized: rejectUnauthorized ?? true,
  };
}

module.exports = { tlsSettings };
