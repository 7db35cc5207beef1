'use strict';

const { Kind } = require('../../lib/boundary/request.js');
const { Tracer } = require('../../lib/observability/operation-trace.js');
const { All } = require('../../lib/session/all.js');
const { scan } = require('../../lib/session/scan.js');

// A value longer than 512 MB less 96 KB does not fit into a string. These are the completions that the addon makes,
// since a server with such a value takes a gigabyte; src/slice.rs tests that they are the same.

const store = { serializer: JSON, prefix: 'sess:' };
const cursor = { number: 1, close() {} };

function completePage(request) {
  for (const [id, text] of [['a', '{"n":1}'], ['long'], ['b', '{"n":2}']]) {
    request.complete(Kind.ID, id);
    if (text === undefined) request.complete(Kind.TOO_LONG, '', 0);
    else request.complete(Kind.ITEM, text, 0);
  }
  request.complete(Kind.DONE, '');
}

test('`all` counts a value that is too long as corrupt and returns the others', async () => {
  const sessions = await new Promise((resolve, reject) => {
    const callback = (error, result) => (error ? reject(error) : resolve(result));
    completePage(new All(store, callback, undefined, cursor, false, 1000));
  });
  expect(sessions).toEqual([
    { id: 'a', n: 1 },
    { id: 'b', n: 2 },
  ]);
  expect(sessions.corrupt).toBe(1);
});

test('`scan` returns a value that is too long without a session, with the reason', async () => {
  const outbox = { add: (_operation, page) => completePage(page) };
  const connection = { location: {}, transport: 'native' };
  const tracer = new Tracer({ connection, settings: store });
  const options = { open: () => cursor, isClosed: () => false, timeout: 1000, tracer };
  const entries = [];
  for await (const entry of scan(store, outbox, options)) entries.push(entry);
  expect(entries.map(({ id, session }) => [id, session?.n])).toEqual([
    ['a', 1],
    ['long', undefined],
    ['b', 2],
  ]);
  expect(entries[1]).toMatchObject({
    session: null,
    error: {
      code: 'ERR_SESSION_CORRUPT',
      message: 'scan failed: a session under the prefix "sess:" is longer than a JavaScript string',
    },
  });
});
