'use strict';

const { once } = require('node:events');
const net = require('node:net');
const { setImmediate: nextTurn, setTimeout: sleep } = require('node:timers/promises');
const { seeded } = require('./random.js');

const HOST = '127.0.0.1';

/** A network that works. The faults change copies of it. */
const WORKING = {
  /** The time that bytes take, in ms. */
  requestDelay: 0,
  replyDelay: 0,
  /** The number of bytes of requests in a packet. */
  packet: Number.POSITIVE_INFINITY,
  swallows: false,
  loses: false,
  drips: false,
  refuses: false,
  /** Changes a chunk of replies in place. */
  corrupt: undefined,
  /** The number of bytes of replies that pass before the connection is cut. */
  cutAfter: Number.POSITIVE_INFINITY,
};

/** Starts a proxy to the server on `port` of this machine. */
async function startProxy(port) {
  const proxy = new TcpProxy(port);
  await proxy.listen();
  return proxy;
}

/**
 * A network that can fail: a TCP proxy between clients and a server.
 *
 * A fault applies to open and future connections, in addition to earlier faults, until `heal`. `reset`, `halfClose`
 * and `stall` apply to open connections only.
 */
class TcpProxy {
  #serverPort;
  #listener;
  #connections = new Set();
  #network = { ...WORKING };

  /** Where clients connect; constant for the proxy's life. */
  port = 0;
  /** The number of connections made so far, including refused ones. */
  accepted = 0;
  /** The number of bytes that were dropped. */
  lost = 0;
  /** The number of times that a client sent something after it had received all replies so far. */
  roundTrips = 0;

  constructor(serverPort) {
    this.#serverPort = serverPort;
  }

  get url() {
    return `redis://${HOST}:${this.port}`;
  }

  /** The number of open connections. */
  get open() {
    return this.#connections.size;
  }

  async listen() {
    // Half-open: the other side may still write to what one side ended.
    this.#listener = net.createServer({ allowHalfOpen: true, noDelay: true }, (client) =>
      this.#accept(client),
    );
    this.#listener.listen(this.port, HOST);
    await once(this.#listener, 'listening');
    this.port = this.#listener.address().port;
  }

  /** Bytes take this long, each way. */
  delay({ request = 0, reply = 0 }) {
    this.#change({ requestDelay: request, replyDelay: reply });
  }

  /** Requests arrive in packets of so many bytes, each a millisecond after the previous one. */
  split(packet) {
    this.#change({ packet });
  }

  /** Replies arrive byte by byte, each in its own turn of the event loop and its own packet. */
  drip() {
    this.#change({ drips: true });
  }

  /** Flips a bit in one of `oneIn` bytes of replies, selected by `seed`. */
  corrupt({ seed, oneIn }) {
    const random = seeded(seed);
    this.#change({
      corrupt(bytes) {
        for (let at = 0; at < bytes.length; at++)
          if (random() * oneIn < 1) bytes[at] ^= 1 << Math.floor(random() * 8);
      },
    });
  }

  /** Damages replies where they contain these bytes, the first time, by others of the same length. */
  damage(from, to) {
    let isDone = false;
    this.#change({
      corrupt(bytes) {
        const at = isDone ? -1 : bytes.indexOf(from, 0, 'latin1');
        if (at === -1) return;
        bytes.write(to, at, 'latin1');
        isDone = true;
      },
    });
  }

  /** Resets a connection as soon as this many bytes of replies, counted from here, have passed. */
  cutAfter(bytes) {
    for (const connection of this.#connections) connection.passed = 0;
    this.#change({ cutAfter: bytes });
  }

  /**
   * The peer stops answering: bytes are dropped, connections stay open. One that has lost bytes stays silent even when
   * the network works again: bytes after a gap are never delivered.
   */
  silence() {
    this.#change({ swallows: true });
  }

  /** Replies are dropped, and the bytes after them are delivered: no network does that, but a faulty proxy. */
  lose() {
    this.#change({ loses: true });
  }

  /** Connections are accepted and reset at once, as by a balancer without a server. */
  refuse() {
    this.#change({ refuses: true });
    this.reset();
  }

  /** The port is closed. */
  async stopListening() {
    const listener = this.#listener;
    this.#listener = undefined;
    const closed = once(listener, 'close');
    listener.close();
    this.reset();
    await closed;
  }

  /** Resets the open connections. */
  reset() {
    for (const connection of this.#connections) connection.reset();
  }

  /** Ends the open connections towards the client only; what it sends still arrives. */
  halfClose() {
    for (const connection of this.#connections) connection.client.end();
  }

  /**
   * The path of the open connections fails; new ones take another. When the path works again, what was sent over it
   * arrives, also on connections that were ended meanwhile: their systems send it repeatedly. A reset makes them
   * forget it.
   */
  stall() {
    for (const connection of this.#connections) connection.stall();
  }

  /** Ends every fault. */
  async heal() {
    this.#network = { ...WORKING };
    for (const connection of this.#connections) connection.heal();
    if (this.#listener === undefined) await this.listen();
  }

  async close() {
    if (this.#listener !== undefined) await this.stopListening();
  }

  #change(fault) {
    this.#network = { ...this.#network, ...fault };
  }

  #accept(client) {
    this.accepted += 1;
    if (this.#network.refuses) {
      client.on('error', () => {});
      client.resetAndDestroy();
      return;
    }
    const connection = new Connection(client, this.#serverPort, {
      network: () => this.#network,
      lose: (bytes) => {
        this.lost += bytes.length;
      },
      turn: () => {
        this.roundTrips += 1;
      },
    });
    this.#connections.add(connection);
    connection.closed.then(() => this.#connections.delete(connection));
  }
}

class Connection {
  #server;
  #lose;
  #turn;
  #isAsking = false;
  #hasGap = false;
  #release = () => {};
  #delays = new AbortController();

  /** Bytes of replies that were sent to the client. */
  passed = 0;
  /** Resolves while the connection is not stalled. */
  released = Promise.resolve();

  constructor(client, serverPort, { network, lose, turn }) {
    this.client = client;
    this.#lose = lose;
    this.#turn = turn;
    this.#server = net.connect({ host: HOST, port: serverPort, allowHalfOpen: true, noDelay: true });
    const sides = [client, this.#server];
    this.closed = Promise.all(sides.map((side) => new Promise((resolve) => side.once('close', resolve))));
    for (const side of sides) side.on('error', () => this.reset());

    carry(client, this, {
      delay: () => network().requestDelay,
      deliver: (bytes) => this.#request(bytes, network()),
      end: () => this.#server.end(),
      // A reset that comes together with data is an end for libuv. No client here ends while it still waits for
      // replies: delivered late, commands would be executed after those that were sent again elsewhere.
      endMayBeReset: true,
    });
    carry(this.#server, this, {
      delay: () => network().replyDelay,
      deliver: (bytes) => this.#reply(bytes, network()),
      end: () => client.end(),
    });
  }

  stall() {
    this.released = new Promise((resolve) => {
      this.#release = resolve;
    });
  }

  release() {
    this.#release();
  }

  /** Aborted when the network is healed: what has arrived by then is no longer delayed. */
  get delays() {
    return this.#delays.signal;
  }

  heal() {
    this.#delays.abort();
    this.#delays = new AbortController();
    this.release();
  }

  reset() {
    for (const side of [this.client, this.#server]) {
      // Node cannot reset what it has ended.
      if (side.writableEnded) side.destroy();
      else if (!side.destroyed) side.resetAndDestroy();
    }
    this.release();
  }

  /** True if the bytes are lost for good. */
  #swallow(bytes, swallows) {
    if (!swallows && !this.#hasGap) return false;
    this.#hasGap = true;
    this.#lose(bytes);
    return true;
  }

  async #request(bytes, { swallows, packet }) {
    if (!this.#isAsking) this.#turn();
    this.#isAsking = true;
    if (this.#swallow(bytes, swallows)) return;
    if (bytes.length <= packet) {
      this.#server.write(bytes);
      return;
    }
    for (let at = 0; at < bytes.length && !this.#server.destroyed; at += packet) {
      this.#server.write(bytes.subarray(at, at + packet));
      await sleep(1);
    }
  }

  async #reply(bytes, { swallows, loses, corrupt, cutAfter, drips }) {
    this.#isAsking = false;
    if (this.#swallow(bytes, swallows)) return;
    if (loses) {
      this.#lose(bytes);
      return;
    }
    corrupt?.(bytes);
    const passing = bytes.subarray(0, Math.max(0, cutAfter - this.passed));
    this.passed += passing.length;
    const packets = drips ? Array.from(passing, (byte) => Buffer.of(byte)) : [passing];
    for (const packet of packets) {
      if (this.client.destroyed) return;
      this.client.write(packet);
      if (drips) await nextTurn();
    }
    if (passing.length < bytes.length) {
      // A reset would overtake what was written.
      if (this.client.writableLength > 0) await once(this.client, 'drain').catch(() => {});
      this.reset();
    }
  }
}

/** Forwards what `side` sends, in order, each chunk after the delay in force when it arrived, while it is in force. */
function carry(side, connection, { delay, deliver, end, endMayBeReset = false }) {
  const queue = [];
  let isCarrying = false;
  const add = (bytes) => {
    queue.push({ bytes, due: performance.now() + delay(), signal: connection.delays });
    if (!isCarrying) run();
  };
  async function run() {
    isCarrying = true;
    for (let first = queue.shift(); first !== undefined; first = queue.shift()) {
      const wait = first.due - performance.now();
      // Only an abort rejects it.
      if (wait > 0) await sleep(wait, undefined, { signal: first.signal }).catch(() => {});
      await connection.released;
      // A reset drops the bytes that are still on their way.
      if (side.destroyed && side.errored) break;
      if (first.bytes === undefined) end();
      else await deliver(first.bytes);
    }
    isCarrying = false;
  }
  side.on('data', add);
  side.on('end', () => {
    if (isCarrying && endMayBeReset) connection.reset();
    else add(undefined);
  });
}

module.exports = { startProxy };
