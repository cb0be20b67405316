/** The reader of ELF files, compared with nm and with damaged files. */
import { describe, expect, test } from "bun:test";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";

import { type ElfFile, readElf } from "#abi/recognise/elf";
import { ConfigError } from "#api";
import { moduleDirectories } from "#modules/directories";
import { compileModule, haveCompiler } from "#test/modules";
import { installed, run } from "#test/server";

const { filterdir, plugindir } = moduleDirectories();
const stock = [filterdir, plugindir]
  .filter((folder) => existsSync(folder))
  .flatMap((folder) => readdirSync(folder).map((file) => join(folder, file)))
  .filter((file) => file.endsWith(".so"));

const names = (file: ElfFile, defined: boolean) =>
  file.dynamicSymbols
    .filter((it) => it.defined === defined && it.name !== "")
    .map(({ name }) => name)
    .toSorted();

async function nm(path: string, which: string) {
  const { stdout } = await run(["nm", "-D", "-P", "--without-symbol-versions", which, path]);
  return stdout
    .split("\n")
    .filter(Boolean)
    .map((line) => line.split(" ")[0] ?? "")
    .toSorted();
}

/** A copy of the file without its section table, which the loader does not need. */
function withoutSections(bytes: Uint8Array): Uint8Array {
  const result = Uint8Array.from(bytes);
  result.fill(0, 40, 48).fill(0, 60, 64);
  return result;
}

describe.skipIf(stock.length === 0 || !installed("nm"))(
  "genuine modules (needs nbdkit, nm)",
  () => {
    const files = stock.map((path) => ({ file: basename(path), path }));
    test.each(files)("$file has the symbols that nm shows", async ({ path }) => {
      const bytes = readFileSync(path);
      const file = readElf(bytes);
      const [wanted, own] = await Promise.all([nm(path, "-u"), nm(path, "--defined-only")]);
      expect({ wanted: names(file, false), own: names(file, true) }).toEqual({ wanted, own });
      expect(file).toMatchObject({ bits: 64, isShared: true });
      if (wanted.includes("malloc")) expect(file.needed).toContain("libc.so.6");
      // Without sections it has no symbols for debuggers, and the rest is the same.
      expect(readElf(withoutSections(bytes))).toEqual({ ...file, symbols: [] });
    });
  },
);

describe.skipIf(!haveCompiler)("compiled modules (needs cc)", () => {
  const compiled = async (flags: readonly string[] = []) =>
    readFileSync(
      await compileModule("test/fixtures/sized-filter.c", { defines: { SIZED: 1 }, flags }),
    );

  test("have symbols for debuggers", async () => {
    const { symbols } = readElf(await compiled());
    expect(symbols.map(({ name }) => name)).toContain("filter_init");
  });

  test.each([["-Wl,--hash-style=sysv"], ["-Wl,--hash-style=gnu"], ["-Wl,--hash-style=both"]])(
    "have all dynamic symbols without sections (%s)",
    async (flag) => {
      const bytes = await compiled([flag]);
      expect(readElf(withoutSections(bytes)).dynamicSymbols).toEqual(readElf(bytes).dynamicSymbols);
    },
  );

  test("have no symbols for debuggers if the symbol table is damaged", async () => {
    const bytes = Uint8Array.from(await compiled());
    const whole = readElf(bytes);
    const view = new DataView(bytes.buffer);
    const sections = Number(view.getBigUint64(40, true));
    for (let at = sections; at < bytes.length; at += view.getUint16(58, true)) {
      // sh_size of .symtab
      if (view.getUint32(at + 4, true) === 2) view.setBigUint64(at + 32, 1n << 40n, true);
    }
    expect(whole.symbols.length).toBeGreaterThan(0);
    expect(readElf(bytes)).toEqual({ ...whole, symbols: [] });
  });

  test("are read or refused wherever the file is cut off", async () => {
    const bytes = await compiled();
    const ends = Array.from({ length: 300 }, (_, i) => Math.floor((i * bytes.length) / 300));
    for (const end of ends) {
      try {
        readElf(bytes.subarray(0, end));
      } catch (error) {
        expect(error).toBeInstanceOf(ConfigError);
      }
    }
  });

  test("are read or refused with any one byte of the headers changed", async () => {
    const bytes = Uint8Array.from(await compiled());
    for (let at = 0; at < 64 * 12; at++) {
      const copy = bytes.slice();
      copy[at] = (copy[at] ?? 0) ^ 0xff;
      try {
        readElf(copy);
      } catch (error) {
        expect(error).toBeInstanceOf(ConfigError);
      }
    }
  });
});

test.each(["", "\x7fELF", "hello", "\x7fELF and nothing more"])("readElf refuses %j", (text) => {
  expect(() => readElf(Buffer.from(text))).toThrow(ConfigError);
});
