'use strict';

const fs = require('node:fs');
const path = require('node:path');
const { clients } = require('../../support/clients.js');
const { table } = require('./table.js');

const DOCS = path.join(__dirname, '..', '..', '..', 'docs', 'clients.md');

test('docs/clients.md has the same table as the tests', () => {
  const lines = fs.readFileSync(DOCS, 'utf8').split('\n');
  const start = lines.findIndex((line) => /^\| client /.test(line));
  const cells = (line) =>
    line
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim());
  const [, ...topologies] = cells(lines[start]);
  const rows = lines.slice(start + 2, lines.indexOf('', start)).map(cells);

  const documented = Object.fromEntries(
    rows.map(([client, ...entries]) => [
      client,
      Object.fromEntries(entries.map((entry, index) => [topologies[index].toLowerCase(), entry])),
    ]),
  );
  expect(documented).toEqual(table);
});

test('the table has every client, with an entry for each topology that it supports', () => {
  const { url, options, ...entries } = table;
  expect(Object.keys(entries)).toEqual(Object.keys(clients));
  for (const [name, entry] of Object.entries(entries)) {
    const made = Object.keys(clients[name].make);
    expect(
      Object.keys(entry)
        .filter((topology) => entry[topology] !== '–')
        .sort(),
    ).toEqual(made.sort());
  }
});
