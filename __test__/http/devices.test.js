'use strict';

const { createDevices } = require('../../examples/demo/devices.js');
const { openStore } = require('../support/stores.js');
const { useApps } = require('./apps.js');

const apps = useApps();
const ANN = 'account-of-ann';
const BOB = 'account-of-bob';

let app;
beforeEach(async () => {
  const store = await openStore('url', apps.redis.port, {
    userId: (session) => session.userId,
    promises: true,
  });
  app = await apps.serve(store, {}, (express) => {
    express.use('/devices', createDevices(store, { secret: 'test', path: '/' }));
    express.use((_request, response) => response.status(404).json({}));
  });
});

/** Signs in on a device, and returns its browser. */
async function signIn(account, device) {
  const browser = app.visitor('connect-redis-native-demo');
  expect((await browser.send('POST', `/devices/sign-in/${account}/${device}`)).status).toBe(200);
  return browser;
}

const list = async (browser) => (await browser.get('/devices')).body;
const namesOf = async (browser) => (await list(browser)).map(({ device }) => device).sort();
const handleOf = async (browser, name) => (await list(browser)).find(({ device }) => device === name).handle;

test('the list has the devices of the user, marks the one at hand, and contains no id', async () => {
  const laptop = await signIn(ANN, 'laptop');
  const phone = await signIn(ANN, 'phone');
  await signIn(BOB, 'tablet');

  const devices = await list(laptop);
  const current = Object.fromEntries(devices.map((device) => [device.device, device.current]));
  expect(current).toEqual({ laptop: true, phone: false });
  for (const { id } of [laptop, phone]) expect(JSON.stringify(devices)).not.toContain(id);
  expect(await list(app.visitor())).toEqual([]);
});

test('a device that is ended is signed out at its next request, and the others are not', async () => {
  const [laptop, phone, tablet] = [
    await signIn(ANN, 'laptop'),
    await signIn(ANN, 'phone'),
    await signIn(ANN, 'tablet'),
  ];
  const { body } = await laptop.send('DELETE', `/devices/${await handleOf(laptop, 'phone')}`);
  expect(body).toEqual({ ended: 1 });
  expect(await list(phone)).toEqual([]);
  expect(await namesOf(tablet)).toEqual(['laptop', 'tablet']);

  expect((await laptop.send('DELETE', '/devices/others')).body).toEqual({ ended: 1 });
  expect(await list(tablet)).toEqual([]);
  expect(await namesOf(laptop)).toEqual(['laptop']);
});

test('a logout everywhere signs out every device of the user, and none of another', async () => {
  const devices = [await signIn(ANN, 'laptop'), await signIn(ANN, 'phone')];
  const bob = await signIn(BOB, 'tablet');
  expect((await devices[0].send('DELETE', '/devices')).body).toEqual({ ended: 2 });
  for (const device of devices) expect(await list(device)).toEqual([]);
  expect(await namesOf(bob)).toEqual(['tablet']);
});

test('a session that cannot be read is listed with the others', async () => {
  const laptop = await signIn(ANN, 'laptop');
  const { id } = await signIn(ANN, 'phone');
  await apps.redis.command('SET', `sess:${id}`, 'not JSON', 'KEEPTTL');
  expect(await namesOf(laptop)).toEqual(['Unknown device', 'laptop']);
});

test('a handle of another user ends nothing', async () => {
  const bob = await signIn(BOB, 'tablet');
  const ann = await signIn(ANN, 'laptop');
  expect((await ann.send('DELETE', `/devices/${await handleOf(bob, 'tablet')}`)).status).toBe(404);
  expect(await namesOf(bob)).toEqual(['tablet']);
});

test('a sign-in replaces the id that the browser had', async () => {
  const browser = await signIn(ANN, 'laptop');
  const before = browser.id;
  await browser.send('POST', `/devices/sign-in/${ANN}/again`);
  expect(browser.id).not.toBe(before);
  expect(await namesOf(browser)).toEqual(['again']);
});
