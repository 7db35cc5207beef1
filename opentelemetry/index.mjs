export { instrument } from './index.js';
