'use strict';

const { describeServers } = require('../../support/servers.js');
const { useDeployment } = require('./deployments.js');
const { describeStore } = require('./describe-store.js');

// Like a proxy that supports the commands on keys and little else. The clients are those that do not begin with HELLO
// themselves.
describeServers('%s without HELLO', (_name, program) => {
  const redis = useDeployment('standalone', program, { args: ['--rename-command', 'HELLO', ''] });

  describe.each(['url', 'redis 5', 'ioredis 5'])('by %s', (client) => describeStore({ client, redis }));
});
