'use strict';

const { describeServers } = require('../../support/servers.js');
const { useDeployment } = require('./deployments.js');
const { describeStore } = require('./describe-store.js');
const { clientsWith } = require('./table.js');

describeServers('%s, sentinel', (_name, program) => {
  const clients = clientsWith('sentinel', 'native');

  // A URL has room for the servers' password alone.
  describe.each(clients.filter((client) => client === 'url'))('by %s', (client) => {
    const redis = useDeployment('sentinel', program, { sentinelPassword: undefined });
    describeStore({ client, redis });
  });

  describe('whose sentinels have a password of their own', () => {
    const redis = useDeployment('sentinel', program);
    describe.each(clients.filter((client) => client !== 'url'))('by %s', (client) =>
      describeStore({ client, redis }),
    );
  });
});
