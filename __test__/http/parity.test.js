'use strict';

const { useApps } = require('./apps.js');

const apps = useApps();
const { redis } = apps;

const PREDECESSOR = 'connect-redis 10';
/** Times that two runs count down from the same moment of their requests differ by the duration of the requests. */
const TOLERANCE_S = 2;

/** Handlers that each do one thing to the session of a request. */
const handlers = {
  look: (request, done) => done(null, request.session.count ?? null),
  count(request, done) {
    request.session.count = (request.session.count ?? 0) + 1;
    done(null, request.session.count);
  },
  regenerate(request, done) {
    const former = request.sessionID;
    request.session.regenerate((error) => done(error, former !== request.sessionID));
  },
  reload(request, done) {
    request.session.count = 999;
    request.session.reload((error) => done(null, error?.message ?? request.session.count));
  },
  save(request, done) {
    request.session.count = 55;
    request.session.save((error) => done(error, 'saved'));
  },
  destroy: (request, done) => request.session.destroy((error) => done(error, request.session === undefined)),
  unset(request, done) {
    request.session = null;
    done(null, 'unset');
  },
  remove(request, done) {
    delete request.session;
    done(null, 'removed');
  },
  shorten(request, done) {
    request.session.cookie.maxAge = 5000;
    done(null, 'shortened');
  },
  unlimit(request, done) {
    request.session.cookie.expires = false;
    done(null, 'unlimited');
  },
  end(request, done) {
    request.session.cookie.maxAge = -1;
    done(null, 'ended');
  },
  touch(request, done) {
    request.session.touch();
    done(null, 'touched');
  },
};

const visits = [
  'look count count look reload save look regenerate look destroy look',
  'count unset look count look',
  'count remove look',
  'count unlimit look count',
  'count shorten look',
  'count end look',
  'count touch look',
  'destroy regenerate look reload',
  'save reload destroy reload look',
];

const middlewares = [
  {},
  { resave: true },
  { saveUninitialized: true },
  { cookie: { maxAge: 60_000 } },
  { cookie: { maxAge: 60_000 }, rolling: true },
  { unset: 'destroy' },
  { cookie: { maxAge: 60_000 }, unset: 'destroy', resave: true, saveUninitialized: true, rolling: true },
];

const options = [{}, { disableTouch: true }, { disableTTL: true }, { ttl: 77 }, { ttl: () => 77 }];

/** Returns what a visitor and Redis see of an app, visit by visit. */
async function seen(open, storeOptions, middleware, visit) {
  await redis.command('FLUSHALL');
  const visitor = await apps.visit(await open(storeOptions), middleware, (express) => {
    for (const [name, handle] of Object.entries(handlers))
      express.get(`/do/${name}`, (request, response, next) =>
        handle(request, (error, result) => (error ? next(error) : response.json(result))),
      );
  });
  const trace = [];
  for (const name of visit.split(' ')) {
    const { status, body, setCookie } = await visitor.get(`/do/${name}`);
    const keys = await redis.keys();
    const lifetimes = await Promise.all(keys.map((key) => redis.lifetime(key)));
    trace.push({
      name,
      status,
      body,
      cookie: setCookie && { expires: setCookie.includes('Expires=') },
      lifetimes: lifetimes.map((ms) => (ms < 0 ? ms : Math.round(ms / 1000))),
    });
  }
  return trace;
}

const asTimes = (trace) =>
  trace.map((step) => ({
    ...step,
    lifetimes: step.lifetimes.map((seconds) =>
      seconds < 0 ? seconds : expect.toBeWithin(seconds - TOLERANCE_S, seconds + TOLERANCE_S),
    ),
  }));

expect.extend({
  toBeWithin: (value, low, high) => ({
    pass: value >= low && value <= high,
    message: () => `expected ${value} to be from ${low} to ${high}`,
  }),
});

describe.each(middlewares)('an Express app with %j', (middleware) => {
  test.each(options.flatMap((option) => visits.map((visit) => [option, visit])))(
    'visitors and Redis see the same as with connect-redis 10, store options %p: %s',
    async (option, visit) => {
      const { [PREDECESSOR]: former, 'connect-redis-native by url': open } = apps.stores;
      const expected = asTimes(await seen(former, option, middleware, visit));
      expect(await seen(open, option, middleware, visit)).toEqual(expected);
    },
  );
});
