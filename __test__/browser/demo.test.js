'use strict';

const fs = require('node:fs');
const path = require('node:path');
const { launchChromium } = require('../../scripts/chromium.js');
const { startDemo } = require('../../scripts/demo-process.js');
const { ask, startRedis } = require('../../scripts/redis.js');
const { until } = require('../support/until.js');

const ROOT = path.join(__dirname, '..', '..');

let browser;
let demo;

beforeAll(async () => {
  browser = await launchChromium(process.env.CHROMIUM);
  demo = await startDemo();
});

afterAll(async () => {
  await demo?.stop();
  await browser?.close();
});

/** Opens the demo's page and waits until it is live. `problems` collects the errors that the browser reports. */
async function openPage(url, options) {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  const problems = [];
  page.on('pageerror', (error) => problems.push(String(error)));
  page.on('console', (message) => {
    // Requests that fail at their deadline are part of the demo.
    if (message.type() === 'error' && !message.text().includes('503')) problems.push(message.text());
  });
  await page.goto(url);
  await page.locator('#redis[data-state=running]').waitFor();
  return { page, problems };
}

const press = (page, name) => page.getByRole('button', { name, exact: true }).click();
const part = (page, panel, store) => page.locator(`#${panel} [data-store=${store}]`);

/** Waits for the verdict of a panel, and returns it. */
async function verdict(scope) {
  const decided = scope.locator('.verdict[data-outcome]');
  await decided.waitFor();
  return { outcome: await decided.getAttribute('data-outcome'), text: await decided.textContent() };
}

/** Waits for the newest request to end, and returns its outcome and text. */
async function endOfRequest(page) {
  const newest = page.locator('#requests li[data-outcome]:first-child');
  await newest.waitFor();
  return { outcome: await newest.getAttribute('data-outcome'), text: await newest.textContent() };
}

const status = (page, wanted) =>
  page.locator('#store-status', { hasText: new RegExp(`^${wanted}$`) }).waitFor();
const figure = async (page, name) =>
  (await page.locator(`[data-figure=${name}] td`).allTextContents()).map((text) => text.trim());

describe.each([
  { device: 'a desktop in light mode', viewport: { width: 1080, height: 900 }, colorScheme: 'light' },
  { device: 'a phone in dark mode', viewport: { width: 375, height: 812 }, colorScheme: 'dark' },
])('on $device', ({ viewport, colorScheme }) => {
  let page;
  let problems;

  beforeAll(async () => {
    ({ page, problems } = await openPage(demo.url, { viewport, colorScheme }));
  });

  afterAll(() => page?.context().close());

  afterEach(async () => {
    const overflowing = await page.evaluate(() =>
      [document.documentElement, ...document.querySelectorAll('section, section :not(pre, pre *)')]
        .filter((each) => each.scrollWidth > each.clientWidth && each.clientWidth > 1)
        .map((each) => each.outerHTML.slice(0, 100)),
    );
    expect(overflowing).toEqual([]);
    expect(problems).toEqual([]);
  });

  test('panel 1: connect-redis loses items that are added at once, and this store keeps all 20', async () => {
    await press(page, 'Add 20 at once');
    const native = part(page, 'cart', 'native');
    expect(await verdict(native)).toEqual({ outcome: 'good', text: '20 of 20 kept' });
    expect(await native.locator('li[data-state=kept]').count()).toBe(20);

    const peer = part(page, 'cart', 'connect-redis');
    const { outcome, text } = await verdict(peer);
    const [, kept, lost] = text.match(/^(\d+) of 20 kept, (\d+) lost$/).map(Number);
    expect(outcome).toBe('bad');
    expect(lost).toBeGreaterThan(0);
    expect(kept + lost).toBe(20);
    expect(await peer.locator('li[data-state=lost]').count()).toBe(lost);
  });

  test('panel 2: a logged-out session comes back with connect-redis, and stays out with this store', async () => {
    await press(page, 'Log out during a slow request');
    const native = part(page, 'logout', 'native');
    const peer = part(page, 'logout', 'connect-redis');
    expect(await verdict(native)).toEqual({ outcome: 'good', text: 'Still logged out' });
    expect((await verdict(peer)).text).toBe('Ada is signed in again: the session came back');
    expect(await native.getByText('saves the session: discarded').count()).toBe(1);
    await page.locator('#events').getByText('discarded').waitFor();
  });

  test('panel 3: a request waits while Redis restarts, and succeeds', async () => {
    await press(page, 'Restart during a request');
    await page.locator('#redis-state', { hasText: 'stopped' }).waitFor();
    await page.locator('#requests progress').waitFor();
    const { outcome, text } = await endOfRequest(page);
    expect(outcome).toBe('good');
    const [, seconds] = text.match(/^Succeeded after (\d\.\d) s$/).map(Number);
    expect(seconds).toBeGreaterThanOrEqual(1);
    await status(page, 'ready');
    await page.locator('#events').getByText('ready', { exact: true }).first().waitFor();
  });

  test('panel 3: a request fails at its deadline with a message while Redis is paused', async () => {
    await press(page, 'Pause past the deadline');
    await page.locator('#redis-state', { hasText: 'paused' }).waitFor();
    await page.locator('#requests li[data-outcome=bad]').waitFor();
    const { text } = await endOfRequest(page);
    expect(text).toMatch(/^Failed after \d+\.\d s ERR_REDIS_TIMEOUT: get.*4000 ms/);
    await page.locator('#redis-state', { hasText: 'running' }).waitFor();
    await status(page, 'ready');
  });

  test('panel 3: the controls pause, resume, kill and restart Redis, which keeps the session', async () => {
    const fetchJson = (method, path) =>
      page.evaluate(async (request) => (await fetch(request.path, request)).json(), { method, path });
    await fetchJson('POST', '/native/sign-in');
    await press(page, 'Pause');
    await page.locator('#redis-state', { hasText: 'paused' }).waitFor();
    expect(await page.getByRole('button', { name: 'Add 20 at once' }).isDisabled()).toBe(true);
    await press(page, 'Resume');
    await page.locator('#redis-state', { hasText: 'running' }).waitFor();

    await press(page, 'Kill');
    await page.locator('#redis-state', { hasText: 'stopped' }).waitFor();
    await status(page, 'reconnecting');
    await press(page, 'Send a request');
    await press(page, 'Restart');
    await status(page, 'ready');
    await endOfRequest(page);
    const session = await fetchJson('GET', '/native/session');
    expect(session.name).toBe('Ada');
  });

  test('panel 4: the meters show what `cache` and `touchAfter` save', async () => {
    await press(page, 'Measure');
    await page.locator('#progress', { hasText: 'Medians' }).waitFor();
    const [peerCommands, nativeCommands] = (await figure(page, 'commands')).map(Number);
    expect(peerCommands).toBe(2);
    expect(nativeCommands).toBeLessThan(0.5);
    const [peerHits, nativeHits] = await figure(page, 'hits');
    expect(peerHits).toBe('no cache');
    expect(Number.parseInt(nativeHits, 10)).toBeGreaterThan(90);
    expect(await figure(page, 'eventLoop')).toEqual([
      expect.stringMatching(/^\d+ µs$/),
      expect.stringMatching(/^\d+ µs$/),
    ]);

    const lines = page.locator('#chart polyline');
    expect(await lines.count()).toBe(2);
    for (const line of await lines.all())
      expect((await line.getAttribute('points')).split(' ')).toHaveLength(96);
    expect(await page.locator('#chart svg').getAttribute('aria-label')).toMatch(
      /^connect-redis: median .* ms/,
    );

    await page.getByLabel('cache: true').uncheck();
    await page.getByLabel('touchAfter: 60').uncheck();
    await press(page, 'Measure');
    await page.locator('#progress', { hasText: 'Round' }).waitFor();
    await page.locator('#progress', { hasText: 'Medians' }).waitFor();
    expect(await figure(page, 'commands')).toEqual(['2.0', '3.0']);
    expect(await figure(page, 'hits')).toEqual(['no cache', 'no cache']);
  });

  test('panel 5: sessions on other devices are listed, and end', async () => {
    const devices = page.locator('#device-list li');
    const say = (text) => page.locator('#devices-verdict', { hasText: text }).waitFor();
    for (let count = 2; count <= 3; count++) {
      await press(page, 'Sign in on another device');
      await say(`Devices: ${count}.`);
    }
    expect(await devices.count()).toBe(3);
    expect(await devices.filter({ hasText: '(this one)' }).textContent()).toMatch(
      /^This browser, Chrome, since /,
    );
    await page.getByRole('button', { name: 'End Phone', exact: true }).press('Enter');
    await say('Phone is signed out. Devices: 2.');
    await page.locator('#end-others:enabled').waitFor();
    expect(await page.evaluate(() => document.activeElement.id)).toBe('device-list');
    await press(page, 'End all other sessions');
    await say('Sessions ended: 1. Devices: 1.');
    expect(await devices.count()).toBe(1);
    await press(page, 'Log out everywhere');
    await say('Sessions ended: 1. Devices: 0.');
    await press(page, 'Sign in on another device');
    await say('Signed in. Devices: 1.');
  });

  test('primary buttons differ from secondary ones, and the page follows the color scheme', async () => {
    const background = (selector) =>
      page.locator(selector).evaluate((each) => getComputedStyle(each).backgroundColor);
    expect(await background('#add')).not.toBe(await background('#send'));
    const [red] = (await background('body')).match(/\d+/g).map(Number);
    expect(red > 128).toBe(colorScheme === 'light');
  });

  test('the keyboard reaches every button, and the focus is visible', async () => {
    await page.reload();
    await page.locator('#add:enabled').waitFor();
    await page.locator('body').press('Tab');
    expect(await page.evaluate(() => document.activeElement.id)).toBe('add');
    expect(await page.locator('#add').evaluate((each) => getComputedStyle(each).outlineStyle)).toBe('solid');
    await page.keyboard.press('Enter');
    await verdict(part(page, 'cart', 'native'));
    await page.locator('#add:enabled').waitFor();
    expect(await page.evaluate(() => document.activeElement.id)).toBe('add');
  });
});

test('the code that the page shows is the code that runs', async () => {
  const { page } = await openPage(demo.url);
  const source = ['shop.js', 'devices.js', 'stores.js']
    .map((file) => fs.readFileSync(path.join(ROOT, 'examples', 'demo', file), 'utf8'))
    .join('\n')
    .replace(/ *\/\/.*/g, '');
  const shown = (await page.locator('pre').allTextContents()).flatMap((text) => text.split('\n'));
  expect(shown.length).toBeGreaterThan(3);
  for (const line of shown) expect(source).toContain(line);
  await page.context().close();
});

describe('the process', () => {
  test.each(['SIGTERM', 'SIGKILL'])('ends its Redis when it receives %s', async (signal) => {
    const other = await startDemo();
    const [, port, folder] = other.output.match(/started Redis on port (\d+), in (\S+)\./);
    expect(await ask(Number(port), 'PING')).toBe('+PONG');
    expect(await other.stop(signal)).toBe(signal === 'SIGTERM' ? 0 : null);
    await until(() =>
      ask(Number(port), 'PING').then(
        () => false,
        () => true,
      ),
    );
    // Only a process that ends cleanly can remove the folder.
    expect(fs.existsSync(folder)).toBe(signal === 'SIGKILL');
    fs.rmSync(folder, { recursive: true, force: true });
  });

  test('with REDIS_URL, the demo cuts the connections to that Redis and leaves it running', async () => {
    const redis = await startRedis();
    const other = await startDemo({ REDIS_URL: redis.url });
    try {
      const { page, problems } = await openPage(other.url);
      expect(await page.locator('#place').textContent()).toMatch(/^Redis runs elsewhere/);
      await press(page, 'Restart during a request');
      expect((await endOfRequest(page)).outcome).toBe('good');
      await page.locator('#expire:enabled').waitFor();
      await press(page, 'Pause past the deadline');
      await page.locator('#requests li[data-outcome=bad]').waitFor();
      await page.locator('#add:enabled').waitFor();
      await press(page, 'Add 20 at once');
      expect((await verdict(part(page, 'cart', 'native'))).text).toBe('20 of 20 kept');
      expect(problems).toEqual([]);
      await page.context().close();
    } finally {
      expect(await other.stop()).toBe(0);
      expect(await ask(redis.port, 'PING')).toBe('+PONG');
      await redis.stop();
    }
  });
});
