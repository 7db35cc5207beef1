'use strict';

/** @import { Compare } from '../types.d.ts' */

const COOKIE = 'cookie';

/**
 * Returns true if two values from `JSON.parse` are the same. The order of the items of an array counts, that of the
 * keys of an object does not. As in JSON, -0 is 0.
 *
 * @type {Compare}
 */
function isSameJson(one, other) {
  if (one === other) return true;
  if (typeof one !== 'object' || typeof other !== 'object' || one === null || other === null) return false;
  // Much faster than a comparison of the values, which differ in the order of their keys at most if it is not enough.
  return JSON.stringify(one) === JSON.stringify(other) || isSameTree(one, other);
}

/** @type {Compare} */
function isSameTree(one, other) {
  if (one === other) return true;
  if (typeof one !== 'object' || typeof other !== 'object' || one === null || other === null) return false;
  return Array.isArray(one) === Array.isArray(other) && hasSameKeys(one, other, isSameTree);
}

/**
 * Returns true if two objects are the same, the values of the keys `ignored` aside.
 *
 * @type {(one: any, other: any, isSame: Compare, ignored?: (string | undefined)[]) => boolean}
 */
function hasSameKeys(one, other, isSame, ignored = []) {
  const keysOf = (/** @type {object} */ object) =>
    Object.keys(object).filter((key) => !ignored.includes(key));
  const keys = keysOf(one);
  return (
    keys.length === keysOf(other).length &&
    keys.every((key) => Object.hasOwn(other, key) && isSame(one[key], other[key]))
  );
}

/**
 * Returns true if two sessions are the same, cookies and creation times aside.
 *
 * @type {(one: unknown, other: unknown, isSame: Compare, createdAtKey?: string) => boolean}
 */
function isSameContent(one, other, isSame, createdAtKey) {
  const areObjects = [one, other].every((session) => session !== null && typeof session === 'object');
  return areObjects ? hasSameKeys(one, other, isSame, [COOKIE, createdAtKey]) : isSame(one, other);
}

/**
 * Merges a session of which this request loaded `base`, others have stored `theirs` since, and this request saves `mine`.
 *
 * The unit is the top-level key: values are copied whole, and never mixed. A key that this request did not change since
 * it loaded the session keeps its stored value; for a key that it changed or deleted, its own change wins. The cookie
 * is always that of this request.
 *
 * @type {(base: any, theirs: any, mine: any, isSame: Compare) => { [key: string]: unknown }}
 */
function merge(base, theirs, mine, isSame) {
  /** @param {string} key */
  const isUnchanged = (key) => key !== COOKIE && Object.hasOwn(base, key) && isSame(base[key], mine[key]);
  // Without a prototype, `__proto__` is a key like others.
  const merged = Object.create(null);
  for (const key of Object.keys(mine)) {
    if (!isUnchanged(key)) merged[key] = mine[key];
    else if (Object.hasOwn(theirs, key)) merged[key] = theirs[key];
    // Otherwise this request did not change it, and another one deleted it.
  }
  for (const key of Object.keys(theirs)) {
    // A key of the base that this request does not have was deleted by it.
    const isAdded = !Object.hasOwn(mine, key) && !Object.hasOwn(base, key);
    if (isAdded && key !== COOKIE) merged[key] = theirs[key];
  }
  return merged;
}

module.exports = { isSameContent, isSameJson, merge };
