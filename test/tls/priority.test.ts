/** --tls-priority, several certificates of the server, and post-quantum key exchange. */
import { beforeAll, describe, expect, test } from "bun:test";
import { cpSync, mkdtempSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";

import { postQuantum } from "#sys/tls/priority";
import { temporaryFolder } from "#test/modules";
import { program, run } from "#test/server";

import { type Pki, pki } from "./certificates.ts";
import { missing, needing, opensslHandshake } from "./tls-fixture.ts";

const { skip, needs } = needing("openssl");

let files: Pki;
beforeAll(async () => {
  if (missing.length === 0) files = await pki();
});

const certificates = (): string => `--tls-certificates=${files.server}`;

describe.skipIf(skip)(`--tls-priority${needs}`, () => {
  test("limits the versions of TLS", async () => {
    const priority = "NORMAL:-VERS-TLS1.3";
    const old = await opensslHandshake([certificates(), `--tls-priority=${priority}`], ["-tls1_2"]);
    expect(old.log).toContain(`debug: TLS: priority string: ${priority}\n`);
    expect(old.log).toContain("TLS handshake complete: (TLS1.2)");
    const newer = await opensslHandshake(
      [certificates(), `--tls-priority=${priority}`],
      ["-tls1_3"],
    );
    expect(newer.log).toContain("error: TLS handshake");
    expect(newer.log).not.toContain("TLS handshake complete");
    const usual = await opensslHandshake([certificates()], ["-tls1_3"]);
    expect(usual.log).toContain("TLS handshake complete: (TLS1.3)");
  });

  test("limits the ciphers", async () => {
    const only = "NORMAL:-CIPHER-ALL:+CHACHA20-POLY1305";
    const { log } = await opensslHandshake([certificates(), `--tls-priority=${only}`], []);
    expect(log).toMatch(/TLS handshake complete: .*\(CHACHA20-POLY1305\)/);
  });

  test("is used unchanged with keys too", async () => {
    const keys = ["-psk_identity", "alice", "-psk", files.keys.alice, "-tls1_2"];
    const psk = `--tls-psk=${files.psk}`;
    const without = await opensslHandshake([psk, "--tls-priority=NORMAL"], keys);
    expect(without.log).not.toContain("TLS handshake complete");
    const named = await opensslHandshake([psk, "--tls-priority=NORMAL:-KX-ALL:+ECDHE-PSK"], keys);
    expect(named.log).toContain("TLS handshake complete: (TLS1.2)-(ECDHE-");
  });

  test.each(["", "NO-SUCH", "NORMAL:+NO-SUCH"])("refuses %j at the start", async (priority) => {
    const server = [...program, "--tls=require", certificates(), `--tls-priority=${priority}`];
    const { code, stdout, stderr } = await run([...server, "null", "--run", "true"]);
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toStartWith(`nbdkit: error: option --tls-priority: "${priority}": `);
    expect(stderr).toContain("expected a priority string of GnuTLS");
    if (priority.includes(":")) expect(stderr).toContain('at "+NO-SUCH"');
  });
});

describe.skipIf(skip)(`several certificates${needs}`, () => {
  /** A folder with the usual ECDSA certificate, and an RSA one with the number `number`. */
  async function folderWithRsa(number: number): Promise<string> {
    const folder = mkdtempSync(join(temporaryFolder(), "pairs-"));
    cpSync(files.server, folder, { recursive: true });
    const at = (name: string): string => join(folder, name);
    const key = at(`server-key-${number}.pem`);
    for (const args of [
      ["--generate-privkey", "--key-type=rsa", "--bits=2048", "--outfile", key],
      [
        "--generate-certificate",
        ...["--load-ca-certificate", join(files.folder, "ca-cert.pem")],
        ...["--load-ca-privkey", join(files.folder, "ca-key.pem")],
        ...["--load-privkey", key, "--template", join(files.folder, "server.template")],
        ...["--outfile", at(`server-cert-${number}.pem`)],
      ],
    ]) {
      const { code, stderr } = await run(["certtool", ...args]);
      if (code !== 0) throw new Error(stderr);
    }
    return folder;
  }

  const shown = async (folder: string, algorithms: string): Promise<string> => {
    const args = [`--tls-certificates=${folder}`];
    const { output } = await opensslHandshake(args, ["-sigalgs", algorithms]);
    return /^Peer signature type: (.*)$/m.exec(output)?.[1] ?? "none";
  };

  test("let each client get one that it supports", async () => {
    const folder = await folderWithRsa(7);
    expect([await shown(folder, "ECDSA+SHA256"), await shown(folder, "RSA-PSS+SHA256")]).toEqual([
      "ECDSA",
      "RSA-PSS",
    ]);
    expect(await shown(files.server, "RSA-PSS+SHA256")).toBe("none");
  });

  test("make server-cert.pem unnecessary, but each needs its key", async () => {
    const folder = await folderWithRsa(0);
    const [main, key] = ["server-cert.pem", "server-key.pem"].map((name) => join(folder, name));
    if (main === undefined || key === undefined) throw new Error("no names");
    rmSync(main);
    const start = () =>
      run([
        ...[...program, "--tls=require", `--tls-certificates=${folder}`],
        ...["null", "--run", "true"],
      ]);
    const lacking = await start();
    expect({ code: lacking.code, stdout: lacking.stdout }).toEqual({ code: 1, stdout: "" });
    expect(lacking.stderr).toContain(`cannot read ${main}: No such file or directory`);
    rmSync(key);
    expect(await start()).toEqual({ code: 0, stdout: "", stderr: "" });
    expect(await shown(folder, "RSA-PSS+SHA256")).toBe("RSA-PSS");
    renameSync(join(folder, "server-key-0.pem"), join(folder, "server-key-1.pem"));
    const keyless = await start();
    expect(keyless.code).toBe(1);
    expect(keyless.stderr).toContain(
      `cannot read ${folder}/server-key-0.pem: No such file or directory`,
    );
  });
});

describe("the default priority string", () => {
  const normal = ["SECP256R1", "X25519"];
  const signatures = ["RSA-SHA256", "ML-DSA-65"];
  const all = [...normal, "X25519-MLKEM768", "SECP256R1-MLKEM768"];

  test("puts groups with ML-KEM before the others", () => {
    expect(postQuantum({ all, normal, signatures }, () => true)).toBe(
      ":-GROUP-ALL:+GROUP-X25519-MLKEM768:+GROUP-SECP256R1-MLKEM768:+GROUP-SECP256R1:+GROUP-X25519" +
        ":+SIGN-ML-DSA-65",
    );
    // NORMAL may include them already.
    expect(postQuantum({ all, normal: all, signatures: [] }, () => true)).toBe(
      ":-GROUP-ALL:+GROUP-X25519-MLKEM768:+GROUP-SECP256R1-MLKEM768:+GROUP-SECP256R1:+GROUP-X25519",
    );
  });

  test("contains only what GnuTLS supports", () => {
    const known = (word: string): boolean => word !== "+GROUP-X25519-MLKEM768";
    expect(postQuantum({ all, normal, signatures: [] }, known)).toBe(
      ":-GROUP-ALL:+GROUP-SECP256R1-MLKEM768:+GROUP-SECP256R1:+GROUP-X25519",
    );
    expect(postQuantum({ all, normal, signatures }, () => false)).toBe("");
    expect(postQuantum({ all: normal, normal, signatures: [] }, () => true)).toBe("");
  });
});
