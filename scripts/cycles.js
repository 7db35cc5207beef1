'use strict';

/**
 * Finds cycles among the imports of source files: `require` in JavaScript, paths in Rust. A re-export counts as an
 * import of the file that defines the item, and `mod.rs` may import what is below it.
 *
 *   node scripts/cycles.js
 */

const fs = require('node:fs');
const path = require('node:path');

const root = path.join(__dirname, '..');

/** Returns the files below a folder with this extension. */
function filesIn(folder, extension) {
  const names = fs.readdirSync(path.join(root, folder), { recursive: true }).map(String);
  return names.filter((name) => name.endsWith(extension)).map((name) => path.join(folder, name));
}

const read = (file) => fs.readFileSync(path.join(root, file), 'utf8');

// ---- JavaScript ----

function javaScriptImports(files) {
  const known = new Set(files);
  return new Map(
    files.map((file) => {
      const names = [...read(file).matchAll(/\brequire\('(\.[^']*)'\)/g)].map((match) => match[1]);
      const targets = names.map((name) => path.join(path.dirname(file), name));
      return [file, targets.filter((target) => known.has(target))];
    }),
  );
}

// ---- Rust ----

/** The modules of a crate, by path, such as `connection::cluster`. */
class Crate {
  #modules = new Map();

  constructor(folder) {
    for (const file of filesIn(folder, '.rs')) {
      const parts = path.relative(folder, file).replace(/\.rs$/, '').split(path.sep);
      if (['mod', 'lib'].includes(parts.at(-1))) parts.pop();
      if (parts.includes('tests')) continue;
      this.#modules.set(parts.join('::'), { file, parts, uses: usesIn(read(file)) });
    }
  }

  /** Returns the files that each file imports. */
  imports() {
    const imports = new Map();
    for (const module of this.#modules.values()) {
      // A re-export is followed from where it is used.
      const uses = module.uses.filter((use) => !use.isReexport);
      const below = /(mod|lib)\.rs$/.test(module.file) ? path.dirname(module.file) + path.sep : undefined;
      imports.set(
        module.file,
        uses
          .map((use) => this.#definer(module, use.path))
          .filter((file) => file && file !== module.file && !file.startsWith(below)),
      );
    }
    return imports;
  }

  /** Returns the file that defines the item at a path, as seen from a module. */
  #definer(module, words, depth = 0) {
    let at = [];
    let rest = words;
    if (rest[0] === 'crate') rest = rest.slice(1);
    else if (rest[0] === 'self' || rest[0] === 'super') {
      at = module.parts;
      for (; rest[0] === 'super' || rest[0] === 'self'; rest = rest.slice(1)) {
        if (rest[0] === 'super') at = at.slice(0, -1);
      }
    } else if (this.#modules.has([...module.parts, rest[0]].join('::'))) at = module.parts;
    else return undefined;
    while (rest.length > 0 && this.#modules.has([...at, rest[0]].join('::'))) {
      at = [...at, rest[0]];
      rest = rest.slice(1);
    }
    const found = this.#modules.get(at.join('::'));
    const isReexport = (use) => use.isReexport && [use.name, '*'].includes(rest[0]);
    const reexport = depth < 10 && found?.uses.find(isReexport);
    return reexport ? this.#definer(found, [...reexport.path, ...rest.slice(1)], depth + 1) : found?.file;
  }
}

/** Returns the paths in a Rust file: of `use` items, and those that begin with `crate::` or `super::`. */
function usesIn(text) {
  const code = text
    .replace(/#\[cfg\(test\)\]\s*mod \w+ \{[\s\S]*$/, '')
    .replace(/\/\/.*|"(?:[^"\\]|\\.)*"/g, '');
  const uses = [];
  const rest = code.replace(/^(pub(?:\([^)]*\))? )?use ([^;]+);/gm, (_, isPublic, tree) => {
    for (const use of flatten(tree.replace(/\s+(?!as )(?<! as )/g, '')))
      uses.push({ ...use, isReexport: isPublic !== undefined });
    return '';
  });
  for (const [path] of rest.matchAll(/\b(?:crate|super)(?:::\w+)+/g)) {
    uses.push({ path: path.split('::'), name: '', isReexport: false });
  }
  return uses;
}

/** Returns the paths of a `use` tree, such as `a::{b, c as d}`. */
function flatten(tree, prefix = []) {
  const [, head, group] = /^([^{]*)(?:\{(.*)\})?$/.exec(tree);
  const [words, alias] = head.split(' as ');
  const path = [...prefix, ...words.split('::').filter((word) => word !== '')];
  // The commas of inner groups separate nothing here.
  if (group !== undefined)
    return group.match(/(?:[^,{]|\{(?:[^{}]|\{[^}]*\})*\})+/g).flatMap((part) => flatten(part, path));
  const name = alias ?? path.at(-1);
  return [{ path: path.at(-1) === 'self' ? path.slice(0, -1) : path, name }];
}

// ---- Cycles ----

/** Returns a shortest cycle through each file that is on one, without repetitions. */
function cyclesIn(imports) {
  const cycles = new Map();
  for (const start of imports.keys()) {
    const previous = new Map();
    const queue = [start];
    for (const file of queue) {
      for (const next of imports.get(file) ?? []) {
        if (previous.has(next)) continue;
        previous.set(next, file);
        queue.push(next);
      }
    }
    if (!previous.has(start)) continue;
    const cycle = [];
    for (let file = previous.get(start); file !== start; file = previous.get(file)) cycle.unshift(file);
    cycle.unshift(start);
    cycles.set([...cycle].sort().join(), cycle);
  }
  return [...cycles.values()];
}

const cycles = [
  ...cyclesIn(
    javaScriptImports([
      'index.js',
      ...['lib', 'opentelemetry', 'prometheus'].flatMap((name) => filesIn(name, '.js')),
    ]),
  ),
  ...cyclesIn(new Crate('src').imports()),
  ...cyclesIn(new Crate(path.join('core', 'src')).imports()),
];
for (const cycle of cycles) console.error([...cycle, cycle[0]].join(' -> '));
if (cycles.length > 0) process.exitCode = 1;
