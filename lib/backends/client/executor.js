'use strict';

const { ClientNodes } = require('../../clients/nodes.js');
const { outside } = require('../../common/outside.js');
const { clearTimeout, elapsed, setImmediate, setTimeout } = require('../../common/timers.js');
const { ClientState } = require('./client-state.js');
const { Command, decode, forms, substituted, substitutes } = require('./commands.js');
const { Failure, failures, readError, replyFailure, withoutArguments } = require('./errors.js');
const { CommandQueue } = require('./queue.js');
const { State, Status } = require('./status.js');

/** @import { AsyncResource } from 'node:async_hooks' */
/** @import { Attempt, Failure as Failed, Job, PendingJob, Pin, RedisClient, Words } from '../../types.d.ts' */
/** @import { Command as ClientCommand, CommandForm, Timer } from '../../types.d.ts' */

/**
 * @typedef {{ command: CommandForm, readsFromReplicas?: boolean, commandTimeout: number, maxQueue: number,
 *   maxRetries?: number, failsOffline?: boolean, name: string }} ExecutorSettings
 */

/** The backoff of retries, in ms. */
const FIRST_PAUSE = 50;
const LONGEST_PAUSE = 500;
/** A client that does not reply, or whose commands fail, is tried this often while commands wait. */
const TRY_PAUSE = 250;
/** A client whose commands fail is tried this often, by `PING`, while no command waits. */
const IDLE_TRY_PAUSE = 1000;
/** Commands may fail this long, without a reply of the server, before the client counts as not connected. */
const LONGEST_FAILING = 500;
/** The read timeout is half of the timeout of operations, within these limits. */
const READ_TIMEOUT = { least: 1000, most: 2500 };
/** Commands and UTF-16 units that are sent in one turn of the event loop. */
const TURN_COMMANDS = 128;
const TURN_UNITS = 256 * 1024;
/** Deadlines and pauses are checked this often while a job is pending, in ms. */
const TICK = 25;
/** A timer that fires this late fired after a stop of the process, or of its event loop. */
const LATE = 1000;
const CLOSED = 'the app has closed it';

/** Returns the job of a command that was submitted. @param {ClientCommand} command */
const jobOf = ({ job }) => /** @type {PendingJob} */ (job);

/** Returns the traits of a result that is a Failure; none for a reply. @param {unknown} result */
const traitsOf = (result) => (result instanceof Failure ? result.traits : {});

/**
 * Runs commands on the app's client, in order, and each by its deadline.
 *
 * While the client is not connected, commands wait here rather than in its own queue: one that has timed out is never
 * sent. A command that a lost connection or a transient error has prevented is sent again, together with the writes
 * after it, once nothing else is in flight: every command leaves the same state when it is repeated.
 */
class Executor {
  #client;
  #run;
  #settings;
  #clientState;
  #nodes;
  /** The pending jobs, oldest first. @type {Set<PendingJob>} */
  #jobs = new Set();
  #queue = new CommandQueue();
  /** The attempts without a reply. @type {Set<Attempt>} */
  #inFlight = new Set();
  #lastOrder = 0;
  #lastAttempt = 0;
  /**
   * The number of the first attempt to repeat. Nothing is sent until nothing is in flight.
   *
   * @type {number | undefined}
   */
  #firstFailed;
  #resumeAt = 0;
  #pause = FIRST_PAUSE;
  /** When to try a client that does not reply, or fails. */
  #tryAt = 0;
  /** When the client last replied, or was sent the first command that it owes a reply to. */
  #heardAt = 0;
  #readTimeout;
  /**
   * Since when commands are lost without a reply of the server, and the last cause.
   *
   * @type {{ since: number, cause: string } | undefined}
   */
  #losing;
  /** The names of denied commands, which are replaced by their substitutes. */
  #denied = new Set();
  /** The server lacks `SET … IFEQ`. */
  needsScript = false;
  /** The time for which the process was stopped, which does not count. */
  #stopped = 0;
  /** @type {Timer | undefined} */
  #timer;
  #alarm = 0;
  #isHolding = false;
  #isSending = false;
  /** The next turn of the event loop sends more. */
  #isContinuing = false;
  /** Called when the last job is over, after `close`. @type {(() => void) | undefined} */
  #onEnd;
  /** The name of the server in error messages. */
  server;
  /** The timeout of operations in ms. */
  timeout;
  isCluster;
  status;

  /** @param {RedisClient} client @param {ExecutorSettings} settings */
  constructor(client, settings) {
    this.#client = client;
    this.#settings = settings;
    this.#run = forms[settings.command];
    this.server = `Redis through ${settings.name}`;
    this.timeout = settings.commandTimeout;
    this.status = new Status(this.server);
    this.#nodes = new ClientNodes(client);
    this.isCluster = ClientNodes.isCluster(client);
    const { least, most } = READ_TIMEOUT;
    this.#readTimeout = Math.min(Math.max(this.timeout / 2, least), most);
    this.#clientState = new ClientState(client);
    this.#clientState.listen({
      changed: () => this.#update(),
      failed: (message) => this.#onClientError(message),
      ended: () => this.#setEnded(),
    });
    this.#readState();
  }

  /** Runs a job. `since` is the time of its call, by `elapsed`. @type {(job: Job, since?: number) => void} */
  submit({ scope, commands, done }, since = undefined) {
    const refusal = this.#onEnd === undefined ? this.#refusal() : failures.closed();
    if (refusal !== undefined) {
      done(commands.map(() => refusal));
      return;
    }
    const deadline = (since === undefined ? this.#now() : since - this.#stopped) + this.timeout;
    const { length } = commands;
    const replies = new Array(length);
    const job = { scope, commands, done, replies, left: length, attempts: 0, trouble: undefined, deadline };
    this.#jobs.add(job);
    for (const [index, command] of job.commands.entries()) {
      command.job = job;
      command.index = index;
      command.order = ++this.#lastOrder;
      this.#queue.push(command);
    }
    // A client that was closed may have been opened again.
    if (this.status.state === State.ENDED) this.#readState();
    this.#proceed();
  }

  /**
   * Runs commands, and resolves with their replies.
   *
   * @type {(scope: AsyncResource, commands: ClientCommand[]) => Promise<any[]>}
   */
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
    /** @type {Timer | undefined} */
    let timer;
    const found = new Promise((resolve, reject) => {
      const ask = () => {
        if (elapsed() >= deadline) reject(this.status.unavailable(this.timeout));
        else {
          timer = setTimeout(ask, LONGEST_PAUSE);
          if (this.status.state !== State.CONNECTED) return;
          const note = (/** @type {unknown} */ error) => this.status.note(1, readError(error).message);
          this.#nodes.find().then(resolve, note);
        }
      };
      ask();
    });
    return found.finally(() => clearTimeout(timer));
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
    if (this.#clientState.isClosed) this.#setEnded();
    else {
      const reason = this.#clientState.disconnectReason;
      if (reason !== undefined) this.#setDown(State.AWAY, reason);
      // A client that is silent, or fails, is connected as far as it knows.
      else if (this.status.state !== State.SILENT && this.status.state !== State.FAILING)
        this.#setConnected();
    }
  }

  #setConnected() {
    // That it is still connected proves nothing.
    if (this.status.state !== State.CONNECTED) this.#losing = undefined;
    this.#heardAt = this.#now();
    if (!this.status.setConnected()) return;
    this.#denied.clear();
    this.needsScript = false;
  }

  /** @param {string} state @param {string} cause */
  #setDown(state, cause) {
    if (!this.status.setDown(state, cause)) return;
    this.#tryAt = this.#now() + TRY_PAUSE;
    if (this.#settings.failsOffline) this.#failAll(this.status.unreachable(cause));
  }

  #setEnded() {
    this.#setDown(State.ENDED, CLOSED);
    this.#failAll(this.status.unreachable(CLOSED));
    this.#proceed();
  }

  /**
   * Handles an error that the client reports: while it is not connected, a failed attempt to connect.
   *
   * @param {string} cause
   */
  #onClientError(cause) {
    // Otherwise, the errors of commands show what it means for them.
    if ([State.AWAY, State.SILENT].includes(this.status.state)) this.#failAgain(cause);
    this.#proceed();
  }

  /** @param {string} cause */
  #failAgain(cause) {
    this.status.failAgain(cause);
    // The number of the client's own attempts is unknown.
    if (this.#settings.maxRetries !== undefined) this.#failAll(this.status.unreachable(cause));
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
    this.#clearTimer();
    this.#clientState.unlisten();
    const onEnd = this.#onEnd;
    this.#onEnd = () => {};
    onEnd?.();
  }

  /** Sends waiting commands. To a client that does not serve, sends one that shows whether it does again. */
  #send() {
    const now = this.#now();
    const { state } = this.status;
    if (state === State.CONNECTED) {
      if (this.#firstFailed === undefined && this.#resumeAt <= now && !this.#isContinuing) this.#sendTurn();
      return;
    }
    if (state === State.AWAY && !this.#queue.isEmpty) {
      // Its events may not report all.
      this.#readState();
      if (this.status.state === State.CONNECTED) this.#send();
    }
    if ((state !== State.SILENT && state !== State.FAILING) || this.#tryAt > now) return;
    if (this.#queue.isEmpty) {
      if (state === State.FAILING) this.#ping();
      return;
    }
    this.#tryAt = now + TRY_PAUSE;
    if (state === State.FAILING && this.#firstFailed !== undefined) return;
    this.#readState();
    if (this.status.state === state) this.#sendCommand(this.#queue.take(1)[0]);
  }

  /** Sends the waiting commands, those beyond a limit in the next turn of the event loop. */
  #sendTurn() {
    for (const command of this.#queue.take(TURN_COMMANDS, TURN_UNITS)) {
      if (command.job === undefined || !this.#jobs.has(command.job)) continue;
      if (this.status.state === State.CONNECTED) this.#sendCommand(command);
      else this.#queue.retry(command);
    }
    if (this.#queue.isEmpty || this.#firstFailed !== undefined) return;
    this.#isContinuing = true;
    outside.runInAsyncScope(setImmediate, undefined, () => {
      this.#isContinuing = false;
      this.#proceed();
    });
  }

  /** @param {ClientCommand} command */
  #sendCommand(command) {
    const { words, pin } = command;
    const job = jobOf(command);
    if (!this.#admits(pin)) {
      this.#answer(command, failures.linkReplaced(this.server));
      return;
    }
    if (this.#inFlight.size === 0) this.#heardAt = this.#now();
    const substitute = this.#denied.has(words[0]) ? substitutes[words[0]] : undefined;
    const attempt = { number: ++this.#lastAttempt, command, substitute };
    command.attempt = attempt;
    this.#inFlight.add(attempt);
    const sent = substitute === undefined ? words : substituted(substitute, words);
    job.scope.runInAsyncScope(this.#call, this, attempt, command, sent);
  }

  /** @param {Attempt} attempt @param {ClientCommand} command @param {Words} words */
  #call(attempt, command, words) {
    const { node, keyAt, isRead, pin } = command;
    /** @type {any} */
    let result;
    let isPromise;
    try {
      const mayUseReplica = isRead && pin === undefined && this.#settings.readsFromReplicas === true;
      result =
        node > 0
          ? this.#nodes.run(node, words)
          : this.#run(this.#client, words, mayUseReplica, words[keyAt || words.length]);
      isPromise = typeof result?.then === 'function';
      // Wrapped in a promise: a thenable may throw, or settle twice.
      if (isPromise)
        Promise.resolve(result).then(
          (reply) => this.#onReply(attempt, reply),
          (error) => this.#onError(attempt, error, words),
        );
    } catch (error) {
      this.#onError(attempt, error, words);
      return;
    }
    if (!isPromise) this.#onReply(attempt, result);
  }

  /** Tries a client whose commands fail, while none waits. */
  #ping() {
    this.#tryAt = this.#now() + IDLE_TRY_PAUSE;
    this.#readState();
    const command = new Command(['PING'], { keyAt: 0, isRead: true });
    outside.runInAsyncScope(this.#call, this, { number: 0, command }, command, command.words);
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

  /** @param {Attempt} attempt @param {unknown} reply */
  #onReply(attempt, reply) {
    let value;
    try {
      value = decode(reply);
    } catch {
      this.#receive(attempt, failures.client(this.server, 'its reply cannot be read', false), false);
      return;
    }
    if (attempt.substitute?.restore !== undefined) value = attempt.substitute.restore(value);
    this.#receive(attempt, value, true);
  }

  /** @param {Attempt} attempt @param {unknown} error @param {Words} words */
  #onError(attempt, error, words) {
    const { message, isReply, isPermanent } = readError(error);
    if (isReply) this.#receive(attempt, replyFailure(this.server, message, words), true);
    // Some clients do not report that they are closed, and fail commands.
    else if (this.#clientState.isClosed) this.#update();
    else
      this.#receive(
        attempt,
        failures.client(this.server, withoutArguments(message, words), !isPermanent),
        false,
      );
  }

  /**
   * @param {Attempt} attempt
   * @param {unknown} result a reply or a Failure
   * @param {boolean} isOfServer true if the server has replied, even with an error
   */
  #receive(attempt, result, isOfServer) {
    this.#heardAt = this.#now();
    if (this.status.state === State.SILENT) this.#setConnected();
    const { isLost, cause } = traitsOf(result);
    this.#noteLosses(isOfServer, isLost ? cause : undefined);
    // It may have timed out.
    if (this.#inFlight.delete(attempt)) this.#apply(attempt, result);
    this.#endRetries();
    this.#proceed();
  }

  /**
   * Notes whether the server is reachable. `cause` is that of a lost connection.
   *
   * @type {(isOfServer: boolean, cause: string | undefined) => void}
   */
  #noteLosses(isOfServer, cause) {
    const isFailing = this.status.state === State.FAILING;
    if (isOfServer) {
      if (isFailing) this.#setConnected();
      this.#losing = undefined;
    } else if (cause !== undefined) {
      if (isFailing) this.#failAgain(cause);
      else this.#losing = { since: this.#losing?.since ?? this.#now(), cause };
    }
  }

  /** Answers a command, or queues it again. @param {Attempt} attempt @param {unknown} result */
  #apply({ number, command, substitute }, result) {
    const { isLost, isTransient, isDenied, cause: loss } = traitsOf(result);
    const [name] = command.words;
    const job = jobOf(command);
    let cause;
    if (isLost) {
      // A client that limits its own attempts has made them.
      if (this.#settings.maxRetries === undefined) {
        cause = loss;
        this.status.link++;
      }
    } else if (result instanceof Failure) {
      const isReplaceable = isDenied && substitute === undefined && name in substitutes;
      if (isReplaceable) this.#denied.add(name);
      if (isTransient || isReplaceable) cause = result.message;
    }
    if (cause !== undefined) {
      job.trouble = cause;
      job.attempts++;
      this.#firstFailed = Math.min(this.#firstFailed ?? number, number);
    } else if (this.#firstFailed === undefined || number < this.#firstFailed || command.isRead) {
      this.#pause = FIRST_PAUSE;
      // The client may have read it over another connection.
      const isUsable = result instanceof Failure || this.#admits(command.pin);
      this.#answer(command, isUsable ? result : failures.linkReplaced(this.server));
      return;
    }
    this.#queue.retry(command);
  }

  /** @param {ClientCommand} command @param {unknown} reply */
  #answer(command, reply) {
    const job = jobOf(command);
    job.replies[command.index] = reply;
    if (--job.left > 0) return;
    this.#jobs.delete(job);
    job.done(job.replies);
  }

  /** Once nothing is in flight, what failed can be sent again. */
  #endRetries() {
    if (this.#inFlight.size > 0 || this.#firstFailed === undefined) return;
    this.#firstFailed = undefined;
    const { state } = this.status;
    const losing = this.#losing;
    // In a cluster, one of the nodes may be away.
    if (
      state === State.CONNECTED &&
      !this.isCluster &&
      losing &&
      losing.since + LONGEST_FAILING <= this.#now()
    )
      this.#setDown(State.FAILING, losing.cause);
    this.#resumeAt = this.#now() + this.#pause;
    this.#pause = Math.min(2 * this.#pause, LONGEST_PAUSE);
    // The failure may be the first sign of a lost connection.
    this.#readState();
  }

  // ---- Deadlines ----

  /** Returns the failure of a job that cannot wait for a connection. */
  #refusal() {
    const { isReady, hasFailed } = this.status;
    if (isReady) return undefined;
    if (this.#settings.failsOffline && hasFailed) return this.status.unreachable();
    const { maxQueue } = this.#settings;
    return this.#queue.operations >= maxQueue ? this.status.queueFull(maxQueue) : undefined;
  }

  #expire() {
    const now = this.#now();
    let isRetrying = false;
    for (const job of this.#jobs) {
      if (job.deadline <= now) this.#fail(job, this.#overdue(job));
      else isRetrying ||= job.trouble !== undefined;
    }
    this.#endRetries();
    // Once no job is left that has failed, the others do not wait for the next attempt.
    if (!isRetrying) this.#resumeAt = now;
  }

  /** Creates the failure of a job that has reached its deadline. @param {PendingJob} job */
  #overdue({ trouble, attempts }) {
    const { state } = this.status;
    const wasSent = state !== State.SILENT && state !== State.ENDED && trouble !== undefined;
    if (wasSent) return failures.unavailable(this.server, this.timeout, attempts, trouble);
    if (state === State.CONNECTED || state === State.SILENT)
      return failures.timeout(this.server, this.timeout);
    return this.status.unavailable(this.timeout);
  }

  /** @param {Failed} failure */
  #failAll(failure) {
    for (const job of this.#jobs) this.#fail(job, failure);
    this.#endRetries();
  }

  /** @param {PendingJob} job @param {Failed} failure */
  #fail(job, failure) {
    this.#jobs.delete(job);
    this.#queue.drop(job);
    for (const [index, { attempt }] of job.commands.entries()) {
      if (attempt !== undefined) this.#inFlight.delete(attempt);
      if (job.replies[index] === undefined) job.replies[index] = failure;
    }
    job.done(job.replies);
  }

  #noticeSilence() {
    if (this.status.state !== State.CONNECTED || this.#inFlight.size === 0) return;
    if (this.#heardAt + this.#readTimeout <= this.#now())
      this.#setDown(State.SILENT, `no answer for ${this.#readTimeout} ms`);
  }

  /** The time by which operations are measured, in ms: without that for which the process was stopped. */
  #now() {
    return elapsed() - this.#stopped;
  }

  /** Runs the timer while jobs are pending, which keeps the process alive, and while the client fails. */
  #setTimer() {
    const isHolding = this.#jobs.size > 0;
    const isNeeded = isHolding || this.status.state === State.FAILING;
    if (isNeeded && this.#timer !== undefined && this.#isHolding === isHolding) return;
    this.#clearTimer();
    if (!isNeeded) return;
    const [oldest] = this.#jobs;
    const now = this.#now();
    const delay = Math.max(0, Math.min(TICK, (oldest?.deadline ?? now + TICK) - now));
    this.#alarm = now + delay;
    this.#isHolding = isHolding;
    const timer = outside.runInAsyncScope(setTimeout, undefined, () => this.#onTimer(), delay);
    if (!isHolding) timer.unref();
    this.#timer = timer;
  }

  #clearTimer() {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #onTimer() {
    this.#timer = undefined;
    const late = this.#now() - this.#alarm;
    if (late >= LATE) {
      this.#stopped += late;
      // Meanwhile, no reply could be read.
      this.#heardAt = this.#now();
    }
    // Replies that have arrived are read before a deadline is judged.
    setImmediate(() => {
      this.#expire();
      this.#noticeSilence();
      this.#proceed();
    });
  }
}

module.exports = { Executor };
