'use strict';

const { EventEmitter } = require('node:events');
const fs = require('node:fs');
const path = require('node:path');
const { ROOT, anchors, headings, links, pages, read } = require('./markdown.js');

const TYPES = fs.readFileSync(path.join(ROOT, 'index.d.ts'), 'utf8');

/** Returns the text of an interface or class in index.d.ts. */
function declaration(name) {
  return new RegExp(`^export (?:interface|class) ${name}\\b.*?^}`, 'ms').exec(TYPES)[0];
}

/** Returns the distinct names that a pattern finds. */
const names = (text, pattern) => [...new Set([...text.matchAll(pattern)].map(([, name]) => name))];

const fields = (name) => names(declaration(name), /^ {2}(?:readonly )?(\w+)\??:/gm);

/** Returns all that stands in headings of docs/api.md. */
const documented = headings('docs/api.md').join('\n');
const words = new Set(documented.match(/[\w.]+/g));

test('docs/api.md has a heading for each option', () => {
  expect(fields('RedisStoreOptions').filter((option) => !words.has(option))).toEqual([]);
});

test('docs/api.md has a heading for each method of the store', () => {
  const methods = names(declaration('RedisStore'), /^ {2}(?:protected )?(\w+)(?:<.*)?\(/gm).filter(
    (name) => name !== 'constructor' && !(name in EventEmitter.prototype),
  );
  expect(methods).toContain('scan');
  expect(methods.filter((name) => !documented.includes(`store.${name}()`))).toEqual([]);
});

test('docs/api.md describes each property of the store', () => {
  const [, section] = /## Properties\n(.*?)\n## Events/s.exec(read('docs/api.md'));
  expect(fields('RedisStore').filter((name) => !section.includes(name))).toEqual([]);
});

test('docs/api.md has a heading for each event', () => {
  const events = fields('RedisStoreEvents');
  expect(events).toContain('discarded');
  expect(events.filter((name) => !words.has(name))).toEqual([]);
});

test.each(['CacheOptions', 'CacheStats', 'SentinelOptions', 'TlsOptions', 'ScanOptions', 'Credentials'])(
  'docs/api.md describes each field of %s',
  (name) => {
    const text = read('docs/api.md');
    expect(fields(name).filter((field) => !new RegExp(`\\b${field}\\b`).test(text))).toEqual([]);
  },
);

test('docs/errors.md has a heading for each error and warning', () => {
  const [union] = /export type ErrorCode =.*?;\n\n/s.exec(TYPES);
  const warnings = read('docs/errors.md').match(/\bREDIS_STORE_\w+/g);
  for (const code of names(`${union}${warnings}`, /\b((?:ERR|REDIS_STORE)_[A-Z_]+)/g))
    expect(headings('docs/errors.md')).toContain(code);
});

test.each(pages)('every link in %s leads to a file and a heading', (page) => {
  const broken = links(page).filter((target) => {
    if (/^https?:/.test(target)) return false;
    const [file, anchor] = target.split('#');
    const to = file === '' ? page : path.posix.join(path.posix.dirname(page), file);
    if (!fs.existsSync(path.join(ROOT, to))) return true;
    return anchor !== undefined && !anchors(to).includes(anchor);
  });
  expect(broken).toEqual([]);
});

test('the pages that index.d.ts, lib and scripts name exist', () => {
  const sources = ['index.d.ts', ...fs.readdirSync(path.join(ROOT, 'lib'), { recursive: true })]
    .filter((name) => name.endsWith('.js') || name.endsWith('.ts'))
    .map((name) => fs.readFileSync(path.join(ROOT, name === 'index.d.ts' ? '' : 'lib', name), 'utf8'));
  const named = names(sources.join('\n'), /\b(docs\/\w+\.md)/g);
  expect(named).toContain('docs/errors.md');
  expect(named.filter((page) => !pages.includes(page))).toEqual([]);
});

test.each(pages)('the tables of %s are at most 100 columns wide', (page) => {
  const rows = read(page)
    .split('\n')
    .filter((line) => line.startsWith('|'));
  expect(rows.filter((row) => row.length > 100)).toEqual([]);
});

describe('docs/asvs.md', () => {
  const page = read('docs/asvs.md');
  const suite = fs.readFileSync(path.join(ROOT, '__test__', 'http', 'asvs.test.js'), 'utf8');

  test('each line that your app does not meet alone has a test whose title begins with it', () => {
    const rows = [...page.matchAll(/^\| (7\.\d\.\d) \|.*\| (.*?) +\|$/gm)];
    expect(rows).toHaveLength(19);
    const isTested = (line) => new RegExp(`'(?:[\\d., ]+)?${line.replaceAll('.', '\\.')}[,:]`).test(suite);
    const left = rows.filter(([, line, by]) => !isTested(line) && !/^your app( documents .*)?$/.test(by));
    expect(left.map(([, line]) => line)).toEqual([]);
  });

  test('its test files exist', () => {
    const files = [...page.matchAll(/`(?:__test__\/)?([\w-]+\/[\w-]+\.test\.js)`/g)].map(([, file]) => file);
    expect(files.length).toBeGreaterThan(5);
    expect(files.filter((file) => !fs.existsSync(path.join(ROOT, '__test__', file)))).toEqual([]);
  });
});

test('README.md has at most 250 lines', () => {
  expect(read('README.md').split('\n').length).toBeLessThanOrEqual(250);
});
