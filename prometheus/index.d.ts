import type { Registry } from 'prom-client';
import type { ObservedStores } from '../index.js';

export interface CollectOptions {
  /** The registry of prom-client to which the metrics are added. @default the default registry */
  register?: Pick<Registry, 'registerMetric' | 'removeSingleMetric'> | undefined;
  /** The beginning of the names of the metrics. @default 'connect_redis_native_' */
  prefix?: string | undefined;
}

/**
 * Registers the metrics of stores; see docs/observability.md. They are read from `store.stats()` when Prometheus
 * scrapes them, and cost nothing else.
 *
 * @throws {TypeError} with a `code`, if an option is invalid.
 * @throws {Error} `MODULE_NOT_FOUND` if prom-client is not installed and there is no `register`.
 */
export function collect(
  stores: ObservedStores,
  options?: CollectOptions,
): { /** Removes the metrics. */ disable(): void };
