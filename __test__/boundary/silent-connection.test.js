'use strict';

const { once } = require('node:events');
const net = require('node:net');
const { useRedis } = require('../support/redis.js');
const { closeAll, keepStore } = require('../support/stores.js');
const { RedisStore } = require('../..');

const redis = useRedis();
afterEach(closeAll);

/** Passes connections on to Redis until it is told to fall silent on those there are. */
class Gateway {
  #links = [];
  #server = net.createServer((near) => {
    const far = net.connect(redis.port, '127.0.0.1');
    this.#links.push([near, far]);
    for (const [from, to] of [
      [near, far],
      [far, near],
    ])
      from.on('error', () => {}).pipe(to);
  });

  async listen() {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    return `redis://127.0.0.1:${this.#server.address().port}`;
  }

  /** The connections there are stay open, and nothing passes any more; new ones are served. */
  fallSilent() {
    for (const [near, far] of this.#links) {
      near.unpipe(far).pause();
      far.unpipe(near).pause();
    }
  }

  async close() {
    for (const link of this.#links) for (const socket of link) socket.destroy();
    this.#server.close();
    await once(this.#server, 'close');
  }
}

// A firewall that forgot the connection, a host that lost its power: no packet says that it is over, and TCP
// itself would try for a quarter of an hour.
test('a connection that fell silent is replaced after the first deadline', async () => {
  const gateway = new Gateway();
  const store = keepStore(new RedisStore({ url: await gateway.listen() }));
  try {
    await store.set('abc', { n: 1 });
    gateway.fallSilent();
    await expect(store.get('abc')).rejects.toMatchObject({ code: 'ERR_REDIS_TIMEOUT' });
    expect(await store.get('abc')).toEqual({ n: 1 });
  } finally {
    await gateway.close();
  }
});
