import type { MeterProvider, TracerProvider } from '@opentelemetry/api';
import type { ObservedStores } from '../index.js';

export interface InstrumentOptions {
  /** @default the global tracer provider */
  tracerProvider?: TracerProvider | undefined;
  /** @default the global meter provider, which has to be registered before */
  meterProvider?: MeterProvider | undefined;
  /** Stores whose statistics are exported as metrics. Spans are of all stores. @default none */
  stores?: ObservedStores | undefined;
  /** Sets the attribute `connect_redis_native.session_hash` of spans. @default false */
  sessionHash?: boolean | undefined;
}

/**
 * Creates a span for each operation of the stores in this process, and metrics; see docs/observability.md.
 *
 * @throws {TypeError} with a `code`, if an option is invalid.
 * @throws {Error} `MODULE_NOT_FOUND` if `@opentelemetry/api` is not installed.
 */
export function instrument(options?: InstrumentOptions): {
  /** Ends the instrumentation; operations in progress get no span. */
  disable(): void;
};
