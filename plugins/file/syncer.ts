/** Makes flushes that arrive while one is running share the next one. */

/**
 * Returns a function that calls `fdatasync` so that all data written before the call is covered. A
 * running call may miss data that was written since it began, so later callers do not join it:
 * they wait for the call that starts after it, and share that one.
 */
export function syncer(fdatasync: () => Promise<void>): () => Promise<void> {
  let running: Promise<void> | undefined;
  let following: Promise<void> | undefined;

  function start(): Promise<void> {
    const mine = fdatasync().finally(() => {
      if (running === mine) running = undefined;
    });
    running = mine;
    return mine;
  }

  function startFollowing(): Promise<void> {
    following = undefined;
    return start();
  }

  return () => {
    if (running === undefined) return start();
    // The result of the running call does not matter to callers that wait for the next one.
    following ??= running.then(startFollowing, startFollowing);
    return following;
  };
}
