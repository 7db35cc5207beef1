'use strict';

const fs = require('node:fs');
const path = require('node:path');

const root = path.join(__dirname, '..', '..');
const read = (...parts) => fs.readFileSync(path.join(root, ...parts), 'utf8');

/** Node's codes of TLS errors, which a `cause` has. */
const NODES_OWN = /^ERR_(SSL|TLS)_/;

/** Returns the distinct error codes in `text`, sorted. */
const codesIn = (text) => [...new Set(text.match(/\bERR_[A-Z_]+\b/g))].sort();

/** Returns the text of every source file in a folder and below it. */
function sources(folder, extension) {
  return fs
    .readdirSync(path.join(root, folder), { recursive: true })
    .filter((name) => name.endsWith(extension) && name !== 'binding.js')
    .map((name) => read(folder, name))
    .join('\n');
}

test('the error codes in the sources, in the ErrorCode type and in the docs are the same', () => {
  const made = codesIn(sources('lib', '.js') + sources('src', '.rs') + sources('core/src', '.rs')).filter(
    (code) => !NODES_OWN.test(code),
  );
  const [, union] = /export type ErrorCode =(.*?);\n\n/s.exec(read('index.d.ts'));

  expect(made).toContain('ERR_REDIS_UNAVAILABLE');
  expect(codesIn(union)).toEqual(made);
  expect(codesIn(read('docs', 'errors.md')).filter((code) => !NODES_OWN.test(code))).toEqual(made);
});

test('the codes of warnings are those of the docs', () => {
  const codes = (text) => [...new Set(text.match(/\bREDIS_STORE_[A-Z_]+\b/g))].sort();

  expect(codes(read('docs', 'errors.md'))).toEqual(codes(sources('lib', '.js')));
});
