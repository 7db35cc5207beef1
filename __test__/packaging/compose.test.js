'use strict';

const fs = require('node:fs');
const path = require('node:path');
const Ajv = require('ajv');
const { parse } = require('yaml');

const ROOT = path.join(__dirname, '..', '..');

/** The schema of the Compose Specification, which this linter brings along. */
const SCHEMA = path.join(ROOT, 'node_modules', 'dclint', 'schemas', 'compose.schema.json');

const compose = () => parse(fs.readFileSync(path.join(ROOT, 'compose.yaml'), 'utf8'));

/** Returns what the schema of the Compose Specification rejects in a file. */
function mistakes(file) {
  // The schema itself is not validated: it spells the address of its dialect in a way that Ajv does not know.
  const ajv = new Ajv({ strict: false, validateFormats: false, validateSchema: false });
  ajv.validate(JSON.parse(fs.readFileSync(SCHEMA, 'utf8')), file);
  return (ajv.errors ?? []).map(({ instancePath, message }) => `${instancePath} ${message}`);
}

test('compose.yaml is valid by the Compose Specification', () => {
  expect(mistakes(compose())).toEqual([]);
});

test.each([
  ['an unknown key', { depends: ['redis'] }, /services.demo must NOT have additional properties/],
  ['a wrong type', { ports: '3000' }, /services.demo.ports must be array/],
])('the schema rejects %s', (_, change, mistake) => {
  const { services } = compose();
  Object.assign(services.demo, change);
  expect(mistakes({ services }).join()).toMatch(mistake);
});

test('the services of compose.yaml refer to each other and to files that exist', () => {
  const { demo, redis } = compose().services;
  expect(new URL(demo.environment.REDIS_URL).hostname).toBe('redis');
  expect(demo.depends_on).toHaveProperty('redis.condition', 'service_healthy');
  expect(redis.healthcheck).toBeDefined();

  const dockerfile = fs.readFileSync(path.join(ROOT, demo.build.context, demo.build.dockerfile), 'utf8');
  const [, command] = dockerfile.match(/^CMD (.*)$/m);
  expect(fs.existsSync(path.join(ROOT, JSON.parse(command).at(-1)))).toBe(true);
  const [, port] = dockerfile.match(/^EXPOSE (\d+)$/m);
  expect(demo.ports[0]).toMatch(new RegExp(`^127\\.0\\.0\\.1:\\d+:${port}$`));
});
