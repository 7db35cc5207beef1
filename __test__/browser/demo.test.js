'use strict';

const { chromium } = require('playwright-core');
const { freePort, startRedis } = require('../../scripts/redis.js');
const { connectRaw } = require('../support/redis.js');
const { until } = require('../support/until.js');
const { startDemo } = require('./demo-process.js');

const CHROMIUM_ARGS = [
  '--headless',
  '--no-sandbox', // Chromium refuses its sandbox to root, the user of containers
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

let browser;
let redis;
let demo;

beforeAll(async () => {
  browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args: CHROMIUM_ARGS });
  redis = await startRedis({ args: ['--appendonly', 'yes'] });
  demo = await startDemo({ redisUrl: redis.url, port: await freePort() });
});

afterAll(async () => {
  const code = await demo?.stop('SIGTERM');
  await redis?.stop();
  await browser?.close();
  expect(code).toBe(0);
});

/** Restarts the app at the address that the browser knows. */
async function restartDemo(signal) {
  const { url } = demo;
  const code = await demo.stop(signal);
  demo = await startDemo({ redisUrl: redis.url, port: Number(new URL(url).port) });
  expect(demo.url).toBe(url);
  return code;
}

/** Returns a browser context with its own cookies; closed after the test. */
async function newPerson(options) {
  const context = await browser.newContext(options);
  people.push(context);
  return context;
}

const people = [];
afterEach(async () => {
  for (const context of people.splice(0)) await context.close();
});

async function signIn(context, name) {
  const page = await context.newPage();
  await page.goto(demo.url);
  await page.getByLabel('Your name').fill(name);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.locator('#user').waitFor();
  return page;
}

const user = (page) => page.locator('#user').textContent();
const heading = (page) => page.getByRole('heading', { level: 1 }).textContent();
const views = async (page) => Number(await page.locator('#views').textContent());
const cart = (page) =>
  page.locator('#cart li').evaluateAll((items) => items.map((item) => item.firstChild.data.trim()));

/** Presses a button and waits for the page that follows. */
async function press(page, name) {
  const [, response] = await Promise.all([
    page.getByRole('button', { name, exact: true }).click(),
    page.waitForEvent(
      'response',
      (answer) => answer.request().isNavigationRequest() && answer.status() !== 303,
    ),
  ]);
  await page.waitForLoadState();
  return response.status();
}

describe('sign-in', () => {
  test('a signed-in visitor sees their name, also after a reload', async () => {
    const page = await signIn(await newPerson(), 'Ada');
    expect(await user(page)).toBe('Ada');
    await page.reload();
    expect(await user(page)).toBe('Ada');
  });

  test('sign-in changes the id of the session, so that a planted id is worthless', async () => {
    const mallory = await newPerson();
    const hers = await signIn(mallory, 'Mallory');
    const ada = await newPerson();
    await ada.addCookies(await mallory.cookies());

    // The form is gone, since the planted session is signed in; its request can still be sent.
    await ada.request.post(new URL('/sign-in', demo.url).href, { form: { name: 'Ada' } });
    const page = await ada.newPage();
    await page.goto(demo.url);
    expect(await user(page)).toBe('Ada');
    await hers.reload();
    expect(await heading(hers)).toBe('Sign in');
  });

  test('sign-in rejects a name of spaces with a message at the field', async () => {
    const page = await (await newPerson()).newPage();
    await page.goto(demo.url);
    await page.getByLabel('Your name').fill('   ');
    expect(await press(page, 'Sign in')).toBe(422);
    expect(await page.getByRole('alert').textContent()).toBe('Please enter a name.');
    expect(await page.getByLabel('Your name').getAttribute('aria-describedby')).toBe('problem');
  });

  test('a name with HTML is shown as text', async () => {
    const name = `<img src=x onerror='alert(1)'>"&amp;`;
    const page = await signIn(await newPerson(), name);
    expect(await user(page)).toBe(name);
    expect(await page.locator('img').count()).toBe(0);
  });
});

describe('session', () => {
  test('the page counts its views', async () => {
    const page = await signIn(await newPerson(), 'Ada');
    expect(await views(page)).toBe(1);
    await page.reload();
    await page.reload();
    expect(await views(page)).toBe(3);
  });

  test('the cart keeps its goods', async () => {
    const page = await signIn(await newPerson(), 'Ada');
    await press(page, 'Add Cheese');
    await press(page, 'Add Apples');
    await press(page, 'Add Cheese');
    expect(await cart(page)).toEqual(['1 × Apples', '2 × Cheese']);
    await press(page, 'Remove Cheese');
    await press(page, 'Remove Apples');
    expect(await cart(page)).toEqual(['1 × Cheese']);
    await page.reload();
    expect(await cart(page)).toEqual(['1 × Cheese']);
  });

  test("the page counts down the cookie's lifetime, which every page renews", async () => {
    const context = await newPerson();
    const page = await signIn(context, 'Ada');
    const timer = page.getByRole('timer');
    expect(await timer.getAttribute('data-seconds')).toBe('1800');
    await page.waitForFunction(() => document.getElementById('lifetime').textContent.startsWith('29:5'));

    const [before] = await context.cookies();
    await page.reload();
    expect(await timer.getAttribute('data-seconds')).toBe('1800');
    const [after] = await context.cookies();
    expect(after.value).toBe(before.value);
    expect(after.expires).toBeGreaterThan(before.expires);
  });

  test('the pages work without scripts', async () => {
    const page = await signIn(await newPerson({ javaScriptEnabled: false }), 'Ada');
    await press(page, 'Add Bread');
    expect(await cart(page)).toEqual(['1 × Bread']);
    expect(await page.getByRole('timer').textContent()).toBe('30:00');
  });

  test('a session belongs to one browser', async () => {
    const ada = await signIn(await newPerson(), 'Ada');
    const grace = await signIn(await newPerson(), 'Grace');
    await press(ada, 'Add Coffee');
    await grace.reload();
    expect(await user(grace)).toBe('Grace');
    expect(await cart(grace)).toEqual([]);
    await ada.reload();
    expect(await user(ada)).toBe('Ada');
    expect(await cart(ada)).toEqual(['1 × Coffee']);
  });
});

describe('sign-out', () => {
  test('signing out ends the session in every window, and the old cookie with it', async () => {
    const context = await newPerson();
    const one = await signIn(context, 'Ada');
    const other = await context.newPage();
    await other.goto(demo.url);
    expect(await user(other)).toBe('Ada');
    const cookies = await context.cookies();

    await press(one, 'Sign out');
    expect(await heading(one)).toBe('Sign in');
    await press(other, 'Add Bread');
    expect(await heading(other)).toBe('Sign in');

    await context.addCookies(cookies);
    await other.reload();
    expect(await heading(other)).toBe('Sign in');
  });
});

describe('survival of the session', () => {
  test('a session survives a restart of the app', async () => {
    const page = await signIn(await newPerson(), 'Ada');
    await press(page, 'Add Bread');
    expect(await restartDemo('SIGTERM')).toBe(0);
    await page.reload();
    expect(await user(page)).toBe('Ada');
    expect(await cart(page)).toEqual(['1 × Bread']);
  });

  test('a session survives a crash of the app', async () => {
    const page = await signIn(await newPerson(), 'Ada');
    await press(page, 'Add Bread');
    expect(await restartDemo('SIGKILL')).toBe(null);
    await page.reload();
    expect(await cart(page)).toEqual(['1 × Bread']);
  });

  test('a session survives a restart of Redis', async () => {
    const page = await signIn(await newPerson(), 'Ada');
    await press(page, 'Add Bread');
    await redis.restart();
    expect(await press(page, 'Add Bread')).toBe(200);
    expect(await cart(page)).toEqual(['2 × Bread']);
  });

  test('a page reports that Redis does not answer, and the session survives', async () => {
    const page = await signIn(await newPerson(), 'Ada');
    redis.pause();
    try {
      const response = await page.reload();
      expect(response.status()).toBe(503);
      expect(await heading(page)).toBe('Back in a moment');
    } finally {
      redis.resume();
    }
    await page.getByRole('link', { name: 'Try again' }).click();
    await page.locator('#user').waitFor();
    expect(await user(page)).toBe('Ada');
  });

  test('a session survives the loss of the connection while a request waits for Redis', async () => {
    const page = await signIn(await newPerson(), 'Ada');
    const admin = await connectRaw(redis.port);
    try {
      // Reads are answered, writes wait: the request gets as far as storing the session.
      expect(await admin.command('CLIENT', 'PAUSE', 60_000, 'WRITE')).toBe('OK');
      const pressed = press(page, 'Add Bread');
      await until(async () => / flags=b .* cmd=set /.test(await admin.command('CLIENT', 'LIST')));
      expect(await admin.command('CLIENT', 'KILL', 'TYPE', 'normal')).toBeGreaterThan(0);
      expect(await admin.command('CLIENT', 'UNPAUSE')).toBe('OK');
      expect(await pressed).toBe(200);
    } finally {
      await admin.close();
    }
    expect(await cart(page)).toEqual(['1 × Bread']);
  });

  test('a session survives the loss of an idle connection', async () => {
    const page = await signIn(await newPerson(), 'Ada');
    const admin = await connectRaw(redis.port);
    try {
      expect(await admin.command('CLIENT', 'KILL', 'TYPE', 'normal')).toBeGreaterThan(0);
    } finally {
      await admin.close();
    }
    expect((await page.reload()).status()).toBe(200);
    expect(await user(page)).toBe('Ada');
  });
});
