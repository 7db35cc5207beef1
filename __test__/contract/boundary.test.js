'use strict';

const fs = require('node:fs');
const path = require('node:path');
const { Operation, ScanKind } = require('../../lib/boundary/outbox.js');
const { Kind } = require('../../lib/boundary/request.js');
const { Kinds } = require('../../lib/observability/connection-trace.js');

const root = path.join(__dirname, '..', '..');

/** Returns the numeric constants of a source file in Rust or JavaScript: of one module or one type, if it is named. */
function constantsOf(file, { module, type = '\\w+' } = {}) {
  const source = fs.readFileSync(path.join(root, file), 'utf8');
  const [part] = module === undefined ? [source] : new RegExp(`mod ${module} \\{.*?\n\\}`, 's').exec(source);
  const found = part.matchAll(new RegExp(`\\bconst (\\w+)(?:: ${type})? = (\\d+);`, 'g'));
  return Object.fromEntries(Array.from(found, ([, name, number]) => [name, Number(number)]));
}

const { MASK, ...kinds } = Kind;

test.each([
  ['operations', Operation, constantsOf('src/requests.rs', { module: 'operation' })],
  ['kinds of scans', ScanKind, constantsOf('src/store.rs', { module: 'scan_kind' })],
  ['kinds of observations', Kinds, constantsOf('core/src/observers.rs', { module: 'kind' })],
])('the %s of JavaScript are those of the addon', (_what, javascript, rust) => {
  expect(javascript).toEqual(rust);
});

test('the kinds of completions are those of the addon, and the mask separates them from the flags', () => {
  expect(kinds).toEqual(constantsOf('src/slice.rs', { type: 'u32' }));
  const { TWO_BYTE, TIMED, LARGE, ...numbers } = kinds;
  for (const number of Object.values(numbers)) expect(number & MASK).toBe(number);
  const flags = [TWO_BYTE, TIMED, LARGE];
  expect(flags.reduce((sum, flag) => sum ^ flag, MASK)).toBe(flags.reduce((sum, flag) => sum + flag, MASK));
});

test.each([
  ['FIELDS', 'lib/boundary/outbox.js', 'src/requests.rs'],
  ['TRACED', 'lib/boundary/outbox.js', 'src/requests.rs'],
  ['FIELDS', 'lib/boundary/completions.js', 'src/slice.rs'],
  ['HEAD', 'lib/boundary/completions.js', 'src/completions.rs'],
])('%s in %s is that of %s', (name, javascript, rust) => {
  const number = constantsOf(rust)[name];
  expect(number).toBeGreaterThan(0);
  expect(constantsOf(javascript)[name]).toBe(number);
});
