import native from './index.js';

export const { RedisStore } = native;
export default RedisStore;
