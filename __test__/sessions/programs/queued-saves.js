'use strict';

// Makes 50,000 conditional saves of one session at once, with no server listening. Prints their results, and the CPU
// time that their completion took, in ms.

const { Session } = require('express-session');
const { RedisStore } = require('../../..');

const options = { onConflict: 'merge', commandTimeout: 2000, maxQueue: 20_000 };
const store = new RedisStore({ url: 'redis://127.0.0.1:1', ...options });
const session = new Session({ sessionID: 'abc' }, { cookie: {}, user: 'ann' });
const answers = {};
const saves = Array.from({ length: 50_000 }, () =>
  store.set('abc', session).catch(({ code }) => {
    answers[code] = (answers[code] ?? 0) + 1;
  }),
);
const began = process.cpuUsage();

Promise.all(saves).then(async () => {
  const { user, system } = process.cpuUsage(began);
  console.log(JSON.stringify({ answers, cpu: (user + system) / 1000 }));
  await store.close();
});
