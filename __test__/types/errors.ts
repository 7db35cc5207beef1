import { type ErrorCode, RedisStore, RedisStoreError, type SessionConflictError } from 'connect-redis-native';

const store = new RedisStore();

export function statusOf(error: unknown): number {
  if (!(error instanceof RedisStoreError)) return 500;
  const code: ErrorCode = error.code;
  const place: [string | undefined, number | undefined] = [error.address, error.port];
  const reason: string | undefined = error.cause?.code ?? error.cause?.reply;
  console.error(code, place, reason, error.operation, error.attempts, error.toJSON());
  return error.retryable ? 503 : 500;
}

store.on('error', (error) => statusOf(error satisfies RedisStoreError));

export const isConflict = (error: RedisStoreError): error is SessionConflictError =>
  error.code === 'ERR_SESSION_CONFLICT';

export const own: RedisStoreError = new RedisStoreError('down', { code: 'ERR_REDIS_UNAVAILABLE' });
// @ts-expect-error there is no such code
new RedisStoreError('down', { code: 'ERR_DOWN' });
