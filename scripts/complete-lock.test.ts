/** Tests that the lock file is complete, and how it is completed. */
import { expect, test } from "bun:test";
import { join } from "node:path";

import { completed } from "./complete-lock.ts";

test("package-lock.json is complete, or else `npm ci` refuses it: run `npm run lock`", async () => {
  const { packages } = await Bun.file(join(import.meta.dirname, "../package-lock.json")).json();
  expect(Object.keys(completed(packages))).toEqual(Object.keys(packages));
});

test("adds only missing packages, with the platform from their names", () => {
  const tool = {
    version: "1.0.0",
    dev: true,
    optionalDependencies: {
      "@t/b-linux-x64-gnu": "1.0.0",
      "@t/b-linux-arm-musleabihf": "1.0.0",
      "@t/b-win32-ia32-msvc": "1.0.0",
      any: "^2.0.0",
    },
  };
  const present = { version: "1.0.0", integrity: "sha512-x" };
  const packages = { "": {}, "node_modules/@t/b-linux-x64-gnu": present, "node_modules/t": tool };
  const added = { version: "1.0.0", dev: true, optional: true };
  expect(Object.entries(completed(packages))).toEqual([
    ["", {}],
    [
      "node_modules/@t/b-linux-arm-musleabihf",
      { ...added, os: ["linux"], cpu: ["arm"], libc: ["musl"] },
    ],
    ["node_modules/@t/b-linux-x64-gnu", present],
    ["node_modules/@t/b-win32-ia32-msvc", { ...added, os: ["win32"], cpu: ["ia32"] }],
    ["node_modules/t", tool],
  ]);
});
