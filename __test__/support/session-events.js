'use strict';

const NAMES = ['created', 'destroyed', 'expired', 'discarded', 'conflict'];

/** Returns a list to which each event of a session adds its name and its enumerable properties. */
function recordEvents(store, names = NAMES) {
  const events = [];
  for (const event of names) store.on(event, (about) => events.push({ event, ...about }));
  return events;
}

module.exports = { NAMES, recordEvents };
