/** The clock of calls: when each of them began. */

let turn = 0;
const endTurn = (): void => {
  turn = 0;
};

/**
 * performance.now(), read once in each turn of the event loop, since reading the clock would be a part of what a
 * request costs. Later calls of the same turn have later times.
 */
export function turnTime(): number {
  if (turn === 0) {
    turn = performance.now();
    queueMicrotask(endTurn);
  }
  return (turn += 1e-6);
}
