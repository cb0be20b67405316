/** The tuned numbers of this room. Bytes and milliseconds as the names say. */

/** Free space for compiling. source: the library takes 0.5 MB, and GCC 12's temporary files up to 1.5 MB. */
export const compilingBytes = 4 << 20;

const hourMs = 3_600_000;
/**
 * The age at which work folders are removed. No compiler takes an hour. choice: how long files that a killed server
 * left take room.
 */
export const workFolderMs = hourMs;
/**
 * The age at which libraries are removed: earlier versions of the server may still use younger ones. choice: how long
 * their files take room.
 */
export const oldRuntimeMs = 90 * 24 * hourMs;
