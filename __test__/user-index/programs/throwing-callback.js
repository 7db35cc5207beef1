'use strict';

// Touches a session, not known to this process, with a callback that throws, then reads it.

const { RedisStore } = require('../../..');

const thrown = [];
process.on('uncaughtException', (error) => thrown.push(error.message));

async function main() {
  const store = new RedisStore({ url: process.argv[2], userId: (session) => session.userId, touchAfter: 60 });
  const data = await store.get('a');
  const session = store.createSession({ sessionID: 'a', sessionStore: store }, data);
  await new Promise((resolve) => {
    store.touch('a', session, () => {
      resolve();
      throw new Error('of the app');
    });
  });
  const { n } = await store.get('a');
  await store.close();
  console.log(JSON.stringify({ thrown, n }));
}

main();
