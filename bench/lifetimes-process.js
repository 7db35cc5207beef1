'use strict';

// Runs random sequences on sessions with a `maxLifetime`, in a process whose clock steps.

const { RedisStore: ConnectRedis } = require('connect-redis8');
const { RedisStore } = require('connect-redis-native');
const { fakeDate } = require('../__test__/lifetimes/clock.js');
const { runSequences } = require('../__test__/lifetimes/sequences.js');
const { serve } = require('./children.js');
const { connect } = require('./deployments.js');

serve({
  async run({ place, stores: options, hasSteps, maxLifetime, ...plan }) {
    const client = connect(place);
    const stores = options.map(({ transport, ...rest }) => {
      const where = transport === 'client' ? { client, transport } : place.store;
      return new RedisStore({ ...where, maxLifetime: maxLifetime / 1000, ...rest }).on('error', () => {});
    });
    const clock = fakeDate();
    const findings = await runSequences({
      stores,
      legacy: new ConnectRedis({ client }),
      command: (...words) => client.call(...words),
      clock: hasSteps ? clock : undefined,
      maxLifetime,
      ...plan,
    });
    clock.restore();
    await Promise.all(stores.map((store) => store.close()));
    client.disconnect();
    return findings;
  },
});
