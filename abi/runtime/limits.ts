/** The tuned numbers of this room. Bytes and milliseconds as the names say. */

/** Free space that compiling needs, for the library and the compiler's temporary files. */
export const compilingBytes = 4 << 20;

const hourMs = 3_600_000;
/** The age at which work folders are removed. No compiler takes an hour. */
export const workFolderMs = hourMs;
/** The age at which libraries are removed: earlier versions of the server may still use younger ones. */
export const oldRuntimeMs = 90 * 24 * hourMs;
