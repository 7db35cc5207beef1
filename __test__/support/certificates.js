'use strict';

const { execFileSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

const NEW_KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];

/** Certificates in a temporary folder: `name.crt`, and its key, `name.key`. */
class Certificates {
  #dir = fs.mkdtempSync(path.join(os.tmpdir(), 'tls-'));

  /** Returns the path of a file. */
  file(name) {
    return path.join(this.#dir, name);
  }

  /** Returns the TLS options of `startRedis` with a certificate. */
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

  /**
   * Makes a certificate that is its own authority, for `subject`, such as `DNS:localhost`; with negative `days`,
   * expired.
   */
  makeSelfSigned(name, subject, { days = 2 } = {}) {
    const extensions = ['-addext', `subjectAltName=${subject}`];
    const out = ['-keyout', `${name}.key`, '-out', `${name}.crt`];
    this.#openssl('req', '-x509', ...NEW_KEY, '-subj', `/CN=${name}`, '-days', '2', ...extensions, ...out);
    if (days > 0) return;
    // Impossible in one step: it is signed again.
    const itself = ['-in', `${name}.crt`, '-signkey', `${name}.key`, '-days', String(days)];
    this.#openssl('x509', ...itself, '-out', `${name}.crt`);
  }

  /** Makes a certificate of X.509 version 1, as OpenSSL did by default before 3.2, and its own authority. */
  makeOld(name, commonName) {
    const request = [...NEW_KEY, '-subj', `/CN=${commonName}`, '-keyout', `${name}.key`, '-out'];
    try {
      this.#openssl('req', '-x509', '-x509v1', ...request, `${name}.crt`);
    } catch {
      this.#openssl('req', ...request, `${name}.csr`);
      this.#openssl('x509', '-req', '-in', `${name}.csr`, '-signkey', `${name}.key`, '-out', `${name}.crt`);
    }
  }

  /**
   * Makes a certificate of the authority `ca` for `subject`, such as `DNS:localhost`; with negative `days`, expired.
   *
   * @param {string} [subject] without one, only the common name identifies the owner
   * @param {string} [commonName] by default `name`
   */
  makeCertificate(name, subject, { days = 2, commonName = name } = {}) {
    const request = ['-subj', `/O=Tests/CN=${commonName}`, '-keyout', `${name}.key`, '-out', `${name}.csr`];
    this.#openssl('req', ...NEW_KEY, ...request);
    fs.writeFileSync(
      this.file(`${name}.ext`),
      subject ? `subjectAltName=${subject}` : 'keyUsage=digitalSignature',
    );
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
