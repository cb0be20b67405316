/** Prepares what tests need to run the native runtime under the compiler's address sanitizer, within Bun. */
import { chmodSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** The programs that modules start are spared: some are slow with the sanitizer, or have leaks of their own. */
const HIDE = `#include <stdlib.h>
__attribute__ ((constructor)) static void hide (void) { unsetenv ("LD_PRELOAD"); }
`;

/** It goes on after a report, so that the server's state can be seen and the test's other checks hold. */
const COMPILER = `#!/bin/sh
exec cc -fsanitize=address,undefined -fsanitize-recover=all -fno-omit-frame-pointer "$@"
`;

export interface Sanitizer {
  readonly env: Readonly<Record<string, string>>;
  /** What `bun test` is to load first. */
  readonly preload: string;
  /** The command before a program that is to load the runtime. */
  readonly prefix: readonly string[];
}

/** Make in `folder` what is needed. */
export function prepareSanitizer(folder: string): Sanitizer {
  const reports = join(folder, "reports");
  mkdirSync(reports);
  const compiler = join(folder, "cc");
  writeFileSync(compiler, COMPILER);
  chmodSync(compiler, 0o700);
  const hide = join(folder, "hide.c");
  writeFileSync(hide, HIDE);
  cc(["-shared", "-fPIC", "-o", join(folder, "hide.so"), hide]);
  // The sanitizer looks for C++ exceptions at the start, before modules bring their library.
  const libraries = [
    cc(["-print-file-name=libasan.so"]),
    "libstdc++.so.6",
    join(folder, "hide.so"),
  ];
  const prefix = ["env", `LD_PRELOAD=${libraries.join(" ")}`];
  // Bun deals with signals itself, and its collector's memory cannot be searched for leaks.
  const off = ["segv", "sigbus", "abort", "sigfpe", "sigill"].map((name) => `handle_${name}=0`);
  return {
    env: {
      CC: compiler,
      SANITIZER_PREFIX: JSON.stringify(prefix),
      SANITIZER_REPORTS: reports,
      // The runtime is compiled once for all of them, and not into the user's cache.
      XDG_CACHE_HOME: join(folder, "cache"),
      ASAN_OPTIONS: [
        "detect_leaks=0",
        "halt_on_error=0",
        ...off,
        `log_path=${reports}/address`,
      ].join(":"),
      UBSAN_OPTIONS: `print_stacktrace=1:log_path=${reports}/undefined`,
    },
    preload: "./test/harness/sanitizer.ts",
    prefix,
  };
}

/** What the compiler prints. */
function cc(args: readonly string[]): string {
  const { success, stdout, stderr } = Bun.spawnSync(["cc", ...args], { stderr: "pipe" });
  if (!success) throw new Error(`cc ${args.join(" ")} failed: ${stderr.toString()}`);
  return stdout.toString().trim();
}
