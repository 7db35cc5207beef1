'use strict';

const { until } = require('../support/until.js');
const { keyOf } = require('../support/app.js');
const { useApps } = require('./apps.js');

const apps = useApps();
const { redis } = apps;

describe.each(Object.entries(apps.stores))('an Express app on %s', (_name, open) => {
  /** Returns a visitor whose session has only twenty seconds left. */
  const start = async (options, storeOptions) => {
    const visitor = await apps.visit(await open(storeOptions), options, (express) =>
      express.get('/remember', (request, response) => {
        request.session.cookie.maxAge = 600_000;
        request.session.remember = true;
        response.json('remembered');
      }),
    );
    await visitor.get('/count');
    expect(await redis.command('PEXPIRE', keyOf(visitor), 20_000)).toBe(1);
    return visitor;
  };

  test('a request that only reads the session renews its lifetime and leaves it unchanged', async () => {
    const visitor = await start({ cookie: { maxAge: 60_000 } });
    const value = String(await redis.command('GET', keyOf(visitor)));
    await visitor.get('/look');
    expect(await redis.lifetime(keyOf(visitor))).toBeGreaterThan(20_000);
    expect(String(await redis.command('GET', keyOf(visitor)))).toBe(value);
  });

  test('a request that only reads the session does not renew its lifetime with disableTouch', async () => {
    const visitor = await start({ cookie: { maxAge: 60_000 } }, { disableTouch: true });
    expect((await visitor.get('/look')).body).toBe(1);
    expect(await redis.lifetime(keyOf(visitor))).toBeLessThanOrEqual(20_000);
  });

  test('a session lives for the default ttl when its cookie has no maxAge', async () => {
    const visitor = await start();
    await visitor.get('/look');
    const lifetime = await redis.lifetime(keyOf(visitor));
    expect(lifetime).toBeGreaterThan(86_390_000);
    expect(lifetime).toBeLessThanOrEqual(86_400_000);
  });

  test('a handler that changes maxAge changes the lifetime', async () => {
    const visitor = await start({ cookie: { maxAge: 60_000 } });
    await visitor.get('/remember');
    expect(await redis.lifetime(keyOf(visitor))).toBeGreaterThan(500_000);
  });

  test('rolling renews the lifetime in Redis along with the cookie', async () => {
    const visitor = await start({ rolling: true, cookie: { maxAge: 60_000 } });

    const { setCookie } = await visitor.get('/look');

    const expires = Date.parse(/Expires=([^;]+)/.exec(setCookie)[1]);
    const lifetime = await redis.lifetime(keyOf(visitor));
    // The cookie's expiry is in whole seconds.
    expect(Math.abs(Date.now() + lifetime - expires)).toBeLessThan(20_000);
    expect(lifetime).toBeGreaterThan(20_000);
  });

  test('resave stores an unchanged session with the later expiry', async () => {
    const visitor = await start({ resave: true, cookie: { maxAge: 60_000 } });
    const expiry = async () => new Date((await redis.stored(keyOf(visitor))).cookie.expires).getTime();
    const before = await expiry();
    // Until a later expiry is distinguishable from that one.
    await until(() => Date.now() + 60_000 > before);
    await visitor.get('/look');
    expect(await expiry()).toBeGreaterThan(before);
  });
});
