/** The limits for what a module claims: a damaged file must not keep the server busy. Bytes and counts as named. */

/** Symbols of a file. No file has as many. */
export const mostSymbols = 1_000_000;
/** A text of a module. A pointer to something else is not followed any further. */
export const longestTextBytes = 1 << 20;
/** `_struct_size` of a plugin. No struct of any release comes near it. */
export const largestPluginBytes = 0xffffn;
