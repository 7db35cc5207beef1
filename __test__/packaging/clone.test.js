'use strict';

const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

const ROOT = path.join(__dirname, '..', '..');

let folder;
beforeEach(() => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'clone-'));
  for (const file of ['package.json', 'package-lock.json'])
    fs.copyFileSync(path.join(ROOT, file), path.join(folder, file));
});
afterEach(() => fs.rmSync(folder, { recursive: true, force: true }));

// Node 20 and 22 come with npm 10, later ones with 11: they differ in what they regard as a conflict of peers, and
// reject a lock file without the optional packages of all platforms.
test.each(['10', '11'])('npm %s installs what the lock file says', (version) => {
  const args = ['--yes', `npm@${version}`, 'ci', '--dry-run', '--no-audit', '--no-fund', '--loglevel=error'];
  const { status, stderr } = spawnSync('npx', args, {
    cwd: folder,
    encoding: 'utf8',
    shell: process.platform === 'win32',
  });

  expect(stderr).not.toMatch(/npm error/);
  expect(status).toBe(0);
});
