'use strict';

const { Kind, Request } = require('../boundary/request.js');
const { toPromise } = require('../callbacks.js');
const { flatCopy } = require('../session/flat-copy.js');

/** @import { Backend, Callback, Complete, Script, Settings } from '../types.d.ts' */

/** Collects the strings that a script returns. */
class ScriptRequest extends Request {
  /** @type {string[]} */
  #texts = [];

  /** @type {Complete} */
  complete(kind, text) {
    if (kind === Kind.ID) this.#texts.push(flatCopy(text));
    else if (kind === Kind.DONE) this.succeed(this.#texts);
    else super.complete(kind, text);
  }
}

/** @type {(store: Settings, outbox: Backend, script: Script, calls: string[][], callback: Callback<string[]>) => void} */
function addScript(store, outbox, script, calls, callback) {
  outbox.addScript(new ScriptRequest(store, callback, undefined), script, calls);
}

/**
 * Calls a script several times, each time on a key with arguments. Returns what the calls return, in their order.
 *
 * @type {(store: Settings, outbox: Backend, script: Script, calls: string[][]) => Promise<string[]>}
 */
function runScripts(store, outbox, script, calls) {
  return toPromise((done) => addScript(store, outbox, script, calls, done));
}

/** @type {(store: Settings, outbox: Backend, script: Script, key: string, args: string[]) => Promise<string[]>} */
function runScript(store, outbox, script, key, args) {
  return runScripts(store, outbox, script, [[key, ...args]]);
}

module.exports = { addScript, runScript, runScripts };
