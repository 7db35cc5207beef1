'use strict';

// Measures what an exchange with the server costs on Node's event loop without any client: a socket of Node's, a
// `PING`, nothing else.

const net = require('node:net');
const { startClocks } = require('./clocks.js');
const { median } = require('./rounds.js');

const PONG_BYTES = '+PONG\r\n'.length;

/**
 * Sends one `PING` after another for `ms`. Returns the latency's median, and the CPU time of the main thread for each,
 * in µs.
 */
function exchangeAlone({ hostname, port }, ms) {
  return new Promise((resolve, reject) => {
    const socket = net.connect({ host: hostname, port: Number(port), noDelay: true });
    const end = performance.now() + ms;
    const latencies = [];
    let stopClocks;
    let sentAt;
    let missing;

    const send = () => {
      missing = PONG_BYTES;
      sentAt = performance.now();
      socket.write('PING\r\n');
    };
    socket.on('error', reject);
    socket.on('close', () => reject(new Error('the server closed the connection')));
    socket.on('connect', () => {
      stopClocks = startClocks();
      send();
    });
    socket.on('data', (bytes) => {
      missing -= bytes.length;
      if (missing > 0) return;
      const now = performance.now();
      latencies.push((now - sentAt) * 1000);
      if (now < end) return send();
      resolve({ thread: stopClocks().thread / latencies.length, p50: median(latencies) });
      socket.destroy();
    });
  });
}

module.exports = { exchangeAlone };
