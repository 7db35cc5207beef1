'use strict';

const { describeServers } = require('../../support/servers.js');
const { useDeployment } = require('./deployments.js');
const { describeStore } = require('./describe-store.js');
const { clientsWith } = require('./table.js');

describeServers('%s, standalone', (_name, program) => {
  const redis = useDeployment('standalone', program);

  describe.each(clientsWith('standalone', 'native'))('by %s', (client) => describeStore({ client, redis }));
});
