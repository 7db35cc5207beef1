'use strict';

// Clients created from a URL and not connected, as an app has them while it starts. A client that was never connected
// needs no end.

const nodeRedis = (packageName) => (url, options) =>
  listen(require(packageName).createClient({ ...options, url }));

const ioredis = (packageName) => (url, options) =>
  listen(new (require(packageName))(url, { ...options, lazyConnect: true }));

// An 'error' without a listener would end the process.
function listen(client) {
  return client.on('error', () => {});
}

const clients = {
  redis4: nodeRedis('redis4'),
  redis5: nodeRedis('redis5'),
  redis6: nodeRedis('redis'),
  ioredis4: ioredis('ioredis4'),
  ioredis5: ioredis('ioredis5'),
  ioredis6: ioredis('ioredis'),
  iovalkey: ioredis('iovalkey'),
};

module.exports = { clients };
