/** The tuned numbers of this room. Milliseconds as the name says. */

/**
 * A module that takes longer to load gets a warning: it may await something that never happens. choice: a user waits
 * for the server to start.
 */
export const stillLoadingMs = 5000;
