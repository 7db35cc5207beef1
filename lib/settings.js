'use strict';

const { usesApp } = require('./common/app-functions.js');
const { check } = require('./options.js');

/** What a store was told of sessions: by its options, later by its fields. Each value is checked as it comes. */
class Settings {
  #prefix;
  #ttl;
  #scanCount;
  #serializer;
  #disableTTL;
  #disableTouch;
  #onConflict;
  #touchAfter;
  #saveDestroyed;

  constructor(options) {
    this.prefix = options.prefix;
    this.ttl = options.ttl;
    this.scanCount = options.scanCount;
    this.#serializer = check.serializer(options.serializer);
    this.disableTTL = options.disableTTL;
    this.disableTouch = options.disableTouch;
    this.#onConflict = check.onConflict(options.onConflict);
    this.#touchAfter = check.touchAfter(options.touchAfter);
    this.#saveDestroyed = check.saveDestroyed(options.saveDestroyed);
    check.canMerge(this.#onConflict, this.#serializer);
  }

  get prefix() {
    return this.#prefix;
  }

  set prefix(value) {
    this.#prefix = check.prefix(value);
  }

  get ttl() {
    return this.#ttl;
  }

  set ttl(value) {
    this.#ttl = check.ttl(value);
  }

  get scanCount() {
    return this.#scanCount;
  }

  set scanCount(value) {
    this.#scanCount = check.scanCount(value);
  }

  get serializer() {
    return this.#serializer;
  }

  set serializer(value) {
    const serializer = check.serializer(value);
    check.canMerge(this.#onConflict, serializer);
    this.#serializer = serializer;
  }

  get disableTTL() {
    return this.#disableTTL;
  }

  set disableTTL(value) {
    this.#disableTTL = check.disableTTL(value);
  }

  get disableTouch() {
    return this.#disableTouch;
  }

  set disableTouch(value) {
    this.#disableTouch = check.disableTouch(value);
  }

  get onConflict() {
    return this.#onConflict;
  }

  get touchAfter() {
    return this.#touchAfter;
  }

  get saveDestroyed() {
    return this.#saveDestroyed;
  }

  /** Conflicts are looked for. */
  get isGuarded() {
    return this.#onConflict !== 'overwrite';
  }

  /** The addon cannot tell by itself whether a stored expiry is in force. */
  get decidesExpiry() {
    return usesApp(this);
  }

  /** When a session ends is to be known in any case. */
  get isTimed() {
    return this.decidesExpiry || this.#touchAfter > 0;
  }
}

module.exports = { Settings };
