'use strict';

// Checks that concurrent requests keep what each of them adds to a session: several processes of an Express app, many
// clients, few sessions. Every key whose request succeeded must be stored in the end.

const http = require('node:http');
const { startRedis } = require('../scripts/redis.js');
const { connectRaw } = require('../__test__/support/redis.js');
const { startChild } = require('./children.js');
const { format, table } = require('./tables.js');

const FULL = { processes: 4, clients: 64, requests: 100_000, sessions: 200 };
const QUICK = { ...FULL, requests: 4000, sessions: 20 };
const RULES = ['overwrite', 'reject', 'merge'];

/** Sends a request, and returns the status, the body and a cookie that was set. */
function get(agent, port, path, cookie) {
  return new Promise((resolve, reject) => {
    const headers = cookie === undefined ? {} : { cookie };
    const request = http.get({ agent, port, host: '127.0.0.1', path, headers }, (response) => {
      let body = '';
      response.setEncoding('utf8');
      response.on('data', (text) => {
        body += text;
      });
      response.on('end', () => {
        const set = response.headers['set-cookie']?.[0].split(';')[0];
        resolve({ status: response.statusCode, body, set });
      });
    });
    request.on('error', reject);
  });
}

const idOf = (cookie) => decodeURIComponent(cookie.split('=')[1]).slice('s:'.length).split('.')[0];

async function run(plan, rule, node) {
  const server = await startRedis();
  const redis = await connectRaw(server.port);
  const children = [];
  const agent = new http.Agent({ keepAlive: true, maxSockets: plan.clients });
  try {
    for (let count = 0; count < plan.processes; count++)
      children.push(startChild(require.resolve('./conflicts-server.js'), [server.url, rule], { node }));
    const ports = await Promise.all(children.map((child) => child.call('port')));
    const cookies = [];
    for (let number = 0; number < plan.sessions; number++)
      cookies.push((await get(agent, ports[number % ports.length], '/add/first')).set);

    const succeeded = new Map(cookies.map((cookie) => [cookie, new Set(['first', 'cookie'])]));
    let started = 0;
    let rejected = 0;
    const begin = performance.now();
    const client = async () => {
      while (started < plan.requests) {
        const number = started++;
        const cookie = cookies[Math.floor(Math.random() * cookies.length)];
        const port = ports[number % ports.length];
        const { status, body } = await get(agent, port, `/add/k${number}`, cookie);
        if (status === 200) succeeded.get(cookie).add(`k${number}`);
        else if (body === 'ERR_SESSION_CONFLICT') rejected++;
        else throw new Error(`${status} ${body}`);
      }
    };
    await Promise.all(Array.from({ length: plan.clients }, client));
    const seconds = (performance.now() - begin) / 1000;

    let lost = 0;
    let unexpected = 0;
    for (const [cookie, keys] of succeeded) {
      const stored = new Set(Object.keys(JSON.parse(await redis.command('GET', `sess:${idOf(cookie)}`))));
      for (const key of keys) if (!stored.has(key)) lost++;
      for (const key of stored) if (!keys.has(key)) unexpected++;
    }
    return { rejected, lost, unexpected, perSecond: plan.requests / seconds };
  } finally {
    agent.destroy();
    for (const child of children) await child.stop();
    await redis.close();
    await server.stop();
  }
}

async function measureConflicts({ node, quick }) {
  const plan = quick ? QUICK : FULL;
  const rows = [];
  for (const rule of RULES) {
    process.stderr.write(`${rule}\n`);
    const { rejected, lost, unexpected, perSecond } = await run(plan, rule, node);
    rows.push([rule, ...[rejected, lost, unexpected, perSecond].map((figure) => format(figure, 0))]);
  }
  const { processes, clients, requests, sessions } = plan;
  console.log(
    `${format(requests, 0)} requests of ${clients} clients to ${processes} processes, each adding a key to one of ${sessions} sessions:\n`,
  );
  const head = ['onConflict', 'rejected', 'saved, but lost', 'rejected, but stored', 'requests/s'];
  console.log(table(head, rows));
}

module.exports = { measureConflicts };
