/** Arguments that Bun drops or changes are read from the kernel. */
import { expect, test } from "bun:test";
import { join } from "node:path";

import { restored } from "../../src/cli/argv.ts";

test.each([
  { plain: ["-V"], all: ["bun", "main.ts", "-V"], result: ["-V"] },
  { plain: ["-V"], all: ["bun", "main.ts", "--", "-V"], result: ["--", "-V"] },
  { plain: [], all: ["bun", "main.ts", "--"], result: ["--"] },
  { plain: [], all: ["bun", "main.ts"], result: [] },
  { plain: ["--", "a"], all: ["bun", "main.ts", "--", "--", "a"], result: ["--", "--", "a"] },
  { plain: ["a\uFFFD"], all: ["bun", "main.ts", "a\uDCFF"], result: ["a\uDCFF"] },
  // Without /proc.
  { plain: ["a", "b"], all: [], result: ["a", "b"] },
])("restored() finds $result in $all", ({ plain, all, result }) => {
  expect(restored(plain, all)).toEqual(result);
});

test("programArguments() returns every argument byte by byte, each -- included", async () => {
  const path = join(import.meta.dir, "../../src/cli/argv.ts");
  const script = `import { programArguments } from ${JSON.stringify(path)};
    console.log(JSON.stringify(programArguments()));`;
  const file = join(process.env["TMPDIR"] ?? "/tmp", `nbdkit-argv-${process.pid}.ts`);
  await Bun.write(file, script);
  try {
    const shell = `"$1" "$2" -- -v "" a "$(printf 'x\\377')" --`;
    const child = Bun.spawnSync(["/bin/sh", "-c", shell, "sh", process.execPath, file]);
    expect(child.stderr.toString()).toBe("");
    expect(JSON.parse(child.stdout.toString())).toEqual(["--", "-v", "", "a", "x\uDCFF", "--"]);
  } finally {
    await Bun.file(file).delete();
  }
});
