'use strict';

// Simulates browsers: keep-alive connections on which one signed-in request follows another. Raw sockets, since they
// share the machine with the server and Node's HTTP client costs as much as a server.

const { once } = require('node:events');
const net = require('node:net');
const { performance } = require('node:perf_hooks');
const { serve } = require('./children.js');
const { quantile } = require('./closed-loop.js');

const HOST = '127.0.0.1';
const HEAD_END = '\r\n\r\n';

/** Signs in `count` visitors; returns their cookies. */
async function signIn({ port, visitors }) {
  const cookies = [];
  for (let visitor = 0; visitor < visitors; visitor++) {
    const response = await fetch(`http://${HOST}:${port}/sign-in`);
    await response.arrayBuffer();
    cookies.push(response.headers.get('set-cookie').split(';', 1)[0]);
  }
  return cookies;
}

/** Sends one request after another on one connection, each as another visitor, until `isOver()`. */
async function drive(socket, requests, isOver, latencies) {
  const lane = Math.floor(Math.random() * requests.length);
  await new Promise((resolve, reject) => {
    let received = '';
    let number = lane;
    let startedAt;

    const next = () => {
      if (isOver()) {
        socket.destroy();
        resolve();
        return;
      }
      startedAt = performance.now();
      socket.write(requests[number++ % requests.length]);
    };

    socket.setEncoding('latin1');
    socket.on('data', (chunk) => {
      received = received === '' ? chunk : received + chunk;
      if (!isWhole(received)) return;
      latencies.push(performance.now() - startedAt);
      if (!received.startsWith('HTTP/1.1 200')) reject(new Error(`the app answered ${received}`));
      received = '';
      next();
    });
    socket.on('error', reject);
    socket.on('end', () => reject(new Error('the app closed a connection')));
    next();
  });
}

function isWhole(response) {
  const headEnd = response.indexOf(HEAD_END);
  if (headEnd === -1) return false;
  const length = Number(/\r\ncontent-length: (\d+)/i.exec(response)[1]);
  return response.length === headEnd + HEAD_END.length + length;
}

async function load({ port, cookies, connections, ms }) {
  const head = `GET / HTTP/1.1\r\nHost: ${HOST}:${port}\r\n`;
  const requests = cookies.map((cookie) => `${head}Cookie: ${cookie}${HEAD_END}`);
  const sockets = await Promise.all(
    Array.from({ length: connections }, async () => {
      const socket = net.connect({ port, host: HOST, noDelay: true });
      await once(socket, 'connect');
      return socket;
    }),
  );

  const latencies = [];
  const start = performance.now();
  const isOver = () => performance.now() - start >= ms;
  await Promise.all(sockets.map((socket) => drive(socket, requests, isOver, latencies)));
  const seconds = (performance.now() - start) / 1000;

  const sorted = Float64Array.from(latencies).sort();
  return {
    requests: latencies.length,
    perSecond: latencies.length / seconds,
    p50: quantile(sorted, 0.5) * 1000,
    p99: quantile(sorted, 0.99) * 1000,
  };
}

serve({ signIn, load });
