'use strict';

// Finds programs of the operating system on PATH and installs missing ones. Uses nothing from npm, since it runs before
// npm has installed anything, and never `sudo`.

const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');

/** Returns the path of the first of the named programs that is on PATH, or null. */
function findProgram(...names) {
  const folders = (process.env.PATH ?? '').split(path.delimiter).filter(Boolean);
  const endings = process.platform === 'win32' ? (process.env.PATHEXT ?? '.EXE').split(';') : [''];
  for (const name of names) {
    for (const folder of folders) {
      for (const ending of endings) {
        const file = path.join(folder, name + ending);
        if (isExecutableFile(file)) return file;
      }
    }
  }
  return null;
}

function isExecutableFile(file) {
  try {
    fs.accessSync(file, fs.constants.X_OK);
    return fs.statSync(file).isFile();
  } catch {
    return false;
  }
}

// `refresh` fetches the list of packages, without which a fresh image of some systems has none.
const managers = [
  { name: 'apt-get', refresh: ['update'], install: ['install', '-y', '--no-install-recommends'] },
  { name: 'dnf', install: ['install', '-y'] },
  { name: 'apk', refresh: ['update'], install: ['add'] },
  { name: 'pacman', install: ['-Sy', '--noconfirm', '--needed'] },
  { name: 'brew', install: ['install'], asUser: true },
];

/**
 * Installs `what` with the system's package manager and returns the result of `find()`. `packages` has for
 * each manager the names to try, in order, as the name of a package differs between releases.
 */
function installProgram(what, packages, find) {
  const byHand = `Install ${what} (${Object.entries(packages)
    .map(([manager, [first]]) => `${manager}: ${first}`)
    .join(', ')}), so that it is on PATH, and run this again.`;

  const manager = managers.find(({ name }) => packages[name] && findProgram(name));
  if (!manager) throw new Error(byHand);
  if (!manager.asUser && process.getuid() !== 0)
    throw new Error(`${byHand} As root, this script installs it with ${manager.name}.`);

  if (manager.refresh) run([manager.name, ...manager.refresh]);
  for (const name of packages[manager.name]) {
    run([manager.name, ...manager.install, name]);
    const found = find();
    if (found) return found;
  }
  throw new Error(`${manager.name} could not install ${what}. ${byHand}`);
}

// A failure shows in what the command prints and in the program still missing afterwards: refreshing, for one, may fail
// for a repository that has nothing to do with the package.
function run([program, ...args]) {
  console.log(`$ ${program} ${args.join(' ')}`);
  spawnSync(program, args, {
    stdio: ['ignore', 'inherit', 'inherit'],
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
  });
}

module.exports = { findProgram, installProgram };
