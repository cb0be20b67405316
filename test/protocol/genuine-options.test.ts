/** Options that change the handshake: genuine nbdkit and ours get the same bytes, and must reply alike. */
import { describe, expect, test } from "bun:test";

import { bytes, NbdClient, option, request } from "#test/client";
import { installed, serve } from "#test/server";

const missing = ["nbdkit"].filter((name) => !installed(name));
const name = missing.length > 0 ? `needs ${missing.join(", ")}` : "nbdkit and ours";

describe.skipIf(missing.length > 0)(name, () => {
  /** The replies to these bytes until the connection closes: [genuine, ours]. */
  async function said(
    args: readonly string[],
    sent: readonly Uint8Array[],
  ): Promise<readonly Uint8Array[][]> {
    const servers = [{ program: ["nbdkit"] }, {}];
    return Promise.all(
      servers.map(async (options) => {
        await using server = await serve([...args, "memory", "65536"], options);
        const answers: Uint8Array[] = [];
        for (const data of sent) {
          await using client = await NbdClient.connect({ unix: server.socket });
          client.send(data);
          await client.closed;
          answers.push(await client.take(client.available));
        }
        return answers;
      }),
    );
  }

  const disconnect = request({ type: 2 });
  const writes = request({ type: 1, offset: 512n, payload: new Uint8Array(512).fill(7) });
  const reads = request({ type: 0, offset: 256n, count: 1024 });

  test.each([0, 1, 2, 3, 0xfffc])("with --mask-handshake=%d", async (mask) => {
    const names = [0, 1, 2, 3].map((flags) => bytes(flags, option(1), reads, disconnect));
    const [genuine, ours] = await said([`--mask-handshake=${mask}`], names);
    expect(ours).toEqual(genuine ?? []);
  });

  test.each([{ options: "-o" }, { options: "-o -r" }])("with $options", async ({ options }) => {
    // With more threads, nbdkit may see the disconnect before another thread begins the request.
    const args = ["-t", "1", ...options.split(" ")];
    const sent = [
      disconnect,
      bytes(reads, disconnect),
      bytes(request({ type: 0, offset: 65536n, count: 1 }), disconnect),
      bytes(request({ type: 0, flags: 4, count: 512 }), disconnect),
      bytes(request({ type: 7, count: 512 }), disconnect),
      bytes(request({ type: 0, magic: 1 })),
      // nbdkit does not survive a write to a read-only export.
      ...(args.includes("-r") ? [] : [bytes(writes, disconnect), bytes(reads, disconnect)]),
    ];
    const [genuine, ours] = await said(args, sent);
    expect(ours).toEqual(genuine ?? []);
  });
});
