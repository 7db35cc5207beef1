'use strict';

// Runs the steps of a test, which arrive as messages, on a store, and reports their results.
const { RedisStore } = require('../../..');
const { openClient, closeAll } = require('../../support/stores.js');

let store;

const steps = {
  async open({ kind, port, ...options }) {
    const client = kind && (await openClient(kind, port));
    store = new RedisStore({ ...(client ? { client } : {}), ...options });
    store.on('error', () => {});
  },
  call: ({ method, args }) => store[method](...args),
  status: () => store.status,
  async close() {
    await store.close();
    await closeAll();
  },
};

process.on('message', async ({ step, ...facts }) => {
  try {
    process.send({ result: (await steps[step](facts)) ?? null });
  } catch (error) {
    process.send({ error: error.message });
  }
  if (step === 'close') process.disconnect();
});
