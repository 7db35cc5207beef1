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

/** @type {(store: Settings, outbox: Backend, script: Script, key: string, args: string[], callback: Callback<string[]>) => void} */
function addScript(store, outbox, script, key, args, callback) {
  outbox.addScript(new ScriptRequest(store, callback, undefined), key, script, args);
}

/** @type {(store: Settings, outbox: Backend, script: Script, key: string, args: string[]) => Promise<string[]>} */
function runScript(store, outbox, script, key, args) {
  return toPromise((done) => addScript(store, outbox, script, key, args, done));
}

module.exports = { addScript, runScript };
