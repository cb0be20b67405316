/** Plugins that are programs, `nbdkit-NAME-plugin`: mostly scripts for another plugin. */
import { closeSync, openSync, readSync } from "node:fs";

import { errnoName, errnoText } from "../lib/errno.ts";
import { ConfigError } from "../lib/errors.ts";
import { filePath, textOf } from "../lib/text-bytes.ts";

/**
 * Run the plugin. If the first line of a script says that nbdkit runs it, as `#!/usr/sbin/nbdkit
 * perl` does, this server runs it: the result is the arguments to start again with. Any other
 * program replaces this process, as in nbdkit.
 */
export async function runScriptPlugin(
  path: string,
  name: string,
  rest: readonly string[],
): Promise<readonly string[]> {
  const plugin = interpretedBy(firstLineIfReadable(path) ?? "");
  if (plugin !== undefined) return [plugin, path, ...rest];
  const { exec } = await import("../sys/exec.ts");
  const errno = exec(path, [name, ...rest]);
  throw new ConfigError(`${path}: cannot run this program: ${errnoText(errnoName(errno))}`);
}

/** The plugin in `#!/usr/sbin/nbdkit PLUGIN`, with or without env(1). */
export function interpretedBy(line: string): string | undefined {
  const match = /^#![ \t]*(?:\S*\/env[ \t]+(?:-S[ \t]*)?)?(?:\S*\/)?nbdkit[ \t]+(\S+)[ \t]*$/;
  return match.exec(line)?.[1];
}

/**
 * The plugin sh starts its script for each call. A script whose first line names nbdkit would
 * start a server for each call, which runs the script again, and so on: nbdkit continues until the
 * process limit is reached.
 */
export function refuseEndlessScript(plugin: string, key: string, value: string): void {
  if (plugin !== "sh" || key !== "script" || value === "-") return;
  // The plugin reports what it cannot read.
  const line = firstLineIfReadable(value) ?? "";
  if (!/^#!.*\bnbdkit\b.*[ \t]sh[ \t]*$/.test(line)) return;
  throw new ConfigError(
    `${value}: the plugin sh runs this script for each call, but the script's first line runs nbdkit: ` +
      "expected a script that begins with #!/bin/sh, and nbdkit sh SCRIPT to serve it",
  );
}

/** The number of bytes that the kernel reads. */
const longestLine = 256;

function firstLineIfReadable(path: string): string | undefined {
  try {
    const bytes = Buffer.alloc(longestLine);
    const file = openSync(filePath(path), "r");
    try {
      const count = readSync(file, bytes, 0, longestLine, 0);
      return textOf(bytes.subarray(0, count)).split("\n", 1)[0];
    } finally {
      closeSync(file);
    }
  } catch {
    return undefined;
  }
}
