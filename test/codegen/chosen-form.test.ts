/** How the source of a C filter or plugin chooses a form of the API, and the compiler errors if it does not. */
import { describe, expect, setDefaultTimeout, test } from "bun:test";

import { releaseIds } from "#abi/generated/releases.gen";
import { installed } from "#test/server";

import { releaseMacro } from "../../codegen/names.ts";
import { includes, type Ran, run, strict } from "./compiler-fixture.ts";

// Compilers are slow on a busy machine.
setDefaultTimeout(60_000);

const compilers = ["gcc", "clang", "g++", "clang++"];
const ok = { code: 0, stdout: "", stderr: "" };

const newest = releaseIds.at(-1) ?? "";

/** The output of `pkg-config --cflags nbdkit`, but for the directory. */
const flagsOfPc = (release = newest) => `-DNBDKIT_FILTER_RELEASE_DEFAULT=${releaseMacro(release)}`;

function compile(compiler: string, source: string, flags: readonly string[] = []): Promise<Ran> {
  const language = compiler.endsWith("++") ? ["-xc++", "-std=c++98"] : ["-xc", "-std=c90"];
  const args = [...includes, ...language, "-pedantic", ...strict, ...flags, "-fsyntax-only", "-"];
  return run([compiler, ...args], { input: `${source.trimEnd()}\n` });
}

/** The error lines, without their places. */
const errors = ({ stderr }: Ran) =>
  [...stderr.matchAll(/error: (.*)/g)].map(([, text = ""]) => text.replaceAll(/[‘’'"]/g, ""));

/** Sources in the forms of three releases, which set their callbacks by assignment for C++98. */
const forms = {
  first: `#include <nbdkit-filter.h>
    extern int up_pread (struct nbdkit_next_ops *, void *, void *, void *, uint32_t, uint64_t);
    int up_pread (struct nbdkit_next_ops *next_ops, void *nxdata, void *handle, void *buf,
                  uint32_t count, uint64_t offset)
    { (void) handle; return next_ops->pread (nxdata, buf, count, offset); }
    static struct nbdkit_filter filter;
    extern void set (void); void set (void) { filter.pread = up_pread; }
    NBDKIT_REGISTER_FILTER (filter)
  `,
  twoPointers: `#include <nbdkit-filter.h>
    extern int up_pread (struct nbdkit_next_ops *, void *, void *, void *, uint32_t, uint64_t,
                         uint32_t, int *);
    int up_pread (struct nbdkit_next_ops *next_ops, void *nxdata, void *handle, void *buf,
                  uint32_t count, uint64_t offset, uint32_t flags, int *err)
    { (void) handle; return next_ops->pread (nxdata, buf, count, offset, flags, err); }
    static struct nbdkit_filter filter;
    extern void set (void); void set (void) { filter.pread = up_pread; }
    NBDKIT_REGISTER_FILTER (filter)
  `,
  newest: `#include <nbdkit-filter.h>
    extern int up_pread (nbdkit_next *, void *, void *, uint32_t, uint64_t, uint32_t, int *);
    int up_pread (nbdkit_next *next, void *handle, void *buf, uint32_t count, uint64_t offset,
                  uint32_t flags, int *err)
    { (void) handle; return next->pread (next, buf, count, offset, flags, err); }
    static struct nbdkit_filter filter;
    extern void set (void); void set (void) { filter.pread = up_pread; }
    NBDKIT_REGISTER_FILTER (filter)
  `,
} as const;
const oldFlagsOfPc = "-DNBDKIT_FILTER_GENERATION_DEFAULT=NBDKIT_GENERATION_";
const version = (number: number) => `#define NBDKIT_FILTER_API_VERSION ${number}\n`;
const release = (id: string) => `#define NBDKIT_FILTER_RELEASE ${releaseMacro(id)}\n`;
const threadModel = "#define THREAD_MODEL NBDKIT_THREAD_MODEL_PARALLEL\n";

describe.each(compilers)("%s", (compiler) => {
  const withCompiler = test.skipIf(!installed(compiler));

  const chosen: readonly {
    readonly says: string;
    readonly flags?: readonly string[];
    readonly is: string;
  }[] = [
    { says: version(1), is: "original" },
    { says: version(1) + threadModel, is: "1.2" },
    { says: version(2) + threadModel, is: "1.10" },
    { says: version(4) + threadModel, is: "1.12" },
    { says: version(5), is: "1.14" },
    { says: version(6), is: newest },
    { says: version(6) + release("1.30"), is: "1.30" },
    { says: version(2) + release("1.4") + threadModel, is: "1.4" },
    { says: release("1.26"), is: "1.26" },
    { says: "", is: newest },
    { says: "", flags: [flagsOfPc("1.30")], is: "1.30" },
    { says: "", flags: [flagsOfPc("1.4")], is: "1.4" },
    { says: version(6), flags: [flagsOfPc("1.30")], is: "1.30" },
    { says: version(6), flags: [flagsOfPc("1.10")], is: newest },
    // The deprecated names.
    { says: "#define NBDKIT_FILTER_GENERATION NBDKIT_GENERATION_K\n", is: "1.30" },
    { says: "#define NBDKIT_FILTER_GENERATION NBDKIT_GENERATION_S\n", flags: [], is: "original" },
    { says: "", flags: [flagsOfPc(), `${oldFlagsOfPc}E`], is: "1.14" },
    { says: "", flags: [flagsOfPc("1.30"), oldFlagsOfPc], is: "1.30" },
    { says: threadModel, flags: [flagsOfPc("1.12")], is: "1.12" },
    { says: "", flags: [], is: "original" },
    { says: threadModel, flags: [], is: "1.2" },
    { says: version(6), flags: [], is: newest },
  ];
  withCompiler.each(
    chosen.map(({ says, is, flags = [flagsOfPc()] }) => {
      const source = says === "" ? "nothing" : says.trimEnd().replaceAll("\n", ", ");
      return { says, is, flags, title: `${source}; ${flags.join(" ") || "no flags"}` };
    }),
  )(
    "the source chooses layout $is, or else nbdkit.pc does: $title",
    async ({ says, is, flags }) => {
      const source = `${says}#include <nbdkit-filter.h>
      #if NBDKIT_FILTER_RELEASE != ${releaseMacro(is)}
      #error "another release"
      #endif
      #if NBDKIT_FILTER_GENERATION != NBDKIT_FILTER_RELEASE
      #error "another generation"
      #endif
    `;
      expect(await compile(compiler, source, flags)).toEqual(ok);
    },
  );

  withCompiler.each([
    { what: "the first form", source: version(1) + forms.first },
    { what: "the form of nbdkit 1.2", source: version(1) + threadModel + forms.first },
    { what: "that of 1.10", source: version(2) + threadModel + forms.twoPointers },
    { what: "that of 1.14", source: version(5) + forms.twoPointers },
    { what: "that of 1.22", source: release("1.22") + forms.twoPointers },
    { what: "the newest by its number", source: version(6) + forms.newest },
    { what: "the newest, which the source does not name", source: forms.newest },
  ])("compiles with the flags of nbdkit.pc: $what", async ({ source }) => {
    expect(await compile(compiler, source, [flagsOfPc()])).toEqual(ok);
  });

  const refused: readonly {
    readonly what: string;
    readonly source: string;
    readonly says: string;
    readonly flags?: readonly string[];
  }[] = [
    {
      what: "the original form with only the flags of nbdkit.pc",
      source: forms.first,
      says:
        "struct nbdkit_next_ops is of filters for nbdkit 1.24 and earlier: " +
        "define NBDKIT_FILTER_API_VERSION before the include, as 1 (callbacks without flags and err)",
    },
    {
      what: "the form of two pointers with only the flags of nbdkit.pc",
      source: forms.twoPointers,
      says: "or NBDKIT_FILTER_RELEASE as NBDKIT_FILTER_RELEASE_1_16, _1_18 (1.18, 1.20), _1_22 or _1_24",
    },
    {
      what: "the newest form without the flags of nbdkit.pc",
      source: forms.newest,
      flags: [],
      says:
        "nbdkit_next is of filters for nbdkit 1.26 and later: define NBDKIT_FILTER_API_VERSION as 6 " +
        "before the include",
    },
    {
      what: "a thread model with only the flags of nbdkit.pc",
      source: threadModel + forms.first,
      says:
        "THREAD_MODEL is of filters for nbdkit 1.2 to 1.12: define NBDKIT_FILTER_API_VERSION before " +
        "the include, as 1 (nbdkit 1.2), 2 (1.4 to 1.10), 4 (1.12)",
    },
    {
      what: "an unknown API version",
      source: version(3) + forms.twoPointers,
      says: "NBDKIT_FILTER_API_VERSION must be 1 (nbdkit 1.2), 2 (1.4 to 1.10), 4 (1.12), 5 (1.14) or 6",
    },
    {
      what: "an unknown release",
      source: release("Z") + forms.newest,
      says: "NBDKIT_FILTER_RELEASE must be a macro of nbdkit-filter-releases.h: NBDKIT_FILTER_RELEASE_ORIGINAL, or",
    },
    {
      what: "an unknown release in nbdkit.pc",
      source: forms.newest,
      flags: [flagsOfPc("Z")],
      says: "NBDKIT_FILTER_RELEASE must be a macro of nbdkit-filter-releases.h: NBDKIT_FILTER_RELEASE_ORIGINAL, or",
    },
    ...[
      { number: 1, id: "1.4", must: "NBDKIT_FILTER_RELEASE_ORIGINAL or _1_2" },
      { number: 2, id: "1.12", must: "NBDKIT_FILTER_RELEASE_1_4 or _1_10" },
      { number: 4, id: "1.10", must: "NBDKIT_FILTER_RELEASE_1_12" },
      { number: 5, id: "1.44", must: "NBDKIT_FILTER_RELEASE_1_14" },
      { number: 6, id: "1.14", must: "NBDKIT_FILTER_RELEASE_1_15_1 or a later one" },
    ].map(({ number, id, must }) => ({
      what: `API version ${number} and release ${id}`,
      source: version(number) + release(id) + forms.newest,
      says:
        `NBDKIT_FILTER_API_VERSION is ${number}, so NBDKIT_FILTER_RELEASE must be ${must}: ` +
        "change one of the two, or define only one",
    })),
    {
      what: "a thread model after the include",
      source: forms.first.replace("\n", `\n${threadModel}`),
      flags: [],
      says: "nbdkit_define_THREAD_MODEL_before_the_include_",
    },
    {
      what: "a filter's API version after the include",
      source: forms.newest.replace("\n", `\n#undef NBDKIT_FILTER_API_VERSION\n${version(2)}`),
      says: "nbdkit_define_NBDKIT_FILTER_API_VERSION_before_the_include_",
    },
    {
      what: "no thread model in nbdkit 1.10",
      source: version(2) + forms.twoPointers,
      says: "THREAD_MODEL",
    },
  ];
  withCompiler.each(refused)(
    "refuses $what, and names the fix",
    async ({ source, says, flags = [flagsOfPc()] }) => {
      const ran = await compile(compiler, source, flags);
      expect(ran.code).not.toBe(0);
      expect(errors(ran).join("\n")).toContain(says);
    },
  );

  const plugin = (before: string, after = "") =>
    `${before}#include <nbdkit-plugin.h>\n${after}
    static struct nbdkit_plugin plugin;
    NBDKIT_REGISTER_PLUGIN (plugin)
    `;
  const apiVersion = (number: number) => `#define NBDKIT_API_VERSION ${number}\n`;

  withCompiler("plugins of both versions compile with the flags of nbdkit.pc", async () => {
    const says = [apiVersion(1) + threadModel, apiVersion(2) + threadModel];
    for (const source of [plugin("", threadModel), ...says.map((before) => plugin(before))]) {
      expect(await compile(compiler, source, [flagsOfPc()])).toEqual(ok);
    }
  });

  withCompiler.each([
    {
      what: "an unknown API version",
      source: plugin(apiVersion(3) + threadModel),
      says: "NBDKIT_API_VERSION must be 1 or 2: 1 for data callbacks without flags, 2 for those with flags",
    },
    {
      what: "an API version after the include",
      source: plugin(threadModel, `#undef NBDKIT_API_VERSION\n${apiVersion(2)}`),
      says: "nbdkit_define_NBDKIT_API_VERSION_before_the_include_",
    },
    { what: "no thread model", source: plugin(apiVersion(2)), says: "THREAD_MODEL" },
  ])("refuses a plugin with $what, and names the fix", async ({ source, says }) => {
    const ran = await compile(compiler, source);
    expect([ran.code !== 0, errors(ran).join("\n")]).toEqual([true, expect.stringContaining(says)]);
  });

  withCompiler("a source may mention names that it does not use", async () => {
    const source = `${version(6)}#include <nbdkit-filter.h>
      extern int size (struct nbdkit_next_ops *next_ops);
      int size (struct nbdkit_next_ops *next_ops) { return next_ops != 0; }
    `;
    expect(await compile(compiler, source, [flagsOfPc()])).toEqual(ok);
  });
});
