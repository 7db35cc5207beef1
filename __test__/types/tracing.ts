import { AsyncLocalStorage } from 'node:async_hooks';
import { tracingChannel } from 'node:diagnostics_channel';
import type { CommandContext, ConnectContext, OperationContext } from 'connect-redis-native';

// An APM adds a property of its own to the messages.
type Traced = OperationContext & { span?: { end(): void } };

const spans = new AsyncLocalStorage<{ end(): void }>();
const channel = tracingChannel<Traced, { end(): void }>('connect-redis-native:get');
channel.start.bindStore(spans, (message) => {
  message.span = { end() {} };
  return message.span;
});
channel.subscribe({
  start() {},
  end() {},
  asyncStart() {},
  asyncEnd({ sessionHash, cache, attempts, span }) {
    const text: string | undefined = sessionHash ?? cache;
    if (attempts > 1) console.log(text);
    span?.end();
  },
  error({ error }) {
    if (error instanceof Error) console.error(error.message);
  },
});
tracingChannel<CommandContext>('connect-redis-native:command').start.subscribe((message) => {
  console.log((message as CommandContext).args.join(' '));
});

declare const operation: OperationContext;
declare const attempt: ConnectContext;
export const code: string | undefined = attempt.error?.code;
// @ts-expect-error: the session is in no message
operation.result;
// @ts-expect-error: nor is its id
operation.id;
