import { RedisStore, type UserSession } from 'connect-redis-native';
import type { SessionData } from 'express-session';

declare module 'express-session' {
  interface SessionData {
    userId?: number;
    oidcSid?: string;
    roles?: string[];
  }
}

const store = new RedisStore({
  userId: (session) => session.userId,
  maxSessionsOf: (session) => (session.roles ? 1 : 5),
  onSessionLimit: 'reject',
  authenticatedAt: () => new Date(),
  hashUserIds: true,
});
new RedisStore({ indexes: { user: (session) => session.userId, idp: (session) => session.oidcSid } });

export async function devices(user: number): Promise<UserSession[]> {
  const found: UserSession[] = [];
  for await (const device of store.sessionsOf(user, { index: 'user' })) {
    const seen: Date | null = device.lastSeenAt;
    if (seen !== null) found.push(device);
  }
  const count: number = await store.countOf('17');
  const isFound: boolean = await store.destroyByHandle(17n, found[0]?.handle ?? '');
  await store.destroyAllOf(user, { except: ['a'], notBefore: new Date(count) });
  await store.updateAllOf(user, (session) => {
    session.roles = [];
  });
  // @ts-expect-error a user is no object
  await store.countOf({});
  // @ts-expect-error 'destroy' is no such option
  new RedisStore({ onSessionLimit: 'destroy' });
  return isFound ? found : [];
}

interface Own extends SessionData {
  owner: { id: bigint };
}
const own = new RedisStore<Own>({
  userId: ({ owner }) => owner.id,
  indexes: undefined,
  maxSessionsOf: (session) => (session.owner.id === 1n ? 1 : 2),
});

export async function owners(): Promise<bigint[]> {
  const ids: bigint[] = [];
  for await (const { session } of own.sessionsOf(1n)) if (session !== null) ids.push(session.owner.id);
  await own.updateAllOf(1n, ({ owner }) => {
    owner.id += 1n;
  });
  // @ts-expect-error the sessions have no such property
  await own.updateAllOf(1n, (session) => session.unknown);
  // @ts-expect-error an object is no user
  new RedisStore<Own>({ userId: ({ owner }) => owner });
  await own.reindex({ signal: AbortSignal.timeout(1000) });
  return ids;
}
