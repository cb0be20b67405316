/** Limits for numbers in a module, so that a damaged file does not keep the server busy. Bytes and counts as named. */

/** Symbols of a file. Real files have fewer. choice: how long a damaged file may keep the server busy. */
export const mostSymbols = 1_000_000;
/**
 * A text of a module. A longer one is not a text, but a pointer to something else. choice: how long a damaged file may
 * keep the server busy.
 */
export const longestTextBytes = 1 << 20;
/**
 * `_struct_size` of a plugin. The structs of all releases are much smaller. choice: later releases have room to grow.
 */
export const largestPluginBytes = 0xffffn;
