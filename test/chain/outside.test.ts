/** Modules outside the project: they import this server's API as "nbdkit". */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { NbdClient } from "#test/client";
import { program, run, serve } from "#test/server";

let folder = "";
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "nbdkit-outside-"));
});
afterAll(() => rmSync(folder, { recursive: true }));

/** Put a module and its folder into `folder`. */
function write(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

const filter = (api: string) => `
import { after, defineFilter, NbdError, param } from "${api}";

export default defineFilter({
  name: "add",
  params: { add: param.integer({ required: true, min: 1, max: 9, help: "What is added." }) },
  canWrite: () => true,
  pread: (next, { add }, buf, offset, flags) =>
    after(next.pread(buf, offset, flags), () => {
      for (const [i, byte] of buf.entries()) buf[i] = byte + add;
    }),
  pwrite() {
    throw new NbdError("ENOSPC", "full");
  },
});
`;

describe("a module outside the project", () => {
  test.each(["nbdkit", "#api"])(
    "may import the API as %s, and its errors are the server's",
    async (api) => {
      const path = write(`${api.replace("#", "")}.ts`, filter(api));
      await using server = await serve([`--filter=${path}`, "memory", "1M", "add=3"]);
      await using client = (await NbdClient.ready({ unix: server.socket })).client;
      expect((await client.ask({ type: 0, count: 2 })).data).toEqual(Uint8Array.of(3, 3));
      expect((await client.ask({ type: 1, payload: Uint8Array.of(1) })).error).toBe(28); // ENOSPC
    },
  );

  test("is found by a path relative to where the server was started, and may import its neighbours", async () => {
    write("fill.js", "export const fill = 42;\n");
    write(
      "same.mjs",
      'import { definePlugin } from "nbdkit";\nimport { fill } from "./fill.js";\n' +
        'export default definePlugin({ name: "same", open: () => 0, getSize: () => 512n,\n' +
        "  pread: (_, buf) => void buf.fill(fill) });\n",
    );
    await using server = await serve(["./same.mjs"], { cwd: folder });
    const { client, export: disk } = await NbdClient.ready({ unix: server.socket });
    await using connection = client;
    expect(disk.size).toBe(512n);
    expect((await connection.ask({ type: 0, count: 1 })).data).toEqual(Uint8Array.of(42));
  });

  test.each([
    { text: "export default {};\n", says: /: plugin\.name \(undefined\) must be ASCII letters/ },
    { text: "export const plugin = {};\n", says: /: the module has no default export/ },
    {
      text: 'import "no-such-package";\n',
      says: /: the module cannot be loaded: .*no-such-package/,
    },
    {
      text: "export default {\n  {};\n",
      says: /: the module cannot be loaded: \S+:2:3: Expected identifier but found "[{]"/,
    },
    {
      text: 'export default {};\nthrow new Error("no today");\n',
      says: /: the module cannot be loaded: Error: no today\n +at \S+:2:/,
    },
    {
      text: 'import { defineFilter } from "nbdkit";\nexport default defineFilter({ name: "f" });\n',
      says: /: this is a filter, but it was given as a plugin/,
    },
  ])("is refused by its path where it is no plugin: $says", async ({ text, says }) => {
    const path = write("refused.ts", text);
    const { code, stdout, stderr } = await run([...program, "-f", "-U", "-", path]);
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toStartWith(`nbdkit: error: ${path}: `);
    expect(stderr).toMatch(says);
  });
});
