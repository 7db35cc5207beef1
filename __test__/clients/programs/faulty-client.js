'use strict';

// Runs operations on a client that misbehaves in one way in its reply to GET. Prints how they ended.

const { RedisStore } = require('../../..');

const cycle = [];
cycle.push(cycle);
const nested = (levels) => {
  let reply = [];
  for (let depth = 0; depth < levels; depth++) reply = [reply];
  return reply;
};
const throwing = (message) => {
  throw new Error(message);
};
const trap = (field) =>
  Object.defineProperty(new Error('hidden'), field, { get: () => throwing(`no ${field}`) });

const thenable = (then) => Object.fromEntries([['then', then]]);

/** Ways in which a client may fail to answer. */
const faults = {
  'a cyclic reply': async () => cycle,
  'a reply nested too deeply': async () => nested(100_000),
  'a reply nested deeper than any of Redis': async () => nested(3_000),
  'a BigInt beyond 64 bits': async () => 2n ** 70n,
  'an array with holes': async () => new Array(3),
  'an array that misstates its length': async () =>
    new Proxy([], { get: (array, key) => (key === 'length' ? 5 : array[key]) }),
  'a thenable that throws': () => thenable(() => throwing('in then')),
  'a then that throws when it is read': () =>
    Object.defineProperty({}, 'then', { get: () => throwing('no then') }),
  'a thenable that answers twice': () =>
    thenable((resolve, reject) => [resolve('{"n":1}'), reject(new Error('twice')), resolve(null)]),
  'an error whose message throws': async () => {
    throw trap('message');
  },
  'an error whose syscall throws': async () => {
    throw Object.assign(trap('syscall'), { message: 'ERR refused' });
  },
  'an error whose code throws': async () => {
    throw Object.assign(trap('code'), { message: '' });
  },
  'an error that is a Proxy of a revoked target': async () => {
    const { proxy, revoke } = Proxy.revocable({}, {});
    revoke();
    throw proxy;
  },
  'a message that is a symbol': async () => {
    throw Object.assign(new Error(''), { message: Symbol('m') });
  },
  'a symbol as an error': async () => {
    throw Symbol('error');
  },
  'undefined as an error': async () => {
    throw undefined;
  },
  'an object without a prototype as an error': async () => {
    throw Object.create(null);
  },
  'a reply whose elements throw': async () =>
    Object.defineProperty([1], 0, { get: () => throwing('no element') }),
  'a symbol as a reply': async () => Symbol('reply'),
  'an error thrown at once': () => throwing('at once'),
};

async function main(fault) {
  const counts = { GET: 0 };
  process.on('uncaughtException', (error) => console.log('uncaught', error));
  process.on('unhandledRejection', (error) => console.log('unhandled', error));
  const client = {
    sendCommand: ([command, key]) => {
      if (key === 'sess:good') return Promise.resolve(command === 'PTTL' ? -1 : '{"good":true}');
      if (command === 'GET') counts.GET++;
      return command === 'GET' ? faults[fault]() : Promise.resolve(command === 'PTTL' ? -1 : 'OK');
    },
  };
  const store = new RedisStore({ client, commandTimeout: 1000 });
  const outcome = async (run) => {
    try {
      const session = await run();
      return `session ${JSON.stringify(session)}`;
    } catch (error) {
      return `failed ${error.code}`;
    }
  };
  const first = await outcome(() => store.get('one'));
  console.log(first === (await outcome(() => store.get('two'))), first);
  console.log(await outcome(() => store.set('one', { cookie: {} })));
  // Replies of one tick reach the store together.
  const bad = outcome(() => store.get('one'));
  console.log(await outcome(() => store.get('good')));
  await bad;
  await store.close();
}

if (process.argv[2] === '--list') console.log(JSON.stringify(Object.keys(faults)));
else main(process.argv[2]);
