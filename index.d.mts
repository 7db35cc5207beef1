import { RedisStore } from './index.js';

export * from './index.js';
// For an ES module, the default export of the CommonJS types would be the whole module.
export default RedisStore;
