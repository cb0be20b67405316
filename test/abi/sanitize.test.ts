/** The native runtime under the compiler's sanitizers, driven by a C program in JavaScript's place: driver.c. */
import { beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { readdirSync } from "node:fs";
import { dirname, join } from "node:path";

import { compileModule, haveCompiler, runCompiler, temporaryFolder } from "#test/modules";
import { run } from "#test/server";

const generationA = { THREAD_MODEL: "NBDKIT_THREAD_MODEL_PARALLEL" };

/** Of a generation where functions have other parameters, or the next layer other functions, than in the one before. */
const nextExtents = (generation: string) => ({
  source: "test/fixtures/next-extents.c",
  defines: { NBDKIT_FILTER_GENERATION: `NBDKIT_GENERATION_${generation}` },
});

/** Names that the scenarios below use, and what they are compiled from. */
const modules = {
  xor: { source: "examples/xor/xor.c" },
  "tail-guard": { source: "examples/tail-guard/tail-guard.c" },
  "ramdisk-v1": { source: "examples/ramdisk-v1/ramdisk-v1.c" },
  "ramdisk-v2": { source: "examples/ramdisk-v2/ramdisk-v2.c" },
  background: { source: "test/fixtures/background.c" },
  "background-a": { source: "test/fixtures/background.c", defines: generationA },
  failing: { source: "test/fixtures/failing-filter.c" },
  "failing-a": { source: "test/fixtures/failing-filter.c", defines: generationA },
  "foreign-a": { source: "test/fixtures/foreign.c", defines: { FOREIGN: 2 } },
  "foreign-s": { source: "test/fixtures/foreign.c", defines: { FOREIGN: 1 } },
  messages: { source: "test/fixtures/messages.c" },
  "next-extents-g1": nextExtents("g1"),
  "next-extents-H": nextExtents("H"),
  "next-extents-I": nextExtents("I"),
  "next-extents-i1": nextExtents("i1"),
  "next-extents-J": nextExtents("J"),
  "next-extents-K": nextExtents("K"),
  "next-extents-M": nextExtents("M"),
  order: { source: "test/fixtures/order.c" },
  "order-a": { source: "test/fixtures/order.c", defines: generationA },
  parsing: { source: "test/fixtures/parsing.c" },
  rmw: { source: "test/fixtures/rmw.c" },
  "second-try": { source: "test/fixtures/second-try.c" },
  "sized-1": { source: "test/fixtures/sized-filter.c", defines: { SIZED: 1 } },
  "sized-3": { source: "test/fixtures/sized-filter.c", defines: { SIZED: 3 } },
  slow: { source: "test/fixtures/slow.c" },
  superblock: { source: "test/fixtures/superblock.c" },
} as const;
type ModuleName = keyof typeof modules;

interface Case {
  readonly what: string;
  readonly scenario: string;
  readonly texts?: readonly string[];
  readonly stack: readonly ModuleName[];
}

const cases: readonly Case[] = [
  {
    what: "one filter, from load to unload",
    scenario: "life",
    texts: ["xor-key=90"],
    stack: ["xor"],
  },
  {
    what: "filters of both generations, C over C",
    scenario: "life",
    stack: ["order", "order-a", "tail-guard"],
  },
  {
    what: "five C layers that make requests of their own",
    scenario: "life",
    texts: ["xor-key=7", "guard=4k"],
    stack: ["xor", "rmw", "tail-guard", "order", "superblock"],
  },
  {
    what: "a plugin of API 1",
    scenario: "life",
    texts: ["xor-key=7", "size=1M"],
    stack: ["xor", "ramdisk-v1"],
  },
  {
    what: "a plugin of API 2",
    scenario: "life",
    texts: ["xor-key=7", "size=1M"],
    stack: ["rmw", "xor", "ramdisk-v2"],
  },
  { what: "messages of every kind", scenario: "life", stack: ["messages", "background"] },
  {
    what: "a struct that is smaller than ours",
    scenario: "life",
    texts: ["sized=1"],
    stack: ["sized-1"],
  },
  { what: "a struct that is larger than ours", scenario: "meeting", stack: ["sized-3"] },
  {
    what: "many threads through layers with locks and threads of their own",
    scenario: "parallel",
    texts: ["xor-key=33"],
    stack: ["background", "xor", "rmw", "tail-guard", "background-a"],
  },
  {
    what: "many threads over a plugin",
    scenario: "parallel",
    texts: ["xor-key=1", "size=1M"],
    stack: ["xor", "ramdisk-v2"],
  },
  {
    what: "requests that wait for each other in C",
    scenario: "meeting",
    texts: ["meet=8"],
    stack: ["slow"],
  },
  { what: "calls in queues", scenario: "queues", stack: ["order"] },
  {
    what: "calls in queues through several layers",
    scenario: "queues",
    texts: ["xor-key=0"],
    stack: ["xor", "order", "background-a"],
  },
  { what: "queued calls that meet", scenario: "together", texts: ["meet=8"], stack: ["slow"] },
  { what: "queues that share one thread", scenario: "starving", stack: ["order"] },
  { what: "no thread for a queue", scenario: "refused", stack: [] },
  { what: "no slot left for another thread", scenario: "limits", stack: ["background"] },
  { what: "errors of a generation S filter", scenario: "errors", stack: ["failing"] },
  { what: "errors of a generation A filter", scenario: "errors", stack: ["failing-a"] },
  { what: "errors through another C layer", scenario: "errors", stack: ["order", "failing"] },
  {
    what: "errors that a filter deals with",
    scenario: "recovery",
    stack: ["second-try"],
  },
  { what: "calls that nobody may make", scenario: "misuse", stack: ["order"] },
  { what: "an unknown form that is S", scenario: "either", stack: ["foreign-s"] },
  { what: "an unknown form that is A", scenario: "either", stack: ["foreign-a"] },
  {
    what: "the parsers",
    scenario: "parameters",
    texts: [
      "parse-size=1k",
      "parse-size=99999999999999999999",
      "parse-bool=on",
      "parse-bool=neither",
      "absolute-path=relative",
      "absolute-path=",
      "realpath=.",
      "realpath=/nowhere",
      "read-password=secret",
      "read-password=-1",
      "read-password=+/dev/null",
      "read-password=+/nowhere",
      "rename-to=guard",
    ],
    stack: ["parsing", "order"],
  },
  {
    what: "functions for modules, and filters of all generations that call them differently",
    scenario: "functions",
    stack: [
      "next-extents-g1",
      "next-extents-H",
      "next-extents-I",
      "next-extents-i1",
      "next-extents-J",
      "next-extents-K",
      "next-extents-M",
    ],
  },
];

/** What a sanitizer has to find, so that its silence elsewhere means something. */
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

const env = {
  ASAN_OPTIONS: "detect_leaks=1:detect_stack_use_after_return=1",
  UBSAN_OPTIONS: "print_stacktrace=1",
  // Without this each run would wait a second for races at its end.
  TSAN_OPTIONS: "halt_on_error=0:atexit_sleep_ms=50",
};

/** Whether programs of this sanitizer are built and run here: libraries may be missing, or the kernel too strict. */
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
  const sources = ["driver", "functions", "stand-in", "layers"].map((name) => `test/abi/${name}.c`);
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

for (const sanitizer of ["address", "thread"] as const) {
  const usable = await works(sanitizer);

  describe.skipIf(!usable)(`the runtime (needs cc with -fsanitize=${sanitizer})`, () => {
    let driver = "";
    beforeAll(async () => {
      driver = await buildDriver(sanitizer);
    }, DEADLINE_MS);

    const drive = ({ scenario, texts = [], stack }: Omit<Case, "what">) =>
      Promise.all(stack.map((name) => moduleFor(sanitizer, name))).then((paths) =>
        run([driver, scenario, ...texts, ...paths], { env, cwd: dirname(driver) }),
      );

    test.each(cases)("$what", async (it) => {
      const { code, stderr } = await drive(it);
      // Nothing is suppressed: what the runtime keeps for ever can be reached from its variables.
      expect(stderr).not.toMatch(/Sanitizer|runtime error|^driver: /m);
      expect(code).toBe(0);
    });

    test.each(faults[sanitizer])(
      "the $scenario in the driver is found",
      async ({ scenario, report }) => {
        const { code, stderr } = await drive({ scenario, stack: [] });
        expect(stderr).toContain(report);
        expect(code).not.toBe(0);
      },
    );
  });
}
