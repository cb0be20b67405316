/** The release of nbdkit that this program replaces, and its own version, from package.json. */
import { newestKnown } from "#abi/recognise/releases";

import packageJson from "../../package.json" with { type: "json" };

/**
 * The release of nbdkit whose options, parameters and ABI this program has. Scripts check it
 * before they use newer features.
 */
export const version = newestKnown;

/** The suffix of the version, where distributions add theirs: the name of this program, and its runtime. */
export const versionExtra = `${packageJson.name} for Bun ${packageJson.version}, Bun ${Bun.version}`;
