import { RedisStore, type RedisStoreOptions } from 'connect-redis-native';
import type { SessionData } from 'express-session';

type Found = (error: unknown, session?: SessionData | null) => void;
type Done = (error?: unknown, result?: null) => void;

export class AuditedStore extends RedisStore {
  readonly audit: string[] = [];

  constructor(options?: RedisStoreOptions) {
    super({ prefix: 'audited:', ...options });
  }

  override get(sid: string): Promise<SessionData | null>;
  override get(sid: string, callback: Found): void;
  override get(sid: string, callback?: Found): unknown {
    this.audit.push(`get ${sid}`);
    return callback ? super.get(sid, callback) : super.get(sid);
  }

  override destroy(sid: string): Promise<null>;
  override destroy(sid: string, callback?: Done): void;
  override destroy(sid: string, callback?: Done): unknown {
    this.audit.push(`destroy ${sid}`);
    return callback ? super.destroy(sid, callback) : super.destroy(sid);
  }
}

export const asBase: RedisStore = new AuditedStore({ ttl: 60 });

export class ShopStore extends RedisStore {
  override prefix = 'shop:';
  override ttl = 60;
  override disableTouch = true;
}
