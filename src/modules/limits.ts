/** The tuned numbers of this room. Milliseconds as the name says. */

/** A module that takes longer to load gets a warning: it may await something that never happens. */
export const stillLoadingMs = 5000;
