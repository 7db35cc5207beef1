'use strict';

const { execFileSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

const NEW_KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];

/** Certificates in a temporary folder: `name.crt`, and its key, `name.key`. */
class Certificates {
  #dir = fs.mkdtempSync(path.join(os.tmpdir(), 'tls-'));

  /** The path of a file. */
  file(name) {
    return path.join(this.#dir, name);
  }

  /** What `startRedis` takes for TLS with a certificate. */
  ofServer(name) {
    return { cert: this.file(`${name}.crt`), key: this.file(`${name}.key`), ca: this.file('ca.crt') };
  }

  pem(name) {
    return fs.readFileSync(this.file(name));
  }

  makeAuthority(name) {
    const out = ['-days', '2', '-keyout', `${name}.key`, '-out', `${name}.crt`];
    this.#openssl('req', '-x509', ...NEW_KEY, '-subj', `/CN=${name}`, ...out);
  }

  /** A certificate of the authority `ca` for `subject`, such as `DNS:localhost`; with negative `days`, it has expired. */
  makeCertificate(name, subject, { days = 2 } = {}) {
    this.#openssl('req', ...NEW_KEY, '-subj', `/CN=${name}`, '-keyout', `${name}.key`, '-out', `${name}.csr`);
    fs.writeFileSync(this.file(`${name}.ext`), `subjectAltName=${subject}`);
    const authority = ['-CA', 'ca.crt', '-CAkey', 'ca.key', '-CAcreateserial'];
    this.#openssl(
      ...['x509', '-req', '-in', `${name}.csr`, ...authority],
      ...['-days', String(days), '-extfile', `${name}.ext`, '-out', `${name}.crt`],
    );
  }

  remove() {
    fs.rmSync(this.#dir, { recursive: true, force: true });
  }

  #openssl(...args) {
    execFileSync('openssl', args, { cwd: this.#dir, stdio: 'ignore' });
  }
}

module.exports = { Certificates };
