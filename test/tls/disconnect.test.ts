/** Layers that disconnect a client under TLS: libnbd sees an end of the stream, and not one that was cut. */
import { describe, expect, test } from "bun:test";

import { compileModule, haveCompiler } from "#test/modules";
import { installed, run, serve } from "#test/server";

import { pki } from "./certificates.ts";
import { missing } from "./tls-fixture.ts";

const lacking = [
  ...missing,
  ...(haveCompiler ? [] : ["cc"]),
  ...(installed("nbdsh") ? [] : ["nbdsh"]),
];
const needs = lacking.length === 0 ? "" : ` (needs ${lacking.join(", ")})`;

/** Each read of the number of bytes that makes the plugin disconnect, and then of one byte: what libnbd says. */
const script = (socket: string, keys: string, count: number) => `
import nbd
h = nbd.NBD()
h.set_tls(nbd.TLS_REQUIRE)
h.set_tls_username("alice")
h.set_tls_psk_file(${JSON.stringify(keys)})
h.connect_unix(${JSON.stringify(socket)})
for n in (${count}, 1):
    try:
        h.pread(n, 0)
        print("read")
    except nbd.Error as ex:
        print(ex.string)
`;

describe.skipIf(lacking.length > 0)(`disconnecting${needs}`, () => {
  test.each([
    {
      how: "by force: the stream ends at once",
      count: 5,
      seen: [
        expect.stringContaining("Transport endpoint is not connected"),
        expect.stringContaining("invalid state: CLOSED"),
      ],
    },
    {
      how: "softly: requests are refused until the client leaves",
      count: 4,
      seen: ["read", expect.stringContaining("Cannot send after transport endpoint shutdown")],
    },
  ])("$how", async ({ count, seen }) => {
    const { psk } = await pki();
    const plugin = await compileModule("test/fixtures/asking.c");
    await using server = await serve(["--tls=require", `--tls-psk=${psk}`, plugin]);
    const result = await run(["nbdsh", "-c", script(server.socket, psk, count)], {
      // The system's Python has libnbd's module.
      env: { PATH: `/usr/bin:${process.env["PATH"] ?? ""}` },
    });
    expect({ ...result, stdout: result.stdout.trim().split("\n") }).toEqual({
      code: 0,
      stdout: [...seen],
      stderr: "",
    });
    const ended = await server.stop();
    expect(ended.stderr).toContain("asked disconnect -> 0");
    expect(ended.code).toBe(0);
  });
});
