'use strict';

const crypto = require('node:crypto');
const fs = require('node:fs');
const path = require('node:path');
const { failures } = require('../../lib/backends/client/errors.js');
const { SCRIPT, SCRIPT_SHA1 } = require('../../lib/backends/client/operations.js');

// The client backend and the addon have the same error messages and the same script, each in its own language.

const read = (...parts) => fs.readFileSync(path.join(__dirname, '..', '..', 'core', 'src', ...parts), 'utf8');

/** The messages in error.rs by their variants, with `{}` for each value. */
function nativeMessages() {
  const messages = {};
  const pattern = /#\[error\(\s*"((?:[^"\\]|\\.|\\\n)*)"[^\]]*\)\]\s*(\w+)/g;
  for (const [, text, variant] of read('error.rs').matchAll(pattern))
    messages[variant] = text
      .replace(/\\\n\s*/g, '')
      .replaceAll('\\"', '"')
      .replace(/\{[^}]*\}/g, '{}');
  return messages;
}

const ours = {
  Unavailable: failures.unavailable('{}', '{}', 2, '{}'),
  Timeout: failures.timeout('{}', '{}'),
  QueueFull: failures.queueFull('{}', '{}', 2, '{}'),
  LinkReplaced: failures.linkReplaced('{}'),
  ScanInterrupted: failures.scanInterrupted('{}', '{}', '{}'),
  Unreachable: failures.unreachable('{}', '{}'),
  UnexpectedReply: failures.unexpectedReply('{}', null),
  Closed: failures.closed(),
};

test.each(Object.entries(ours))('the message of %s is that of the addon', (variant, { message }) => {
  const ourText = message.replace('2 attempts', '{}').replace('is nil', 'is {}');
  expect(ourText).toBe(nativeMessages()[variant]);
});

test('the compare-and-set script is that of the addon, under its SHA-1', () => {
  const [, source] = /const SCRIPT: &str = "\\\n(.*?)";/s.exec(read('session', 'compare_and_set.rs'));
  expect(SCRIPT).toBe(source);
  expect(crypto.createHash('sha1').update(SCRIPT).digest('hex')).toBe(SCRIPT_SHA1);
  expect(read('session', 'compare_and_set.rs')).toContain(`"${SCRIPT_SHA1}"`);
});
