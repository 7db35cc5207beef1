'use strict';

// Reads the first session of several scans and drops them: what the addon holds of each is freed with its object.

const { RedisStore } = require('../../..');
const { RedisStore: Native } = require('../../../lib/boundary/native.js');
const { until } = require('../../support/until.js');

const scans = [];
const { openScan } = Native.prototype;
Native.prototype.openScan = function (...args) {
  const scan = openScan.apply(this, args);
  scans.push(new WeakRef(scan));
  return scan;
};

async function main(url) {
  const store = new RedisStore({ url });
  for (let n = 0; n < 300; n++) store.set(`s${n}`, { n });
  for (let times = 0; times < 3; times++) await store.scan().next();
  await until(() => {
    globalThis.gc();
    return scans.every((scan) => scan.deref() === undefined);
  });
  console.log(scans.length, 'scans gone');
  await store.close();
}

main(...process.argv.slice(2));
