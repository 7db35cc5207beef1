'use strict';

// The thread of the visitors that the meters measure: each signs in, then requests the page, one request after another.

const http = require('node:http');
const { performance } = require('node:perf_hooks');
const { parentPort } = require('node:worker_threads');

const HOST = '127.0.0.1';
const VISITORS = 4;

const agent = new http.Agent({ keepAlive: true });
/** The cookies of the visitors. */
let cookies;

parentPort.on('message', async ({ port, shop, requests, signsIn }) => {
  try {
    if (signsIn) await signIn(port, shop);
    parentPort.postMessage({ latencies: await visit(port, shop, requests) });
  } catch (error) {
    parentPort.postMessage({ error: error.message });
  }
});

async function signIn(port, shop) {
  const responses = Array.from({ length: VISITORS }, () => send(port, 'POST', `${shop}/sign-in`));
  cookies = (await Promise.all(responses)).map(({ headers }) => headers['set-cookie'][0].split(';')[0]);
}

/** Returns the latency of each request, in milliseconds. */
async function visit(port, shop, requests) {
  const latencies = [];
  await Promise.all(
    cookies.map(async (cookie) => {
      for (let request = 0; request < requests / VISITORS; request++) {
        const start = performance.now();
        await send(port, 'GET', `${shop}/session`, { cookie });
        latencies.push(Math.round((performance.now() - start) * 1000) / 1000);
      }
    }),
  );
  return latencies;
}

function send(port, method, path, headers) {
  return new Promise((resolve, reject) => {
    const request = http.request({ host: HOST, port, method, path, headers, agent }, (response) => {
      response.resume();
      response.on('end', () => {
        if (response.statusCode === 200) resolve(response);
        else reject(new Error(`${method} ${path} returned ${response.statusCode}.`));
      });
    });
    request.on('error', reject);
    request.end();
  });
}
