/** The tuned numbers of this plugin. Counts as the name says; "bench" is a section of bench/README.md. */

/** Pages, 32 MiB in all, that one request for extents searches, so that others have their turn. bench: "Limits". */
export const mostSearchedPages = 1024;
