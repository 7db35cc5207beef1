'use strict';

const { findServers } = require('../../../scripts/servers.js');
const { clients } = require('../../support/clients.js');
const { useDeployment } = require('./deployments.js');
const { describeStore } = require('./describe-store.js');

// The app's own client as the transport: every client, also those that do not need it. Differences between servers are
// between the client and them, so that the system's server is enough.
const [{ program }] = findServers();

/** They do not report when they are closed. */
const UNREPORTED = ['redis 4 cluster', 'redis 5 sentinel'];

const clientsOf = (topology) => Object.keys(clients).filter((name) => clients[name].make[topology]);

describe.each(['standalone', 'sentinel', 'cluster'])('%s', (topology) => {
  const redis = useDeployment(topology, program);

  describe.each(clientsOf(topology))('by %s', (client) =>
    describeStore({
      ...{ client, redis, transport: 'client' },
      reportsEnd: !UNREPORTED.includes(`${client} ${topology}`),
    }),
  );

  if (topology === 'standalone')
    describe.each(clientsOf('pool'))('by a pool of %s', (client) => {
      const place = { get: () => ({ ...redis.place, topology: 'pool' }) };
      const pooled = Object.create(redis, { place });
      describeStore({ client, redis: pooled, transport: 'client', reportsEnd: false });
    });
});
