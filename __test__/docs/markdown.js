'use strict';

// Reads README.md and the pages in docs.

const fs = require('node:fs');
const path = require('node:path');

const ROOT = path.join(__dirname, '..', '..');

const pages = ['README.md', ...fs.readdirSync(path.join(ROOT, 'docs')).map((name) => `docs/${name}`)].filter(
  (name) => name.endsWith('.md'),
);

const read = (page) => fs.readFileSync(path.join(ROOT, page), 'utf8');

/** Returns the code blocks of a page. One whose language is followed by `fragment` does not run on its own. */
function codeBlocks(page) {
  const text = read(page);
  return [...text.matchAll(/^```(\w+)( fragment)?\n(.*?)^```$/gms)].map((match) => {
    const [, language, fragment, code] = match;
    const line = text.slice(0, match.index).split('\n').length;
    return { where: `${page}:${line}`, language, isFragment: fragment !== undefined, code };
  });
}

/** Returns the headings of a page, without backticks. */
const headings = (page) =>
  [...withoutCode(read(page)).matchAll(/^#+ (.*)$/gm)].map(([, heading]) => heading.replaceAll('`', ''));

/** Returns the anchors of a page, as GitHub makes them of its headings. */
function anchors(page) {
  const seen = new Map();
  return headings(page).map((heading) => {
    const anchor = heading
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\s_-]/gu, '')
      .replaceAll(' ', '-');
    const count = seen.get(anchor) ?? 0;
    seen.set(anchor, count + 1);
    return count === 0 ? anchor : `${anchor}-${count}`;
  });
}

/** Returns the targets of all links and images. */
function links(page) {
  const text = withoutCode(read(page));
  const patterns = [/\]\(([^)\s]+)\)/g, /^\[[^\]]+\]: (\S+)$/gm, /(?:src|srcset)="([^"]+)"/g];
  return patterns.flatMap((pattern) => [...text.matchAll(pattern)].map(([, target]) => target));
}

const withoutCode = (text) => text.replace(/^```.*?^```$/gms, '');

module.exports = { ROOT, anchors, codeBlocks, headings, links, pages, read };
