'use strict';

const { askOnce } = require('./redis.js');
const { startSentinel } = require('./sentinel.js');

const LIMIT_MS = 120_000;
const PASSWORDS = { password: 'of-redis', sentinelPassword: 'of-sentinel' };

let group;
beforeAll(async () => {
  group = await startSentinel(PASSWORDS);
});
afterAll(() => group?.stop());

const ask = ({ port }, password, ...command) => askOnce({ port, password }, ...command);

test('startSentinel starts three sentinels that name the primary, which has two replicas', async () => {
  const primary = await group.primary();

  expect(primary).toBe(group.servers[0]);
  for (const sentinel of group.sentinels) {
    const place = await ask(
      ...[sentinel, PASSWORDS.sentinelPassword],
      ...['SENTINEL', 'GET-MASTER-ADDR-BY-NAME', group.name],
    );
    expect(place.map(String)).toEqual(['127.0.0.1', String(primary.port)]);
  }
  expect(group.addresses).toHaveLength(3);
  expect(await group.replicas()).toEqual(group.servers.slice(1));
});

test('startSentinel sets separate passwords of servers and sentinels', async () => {
  await expect(ask(group.servers[0], PASSWORDS.sentinelPassword, 'PING')).rejects.toThrow(/^WRONGPASS/);
  await expect(ask(group.servers[0], undefined, 'PING')).rejects.toThrow(/^NOAUTH/);
  await expect(ask(group.sentinels[0], PASSWORDS.password, 'PING')).rejects.toThrow(/^WRONGPASS/);
  await expect(ask(group.sentinels[0], undefined, 'SENTINEL', 'MASTERS')).rejects.toThrow(/^NOAUTH/);
});

test(
  'failOver replaces the primary, rejoin restarts it as a replica, and addSentinel adds a sentinel',
  async () => {
    await group.command('SET', 'kept', 'yes');
    await group.command('WAIT', 2, 60_000);
    const former = await group.primary();

    const primary = await group.failOver();

    expect(primary).not.toBe(former);
    expect(String(await group.command('GET', 'kept'))).toBe('yes');
    expect(await group.command('SET', 'written', 'after')).toBe('OK');

    await group.rejoin(former);
    expect(await group.replicas()).toContain(former);
    expect(String(await ask(former, PASSWORDS.password, 'GET', 'written'))).toBe('after');

    const sentinel = await group.addSentinel();
    expect(group.sentinels).toHaveLength(4);
    expect(await ask(sentinel, PASSWORDS.sentinelPassword, 'PING')).toBe('PONG');
  },
  LIMIT_MS,
);
