/** nbdkit's modules with TLS, in this server and in nbdkit: tls-fallback, ip, and nbd as a client. */
import { join } from "node:path";

import { serve } from "#test/server";

import { nbdsh, type Side, stock } from "../stock/stock.ts";
import { type Pki, pki } from "./certificates.ts";
import { missing } from "./tls-fixture.ts";

let files: Pki;
if (missing.length === 0) files = await pki();

/** Runs a script of nbdsh whose `h` uses TLS, with the certificates in the folder. */
const secure = (server: Side["server"], certificates: string, script: string): Promise<unknown> => {
  const place = server.uri.replace("nbd+unix", "nbds+unix");
  const connect = `
h.set_uri_allow_local_file (True)
h.connect_uri (${JSON.stringify(`${place}&tls-certificates=${certificates}`)})
`;
  return nbdsh(server, connect + script, null);
};

stock("tls-fallback serves the disk to clients with TLS, and tlsreadme to others", {
  filters: ["tls-fallback"],
  plugin: "data",
  options: () => ["--tls=on", `--tls-certificates=${files.server}`],
  params: () => ["raw=secret", "tlsreadme=use TLS\n"],
  needs: missing,
  see: async ({ server }) => [
    await secure(server, files.anonymous, "show ([h.pread (6, 0).decode (), h.get_size ()])"),
    await nbdsh(server, "show ([h.pread (7, 0).decode (), h.get_size ()])"),
  ],
  expected: [
    ["secret", 6],
    ["use TLS", 512],
  ],
});

stock("ip allows clients with TLS by its rules", {
  filters: ["ip"],
  plugin: "data",
  options: () => ["--tls=require", `--tls-certificates=${files.server}`, "--tls-verify-peer"],
  params: () => ["raw=secret", "allow=anyunix", "deny=all"],
  needs: missing,
  see: ({ server }) => secure(server, files.client, "show (h.pread (6, 0).decode ())"),
  expected: "secret",
});

/** This server as the server of the nbd plugin. The link `peer` in the folder leads to its socket. */
function peer(...args: readonly string[]) {
  return async (folder: string, peers: AsyncDisposableStack): Promise<void> => {
    const server = peers.use(await serve([...args, "memory", "1M"]));
    await Bun.$`ln -s ${server.socket} ${join(folder, "peer")}`;
  };
}

const proxied = `
big = bytes (range (256)) * 2048
h.pwrite (big, 4096, nbd.CMD_FLAG_FUA)
h.zero (512, 4096)
h.flush ()
other = client ()
show ([h.get_size (), h.pread (len (big), 4096) == bytes (512) + big[512:], other.pread (4, 5120)])
`;

stock("nbd connects to this server with a certificate", {
  plugin: "nbd",
  before: (folder, peers) =>
    peer("--tls=require", `--tls-certificates=${files.server}`, "--tls-verify-peer")(folder, peers),
  params: (folder) => [
    ...[`socket=${join(folder, "peer")}`, "tls=require", `tls-certificates=${files.client}`],
  ],
  needs: missing,
  see: ({ server }) => nbdsh(server, proxied),
  expected: [1048576, true, "00010203"],
});

stock("nbd connects to this server with a key", {
  plugin: "nbd",
  before: (folder, peers) => peer("--tls=require", `--tls-psk=${files.psk}`)(folder, peers),
  params: (folder) => [
    ...[`socket=${join(folder, "peer")}`, "tls=require", `tls-psk=${files.psk}`],
    "tls-username=bob",
  ],
  needs: missing,
  see: ({ server }) => nbdsh(server, proxied),
  expected: [1048576, true, "00010203"],
});

stock("nbd proxies TLS to TLS", {
  plugin: "nbd",
  options: () => ["--tls=require", `--tls-certificates=${files.server}`],
  before: (folder, peers) => peer("--tls=require", `--tls-psk=${files.psk}`)(folder, peers),
  params: (folder) => [
    ...[`socket=${join(folder, "peer")}`, "tls=require", `tls-psk=${files.psk}`],
    "tls-username=alice",
  ],
  needs: missing,
  see: ({ server }) =>
    secure(
      server,
      files.anonymous,
      "h.pwrite (b'through' * 10000, 1); show (h.pread (70000, 1) == b'through' * 10000)",
    ),
  expected: true,
});
