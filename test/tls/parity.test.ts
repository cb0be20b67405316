/** The same options around STARTTLS get replies of the same types from this server and nbdkit. */
import { describe, expect, test } from "bun:test";

import { bytes, infoPayload, metaPayload, NbdClient, option } from "#test/client";
import { program as thisServer, run, serve } from "#test/server";

import { pki } from "./certificates.ts";
import { needing } from "./tls-fixture.ts";

const { skip, needs } = needing("nbdkit");

type Message = readonly [what: string, bytes: Uint8Array];

const scripts: readonly (readonly Message[])[] = [
  [
    ["STARTTLS with a payload", option(5, bytes("xx"))],
    ["STRUCTURED_REPLY", option(8)],
    ["LIST", option(3)],
    ["INFO", option(6, infoPayload(""))],
    ["unknown", option(99, bytes("abc"))],
    ["LIST_META_CONTEXT", option(9, metaPayload(""))],
    ["SET_META_CONTEXT", option(10, metaPayload("", ["base:allocation"]))],
    ["EXTENDED_HEADERS", option(11)],
    ["PEEK_EXPORT", option(4)],
    ["STARTTLS", option(5)],
  ],
  [["ABORT", option(2)]],
  [["STARTTLS and more", Buffer.concat([option(5), option(8)])]],
  [
    ["STARTTLS", option(5)],
    ["something other than TLS", bytes("GET / HTTP/1.1\r\n\r\n".padEnd(64))],
  ],
  [
    ["STARTTLS", option(5)],
    ["an option", option(7, infoPayload(""))],
  ],
];

/** The reply has another form if the option is not refused, so it is only sent with --tls=require. */
const exportName: readonly Message[] = [["EXPORT_NAME", option(1)]];

/** The types of the replies to each message, and "over" once the connection has ended. TLS alerts do not count. */
async function played(
  socket: string,
  script: readonly Message[],
  flags: number,
): Promise<unknown[]> {
  await using client = await NbdClient.connect({ unix: socket });
  await client.hello(flags);
  const seen: unknown[] = [];
  for (const [what, message] of script) {
    client.send(message);
    const types = await typesOf(client);
    seen.push([what, ...types]);
    if (types.at(-1) === "over") break;
  }
  return seen;
}

async function typesOf(client: NbdClient): Promise<(number | string)[]> {
  const types: (number | string)[] = [];
  for (;;) {
    const reply = await client.optionReply().catch(() => undefined);
    if (reply === undefined) return [...types, "over"];
    types.push(reply.type);
    if (reply.type === 1 || reply.type >= 0x80000000) return types;
  }
}

describe.skipIf(skip)(`STARTTLS as in nbdkit${needs}`, () => {
  test("does not exist with --oldstyle, which excludes --tls=require", async () => {
    const { server } = await pki();
    const certificates = `--tls-certificates=${server}`;
    for (const program of [thisServer, ["nbdkit"]]) {
      await using it = await serve(["-o", "--tls=on", certificates, "memory", "1M"], { program });
      await using client = await NbdClient.connect({ unix: it.socket });
      expect((await client.oldstyle()).size).toBe(1n << 20n);
      const refused = ["-U", "-", "-o", "--tls=require", certificates, "null", "--run", "true"];
      const { code, stderr } = await run([...program, ...refused]);
      expect(code).toBe(1);
      expect(stderr).toMatch(/oldstyle.*(TLS|tls)/);
    }
  });

  for (const mode of ["off", "on", "require"]) {
    test(`gets the same replies with --tls=${mode}`, async () => {
      const { server } = await pki();
      const args = [`--tls=${mode}`, `--tls-certificates=${server}`, "memory", "1M"];
      await using ours = await serve(args);
      await using theirs = await serve(args, { program: ["nbdkit"] });
      for (const script of mode === "require" ? [...scripts, exportName] : scripts) {
        for (const flags of [3, 1, 0]) {
          // Without fixed newstyle nbdkit reads the payload of a refused option as the next option.
          const fair =
            flags === 0 ? script.slice(0, 1).filter(([, { length }]) => length === 16) : script;
          const [here, there] = [
            await played(ours.socket, fair, flags),
            await played(theirs.socket, fair, flags),
          ];
          expect({ flags, seen: here }).toEqual({ flags, seen: there });
        }
      }
    }, 60_000);
  }
});
