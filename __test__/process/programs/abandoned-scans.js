'use strict';

// Takes the first session of several walks and forgets them: what the addon keeps of each goes with its object.

const { RedisStore } = require('../../..');
const { RedisStore: Native } = require('../../../lib/boundary/native.js');
const { until } = require('../../support/until.js');

const walks = [];
const { list } = Native.prototype;
Native.prototype.list = function (...args) {
  const walk = list.apply(this, args);
  walks.push(new WeakRef(walk));
  return walk;
};

async function main(url) {
  const store = new RedisStore({ url });
  for (let n = 0; n < 300; n++) store.set(`s${n}`, { n });
  for (let times = 0; times < 3; times++) await store.scan().next();
  await until(() => {
    globalThis.gc();
    return walks.every((walk) => walk.deref() === undefined);
  });
  console.log(walks.length, 'walks gone');
  await store.close();
}

main(...process.argv.slice(2));
