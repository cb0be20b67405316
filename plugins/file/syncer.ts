/** Makes flushes that arrive while one is running share the next one. */

/**
 * Returns a function that calls `fdatasync` so that all data written before the call is covered.
 * A call that is running may have passed over data that was written since it began, so nobody joins
 * it: whoever comes meanwhile waits for the one that starts after it, and shares that one.
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
    // Whether the running one succeeds is not the concern of those that wait for the following one.
    following ??= running.then(startFollowing, startFollowing);
    return following;
  };
}
