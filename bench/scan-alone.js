'use strict';

// Measures what `SCAN` over all sessions costs without any store: a client that reads only the cursor and the number of
// keys of each reply, and keeps nothing. The keys are those of `bulk.js`, all of the same length.

const net = require('node:net');

const PATTERN = 'sess:*';
/** As this package requests; the peers request 100, which takes ten times the round trips. */
const COUNT = '1000';
/** `$37`, the key, and the ends of both lines. */
const KEY_BYTES = 5 + 37 + 2;
const HEAD = /^\*2\r\n\$\d+\r\n(\d+)\r\n\*(\d+)\r\n/;
const LONGEST_HEAD = 64;

/** Returns how many keys there are in a database. */
function scanAlone({ hostname, port }, database) {
  return new Promise((resolve, reject) => {
    const socket = net.connect({ host: hostname, port: Number(port), noDelay: true });
    let head = '';
    let missing = 0;
    let cursor = '0';
    let keys = 0;

    const send = (...words) =>
      socket.write(`*${words.length}\r\n${words.map((word) => `$${word.length}\r\n${word}\r\n`).join('')}`);
    const ask = () => send('SCAN', cursor, 'MATCH', PATTERN, 'COUNT', COUNT);

    socket.on('error', reject);
    socket.on('close', () => reject(new Error('the server closed the connection')));
    socket.once('data', () => {
      socket.on('data', (bytes) => {
        missing -= bytes.length;
        if (head !== undefined) {
          head += bytes.toString('latin1', 0, LONGEST_HEAD);
          const found = HEAD.exec(head);
          if (found === null) return;
          head = undefined;
          cursor = found[1];
          keys += Number(found[2]);
          missing += found[0].length + KEY_BYTES * Number(found[2]);
        }
        if (missing > 0) return;
        head = '';
        missing = 0;
        if (cursor !== '0') return ask();
        resolve(keys);
        socket.destroy();
      });
      ask();
    });
    send('SELECT', String(database));
  });
}

module.exports = { scanAlone };
