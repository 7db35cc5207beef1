// Imports lib/store.js rather than ./index.js: Bun and Node disagree about the default export of a CommonJS module that
// sets `__esModule`.
import { RedisStore } from './lib/store.js';

export { RedisStore };
export default RedisStore;
