/** Other people's clients with TLS: libnbd, qemu, and the tools of GnuTLS and OpenSSL. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { randomFillSync } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";

import { option } from "#test/client";
import { program, type Ran, run, serve, type Served } from "#test/server";

import { tlsBridge } from "./bridge.ts";
import { type Pki, pki } from "./certificates.ts";
import { missing, needing } from "./tls-fixture.ts";

/** A test that is skipped if the program is not installed. */
function testWith(client: string) {
  const { skip, needs } = needing(client);
  return (title: string, go: () => Promise<void>): void =>
    test.skipIf(skip)(title + needs, go, 60_000);
}

let files: Pki;
let folder: string;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "nbdkit-clients-"));
  if (missing.length === 0) files = await pki();
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const withCertificates = (socket: string, from: string): string =>
  `nbds+unix:///?socket=${socket}&tls-certificates=${from}`;
const withKeys = (socket: string, keys: string, user = "alice"): string =>
  `nbds+unix://${user}@/?socket=${socket}&tls-psk-file=${keys}`;

/** A server with certificates. */
const certified = (...args: readonly string[]): Promise<Served> =>
  serve(["--tls=require", `--tls-certificates=${files.server}`, ...args]);
/** A server with shared keys. */
const keyed = (...args: readonly string[]): Promise<Served> =>
  serve(["--tls=require", `--tls-psk=${files.psk}`, ...args]);

/** Whether nbdinfo can connect. */
async function isServed(where: string): Promise<boolean> {
  const { code, stdout } = await run(["nbdinfo", "--size", where]);
  expect(stdout).toBe(code === 0 ? "1048576\n" : "");
  return code === 0;
}

describe("libnbd", () => {
  const it = testWith("nbdinfo");

  it("reports that it uses TLS", async () => {
    await using server = await certified("memory", "1M");
    const { stdout } = await run(["nbdinfo", withCertificates(server.socket, files.anonymous)]);
    expect(stdout.split("\n")[0]).toBe(
      "protocol: newstyle-fixed with TLS, using structured packets",
    );
  });

  it("is refused without TLS by --tls=require", async () => {
    await using server = await certified("memory", "1M");
    expect(await isServed(server.uri)).toBe(false);
  });

  it("may use TLS or not with --tls=on", async () => {
    await using server = await serve([
      "--tls=on",
      `--tls-certificates=${files.server}`,
      "memory",
      "1M",
    ]);
    expect(await isServed(server.uri)).toBe(true);
    expect(await isServed(withCertificates(server.socket, files.anonymous))).toBe(true);
  });

  it("may use TLS or not without --tls if there are certificates", async () => {
    await using server = await serve([`--tls-certificates=${files.server}`, "memory", "1M"]);
    expect(await isServed(server.uri)).toBe(true);
    expect(await isServed(withCertificates(server.socket, files.anonymous))).toBe(true);
  });

  it("cannot use TLS with --tls=off", async () => {
    await using server = await serve([
      "--tls=off",
      `--tls-certificates=${files.server}`,
      "memory",
      "1M",
    ]);
    expect(await isServed(server.uri)).toBe(true);
    expect(await isServed(withCertificates(server.socket, files.anonymous))).toBe(false);
  });

  it("is identified by its key", async () => {
    await using server = await keyed("-v", "memory", "1M");
    expect(await isServed(withKeys(server.socket, files.psk))).toBe(true);
    expect(await isServed(withKeys(server.socket, files.psk, "bob"))).toBe(true);
    await server.printed(/TLS handshake complete: .* for user "alice"/);
    await server.printed(/TLS handshake complete: .* for user "bob"/);
  });

  it("is refused with another user's key, as an unknown user, and with certificates instead of keys", async () => {
    await using server = await keyed("memory", "1M");
    expect(await isServed(withKeys(server.socket, files.wrongKey))).toBe(false);
    expect(await isServed(withKeys(server.socket, files.unknownUser, "carol"))).toBe(false);
    expect(await isServed(withCertificates(server.socket, files.anonymous))).toBe(false);
    expect(await isServed(withKeys(server.socket, files.psk))).toBe(true);
    expect(server.stderr()).toMatch(/another key, or no known user\n/);
  });

  it("can use a key that was added while the server runs", async () => {
    const keys = join(folder, "growing.psk");
    writeFileSync(keys, "");
    await using server = await serve([`--tls-psk=${keys}`, "memory", "1M"]);
    expect(await isServed(withKeys(server.socket, files.psk))).toBe(false);
    writeFileSync(keys, `alice:${files.keys.alice}\n`);
    expect(await isServed(withKeys(server.socket, files.psk))).toBe(true);
  });

  it("needs only the $uri of --run to connect", async () => {
    const common = ["-U", "-", "memory", "1M", "--run", 'nbdinfo --size "$uri"; echo "$tls"'];
    const ran = [
      await run([...program, "--tls=require", `--tls-certificates=${files.server}`, ...common]),
      await run([...program, "--tls=on", `--tls-certificates=${files.server}`, ...common]),
    ];
    expect(ran).toEqual([
      { code: 0, stdout: "1048576\n2\n", stderr: "" },
      { code: 0, stdout: "1048576\n1\n", stderr: "" },
    ]);
  });

  it("needs a key if the server has keys and certificates", async () => {
    await using server = await certified(`--tls-psk=${files.psk}`, "memory", "1M");
    expect(await isServed(withCertificates(server.socket, files.anonymous))).toBe(false);
    expect(await isServed(withKeys(server.socket, files.psk))).toBe(true);
  });
});

describe("nbdcopy", () => {
  const it = testWith("nbdcopy");

  it("copies a disk to the server and back", async () => {
    const [from, to] = [join(folder, "from"), join(folder, "to")];
    writeFileSync(from, randomFillSync(new Uint8Array(48 << 20)));
    await using server = await certified("memory", "48M");
    const where = withCertificates(server.socket, files.anonymous);
    const ran = [await run(["nbdcopy", from, where]), await run(["nbdcopy", where, to])];
    expect(ran).toEqual(ran.map(() => ({ code: 0, stdout: "", stderr: "" })));
    expect(readFileSync(to).equals(readFileSync(from))).toBe(true);
  });

  it("copies from one server to another", async () => {
    const to = join(folder, "copied");
    await using source = await keyed("pattern", "8M");
    await using target = await certified("memory", "8M");
    const where = withCertificates(target.socket, files.anonymous);
    const ran = [
      await run(["nbdcopy", withKeys(source.socket, files.psk), where]),
      await run(["nbdcopy", where, to]),
    ];
    expect(ran).toEqual(ran.map(() => ({ code: 0, stdout: "", stderr: "" })));
    const words = new DataView(readFileSync(to).buffer);
    for (let at = 0; at < 8 << 20; at += 4096) expect(words.getBigUint64(at)).toBe(BigInt(at));
  });
});

describe("nbdsh", () => {
  const it = testWith("nbdsh");

  it("reads and writes, in small pieces and in the largest one", async () => {
    const script = `
h.set_tls (nbd.TLS_REQUIRE)
h.set_tls_certificates ("${files.anonymous}")
h.add_meta_context (nbd.CONTEXT_BASE_ALLOCATION)
h.connect_unix (socket)
h.set_strict_mode (0)
big = bytes (range (256)) * (1 << 18)
h.pwrite (big, 1)
assert h.pread (len (big), 1) == big
for count in (1, 2, 511, 512, 513, 16383, 16384, 16385, 32768, 65537):
    h.pwrite (b"x" * count, 5)
    assert h.pread (count + 1, 5) == b"x" * count + big[count + 4:count + 5]
h.zero (4096, 0)
h.trim (4096, 8192)
h.flush ()
found = []
h.block_status (65536, 0, lambda context, at, entries, err: found.extend (entries) or 0)
print (h.get_tls_negotiated (), h.get_size (), sum (found[0::2]) >= 65536)
h.shutdown ()
`;
    await using server = await certified("memory", "128M");
    const { code, stdout, stderr } = await run(
      ["nbdsh", "-c", `socket = "${server.socket}"`, "-c", script],
      { env: { PATH: `/usr/bin:${process.env["PATH"] ?? ""}` } },
    );
    expect({ code, stdout, stderr }).toEqual({
      code: 0,
      stdout: "True 134217728 True\n",
      stderr: "",
    });
    expect((await server.stop()).stderr).toBe("");
  });

  it("can use TLS on stdin and stdout", async () => {
    const command = [...program, "-s", "--tls=require", `--tls-psk=${files.psk}`, "memory", "1M"];
    const script = `
h.set_tls (nbd.TLS_REQUIRE)
h.set_tls_psk_file ("${files.psk}")
h.set_tls_username ("alice")
h.connect_command (${JSON.stringify(command)})
h.pwrite (b"over and over" * 50000, 10)
print (h.get_tls_negotiated (), h.pread (650000, 10) == b"over and over" * 50000)
h.shutdown ()
`;
    const { code, stdout, stderr } = await run(["nbdsh", "-c", script], {
      env: { PATH: `/usr/bin:${process.env["PATH"] ?? ""}` },
    });
    expect({ code, stdout, stderr }).toEqual({ code: 0, stdout: "True True\n", stderr: "" });
  });
});

const info = (socket: string, credentials: string, more = ""): Promise<Ran> =>
  run([
    ...["qemu-img", "info", "--object", `${credentials},id=tls,endpoint=client`, "--image-opts"],
    `driver=nbd,server.type=unix,server.path=${socket},tls-creds=tls${more}`,
  ]);

describe("qemu", () => {
  const it = testWith("qemu-img");
  const versions = [
    ["1.3", "NORMAL:-VERS-ALL:+VERS-TLS1.3"],
    ["1.2", "NORMAL:-VERS-ALL:+VERS-TLS1.2"],
  ] as const;

  for (const [version, priority] of versions) {
    it(`connects with certificates and TLS ${version}`, async () => {
      await using server = await certified("-v", "--tls-verify-peer", "memory", "1M");
      const credentials = `tls-creds-x509,dir=${files.client},priority=${priority}`;
      const { code, stdout } = await info(server.socket, credentials, ",tls-hostname=localhost");
      expect({ code, stdout }).toEqual({
        code: 0,
        stdout: expect.stringContaining("virtual size: 1 MiB (1048576 bytes)"),
      });
      expect(server.stderr()).toContain(`TLS handshake complete: (TLS${version})`);
    });

    it(`connects with keys and TLS ${version}`, async () => {
      await using server = await keyed("-v", "memory", "1M");
      const keys = (from: string): string =>
        `tls-creds-psk,dir=${dirname(from)},username=alice,priority=${priority}`;
      const { code, stdout } = await info(server.socket, keys(files.psk));
      expect({ code, stdout }).toEqual({
        code: 0,
        stdout: expect.stringContaining("virtual size: 1 MiB (1048576 bytes)"),
      });
      expect(server.stderr()).toContain(`TLS handshake complete: (TLS${version})`);
      expect((await info(server.socket, keys(files.wrongKey))).code).toBe(1);
    });
  }
});

testWith("qemu-img")("a client that does not trust the server ends the handshake", async () => {
  await using server = await certified("memory", "1M");
  const { code, stderr } = await info(
    server.socket,
    `tls-creds-x509,dir=${files.distrustful}`,
    ",tls-hostname=localhost",
  );
  expect({ code, stderr }).toEqual({
    code: 1,
    stderr: expect.stringContaining("a known issuer"),
  });
});

describe("after STARTTLS", () => {
  const gnutls = testWith("gnutls-cli");
  const openssl = testWith("openssl");

  for (const version of ["1.2", "1.3"]) {
    gnutls(`gnutls-cli completes a handshake with TLS ${version}`, async () => {
      await using server = await certified("memory", "1M");
      const output = await gnutlsCli(server, `NORMAL:-VERS-ALL:+VERS-TLS${version}`);
      expect(output).toContain(`Description: (TLS${version}-X.509)`);
      expect(output).toContain("Handshake was completed");
      expect(output).toContain("The certificate is trusted");
    });
  }

  gnutls("gnutls-cli cannot use a version before TLS 1.2", async () => {
    await using server = await certified("memory", "1M");
    for (const version of ["1.0", "1.1"]) {
      const output = await gnutlsCli(server, `NORMAL:-VERS-ALL:+VERS-TLS${version}:%COMPAT`);
      expect(output).not.toContain("Handshake was completed");
    }
    await server.printed(/error: TLS handshake: .*version/);
  });

  for (const version of ["1_2", "1_3"]) {
    openssl(
      `openssl gets a reply and close_notify with certificates and TLS ${version}`,
      async () => {
        await using server = await certified("memory", "1M");
        const trust = ["-CAfile", join(files.server, "ca-cert.pem"), "-verify_return_error"];
        expect(await opensslClient(server, [`-tls${version}`, ...trust])).toEqual(aborted);
      },
    );

    openssl(`openssl gets a reply and close_notify with keys and TLS ${version}`, async () => {
      await using server = await keyed("memory", "1M");
      const keys = (key: string): string[] => [
        ...[`-tls${version}`, "-psk_identity", "alice", "-psk", key],
        ...(version === "1_2" ? ["-cipher", "PSK"] : []),
      ];
      expect(await opensslClient(server, keys(files.keys.alice))).toEqual(aborted);
      expect((await opensslClient(server, keys(files.keys.bob))).code).toBe(1);
    });
  }
});

/** The ACK for ABORT. */
const aborted = { code: 0, stdout: "0003e889045565a9000000020000000100000000" };

async function opensslClient(server: Served, args: readonly string[]) {
  await using bridge = await tlsBridge(server.socket);
  // The command exits when the server ends TLS, and fails if that happens without close_notify.
  const where = ["-connect", `127.0.0.1:${bridge.port}`, "-servername", "localhost", "-quiet"];
  const child = Bun.spawn(["openssl", "s_client", ...where, "-nbio", ...args], {
    stdin: "pipe",
    stdout: "pipe",
    stderr: "ignore",
  });
  child.stdin.write(option(2));
  await child.stdin.flush();
  const stdout = Buffer.from(await new Response(child.stdout).arrayBuffer()).toString("hex");
  return { code: await child.exited, stdout };
}

/** The output of gnutls-cli, which exits at the end of its stdin. */
async function gnutlsCli(server: Served, priority: string): Promise<string> {
  await using bridge = await tlsBridge(server.socket);
  const { stdout, stderr } = await run(
    [
      ...["gnutls-cli", "--port", String(bridge.port), "--priority", priority],
      ...["--x509cafile", join(files.server, "ca-cert.pem"), "--verify-hostname", "localhost"],
      "127.0.0.1",
    ],
    { stdin: "" },
  );
  return stdout + stderr;
}
