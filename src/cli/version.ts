/** Which nbdkit this program stands in for, and its own version, from package.json. */
import packageJson from "../../package.json" with { type: "json" };

/**
 * The nbdkit whose options, parameters and ABI this program has. Scripts look at this before they
 * use what is newer.
 */
export const version = "1.48.1";

/** What a distribution would add to the version: who made this program, and what runs it. */
export const versionExtra = `${packageJson.name} for Bun ${packageJson.version}, Bun ${Bun.version}`;
