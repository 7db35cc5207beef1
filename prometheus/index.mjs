export { collect } from './index.js';
