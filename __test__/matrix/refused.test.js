'use strict';

const { RedisStore } = require('../..');
const { clients } = require('./clients.js');
const { clientsWith } = require('./table.js');

/** Nobody is there, and nobody is asked. */
const place = { name: 'sessions', places: [{ host: '127.0.0.1', port: 1 }] };
const urls = {
  sentinel: 'redis+sentinel://127.0.0.1:26379/sessions',
  cluster: 'redis+cluster://127.0.0.1:7000',
};

const cells = ['sentinel', 'cluster', 'pool'].flatMap((topology) =>
  clientsWith(topology, 'refused').map((client) => [topology, client]),
);

test.each(cells)('a %s, by %s', async (topology, name) => {
  const client = await clients[name]?.make[topology](place);
  const options = client ? { client } : { url: urls[topology] };
  try {
    expect(() => new RedisStore(options)).toThrow(
      expect.objectContaining({ name: 'TypeError', code: 'ERR_INVALID_ARG_VALUE' }),
    );
  } finally {
    if (client) await clients[name].end(client);
  }
});
