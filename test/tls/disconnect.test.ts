/** A layer that disconnects a client with TLS: libnbd sees an orderly end of the stream. */
import { describe, expect, test } from "bun:test";

import { compileModule } from "#test/modules";
import { run, serve } from "#test/server";

import { pki } from "./certificates.ts";
import { needing } from "./tls-fixture.ts";

const { skip, needs } = needing("cc", "nbdsh");

/** Prints the results of a read of `count` bytes, at which the plugin disconnects, and of one byte. */
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

describe.skipIf(skip)(`nbdkit_disconnect${needs}`, () => {
  test.each([
    {
      how: "ends the stream at once if forced",
      count: 5,
      seen: [
        expect.stringContaining("Transport endpoint is not connected"),
        expect.stringContaining("invalid state: CLOSED"),
      ],
    },
    {
      how: "refuses requests until the client disconnects if not forced",
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
