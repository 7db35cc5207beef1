'use strict';

const { describeServers } = require('../../support/servers.js');
const { useDeployment } = require('./deployments.js');
const { describeStore } = require('./describe-store.js');
const { clientsWith } = require('./table.js');

describeServers('%s, cluster', (_name, program) => {
  const redis = useDeployment('cluster', program);

  describe.each(clientsWith('cluster', 'native'))('by %s', (client) => describeStore({ client, redis }));
});
