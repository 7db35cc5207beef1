'use strict';

/** @import { UserSession } from '../../index.js' */
/** @import { HttpRequest } from '../types.d.ts' */
/** @import { RedisStore } from '../store.js' */

/** The sessions of the user of a request. A request without a user has none. */
class RequestSessions {
  #store;
  #request;
  #userOf;

  /**
   * @param {InstanceType<typeof RedisStore>} store
   * @param {HttpRequest} request
   * @param {(session: any) => unknown} userOf
   */
  constructor(store, request, userOf) {
    this.#store = store;
    this.#request = request;
    this.#userOf = userOf;
  }

  /** The user at present: a login or logout changes it. */
  get #user() {
    const { session } = this.#request;
    return session === undefined || session === null ? undefined : this.#userOf(session);
  }

  /** Returns the sessions, the present one marked. */
  async list() {
    const user = this.#user;
    /** @type {(UserSession & { current: boolean })[]} */
    const sessions = [];
    if (user === undefined) return sessions;
    const { sessionID } = this.#request;
    const own = sessionID === undefined ? undefined : this.#store.sessionHash(sessionID);
    for await (const found of this.#store.sessionsOf(user))
      sessions.push({ ...found, current: found.handle === own });
    return sessions;
  }

  /** Destroys one session. Returns false if it is not one of this user. @param {string} handle */
  async destroy(handle) {
    const user = this.#user;
    return user === undefined ? false : this.#store.destroyByHandle(user, handle);
  }

  /** Destroys all sessions but the present one. Returns how many. */
  async destroyOthers() {
    const user = this.#user;
    return user === undefined
      ? 0
      : this.#store.destroyAllOf(user, { except: this.#request.sessionID ?? undefined });
  }

  /** Destroys all sessions. Returns how many. */
  async destroyAll() {
    const user = this.#user;
    return user === undefined ? 0 : this.#store.destroyAllOf(user);
  }
}

module.exports = { RequestSessions };
