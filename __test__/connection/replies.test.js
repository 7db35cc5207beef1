'use strict';

const { RedisStore } = require('../..');
const { startScriptedServer } = require('../support/scripted-server.js');
const { closeAll, keepStore } = require('../support/stores.js');
const { until } = require('../support/until.js');

const PASSWORD = 'correct-horse-battery';
const SECRET = 'the-data-of-ann';

let server;
afterEach(async () => {
  await closeAll();
  await server?.stop();
});

/** Starts a server that accepts every client, with additional replies. */
const start = async (more) => {
  server = await startScriptedServer((name, words, socket) => {
    const reply = more(name, words, socket);
    if (reply !== undefined) return reply;
    if (name === 'HELLO') return "-ERR unknown command 'HELLO'\r\n";
    return name === 'PING' ? '+PONG\r\n' : name === 'PTTL' ? ':-1\r\n' : '+OK\r\n';
  });
};

test('`get` reads a session that the server sends as a simple string', async () => {
  await start((name) => (name === 'GET' ? '+{"n":1}\r\n' : undefined));
  const store = keepStore(new RedisStore({ url: server.url }));
  expect(await store.get('abc')).toEqual({ n: 1 });
});

test.each([
  ['an integer', ':5\r\n'],
  ['an invalid reply', '?5\r\n'],
])('`get` rejects with ERR_REDIS_REPLY when the server answers with %s', async (_what, reply) => {
  await start((name) => (name === 'GET' ? reply : undefined));
  const store = keepStore(new RedisStore({ url: server.url }));
  const error = await store.get('abc').catch((reason) => reason);
  expect(error).toMatchObject({ code: 'ERR_REDIS_REPLY' });
  expect(error.message).toMatch(
    /^get failed: no readable reply .*; 3 attempts; last error: the server sent /,
  );
});

const quotings = {
  'in quotes': (words) => words.map((word) => `'${word}'`).join(' '),
  unquoted: (words) => words.join(' '),
  'cut off': (words) => String(words.join(' ')).slice(0, 'AUTH default corre'.length + 8),
};

describe.each(Object.entries(quotings))('a server that quotes arguments %s', (_name, quote) => {
  test.each([
    ['closes', true],
    ['stays', false],
  ])(
    'errors and events do not contain the password when the server quotes it and the connection %s',
    async (_what, closes) => {
      await start((name, words, socket) => {
        if (name !== 'HELLO' && name !== 'AUTH') return undefined;
        socket.write(`-ERR cannot do ${quote(words)}\r\n`);
        return closes ? null : '';
      });
      const url = server.url.replace('//', `//:${PASSWORD}@`);
      const store = keepStore(new RedisStore({ url, commandTimeout: 500 }));
      const messages = [];
      store.on('error', (error) => messages.push(error.message));
      await store.get('abc').catch((error) => messages.push(error.message));
      await until(() => messages.some((message) => message.includes('cannot do')));
      for (const message of messages) expect(message).not.toMatch(/correct-|battery/);
    },
  );

  test('errors do not contain session data or ids when the server quotes them', async () => {
    await start((name, words) => (name === 'SET' ? `-ERR cannot do ${quote(words)}\r\n` : undefined));
    const store = keepStore(new RedisStore({ url: server.url }));
    const error = await store.set('id-of-the-session', { text: SECRET }).catch((reason) => reason);
    expect(error).toMatchObject({ code: 'ERR_REDIS_REPLY', message: expect.stringContaining('cannot do') });
    expect(error.message).not.toMatch(/the-data|id-of/);
  });
});
