/** Prepares what tests need to run the native runtime under the compiler's address sanitizer, within Bun. */
import { chmodSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const root = join(import.meta.dirname, "..");

/** Programs that modules start run without the sanitizer: some are slow with it, or leak memory themselves. */
const HIDE = `#include <stdlib.h>
__attribute__ ((constructor)) static void hide (void) { unsetenv ("LD_PRELOAD"); }
`;

/** It continues after a report, so that the server's state is visible and the test's other checks run. */
const COMPILER = `#!/bin/sh
exec cc -fsanitize=address,undefined -fsanitize-recover=all -fno-omit-frame-pointer "$@"
`;

/**
 * A plugin that makes the runtime read beyond the end of a text. If the sanitizer misses this, it misses others too.
 */
const FAULT = `#include <stdlib.h>
#define NBDKIT_API_VERSION 2
#include "nbdkit-plugin.h"
#define THREAD_MODEL NBDKIT_THREAD_MODEL_PARALLEL
static void *fault_open (int readonly) { (void) readonly; return NBDKIT_HANDLE_NOT_NEEDED; }
static int64_t fault_get_size (void *handle) { (void) handle; return 0; }
static int fault_pread (void *handle, void *buf, uint32_t count, uint64_t offset, uint32_t flags)
{ (void) handle, (void) buf, (void) count, (void) offset, (void) flags; return 0; }
static int fault_get_ready (void)
{ char *text = malloc (2); text[0] = '1'; text[1] = '2'; nbdkit_parse_size (text); free (text); return 0; }
static struct nbdkit_plugin plugin = { .name = "fault", .open = fault_open, .get_size = fault_get_size,
  .pread = fault_pread, .get_ready = fault_get_ready };
NBDKIT_REGISTER_PLUGIN (plugin)
`;

export interface Sanitizer {
  readonly env: Readonly<Record<string, string>>;
  /** The file that `bun test` loads first. */
  readonly preload: string;
  /** The command in front of a program that loads the runtime. */
  readonly prefix: readonly string[];
}

/**
 * Create the needed files and the runtime in `folder`. Throws if the compiler has no sanitizer, or
 * if the sanitizer detects nothing on this machine.
 */
export function prepareSanitizer(folder: string): Sanitizer {
  // Some tests run the server as another user.
  chmodSync(folder, 0o755);
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
  const sanitizer = settings(folder, compiler, ["env", `LD_PRELOAD=${libraries.join(" ")}`]);
  checkThatItSees(sanitizer, folder, reports);
  return sanitizer;
}

function settings(folder: string, compiler: string, prefix: readonly string[]): Sanitizer {
  const reports = join(folder, "reports");
  // Bun handles signals itself, and the memory of its collector cannot be searched for leaks.
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

function checkThatItSees({ env, prefix }: Sanitizer, folder: string, reports: string): void {
  const plugin = join(folder, "fault.so");
  writeFileSync(join(folder, "fault.c"), FAULT);
  cc(["-shared", "-fPIC", `-I${join(root, "include")}`, "-o", plugin, join(folder, "fault.c")]);
  const server = [process.execPath, join(root, "src", "main.ts"), "-U", "-", "--run", "true"];
  const { exitCode, stderr } = Bun.spawnSync([...prefix, ...server, plugin], {
    cwd: folder,
    env: { ...process.env, ...env },
    stderr: "pipe",
  });
  const names = readdirSync(reports);
  const texts = names.map((name) => readFileSync(join(reports, name), "utf8"));
  if (exitCode !== 0 || !texts.some((text) => text.includes("heap-buffer-overflow"))) {
    throw new Error(
      `the sanitizer missed a fault (status ${exitCode}): ${stderr.toString()}${texts.join("\n")}`,
    );
  }
  for (const name of names) rmSync(join(reports, name));
}

/** The output of the compiler. */
function cc(args: readonly string[]): string {
  const { success, stdout, stderr } = Bun.spawnSync(["cc", ...args], { stderr: "pipe" });
  if (!success) throw new Error(`cc ${args.join(" ")} failed: ${stderr.toString()}`);
  return stdout.toString().trim();
}
