// Imports lib/store.js rather than ./index.js: Bun and Node disagree about the default export of a CommonJS module that
// sets `__esModule`.
import { RedisStore, RedisStoreError } from './lib/store.js';

export { RedisStore, RedisStoreError };
export default RedisStore;
