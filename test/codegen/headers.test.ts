/** The headers, as authors of C modules use them: every dialect, every release, the register macros. */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { join } from "node:path";

import { type ReleaseId, releaseIds, releases } from "#abi/generated/releases.gen";
import { layoutOfVersion } from "#abi/recognise/releases";

import { releaseMacro } from "../../codegen/names.ts";
import {
  cases,
  cc,
  hasCompiler,
  hasCxx,
  needsCompiler,
  output,
  run,
  strict,
  temporary,
} from "./compiler-fixture.ts";

// Compilers are slow on a busy machine.
setDefaultTimeout(60_000);

const ok = { code: 0, stdout: "", stderr: "" };
const dialects = ["-std=c90", "-std=c11", "-std=c++98", "-std=c++17"];
const language = (dialect: string) => (dialect.includes("++") ? ["-xc++", dialect] : [dialect]);
const missing = (dialect: string) => !hasCompiler || (dialect.includes("++") && !hasCxx);

/** What NBDKIT_REGISTER_FILTER sets. Later layouts differ by the version only. */
const registered: Readonly<Partial<Record<ReleaseId, string[]>>> = {
  original: ["_struct_size 200", "_api_version 1"],
  "1.2": ["_struct_size 200", "_api_version 1", "_thread_model 2"],
  "1.4": ["_api_version 2", "_thread_model 2"],
  "1.10": ["_api_version 2", "_thread_model 2"],
  "1.12": ["_api_version 4", "_thread_model 2"],
  "1.14": ["_api_version 5"],
  "1.15.1": ["_api_version 6", "_version 1.15.1"],
  "1.16": ["_api_version 6", "_version 1.16.6"],
  "1.17.1": ["_api_version 6", "_version 1.17.11"],
  "1.18": ["_api_version 6", "_version 1.21.11"],
  "1.21.12": ["_api_version 6", "_version 1.21.19"],
  "1.21.20": ["_api_version 6", "_version 1.21.21"],
  "1.21.22": ["_api_version 6", "_version 1.21.23"],
  "1.22": ["_api_version 6", "_version 1.23.5"],
  "1.24": ["_api_version 6", "_version 1.25.3"],
  "1.25.4": ["_api_version 6", "_version 1.25.7"],
  "1.26": ["_api_version 6", "_version 1.29.15"],
  "1.30": ["_api_version 6", "_version 1.32.5"],
  "1.36": ["_api_version 6", "_version 1.43.8"],
  "1.44": ["_api_version 6", "_version 1.48.1"],
};

const registers = {
  "a filter of the original form":
    "#include <nbdkit-filter.h>\n" +
    "static struct nbdkit_filter filter;\nNBDKIT_REGISTER_FILTER (filter)\n",
  "a filter of nbdkit 1.2":
    "#define THREAD_MODEL NBDKIT_THREAD_MODEL_PARALLEL\n#include <nbdkit-filter.h>\n" +
    "static struct nbdkit_filter filter;\nNBDKIT_REGISTER_FILTER (filter)\n",
  "a plugin of API version 1":
    "#define THREAD_MODEL NBDKIT_THREAD_MODEL_PARALLEL\n#include <nbdkit-plugin.h>\n" +
    "static struct nbdkit_plugin plugin;\nNBDKIT_REGISTER_PLUGIN (plugin)\n",
  "a plugin of API version 2":
    "#define THREAD_MODEL NBDKIT_THREAD_MODEL_PARALLEL\n#define NBDKIT_API_VERSION 2\n" +
    "#include <nbdkit-plugin.h>\nextern void *handle (void);\n" +
    "void *handle (void) { return NBDKIT_HANDLE_NOT_NEEDED; }\n" +
    "static struct nbdkit_plugin plugin;\nNBDKIT_REGISTER_PLUGIN (plugin)\n",
};

describe.each(dialects)("%s", (dialect) => {
  const args = [...language(dialect), "-pedantic", ...strict, "-c", "-o", "/dev/null"];

  test.skipIf(missing(dialect)).each(["common", "filter", "plugin"])(
    "nbdkit-%s.h stands alone",
    async (name) => {
      expect(await cc(args, `#include <nbdkit-${name}.h>\n`)).toEqual(ok);
    },
  );

  test.skipIf(missing(dialect)).each(Object.entries(registers))(
    "compiles %s",
    async (_, source) => {
      expect(await cc(args, source)).toEqual(ok);
    },
  );
});

describe.each(dialects)("every callback in %s", (dialect) => {
  const source = `#include "${join(cases, "c/every-callback.c")}"\n`;
  const args = [...language(dialect), "-pedantic", ...strict, "-c", "-o", "/dev/null"];

  test.skipIf(missing(dialect)).each(releaseIds)("of release %s", async (id) => {
    const define = `-DNBDKIT_FILTER_RELEASE=${releaseMacro(id)}`;
    expect(await cc([...args, define], source)).toEqual(ok);
  });
});

/** A program that prints a filter's first 16 bytes, which the register macro has written. */
const dump = (before: string) => `
${before}
#include <nbdkit-filter.h>
#include <stdio.h>
#include <string.h>
static struct nbdkit_filter filter;
NBDKIT_REGISTER_FILTER (filter)
int main (void)
{
  uint64_t size; int version; uint32_t last;
  const char *at = (const char *) filter_init ();
  memcpy (&size, at, 8); memcpy (&version, at + 8, 4); memcpy (&last, at + 12, 4);
  printf ("%d %d %#x %d\\n", (int) size, version, (unsigned) last, filter.name == 0);
  return 0;
}
`;

describe.skipIf(!hasCompiler)(`filters${needsCompiler}`, () => {
  test.each(["-O0", "-O2"])(
    "the original form has its marker in the padding at 12 (%s)",
    async (level) => {
      expect(await output([level, ...strict], dump(""))).toBe("200 1 0x4e424453 1\n");
    },
  );

  test("the struct for nbdkit 1.2 has its thread model at offset 12", async () => {
    const source = dump("#define THREAD_MODEL NBDKIT_THREAD_MODEL_SERIALIZE_ALL_REQUESTS");
    expect(await output(strict, source)).toBe("200 1 0x1 1\n");
  });

  test.each([
    ["original", "#define THREAD_MODEL 3\n", "0x4e424453"],
    ["1.2", "", "0"],
  ])("the source chooses release %s by name", async (id, model, last) => {
    const choice = `${model}#define NBDKIT_FILTER_RELEASE ${releaseMacro(id)}`;
    const late = id === "1.2" ? "\n#include <nbdkit-filter.h>\n#define THREAD_MODEL 0" : "";
    expect(await output(strict, dump(choice + late))).toBe(`200 1 ${last} 1\n`);
  });

  test.each(releaseIds)("a filter with layout %s registers as one of its releases", async (id) => {
    const { versionString, threadModelField, structSize } = releases[id];
    const show = (name: string, there: boolean, format: string, of = (text: string) => text) =>
      there ? `printf ("${name} ${format}\\n", ${of(`filter_init ()->${name}`)});\n` : "";
    const source =
      `#define NBDKIT_FILTER_RELEASE ${releaseMacro(id)}\n#include <nbdkit-filter.h>\n` +
      `#include <stdio.h>\n${threadModelField ? "#define THREAD_MODEL 2\n" : ""}` +
      "static struct nbdkit_filter filter;\nNBDKIT_REGISTER_FILTER (filter)\nint main (void)\n{\n" +
      show("_struct_size", structSize, "%d", (text) => `(int) ${text}`) +
      show("_api_version", true, "%d") +
      show("_version", versionString, "%s") +
      show("_thread_model", threadModelField, "%d") +
      "return 0;\n}\n";
    const lines = (await output(strict, source)).trimEnd().split("\n");
    const version = /(?<=^_version ).*/m.exec(lines.join("\n"))?.[0];
    if (version !== undefined) expect(layoutOfVersion(version)).toBe(id);
    expect(lines).toEqual(registered[id] ?? ["_api_version 6", `_version ${version}`]);
  });

  test("a filter may claim another release", async () => {
    const source = `
      #define NBDKIT_FILTER_RELEASE NBDKIT_FILTER_RELEASE_1_30
      #define NBDKIT_FILTER_VERSION "1.34.9"
      #include <nbdkit-filter.h>
      #include <stdio.h>
      static struct nbdkit_filter filter;
      NBDKIT_REGISTER_FILTER (filter)
      int main (void) { return puts (filter_init ()->_version) < 0; }
    `;
    expect(await output(strict, source)).toBe("1.34.9\n");
  });

  test.each(["original", "1.2", "1.14", "1.15.1"])(
    "release %s leaves names of sockets to the filter, as its releases did",
    async (id) => {
      const source =
        `#define NBDKIT_FILTER_RELEASE ${releaseMacro(id)}\n#include <nbdkit-filter.h>\n` +
        "extern double send (double a), bind (double a), abort (double a);\n";
      expect(await cc([...strict, "-fno-builtin", "-fsyntax-only"], source)).toEqual(ok);
    },
  );

  test("a struct of the original form can be initialised by position", async () => {
    const source = `
      #include <nbdkit-filter.h>
      #include <stdio.h>
      static struct nbdkit_filter filter = { 0, 0, "name", "longname" };
      NBDKIT_REGISTER_FILTER (filter)
      int main (void) { return printf ("%s %s\\n", filter_init ()->name, filter.longname) < 0; }
    `;
    expect(await output(["-Wall", "-Werror"], source)).toBe("name longname\n");
  });

  test("a filter by the first manual page compiles and exports only filter_init", async () => {
    await using folder = await temporary();
    const library = join(folder.path, "filter.so");
    const source = await Bun.file(join(cases, "c/seed-filter.c")).text();
    const args = [...strict, "-fPIC", "-shared", "-fvisibility=hidden", "-o", library];
    expect(await cc(args, source)).toEqual(ok);
    const names = await run(["nm", "-D", "--defined-only", "--format=just-symbols", library]);
    expect(names).toEqual({ code: 0, stdout: "filter_init\n", stderr: "" });
  });

  test("the compiler warns about a format that does not fit its arguments", async () => {
    const source = '#include <nbdkit-filter.h>\nvoid f (void) { nbdkit_error ("%s", 1); }\n';
    const { code, stderr } = await cc(["-Wall", "-Werror", "-fsyntax-only"], source);
    expect([code, stderr.includes("-Werror=format=")]).toEqual([1, true]);
  });

  test.each(["7", "150", "9900", "NBDKIT_FILTER_RELEASE_Z"])(
    "release %s is refused",
    async (id) => {
      const source = `#define NBDKIT_FILTER_RELEASE ${id}\n#include <nbdkit-filter.h>\n`;
      const { code, stderr } = await cc(["-fsyntax-only"], source);
      expect([code, stderr.includes("must be a macro of nbdkit-filter-releases.h")]).toEqual([
        1,
        true,
      ]);
    },
  );
});

describe.skipIf(!hasCompiler)(`plugins${needsCompiler}`, () => {
  test("the compiler needs THREAD_MODEL only where the plugin registers", async () => {
    const include = "#include <nbdkit-plugin.h>\nstatic struct nbdkit_plugin plugin;\n";
    expect(
      await cc(["-fsyntax-only"], `${include}int use (void) { return !plugin.name; }\n`),
    ).toEqual(ok);
    const { code, stderr } = await cc(
      ["-fsyntax-only"],
      `${include}NBDKIT_REGISTER_PLUGIN (plugin)\n`,
    );
    expect([code, stderr.includes("THREAD_MODEL")]).toEqual([1, true]);
  });

  test("an unknown API version is refused", async () => {
    const source = "#define NBDKIT_API_VERSION 3\n#include <nbdkit-plugin.h>\n";
    const { code, stderr } = await cc(["-fsyntax-only"], source);
    expect([code, stderr.includes("NBDKIT_API_VERSION must be 1 or 2")]).toEqual([1, true]);
  });
});
