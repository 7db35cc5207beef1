'use strict';

const express = require('express');

const EVENTS = ['ready', 'reconnecting', 'error', 'discarded'];

/** Pauses, kills and restarts Redis, and streams the store's status and events to the page. */
function createOutage({ redis, store, place }) {
  const router = express.Router();
  const streams = new Set();
  let state = 'running';
  let lastAction = Promise.resolve();

  const actions = {
    pause: () => redis.pause(),
    resume: () => redis.resume(),
    kill: () => redis.kill(),
    restart: () => redis.restart(),
  };
  const states = { pause: 'paused', resume: 'running', kill: 'stopped', restart: 'running' };
  /** The states in which an action makes sense. */
  const allowed = {
    pause: ['running'],
    resume: ['paused'],
    kill: ['running', 'paused'],
    restart: ['running', 'paused', 'stopped'],
  };

  router.get('/events', (_req, res) => {
    res.set({ 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store' });
    streams.add(res);
    res.on('close', () => streams.delete(res));
    send(res, { state, status: store.status, place });
  });

  router.post('/:action', async (req, res, next) => {
    const { action } = req.params;
    if (!Object.hasOwn(actions, action)) return next();
    const run = lastAction.then(async () => {
      if (!allowed[action].includes(state)) return;
      await actions[action]();
      state = states[action];
      publish({ name: 'Redis', detail: state });
    });
    lastAction = run.catch(() => {}); // a failed one must not prevent the next
    await run;
    res.json({ state });
  });

  for (const name of EVENTS)
    store.on(name, (about) => publish({ name, detail: about?.message ?? about?.sessionHash }));

  function publish(event) {
    for (const stream of streams) send(stream, { state, status: store.status, event });
  }

  return {
    router,
    endStreams() {
      for (const stream of streams) stream.end();
    },
  };
}

function send(stream, message) {
  stream.write(`data: ${JSON.stringify(message)}\n\n`);
}

module.exports = { createOutage };
