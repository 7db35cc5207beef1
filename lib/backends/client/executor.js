'use strict';

const { ClientNodes } = require('../../clients/nodes.js');
const { outside } = require('../../common/outside.js');
const { STOPPED_MS, clearTimeout, elapsed, setImmediate, setTimeout } = require('../../common/timers.js');
const { tracing } = require('../../observability/channels.js');
const { ClientState } = require('./client-state.js');
const { Command, decode, forms, substitutes } = require('./commands.js');
const { Cause, Failure, causeOf, failures, readError, replyFailure } = require('./errors.js');
const { CommandQueue } = require('./queue.js');
const { State, Status } = require('./status.js');

/** @import { AsyncResource } from 'node:async_hooks' */
/** @import { Cause as Reason, Command as Sent, ExecutorSettings, Failure as Failed, Job, NewJob } from '../../types.d.ts' */
/** @import { Pin, RedisClient, Timer, Words } from '../../types.d.ts' */

/** The backoff of retries, in ms. */
const BACKOFF = { first: 50, longest: 500 };
/** A stalled client is tried this often, in ms: by the first waiting command, or by `PING`. */
const TRIAL_PAUSE = 250;
const PING_PAUSE = 1000;
/** Commands may be lost this long, without a reply of the server, before the client counts as stalled. */
const LONGEST_LOSSES = 500;
/** The read timeout is half of the timeout of operations, within these limits. */
const READ_TIMEOUT = { least: 1000, most: 2500 };
/** Commands and UTF-16 units that are sent in one turn of the event loop. */
const TURN_COMMANDS = 128;
const TURN_UNITS = 256 * 1024;
/** Deadlines and pauses are checked this often while a job is pending, in ms. */
const TICK = 25;
const CLOSED = new Cause('the app has closed it');

/**
 * Runs commands on the app's client, in order, and each by its deadline.
 *
 * While the client is not connected, commands wait here rather than in its own queue: one that has timed out is never
 * sent. A command that a lost connection or a transient error has prevented is sent again, together with the writes
 * after it, once nothing else is in flight: every command is idempotent.
 */
class Executor {
  #client;
  #settings;
  #clientState;
  #nodes;
  /** The pending jobs, oldest first. @type {Set<Job>} */
  #jobs = new Set();
  #queue = new CommandQueue();
  /** @type {Set<Sent>} */
  #inFlight = new Set();
  #lastOrder = 0;
  #lastAttempt = 0;
  /** The number of the first attempt to repeat. Nothing is sent until nothing is in flight. */
  #firstFailed = Number.POSITIVE_INFINITY;
  #resumeAt = 0;
  #backoff = BACKOFF.first;
  /** When to try a stalled client. */
  #trialAt = 0;
  /** When the client last replied, or was sent the first command that it owes a reply to. */
  #lastReplyAt = 0;
  #readTimeout;
  /** Since when commands are lost without a reply of the server, and the last cause. */
  #losses = { since: Number.POSITIVE_INFINITY, cause: new Cause('') };
  /** The names of denied commands, which are replaced by their substitutes. */
  #denied = new Set();
  /** The server lacks `SET … IFEQ`. */
  needsScript = false;
  /** The time for which the process was stopped, which does not count. */
  #stopped = 0;
  /** @type {Timer | undefined} */
  #timer;
  #timerDue = 0;
  #hasRef = false;
  #isSending = false;
  /** The next turn of the event loop sends more. */
  #isContinuing = false;
  /** Called when the last job is over, after `close`. @type {(() => void) | undefined} */
  #onEnd;
  /** The number of leases. */
  leases = 0;

  /** @param {RedisClient} client @param {ExecutorSettings} settings */
  constructor(client, settings) {
    this.#client = client;
    this.#settings = settings;
    /** The name of the server in error messages. */
    this.server = `Redis through ${settings.name}`;
    /** The timeout of operations in ms. */
    this.timeout = settings.commandTimeout;
    this.status = new Status(this.server);
    this.#nodes = new ClientNodes(client);
    this.isCluster = ClientNodes.isCluster(client);
    this.#readTimeout = Math.min(Math.max(this.timeout / 2, READ_TIMEOUT.least), READ_TIMEOUT.most);
    this.#clientState = new ClientState(client);
    this.#clientState.listen({
      changed: () => this.#update(),
      failed: (cause) => this.#onClientError(cause),
      ended: () => this.#setClosed(),
    });
    this.#readState();
  }

  /** Runs a job. `since` is the time of its call, by `elapsed`. @type {(job: NewJob, since?: number) => void} */
  submit({ scope, commands, done }, since = undefined) {
    const refusal = this.#onEnd === undefined ? this.#refusal() : failures.closed();
    if (refusal !== undefined) {
      done(commands.map(() => refusal));
      return;
    }
    const deadline = (since === undefined ? this.#now() : since - this.#stopped) + this.timeout;
    const { length } = commands;
    /** @type {Job} */
    const job = {
      scope,
      commands,
      done,
      deadline,
      replies: new Array(length),
      missing: length,
      attempts: 0,
      failedAttempts: 0,
    };
    this.#jobs.add(job);
    for (const [index, command] of commands.entries()) {
      command.job = job;
      command.index = index;
      command.order = ++this.#lastOrder;
      this.#queue.push(command);
    }
    this.#proceed();
  }

  /** Runs commands. @type {(scope: AsyncResource, commands: Sent[]) => Promise<any[]>} */
  query(scope, commands) {
    return new Promise((done) => this.submit({ scope, commands, done }));
  }

  /**
   * Finds the primaries of a cluster, and resolves with their numbers. Rejects with a Failure at the deadline.
   *
   * @returns {Promise<number[]>}
   */
  findNodes() {
    const deadline = elapsed() + this.timeout;
    const state = { failedAttempts: 0, lastError: /** @type {Reason | undefined} */ (undefined) };
    /** @type {Timer | undefined} */
    let timer;
    const found = new Promise((resolve, reject) => {
      const attempt = () => {
        if (elapsed() >= deadline) {
          reject(this.#timeoutOf(state));
          return;
        }
        timer = setTimeout(attempt, BACKOFF.longest);
        if (!this.status.isReady) return;
        this.#nodes.find().then(resolve, (error) => {
          state.failedAttempts++;
          state.lastError = causeOf(error);
        });
      };
      attempt();
    });
    return found.finally(() => clearTimeout(timer));
  }

  /** Returns the statistics of the client's connection, as far as they are known. */
  stats() {
    const inFlight = new Set(Array.from(this.#inFlight, ({ job }) => job)).size;
    const denied = Array.from(this.#denied, (name) => `${substitutes[name].name} for ${name}`);
    return {
      reconnects: this.status.reconnects,
      inFlight,
      queued: this.#jobs.size - inFlight,
      features: this.needsScript ? [...denied, 'script'] : denied,
    };
  }

  /** Refuses further jobs, and calls `onEnd` when the last one is over. @param {() => void} onEnd */
  close(onEnd) {
    this.#onEnd = onEnd;
    this.#proceed();
  }

  // ---- The state of the client ----

  #update() {
    this.#readState();
    this.#proceed();
  }

  #readState() {
    if (this.#clientState.isClosed) this.#setClosed();
    else {
      const reason = this.#clientState.disconnectReason;
      if (reason !== undefined) this.#setDown(State.DISCONNECTED, new Cause(reason));
      // A stalled client is connected as far as it knows.
      else if (this.status.state !== State.STALLED) this.#setConnected();
    }
  }

  #setConnected() {
    this.#lastReplyAt = this.#now();
    // That it is still connected proves nothing.
    if (this.status.isReady) return;
    this.#losses.since = Number.POSITIVE_INFINITY;
    this.status.setConnected();
    // It may be connected to another server.
    this.#denied.clear();
    this.needsScript = false;
  }

  /** @param {string} state @param {Reason} cause */
  #setDown(state, cause, isSilent = false) {
    if (!this.status.setDown(state, cause, isSilent)) return;
    this.#trialAt = this.#now() + TRIAL_PAUSE;
    if (this.#settings.failsOffline) this.#failAll();
  }

  #setClosed() {
    this.#setDown(State.CLOSED, CLOSED);
    this.#failAll();
    this.#proceed();
  }

  /** Handles an error event of the client: while it is not connected, a failed attempt. @param {Reason} cause */
  #onClientError(cause) {
    // Otherwise, the errors of commands show what it means for them.
    if (this.status.state === State.DISCONNECTED || this.status.isSilent) this.#failAgain(cause);
    this.#proceed();
  }

  /** @param {Reason} cause */
  #failAgain(cause) {
    this.status.failAgain(cause);
    // The number of the client's own attempts is unknown.
    if (this.#settings.maxRetries !== undefined) this.#failAll();
  }

  // ---- Sending ----

  /** Sends what can be sent, and sets the timer. */
  #proceed() {
    // A client that replies at once calls this while commands are being sent.
    if (this.#isSending) return;
    this.#isSending = true;
    this.#send();
    this.#isSending = false;
    if (this.#jobs.size === 0 && this.#onEnd !== undefined) this.#end();
    else this.#setTimer();
  }

  #end() {
    clearTimeout(this.#timer);
    this.#clientState.unlisten();
    this.status.end();
    const onEnd = this.#onEnd;
    this.#onEnd = () => {};
    onEnd?.();
  }

  /** Sends waiting commands; to a stalled client, a single one. */
  #send() {
    const { status } = this;
    // Events may not report all: a client that was closed may have been opened again.
    if (!status.isReady && !this.#queue.isEmpty) this.#readState();
    if (status.isReady) this.#sendTurn();
    else if (status.state === State.STALLED && this.#trialAt <= this.#now()) this.#sendTrial();
  }

  /** Sends the waiting commands, those beyond a limit in the next turn of the event loop. */
  #sendTurn() {
    if (this.#isContinuing || this.#isRepeating || this.#resumeAt > this.#now()) return;
    for (const command of this.#queue.take(TURN_COMMANDS, TURN_UNITS)) {
      if (this.status.isReady && !command.job.isOver) this.#sendCommand(command);
      else this.#queue.push(command);
    }
    if (this.#queue.isEmpty || this.#isRepeating) return;
    this.#isContinuing = true;
    outside.runInAsyncScope(setImmediate, undefined, () => {
      this.#isContinuing = false;
      this.#proceed();
    });
  }

  get #isRepeating() {
    return this.#firstFailed !== Number.POSITIVE_INFINITY;
  }

  /** Sends one command, which shows whether a stalled client serves again. */
  #sendTrial() {
    const isIdle = this.#queue.isEmpty;
    this.#trialAt = this.#now() + (isIdle ? PING_PAUSE : TRIAL_PAUSE);
    if (!isIdle) this.#sendCommand(this.#queue.take()[0]);
    // A silent client would only queue it.
    else if (!this.status.isSilent) {
      const ping = new Command(['PING'], { keyAt: 0, isRead: true });
      outside.runInAsyncScope(this.#call, this, ping, ping.words);
    }
  }

  /** @param {Sent} command */
  #sendCommand(command) {
    const { words, pin, job } = command;
    const [name, ...args] = words;
    if (!this.#admits(pin)) {
      this.#answer(command, failures.linkReplaced(this.server));
      return;
    }
    if (this.#inFlight.size === 0) this.#lastReplyAt = this.#now();
    const substitute = this.#denied.has(name) ? substitutes[name] : undefined;
    command.attempt = ++this.#lastAttempt;
    command.substitute = substitute;
    job.attempts = Math.max(job.attempts, ++command.attempts);
    this.#inFlight.add(command);
    const substituted = substitute?.words?.(args) ?? args;
    job.scope.runInAsyncScope(this.#call, this, command, [substitute?.name ?? name, ...substituted]);
  }

  /** @param {Sent} command @param {Words} words */
  #call(command, words) {
    const { node, keyAt, isRead, pin } = command;
    const mayUseReplica = isRead && pin === undefined && this.#settings.readsFromReplicas === true;
    const run = forms[this.#settings.command];
    /** @type {any} */
    let result;
    let isPromise;
    try {
      result =
        node > 0
          ? this.#nodes.run(node, words)
          : run(this.#client, words, mayUseReplica, words[keyAt || words.length]);
      isPromise = typeof result?.then === 'function';
      // Wrapped in a promise: a thenable may throw, or settle twice.
      if (isPromise)
        Promise.resolve(result).then(
          (reply) => this.#onReply(command, reply),
          (error) => this.#onError(command, error, words),
        );
    } catch (error) {
      this.#onError(command, error, words);
      return;
    }
    if (!isPromise) this.#onReply(command, result);
  }

  /**
   * Ties a pin to the present connection, unless it is tied. Returns false if it is tied to another one.
   *
   * @param {Pin | undefined} pin
   */
  #admits(pin) {
    if (pin !== undefined) pin.link ??= this.status.link;
    return pin?.link === undefined || pin.link === this.status.link;
  }

  // ---- Replies ----

  /** @param {Sent} command @param {unknown} reply */
  #onReply(command, reply) {
    let value;
    try {
      value = decode(reply);
    } catch {
      this.#receive(
        command,
        failures.client(this.server, new Cause('its reply cannot be read'), false),
        false,
      );
      return;
    }
    const restore = command.substitute?.restore;
    this.#receive(command, restore === undefined ? value : restore(value), true);
  }

  /** @param {Sent} command @param {unknown} error @param {Words} words */
  #onError(command, error, words) {
    const { message, isReply, isPermanent } = readError(error);
    // Some clients do not report that they are closed, and fail commands.
    if (!isReply && this.#clientState.isClosed) this.#update();
    else {
      const failure = isReply
        ? replyFailure(this.server, message, words, this.isCluster)
        : failures.client(this.server, causeOf(error, words), !isPermanent);
      this.#receive(command, failure, isReply);
    }
  }

  /** @type {(command: Sent, result: unknown, isReply: boolean) => void} */
  #receive(command, result, isReply) {
    this.#lastReplyAt = this.#now();
    const cause = result instanceof Failure && result.traits.isLost ? result.details.cause : undefined;
    const isStalled = this.status.state === State.STALLED;
    if (isReply) {
      this.#losses.since = Number.POSITIVE_INFINITY;
      if (isStalled) this.#setConnected();
    } else if (cause !== undefined) {
      this.#losses = { since: Math.min(this.#losses.since, this.#now()), cause };
      // Once for all that were in flight when the client stalled.
      if (isStalled && this.#inFlight.size <= 1) this.#failAgain(cause);
    }
    // Its job may be over.
    if (this.#inFlight.delete(command)) this.#apply(command, result);
    this.#endRetries();
    this.#proceed();
  }

  /** Answers a command, or queues it again. @param {Sent} command @param {unknown} result */
  #apply(command, result) {
    const { job, attempt } = command;
    const cause = result instanceof Failure ? this.#retryCause(command, result) : undefined;
    if (cause !== undefined) {
      job.lastError = cause;
      job.failedAttempts++;
      this.#firstFailed = Math.min(this.#firstFailed, attempt);
    } else if (attempt < this.#firstFailed || command.isRead) {
      this.#backoff = BACKOFF.first;
      // The client may have read it over another connection.
      const isUsable = result instanceof Failure || this.#admits(command.pin);
      this.#answer(command, isUsable ? result : failures.linkReplaced(this.server));
      return;
    }
    this.#queue.push(command);
  }

  /** Returns the cause if a command has to be sent again. @param {Sent} command @param {Failed} failure */
  #retryCause({ words: [name], substitute }, failure) {
    const { details, traits } = failure;
    if (traits.isLost) {
      // A client that limits its own attempts has made them.
      if (this.#settings.maxRetries !== undefined) return undefined;
      this.status.link++;
      return details.cause;
    }
    const isReplaceable = traits.isDenied && substitute === undefined && name in substitutes;
    if (isReplaceable) this.#denied.add(name);
    return traits.isTransient || isReplaceable ? failure.toCause() : undefined;
  }

  /** @param {Sent} command @param {unknown} reply */
  #answer({ job, index }, reply) {
    job.replies[index] = reply;
    if (--job.missing === 0) this.#complete(job);
  }

  /** @param {Job} job */
  #complete(job) {
    job.isOver = true;
    this.#jobs.delete(job);
    if (tracing.isActive) job.scope.trace?.served({ attempts: job.attempts, isShared: false });
    job.done(job.replies);
  }

  /** Once nothing is in flight, what failed can be sent again. */
  #endRetries() {
    if (this.#inFlight.size > 0 || !this.#isRepeating) return;
    this.#firstFailed = Number.POSITIVE_INFINITY;
    if (!this.#queue.isEmpty)
      this.status.observe(() => ({ event: 'retrying', commands: this.#queue.length }));
    const { since, cause } = this.#losses;
    // In a cluster, one of the nodes may be down.
    if (this.status.isReady && !this.isCluster && since + LONGEST_LOSSES <= this.#now())
      this.#setDown(State.STALLED, cause);
    this.#resumeAt = this.#now() + this.#backoff;
    this.#backoff = Math.min(2 * this.#backoff, BACKOFF.longest);
    // The failure may be the first sign of a lost connection.
    this.#readState();
  }

  // ---- Deadlines ----

  /** Returns the failure of a job that cannot wait for a connection. */
  #refusal() {
    const { maxQueue, failsOffline } = this.#settings;
    if (this.status.isReady) return undefined;
    if (failsOffline) return this.status.unreachable();
    return this.#jobs.size >= maxQueue ? this.status.queueFull(maxQueue) : undefined;
  }

  /** Fails the jobs that have reached their deadline, and notices the silence of a client. */
  #expire() {
    const now = this.#now();
    let isRetrying = false;
    for (const job of this.#jobs) {
      if (job.deadline <= now) this.#fail(job, this.#timeoutOf(job));
      else isRetrying ||= job.lastError !== undefined;
    }
    this.#endRetries();
    // Once no job is left that has failed, the others do not wait for the next attempt.
    if (!isRetrying) this.#resumeAt = now;
    const isSilent = this.#inFlight.size > 0 && this.#lastReplyAt + this.#readTimeout <= now;
    if (this.status.isReady && isSilent)
      this.#setDown(
        State.STALLED,
        new Cause(`no reply for ${this.#readTimeout} ms`, { code: 'ETIMEDOUT' }),
        true,
      );
  }

  /** Creates the failure for a deadline. @param {Pick<Job, 'lastError' | 'failedAttempts'>} job */
  #timeoutOf({ lastError, failedAttempts }) {
    const { isReady, isSilent, state } = this.status;
    if (lastError !== undefined && !isSilent && state !== State.CLOSED)
      return failures.unavailable(this.server, this.timeout, failedAttempts, lastError);
    if (isReady || isSilent) return failures.timeout(this.server, this.timeout);
    return this.status.unavailable(this.timeout);
  }

  /** Fails all jobs, since there is no connection. */
  #failAll() {
    const failure = this.status.unreachable();
    for (const job of this.#jobs) this.#fail(job, failure);
    this.#endRetries();
  }

  /** @param {Job} job @param {Failed} failure */
  #fail(job, failure) {
    for (const [index, command] of job.commands.entries()) {
      this.#inFlight.delete(command);
      if (job.replies[index] === undefined) job.replies[index] = failure;
    }
    this.#complete(job);
  }

  /** The time by which operations are measured, in ms: without that for which the process was stopped. */
  #now() {
    return elapsed() - this.#stopped;
  }

  /** Runs the timer while jobs are pending, which keeps the process alive, and while the client is stalled. */
  #setTimer() {
    const hasRef = this.#jobs.size > 0;
    const isNeeded = hasRef || this.status.state === State.STALLED;
    if (isNeeded && this.#timer !== undefined && this.#hasRef === hasRef) return;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (!isNeeded) return;
    const [oldest] = this.#jobs;
    const now = this.#now();
    const delay = Math.max(0, Math.min(TICK, (oldest?.deadline ?? now + TICK) - now));
    this.#timerDue = now + delay;
    this.#hasRef = hasRef;
    this.#timer = outside.runInAsyncScope(setTimeout, undefined, () => this.#onTimer(), delay);
    if (!hasRef) this.#timer?.unref();
  }

  #onTimer() {
    this.#timer = undefined;
    const late = this.#now() - this.#timerDue;
    if (late >= STOPPED_MS) {
      this.#stopped += late;
      // Meanwhile, no reply could be read.
      this.#lastReplyAt = this.#now();
    }
    // Replies that have arrived are read before a deadline is judged.
    setImmediate(() => {
      this.#expire();
      this.#proceed();
    });
  }
}

module.exports = { Executor };
