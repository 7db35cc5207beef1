'use strict';

const { describeServers } = require('../../support/servers.js');
const { useDeployment } = require('./deployments.js');
const { describeStore } = require('./describe-store.js');
const { clientsWith } = require('./table.js');

describeServers('%s, sentinel', (_name, program) => {
  const clients = clientsWith('sentinel', 'native');

  // A URL has no place for the sentinels' password.
  describe.each(clients.filter((client) => client === 'url'))('by %s', (client) => {
    const redis = useDeployment('sentinel', program, { sentinelPassword: undefined });
    describeStore({ client, redis });
  });

  describe('with a password for the sentinels', () => {
    const redis = useDeployment('sentinel', program);
    describe.each(clients.filter((client) => client !== 'url'))('by %s', (client) =>
      describeStore({ client, redis }),
    );
  });
});
