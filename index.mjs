// Not from ./index.js: which of its exports is the default one of a module that says `__esModule`, Bun and Node see in
// different ways.
import { RedisStore } from './lib/store.js';

export { RedisStore };
export default RedisStore;
