'use strict';

// Measures what some work cost this process. Two figures stand for the event loop's time:
//  - thread: CPU time of the main thread, from the system. Time in which another process had the core does not
//    count; the system calls that wait for events do.
//  - active: time in which the event loop was not waiting for events, from Node. It includes time in which
//    the main thread was ready but another thread had the core, and so it is larger on a busy machine.

const { readFileSync } = require('node:fs');
const { performance } = require('node:perf_hooks');

const SCHEDSTAT = '/proc/self/schedstat'; // of the main thread: nanoseconds on a core, first

const threadClock = findThreadClock();

function findThreadClock() {
  if (typeof process.threadCpuUsage === 'function') {
    const readMicroseconds = () => {
      const { user, system } = process.threadCpuUsage();
      return user + system;
    };
    return { name: 'process.threadCpuUsage()', readMicroseconds };
  }
  const readMicroseconds = () => Number(readFileSync(SCHEDSTAT, 'latin1').split(' ', 1)[0]) / 1000;
  try {
    if (readMicroseconds() > 0) return { name: SCHEDSTAT, readMicroseconds };
  } catch {
    // not Linux, or a kernel without this file
  }
  return { name: 'performance.eventLoopUtilization()', readMicroseconds: null };
}

/** Starts the clocks; the returned function stops them and returns the microseconds since then. */
function startClocks() {
  const wall = performance.now();
  const loop = performance.eventLoopUtilization();
  const cpu = process.cpuUsage();
  const thread = threadClock.readMicroseconds?.();

  return () => {
    const threadEnd = threadClock.readMicroseconds?.();
    const { user, system } = process.cpuUsage(cpu);
    const active = performance.eventLoopUtilization(loop).active * 1000;
    return {
      wall: (performance.now() - wall) * 1000,
      thread: threadEnd === undefined ? active : threadEnd - thread,
      active,
      cpu: user + system,
    };
  };
}

/** Returns the CPU time of the main thread in ms; 0 where no clock measures it. */
function threadMilliseconds() {
  return (threadClock.readMicroseconds?.() ?? 0) / 1000;
}

module.exports = { startClocks, threadMilliseconds, threadClockName: threadClock.name };
