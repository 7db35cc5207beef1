'use strict';

const { fork } = require('node:child_process');
const { once } = require('node:events');
const path = require('node:path');
const { until } = require('../support/until.js');

const COOKIE = 'connect.sid';
const children = [];

/** Starts an app of `programs/app.js` in its own process; `stopAll` ends it. */
async function startApp(settings, program = 'app.js') {
  const child = fork(path.join(__dirname, 'programs', program), [JSON.stringify(settings)]);
  children.push(child);
  const [port] = await Promise.race([
    once(child, 'message'),
    once(child, 'exit').then(([code]) => {
      throw new Error(`The app ended with ${code} before it listened.`);
    }),
  ]);
  return new App(`http://127.0.0.1:${port}`);
}

async function stopAll() {
  await Promise.all(
    children.splice(0).map(async (child) => {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const exited = once(child, 'exit');
      child.disconnect();
      await exited;
    }),
  );
}

class App {
  #origin;

  constructor(origin) {
    this.#origin = origin;
  }

  /** Requests a path, with the cookie of a visitor, which is updated, or without one. */
  async get(path, visitor) {
    const headers = visitor?.cookie === undefined ? {} : { cookie: `${COOKIE}=${visitor.cookie}` };
    const response = await fetch(this.#origin + path, { headers });
    const set = response.headers.getSetCookie().find((header) => header.startsWith(`${COOKIE}=`));
    if (set !== undefined && visitor !== undefined)
      visitor.cookie = set.slice(COOKIE.length + 1).split(';')[0];
    const text = await response.text();
    return { status: response.status, setCookie: set, body: text && JSON.parse(text) };
  }

  async body(path, visitor) {
    return (await this.get(path, visitor)).body;
  }

  /** Begins a slow request, which has loaded its session when this resolves. */
  async begin(path, gate, visitor) {
    const answer = this.get(path, { ...visitor });
    await until(async () => await this.body(`/waits/${gate}`));
    return {
      finish: async () => {
        await this.get(`/open/${gate}`);
        return answer;
      },
    };
  }
}

/** A client with a cookie. */
function newVisitor() {
  return {
    cookie: undefined,
    get id() {
      return decodeURIComponent(this.cookie).replace(/^s:/, '').split('.')[0];
    },
  };
}

module.exports = { startApp, stopAll, newVisitor };
