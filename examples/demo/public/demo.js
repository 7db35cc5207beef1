// The page's script: one section for each panel.

const ITEMS = 20;
const STORES = ['connect-redis', 'native'];
const DEADLINE_MS = 4000;
const RESTART_AFTER_MS = 1000;
const ROUNDS = 5;

const find = (selector, parent = document) => parent.querySelector(selector);
const findAll = (selector, parent = document) => [...parent.querySelectorAll(selector)];
const delay = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Creates an element. A string among the children is text. */
function element(name, attributes = {}, ...children) {
  const created = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) created.setAttribute(key, value);
  created.append(...children);
  return created;
}

/** Sends a request, and returns the body of the response; throws if it reports a failure. */
async function send(method, path, options) {
  const response = await fetch(path, { method, ...options });
  const body = await response.json();
  if (!response.ok) throw Object.assign(new Error(body.message), { code: body.code });
  return body;
}

function say(verdict, text, outcome) {
  verdict.textContent = text;
  if (outcome) verdict.dataset.outcome = outcome;
  else delete verdict.dataset.outcome;
}

const running = new Set();
let redisState = 'connecting';

/** Makes a button run `work`, and keeps all that would disturb it disabled for as long. */
function onClick(button, work) {
  button.addEventListener('click', async () => {
    running.add(button);
    updateButtons();
    try {
      await work();
    } finally {
      running.delete(button);
      updateButtons();
      // A focused button that is disabled loses the focus.
      if (document.activeElement === document.body) button.focus({ preventScroll: true });
    }
  });
}

function updateButtons() {
  const isBusy = running.size > 0;
  for (const button of findAll('button')) {
    const { needsRedis, in: states } = button.dataset;
    button.disabled =
      running.has(button) ||
      (needsRedis !== undefined && (isBusy || redisState !== 'running')) ||
      (states !== undefined && (isBusy || !states.split(' ').includes(redisState)));
  }
}

// 1. Add 20 items at once

const cart = find('#cart');
for (const list of findAll('.items', cart))
  for (let item = 1; item <= ITEMS; item++) list.append(element('li', {}, String(item)));

async function fillCart(store) {
  const panel = find(`[data-store="${store}"]`, cart);
  const verdict = find('.verdict', panel);
  const tiles = findAll('.items li', panel);
  for (const [index, tile] of tiles.entries()) markTile(tile, index + 1);
  say(verdict, 'Sending 20 requests …');
  try {
    await send('POST', `/${store}/sign-in`);
    await Promise.all(
      tiles.map(async (tile, index) => {
        await send('POST', `/${store}/cart/item-${index + 1}`);
        markTile(tile, index + 1, 'answered');
      }),
    );
    const { items } = await send('GET', `/${store}/session`);
    for (const [index, tile] of tiles.entries())
      markTile(tile, index + 1, items.includes(`item-${index + 1}`) ? 'kept' : 'lost');
    const lost = ITEMS - items.length;
    const count = `${items.length} of ${ITEMS} kept`;
    say(verdict, lost ? `${count}, ${lost} lost` : count, lost ? 'bad' : 'good');
  } catch (error) {
    say(verdict, error.message, 'bad');
  }
}

function markTile(tile, item, state = '') {
  tile.dataset.state = state;
  tile.replaceChildren(String(item), element('span', { class: 'visually-hidden' }, ` ${state}`));
}

onClick(find('#add'), async () => {
  // One after the other: they would share the browser's connections.
  for (const store of STORES) await fillCart(store);
});

// 2. Log out during a slow request

const logout = find('#logout');

const STEPS = [
  'Sign in as Ada',
  'Slow request loads the session',
  'Log out: destroys the session',
  'Slow request saves the session',
];
for (const list of findAll('.steps', logout)) list.append(...STEPS.map((step) => element('li', {}, step)));

async function logOut(store) {
  const panel = find(`[data-store="${store}"]`, logout);
  const verdict = find('.verdict', panel);
  const steps = findAll('.steps li', panel);
  const mark = (step, state, note = '') => {
    steps[step].dataset.state = state;
    steps[step].textContent = STEPS[step] + note;
  };
  for (const step of steps.keys()) mark(step, 'pending');
  say(verdict, 'Running …');
  try {
    await send('POST', `/${store}/sign-in`);
    mark(0, 'done');
    const slow = await fetch(`/${store}/slow`, { method: 'POST' }); // resolves when the session is loaded
    mark(1, 'done');
    await send('POST', `/${store}/sign-out`);
    mark(2, 'done');
    const { discarded } = await slow.json();
    mark(3, 'done', discarded ? ': discarded' : ': saved');

    const { name } = await send('GET', `/${store}/session`);
    if (name) say(verdict, `${name} is signed in again: the session came back`, 'bad');
    else say(verdict, 'Still logged out', 'good');
  } catch (error) {
    say(verdict, error.message, 'bad');
  }
}

onClick(find('#log-out'), () => Promise.all(STORES.map(logOut)));

// 3. Pause, kill and restart Redis

const requests = find('#requests');
const events = find('#events');

function prepend(list, entry, length) {
  find('.empty', list)?.remove();
  list.prepend(entry);
  while (list.children.length > length) list.lastElementChild.remove();
}

/** Sends a request that reads the session, and shows how it waits and ends. */
async function sendRequest() {
  const text = element('span', {}, 'Waiting for Redis …');
  const bar = element('progress', { max: DEADLINE_MS, value: 0, 'aria-label': 'Time until the deadline' });
  const entry = element('li', {}, text, bar);
  prepend(requests, entry, 3);

  const start = performance.now();
  const timer = setInterval(() => {
    bar.value = performance.now() - start;
  }, 50);
  let outcome;
  let detail = '';
  try {
    await send('GET', '/native/session');
    outcome = 'good';
  } catch (error) {
    outcome = 'bad';
    detail = error.code ? `${error.code}: ${error.message}` : error.message;
  }
  clearInterval(timer);
  const seconds = ((performance.now() - start) / 1000).toFixed(1);
  const result = outcome === 'good' ? 'Succeeded' : 'Failed';
  text.replaceChildren(element('b', {}, `${result} after ${seconds} s`), detail && ` ${detail}`);
  entry.dataset.outcome = outcome;
  bar.remove();
}

const control = (action) => send('POST', `/redis/${action}`);

onClick(find('#recover'), async () => {
  await control('kill');
  const request = sendRequest();
  await delay(RESTART_AFTER_MS);
  await control('restart');
  await request;
});

onClick(find('#expire'), async () => {
  await control('pause');
  await sendRequest();
  await control('resume');
});

find('#send').addEventListener('click', sendRequest);
for (const button of findAll('[data-action]')) onClick(button, () => control(button.dataset.action));

let lastEvent;

function showEvent({ name, detail = '' }) {
  // While Redis is away, the store emits the same error for each attempt to connect.
  if (lastEvent?.name === name && lastEvent.detail === detail) {
    lastEvent.count += 1;
    lastEvent.times.textContent = ` × ${lastEvent.count}`;
    return;
  }
  const times = element('span');
  lastEvent = { name, detail, count: 1, times };
  const time = new Date().toLocaleTimeString('en-GB');
  prepend(events, element('li', {}, `${time} `, element('b', {}, name), times, detail && ` ${detail}`), 6);
}

const stream = new EventSource('/redis/events');
stream.addEventListener('message', ({ data }) => {
  const { state, status, place, event } = JSON.parse(data);
  showState(state, status);
  if (place) find('#place').textContent = place;
  if (event) showEvent(event);
});
stream.addEventListener('error', () => showState('unknown: the demo has ended', 'unknown'));

function showState(state, status) {
  redisState = state;
  find('#redis').dataset.state = state;
  find('#redis').textContent = `Redis: ${state}`;
  find('#redis-state').textContent = state;
  find('#store-status').textContent = status;
  updateButtons();
}

// 4. Measure a page

const micros = (value) => `${Math.round(value)} µs`;
const figures = {
  eventLoop: micros,
  commands: (value) => value.toFixed(1),
  hits: (value) => (value === null ? 'no cache' : `${Math.round(value * 100)} %`),
  latency: (value) => `${value.toFixed(2)} ms`,
};

onClick(find('#measure'), async () => {
  const progress = find('#progress');
  const position = (id) => (find(`#${id}`).checked ? 'on' : 'off');
  const name = `cache-${position('cache')},touch-${position('touch')}`;
  const rounds = [];
  try {
    while (rounds.length < ROUNDS) {
      say(progress, `Round ${rounds.length + 1} of ${ROUNDS} …`);
      rounds.push(await send('POST', `/meters/${name}`));
      showRounds(rounds);
    }
    say(progress, `Medians of ${ROUNDS} rounds.`, 'done');
  } catch (error) {
    say(progress, error.message, 'bad');
  }
});

let curves = [];

function showRounds(rounds) {
  const stores = ['peer', 'native'].map((store) => {
    const results = rounds.map((round) => round[store]);
    const latencies = results.flatMap((result) => result.latencies).sort((a, b) => a - b);
    const median = (figure) =>
      percentile(
        results.map((result) => result[figure]).sort((a, b) => a - b),
        50,
      );
    return {
      eventLoop: median('eventLoop'),
      commands: median('commands'),
      hits: median('hits'),
      latency: percentile(latencies, 50),
      latencies,
    };
  });
  for (const [figure, format] of Object.entries(figures)) {
    const cells = findAll(`[data-figure="${figure}"] td`);
    for (const [index, cell] of cells.entries()) cell.textContent = format(stores[index][figure]);
  }
  curves = stores.map(({ latencies }) => latencies);
  drawChart();
}

function percentile(sorted, percent) {
  return sorted[Math.min(sorted.length - 1, Math.floor((sorted.length * percent) / 100))];
}

const MARGIN = { top: 12, right: 12, bottom: 26, left: 34 };
/** Beyond it, single pauses of the machine would set the scale. */
const LAST_PERCENTILE = 95;
const NAMES = ['connect-redis', 'connect-redis-native'];
const CLASSES = ['peer', 'native'];

/** Draws a line for each store, from the fastest request to the 95th percentile. */
function drawChart() {
  const chart = find('#chart');
  const { clientWidth: width, clientHeight: height } = chart;
  const highest = Math.max(0, ...curves.map((curve) => percentile(curve, LAST_PERCENTILE)));
  const step = niceStep(highest / 4);
  const top = Math.max(step, Math.ceil(highest / step) * step);
  const x = (percent) => MARGIN.left + (percent / LAST_PERCENTILE) * (width - MARGIN.left - MARGIN.right);
  const y = (ms) => height - MARGIN.bottom - (ms / top) * (height - MARGIN.top - MARGIN.bottom);

  const svg = shape('svg', { viewBox: `0 0 ${width} ${height}`, role: 'img', 'aria-label': describe() });
  if (curves.length > 0)
    for (let ms = 0; ms <= top + step / 2; ms += step) {
      svg.append(
        shape('line', { class: 'grid', x1: MARGIN.left, x2: width - MARGIN.right, y1: y(ms), y2: y(ms) }),
      );
      svg.append(
        shape('text', { x: MARGIN.left - 6, y: y(ms) + 4, 'text-anchor': 'end' }, Number(ms.toFixed(2))),
      );
    }
  else
    svg.append(shape('text', { x: width / 2, y: height / 2, 'text-anchor': 'middle' }, 'Not measured yet'));
  for (const percent of [0, 25, 50, 75, LAST_PERCENTILE])
    svg.append(shape('text', { x: x(percent), y: height - 6, 'text-anchor': 'middle' }, `p${percent}`));
  for (const [index, curve] of curves.entries()) {
    const points = Array.from(
      { length: LAST_PERCENTILE + 1 },
      (_, at) => `${x(at)},${y(percentile(curve, at))}`,
    );
    svg.append(shape('polyline', { class: `line-${CLASSES[index]}`, points: points.join(' ') }));
  }
  chart.replaceChildren(svg);
}

function describe() {
  if (curves.length === 0) return 'Latency chart, empty';
  const parts = curves.map(
    (curve, index) =>
      `${NAMES[index]}: median ${percentile(curve, 50)} ms, 95th percentile ${percentile(curve, LAST_PERCENTILE)} ms`,
  );
  return parts.join('; ');
}

/** Returns the next of 1, 2, 5, 10, … times a power of ten. */
function niceStep(value) {
  if (value <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return power * [1, 2, 5, 10].find((factor) => factor * power >= value);
}

function shape(name, attributes, text = '') {
  const created = document.createElementNS('http://www.w3.org/2000/svg', name);
  for (const [key, value] of Object.entries(attributes)) created.setAttribute(key, value);
  created.textContent = text;
  return created;
}

new ResizeObserver(drawChart).observe(find('#chart'));

// 5. End sessions on other devices

const DEVICES = ['Phone', 'Tablet', 'Work laptop', 'Library computer'];
const account = crypto.randomUUID();
const deviceList = find('#device-list');
const devicesVerdict = find('#devices-verdict');
let signIns = 0;

const signIn = (device, options) =>
  send('POST', `/devices/sign-in/${account}/${encodeURIComponent(device)}`, options);

async function signInHere() {
  await signIn('This browser');
  return 'Signed in.';
}

/** Runs `work`, which returns what to say, and shows the list as it is then. */
async function changeDevices(work) {
  try {
    const text = await work();
    const devices = await send('GET', '/devices');
    devices.sort((one, other) => one.createdAt.localeCompare(other.createdAt));
    deviceList.replaceChildren(...devices.map(deviceEntry));
    say(devicesVerdict, `${text} Devices: ${devices.length}.`, 'good');
  } catch (error) {
    say(devicesVerdict, error.message, 'bad');
  }
}

function deviceEntry({ handle, current, device, browser, createdAt, lastSeenAt, expiresAt }) {
  const [since, seen, end] = [createdAt, lastSeenAt, expiresAt].map((at) =>
    new Date(at).toLocaleTimeString('en-GB'),
  );
  const text = `, ${browser}, since ${since}, last seen ${seen}, expires ${end} ${current ? '(this one) ' : ''}`;
  const entry = element('li', {}, element('b', {}, device), text);
  const button = element('button', { type: 'button', 'data-needs-redis': '' }, `End ${device}`);
  onClick(button, async () => {
    await changeDevices(async () => {
      await send('DELETE', `/devices/${handle}`);
      return `${device} is signed out.`;
    });
    deviceList.focus({ preventScroll: true }); // the button is gone
  });
  entry.append(button);
  return entry;
}

const signedIn = changeDevices(signInHere);

onClick(find('#sign-in'), async () => {
  await signedIn;
  await changeDevices(async () => {
    if (deviceList.children.length === 0) return signInHere();
    // This browser neither sends its cookie nor keeps the new one: to the app, it is another device.
    const name = DEVICES[signIns % DEVICES.length];
    const round = Math.floor(signIns++ / DEVICES.length);
    const device = round === 0 ? name : `${name} ${round + 1}`;
    await signIn(device, { credentials: 'omit' });
    return `Signed in on ${device}.`;
  });
});
for (const [button, path] of [
  ['#end-others', '/devices/others'],
  ['#end-all', '/devices'],
])
  onClick(find(button), () =>
    changeDevices(async () => {
      const { ended } = await send('DELETE', path);
      return `Sessions ended: ${ended}.`;
    }),
  );

// Panel 3 needs a session: a request without one does not ask Redis.
send('POST', '/native/sign-in').catch(() => {}); // fails if another page has stopped Redis
