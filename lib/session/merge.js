'use strict';

const COOKIE = 'cookie';

/**
 * Returns true if two values from `JSON.parse` are the same. The order of the items of an array counts, that of the
 * keys of an object does not. As in JSON, -0 is 0.
 */
function isSameJson(one, other) {
  if (one === other) return true;
  if (typeof one !== 'object' || typeof other !== 'object' || one === null || other === null) return false;
  if (Array.isArray(one) !== Array.isArray(other)) return false;
  const keys = Object.keys(one);
  return (
    keys.length === Object.keys(other).length &&
    keys.every((key) => Object.hasOwn(other, key) && isSameJson(one[key], other[key]))
  );
}

/**
 * Returns true if two sessions are the same, cookies aside.
 *
 * @param isSame compares two values, as `isSameJson` does
 */
function isSameContent(one, other, isSame) {
  const content = (session) =>
    session !== null && typeof session === 'object' ? { ...session, [COOKIE]: undefined } : session;
  return isSame(content(one), content(other));
}

/**
 * Merges a session of which this request loaded `base`, others have stored `theirs` since, and this request saves `mine`.
 *
 * The unit is the top-level key: values are copied whole, and never mixed. A key that this request did not change since
 * it loaded the session keeps its stored value; for a key that it changed or deleted, its own change wins. The cookie
 * is always that of this request.
 */
function merge(base, theirs, mine, isSame) {
  const isUnchanged = (key) => key !== COOKIE && Object.hasOwn(base, key) && isSame(base[key], mine[key]);
  const merged = [];
  for (const key of Object.keys(mine)) {
    if (!isUnchanged(key)) merged.push([key, mine[key]]);
    else if (Object.hasOwn(theirs, key)) merged.push([key, theirs[key]]);
    // Otherwise this request did not change it, and another one deleted it.
  }
  for (const key of Object.keys(theirs)) {
    // A key of the base that this request does not have was deleted by it.
    const isAdded = !Object.hasOwn(mine, key) && !Object.hasOwn(base, key);
    if (isAdded && key !== COOKIE) merged.push([key, theirs[key]]);
  }
  // Unlike an assignment, it also creates a key `__proto__`, instead of setting the prototype.
  return Object.fromEntries(merged);
}

module.exports = { isSameContent, isSameJson, merge };
