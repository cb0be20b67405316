/** The native runtime under the compiler's sanitizers. A C program, driver.c, takes the place of JavaScript. */
import { beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtempSync, readdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";

import { compileModule, haveCompiler, runCompiler, temporaryFolder } from "#test/modules";
import { installed, type Ran, run } from "#test/server";

import {
  type Case,
  cases,
  knownLeaks,
  type ModuleName,
  modules,
  type StockCase,
  stockCases,
} from "./sanitize-cases.ts";

/** Faults that the sanitizers must find. Otherwise their silence elsewhere would mean nothing. */
const faults: Readonly<
  Record<Sanitizer, readonly { readonly scenario: string; readonly report: string }[]>
> = {
  address: [
    { scenario: "leak", report: "LeakSanitizer: detected memory leaks" },
    { scenario: "overrun", report: "AddressSanitizer: heap-buffer-overflow" },
    { scenario: "overflow", report: "signed integer overflow" },
  ],
  thread: [{ scenario: "race", report: "ThreadSanitizer: data race" }],
};

/** Compiling with sanitizers takes a while on a busy machine. */
const DEADLINE_MS = 60_000;
setDefaultTimeout(DEADLINE_MS);

const common = ["-g", "-O1", "-fno-omit-frame-pointer"];
const sanitizers = {
  address: [...common, "-fsanitize=address,undefined", "-fno-sanitize-recover=all"],
  thread: [...common, "-fsanitize=thread"],
} as const;
type Sanitizer = keyof typeof sanitizers;

const suppressions = join(temporaryFolder(), "leaks");
writeFileSync(suppressions, knownLeaks.map((leak) => `leak:${leak.in}\n`).join(""));

const env = {
  ASAN_OPTIONS: "detect_leaks=1:detect_stack_use_after_return=1",
  LSAN_OPTIONS: `suppressions=${suppressions}:print_suppressions=0`,
  UBSAN_OPTIONS: "print_stacktrace=1",
  // By default the sanitizer waits for a second at the end of each run.
  TSAN_OPTIONS: "halt_on_error=0:atexit_sleep_ms=50",
};

/** Whether programs with this sanitizer can be built and run: libraries may be missing, or the kernel too strict. */
async function works(sanitizer: Sanitizer): Promise<boolean> {
  if (!haveCompiler) return false;
  const source = join(temporaryFolder(), `probe-${sanitizer}.c`);
  const program = join(temporaryFolder(), `probe-${sanitizer}`);
  await Bun.write(source, "int main (void) { return 0; }\n");
  try {
    await runCompiler([...sanitizers[sanitizer], "-o", program, source], source);
  } catch {
    return false;
  }
  return (await run([program], { env })).code === 0;
}

async function buildDriver(sanitizer: Sanitizer): Promise<string> {
  const program = join(temporaryFolder(), `driver-${sanitizer}`);
  const folders = ["include", "abi/runtime", "abi/generated"];
  const sources = readdirSync(import.meta.dir)
    .filter((name) => name.endsWith(".c"))
    .map((name) => `test/abi/${name}`);
  for (const folder of folders) {
    const names = readdirSync(join(import.meta.dir, "..", "..", folder));
    sources.push(...names.filter((name) => name.endsWith(".c")).map((name) => `${folder}/${name}`));
  }
  const warnings = ["-std=c11", "-Wall", "-Wextra", "-Werror"];
  const includes = folders.map((folder) => `-I${folder}`);
  const flags = [...warnings, ...sanitizers[sanitizer], "-pthread", "-rdynamic", ...includes];
  await runCompiler([...flags, "-o", program, ...sources, "-ldl"], "the driver");
  return program;
}

function moduleFor(sanitizer: Sanitizer, name: ModuleName): Promise<string> {
  const { source, ...options } = modules[name];
  return compileModule(source, { ...options, name, flags: sanitizers[sanitizer] });
}

const genuine = stockCases.map((it) => ({
  ...it,
  what: `${it.filters.join(", ")}${it.plugin === undefined ? "" : ` above ${it.plugin}`}`,
}));

/** The command, with a new folder that has the files named by the parameters. */
async function stockCommand(driver: string, it: StockCase): Promise<string[]> {
  const folder = mkdtempSync(join(temporaryFolder(), "stock-"));
  writeFileSync(join(folder, "disk"), new Uint8Array(1 << 20));
  writeFileSync(join(folder, "list"), "0 1M\n");
  const { stdout } = await run(["nbdkit", "--dump-config"]);
  const path = (kind: "filter" | "plugin", name: string) => {
    const home = new RegExp(`^${kind}dir=(.*)$`, "m").exec(stdout)?.[1] ?? "";
    return join(home, `nbdkit-${name}-${kind}.so`);
  };
  return [
    driver,
    it.scenario,
    ...(it.texts ?? []).map((text) => text.replaceAll("FOLDER", folder)),
    ...it.filters.map((name) => path("filter", name)),
    ...(it.plugin === undefined ? [] : [path("plugin", it.plugin)]),
  ];
}

for (const sanitizer of ["address", "thread"] as const) {
  const usable = await works(sanitizer);

  const needs = `(needs cc with -fsanitize=${sanitizer})`;
  describe.skipIf(!usable)(`the ${sanitizer} sanitizer ${needs}`, () => {
    let driver = "";
    beforeAll(async () => {
      driver = await buildDriver(sanitizer);
    }, DEADLINE_MS);

    const drive = ({ scenario, texts = [], stack }: Omit<Case, "what">) =>
      Promise.all(stack.map((name) => moduleFor(sanitizer, name))).then((paths) =>
        run([driver, scenario, ...texts, ...paths], { env, cwd: dirname(driver) }),
      );

    // Memory that the runtime keeps for ever is reachable from its variables, so it is not reported as a leak.
    const expectSilence = ({ code, stderr }: Ran) => {
      expect(stderr).not.toMatch(/Sanitizer|runtime error|^driver: /m);
      expect(code).toBe(0);
    };

    test.each(cases)("finds no fault: $what", async (it) => {
      expectSilence(await drive(it));
    });

    test.skipIf(!installed("nbdkit")).each(genuine)(
      "finds no fault: genuine $what (needs nbdkit)",
      async (it) => {
        expectSilence(await run(await stockCommand(driver, it), { env }));
      },
    );

    test.each(faults[sanitizer])(
      "finds the $scenario in the driver",
      async ({ scenario, report }) => {
        const { code, stderr } = await drive({ scenario, stack: [] });
        expect(stderr).toContain(report);
        expect(code).not.toBe(0);
      },
    );
  });
}
