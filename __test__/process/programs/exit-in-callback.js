'use strict';

const { RedisStore } = require('../../..');

const store = new RedisStore({ url: process.argv[2] });
let answered = 0;

for (let i = 0; i < 300; i++) {
  store.get(`abc${i}`, () => {
    answered += 1;
    if (answered === 4) process.exit(7);
  });
}
process.on('exit', () => console.log(`${answered} of 300`));
