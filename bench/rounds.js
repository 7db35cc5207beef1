'use strict';

// The order of measuring within a round, and the summary of a figure over all rounds.

/** Returns the list, rotated by one more place each round. */
function rotated(list, round) {
  const start = round % list.length;
  return [...list.slice(start), ...list.slice(0, start)];
}

function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** Returns the median of each figure over the rounds; `spread` has the least and the greatest. */
function summarise(rounds) {
  const summary = { spread: {} };
  for (const figure of Object.keys(rounds[0])) {
    const values = rounds.map((round) => round[figure]);
    summary[figure] = median(values);
    summary.spread[figure] = [Math.min(...values), Math.max(...values)];
  }
  return summary;
}

module.exports = { rotated, median, summarise };
