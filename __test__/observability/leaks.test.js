'use strict';

const { spawn } = require('node:child_process');
const { once } = require('node:events');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

/** Servers are started, killed and resharded; only a hang takes this long. */
const LIMIT_MS = 300_000;

let folder;
let captured;

beforeAll(async () => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'leaks-'));
  const [file, output] = ['captured', 'output'].map((name) => path.join(folder, name));
  const printed = fs.openSync(output, 'a');
  const program = path.join(__dirname, 'programs', 'busy-app.js');
  const app = spawn(process.execPath, [program, file], {
    env: { ...process.env, NODE_DEBUG: 'connect-redis-native', NODE_ENV: 'production' },
    stdio: ['ignore', printed, printed],
  });
  await once(app, 'exit');
  fs.closeSync(printed);
  captured = [file, output].map((name) => fs.readFileSync(name, 'utf8')).join('');
  if (app.exitCode !== 0) throw new Error(captured.slice(-5000));
}, LIMIT_MS);
afterAll(() => fs.rmSync(folder, { recursive: true, force: true }));

const hasText = (text) => captured.includes(text);

/** Returns the lines that contain a text, each once. */
const linesWith = (text) => [...new Set(captured.split('\n').filter((line) => line.includes(text)))];

test.each([
  ['session id', 'iDeNt'],
  ['value of a session', 'VaLuE'],
  ['password', 'pAsWd'],
])('a busy app shows no %s in any channel, metric, event, log line or error', (_what, mark) => {
  expect(linesWith(mark)).toEqual([]);
});

test.each([
  ...['channel', 'cause', 'event', 'debug log', 'stderr', 'warning', 'span', 'metric', 'scrape', 'error'],
])('the search finds a text that is leaked by way of: %s', (way) => {
  expect(linesWith(`dEcOy ${way} `)).not.toEqual([]);
});

test.each(['get', 'set', 'touch', 'destroy', 'scan', 'clear', 'command', 'connect'])(
  'the search covers the tracing channel %s',
  (name) => {
    for (const event of ['start', 'end', 'asyncStart', 'asyncEnd'])
      expect(hasText(`[channel connect-redis-native:${name} ${event}] `)).toBe(true);
  },
);

test.each([
  ...['connection:ready', 'connection:closed', 'cache:invalidation', 'cache:eviction'],
  ...['session:created', 'session:destroyed', 'session:expired', 'session:discarded', 'session:conflict'],
])('the search covers the channel %s', (name) => {
  expect(hasText(`[channel connect-redis-native:${name}] `)).toBe(true);
});

test.each([
  ...['ERR_INVALID_ARG_TYPE', 'ERR_REDIS_UNAVAILABLE', 'ERR_REDIS_TIMEOUT', 'ERR_REDIS_QUEUE_FULL'],
  ...[
    'ERR_REDIS_REPLY',
    'ERR_CREDENTIALS',
    'ERR_SESSION_CORRUPT',
    'ERR_SESSION_CONFLICT',
    'ERR_STORE_CLOSED',
  ],
])('the search covers an error with the code %s', (code) => {
  expect(new RegExp(`^\\[(error|event)[^\\n]*"code":"${code}"`, 'm').test(captured)).toBe(true);
});

test('the search covers the debug log', () => {
  for (const fact of ['connecting', 'lost', 'MOVED', 'invalidated', 'retrying'])
    expect(new RegExp(`^CONNECT-REDIS-NATIVE \\d+: .*${fact}`, 'm').test(captured)).toBe(true);
});
