import { metrics, trace } from '@opentelemetry/api';
import { RedisStore } from 'connect-redis-native';
import { instrument } from 'connect-redis-native/opentelemetry';
import { collect } from 'connect-redis-native/prometheus';
import { type OpenMetricsContentType, Registry } from 'prom-client';

const store = new RedisStore();

instrument().disable();
instrument({ stores: store, sessionHash: true });
instrument({
  tracerProvider: trace.getTracerProvider(),
  meterProvider: metrics.getMeterProvider(),
  stores: { shop: store },
}).disable();

collect(store).disable();
collect([store], { register: new Registry(), prefix: 'sessions_' });
collect({ shop: store }, { register: new Registry<OpenMetricsContentType>() });
