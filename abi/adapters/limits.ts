/** The tuned numbers of this room. Counts as the names say. */

/** Extents that one call copies from or to a list of C. Most lists are shorter. bench: "Limits". */
export const extentsPerCall = 1024;
