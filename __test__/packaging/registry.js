'use strict';

// An npm registry on the loopback interface with the packages in some tarballs, and no others.

const { execFileSync } = require('node:child_process');
const { createHash } = require('node:crypto');
const { once } = require('node:events');
const fs = require('node:fs');
const http = require('node:http');
const path = require('node:path');

// Package managers may refuse versions that were published recently.
const PUBLISHED = '2020-01-01T00:00:00.000Z';

/** @returns `{ url, close }` */
async function startRegistry(tarballs) {
  const packages = new Map();
  const files = new Map();
  const server = http.createServer((request, response) => {
    const name = decodeURIComponent(request.url.slice(1));
    const body = files.get(name) ?? JSON.stringify(packages.get(name));
    response.writeHead(body === undefined ? 404 : 200, {
      'content-type': files.has(name) ? 'application/octet-stream' : 'application/json',
    });
    response.end(body ?? '{"error":"not found"}');
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = `http://127.0.0.1:${server.address().port}`;

  for (const file of tarballs) {
    const content = fs.readFileSync(file);
    files.set(`-/${path.basename(file)}`, content);
    const manifest = JSON.parse(
      execFileSync('tar', ['-xzOf', file, 'package/package.json'], { encoding: 'utf8' }),
    );
    const { name, version } = manifest;
    const integrity = `sha512-${createHash('sha512').update(content).digest('base64')}`;
    const dist = { tarball: `${url}/-/${path.basename(file)}`, integrity };
    const entry = packages.get(name) ?? { name, 'dist-tags': {}, versions: {}, time: {} };
    entry['dist-tags'].latest = version;
    entry.versions[version] = { ...manifest, dist };
    entry.time[version] = PUBLISHED;
    packages.set(name, entry);
  }
  return {
    url,
    async close() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

module.exports = { startRegistry };
