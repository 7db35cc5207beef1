'use strict';

const { keyOf } = require('../support/app.js');
const { openStore } = require('../support/stores.js');
const { useApps } = require('./apps.js');

const apps = useApps();
const { redis } = apps;

/** Adds routes that await the methods of sessions. */
function routes(express) {
  const route = (path, handler) =>
    express.get(path, (request, response, next) => handler(request, response).catch(next));
  route('/save', async (request, response) => {
    request.session.count = 10;
    const result = await request.session.save();
    response.json([result, await redis.stored(`sess:${request.sessionID}`)]);
  });
  route('/reload', async (request, response) => {
    request.session.count = 99;
    await request.session.reload();
    request.session.again = true;
    await request.session.save();
    response.json(request.session.count);
  });
  route('/regenerate', async (request, response) => {
    await request.session.regenerate();
    request.session.user = 'ann';
    await request.session.save();
    response.json((await redis.stored(`sess:${request.sessionID}`)).user);
  });
  route('/destroy', async (request, response) => {
    await request.session.destroy();
    response.json([request.session ?? null, await redis.keys()]);
  });
  express.get('/callbacks', (request, response, next) => {
    request.session.count = 5;
    request.session.save((error) => (error ? next(error) : response.json('saved')));
  });
  express.get('/assigned', (request, response) => {
    request.session = null;
    response.json(request.session);
  });
  express.get('/types', ({ session }, response) =>
    response.json([typeof session.save()?.then, typeof session.touch().save]),
  );
}

describe.each([
  ['an Express app', {}],
  ['an Express app with maxLifetime', { maxLifetime: 600 }],
])('promises: true, %s', (_name, options) => {
  const visit = async (extra = { promises: true }) =>
    apps.visit(await openStore('url', redis.port, { ...options, ...extra }), { unset: 'destroy' }, routes);

  test.each(['a new session', 'a loaded session'])(
    'the methods of %s return promises without a callback',
    async (which) => {
      for (const path of ['/save', '/regenerate', '/destroy']) {
        const visitor = await visit();
        if (which === 'a loaded session') await visitor.get('/count');
        const { body } = await visitor.get(path);
        if (path === '/save') expect(body).toEqual([null, expect.objectContaining({ count: 10 })]);
        if (path === '/regenerate') expect(body).toBe('ann');
        if (path === '/destroy') expect(body).toEqual([null, []]);
        await redis.command('FLUSHALL');
      }
    },
  );

  test('reload resolves with the stored session, whose methods return promises', async () => {
    const visitor = await visit();
    await visitor.get('/count');
    expect((await visitor.get('/reload')).body).toBe(1);
    expect(await redis.stored(keyOf(visitor))).toMatchObject({ again: true });
  });

  test('a failure rejects, and ends no process if it is ignored', async () => {
    const visitor = await visit();
    // A new session is not stored.
    const { status, body } = await visitor.get('/reload');
    expect([status, body.message]).toEqual([500, 'failed to load session']);
  });

  test('callbacks work as without the option', async () => {
    const visitor = await visit();
    await visitor.get('/count');
    const before = await redis.calls('set');
    expect((await visitor.get('/callbacks')).body).toBe('saved');
    expect((await redis.calls('set')) - before).toBe(1);
    expect((await visitor.get('/assigned')).body).toBeNull();
    expect(await redis.keys()).toEqual([]);
  });

  test('without the option, the methods return what express-session returns', async () => {
    const visitor = await visit({});
    await visitor.get('/count');
    expect((await visitor.get('/types')).body).toEqual(['undefined', 'function']);
  });
});
