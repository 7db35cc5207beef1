// Subclasses as they are written for connect-redis 10; only the import differs.

import { RedisStore } from 'connect-redis-native';
import session, { type SessionData } from 'express-session';

// biome-ignore lint/suspicious/noExplicitAny: connect-redis declares it so
type Callback = (error?: unknown, data?: any) => any;

export class PassingStore extends RedisStore {
  override get(sid: string, cb?: Callback) {
    return super.get(sid, cb);
  }
  override set(sid: string, sess: SessionData, cb?: Callback) {
    return super.set(sid, sess, cb);
  }
  override touch(sid: string, sess: SessionData, cb?: Callback) {
    return super.touch(sid, sess, cb);
  }
  override destroy(sid: string, cb?: Callback) {
    return super.destroy(sid, cb);
  }
  override all(cb?: Callback) {
    return super.all(cb);
  }
  override ids(cb?: Callback) {
    return super.ids(cb);
  }
  override length(cb?: Callback) {
    return super.length(cb);
  }
  override clear(cb?: Callback) {
    return super.clear(cb);
  }
}

export class AsyncStore extends RedisStore {
  override async get(sid: string, cb?: Callback) {
    try {
      const found = await super.get(sid);
      return cb ? cb(null, found) : found;
    } catch (error) {
      if (cb) return cb(error);
      throw error;
    }
  }
  override async set(sid: string, sess: SessionData, cb?: Callback) {
    await super.set(sid, sess, cb);
  }
  override async touch(sid: string, sess: SessionData, cb?: Callback): Promise<void> {
    await super.touch(sid, sess, cb);
  }
  // biome-ignore lint/suspicious/noExplicitAny: connect-redis declares it so
  override async destroy(sid: string, cb?: Callback): Promise<any> {
    return super.destroy(sid, cb);
  }
}

/** The callbacks as @types/express-session declares them. */
export class ExpressStore extends RedisStore {
  // biome-ignore lint/suspicious/noExplicitAny: express-session declares it so
  override async get(sid: string, cb: (error: any, session?: SessionData | null) => void) {
    await super.get(sid, cb);
  }
  // biome-ignore lint/suspicious/noExplicitAny: express-session declares it so
  override async destroy(sid: string, cb?: (error?: any) => void) {
    await super.destroy(sid, cb);
  }
}

export const stores: session.Store[] = [new PassingStore(), new AsyncStore(), new ExpressStore()];
export const middleware = session({ store: new AsyncStore(), secret: 'keyboard cat' });

export function parametersOf(...args: Parameters<RedisStore['get']>) {
  return new AsyncStore().get(...args);
}
