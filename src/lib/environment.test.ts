/** Environment variables and arguments as the kernel has them. */
import { expect, test } from "bun:test";
import { join } from "node:path";

import { environmentVariable, splitWords } from "./environment.ts";

test("splitWords splits at each NUL, and keeps empty strings and bytes that are not UTF-8", () => {
  const bytes = Buffer.from("a\0\0\xff\0é", "latin1");
  expect(splitWords(bytes)).toEqual(["a", "", "\uDCFF", "\uDCE9"]);
});

test("environmentVariable returns the bytes of a variable, or undefined if it is not set", () => {
  const path = join(import.meta.dir, "environment.ts");
  const script = `import { environmentVariable as get } from ${JSON.stringify(path)};
    process.env.CHANGED = "now \ufffd";
    console.log(JSON.stringify([get("ODD"), get("UTF8"), get("EMPTY"), get("UNSET"), get("CHANGED")]));`;
  const shell = String.raw`ODD=$(printf 'a\351=\377') UTF8=$(printf '\357\277\275') EMPTY= exec "$1" -e "$2"`;
  const child = Bun.spawnSync(["/bin/sh", "-c", shell, "sh", process.execPath, script]);
  expect(child.stderr.toString()).toBe("");
  expect(JSON.parse(child.stdout.toString())).toEqual([
    "a\udce9=\udcff",
    "\ufffd",
    "",
    null,
    "now \ufffd",
  ]);
  expect(environmentVariable("NBDKIT_TEST_NOT_SET")).toBeUndefined();
});
