/** -D nbdkit.tls.session=1 and -D nbdkit.tls.log=N: the debug lines about TLS. */
import { beforeAll, describe, expect, test } from "bun:test";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { moduleDirectories } from "#modules/directories";
import { program, type Ran, run, serve } from "#test/server";

import { type Pki, pki } from "./certificates.ts";
import { missing, needing } from "./tls-fixture.ts";

let files: Pki;
beforeAll(async () => {
  if (missing.length === 0) files = await pki();
});

/** Runs a server that serves one nbdinfo. */
async function served(
  server: readonly string[],
  options: readonly string[],
  query: string,
  env: Readonly<Record<string, string>> = {},
): Promise<Ran> {
  const folder = mkdtempSync(join(tmpdir(), "nbdkit-debug-"));
  const socket = join(folder, "socket");
  const where = `${query.startsWith("alice") ? "nbds+unix://alice@" : "nbds+unix://"}/?socket=${socket}`;
  const client = `nbdinfo --size "${where}&${query.replace(/^alice,/, "")}"`;
  const all = ["-f", "-U", socket, ...options, "memory", "1M", "--run", client];
  try {
    return await run([...server, ...all], { env });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/**
 * Lines about the session, without those about kTLS, which only nbdkit prints, and about the priority string, which
 * depends on nbdkit's release. Newer releases than 1.32 double backslashes in debug lines.
 */
const sessionLines = (stderr: string): string[] =>
  [...stderr.matchAll(/^nbdkit: memory\[1\]: debug: (TLS(?: session)?: .*)$/gm)]
    .map(([, line = ""]) => line.replaceAll("\\\\", "\\"))
    .filter((line) => !line.includes("kTLS") && !line.startsWith("TLS: priority string: "));

const both = needing("nbdkit", "nbdinfo");

describe.skipIf(both.skip)(`-D nbdkit.tls.session${both.needs}`, () => {
  const session = ["-v", "-D", "nbdkit.tls.session=1"];

  test.each([
    ["certificates", () => [], () => `tls-certificates=${files.anonymous}`, 4],
    ["--tls-verify-peer", () => ["--tls-verify-peer"], () => `tls-certificates=${files.client}`, 5],
    ["keys", () => [`--tls-psk=${files.psk}`], () => `alice,tls-psk-file=${files.psk}`, 4],
  ] as const)("prints the same as nbdkit with %s", async (_, more, client, count) => {
    const options = [...session, `--tls-certificates=${files.server}`, ...more()];
    const ours = await served(program, options, client());
    const theirs = await served(["nbdkit"], options, client());
    expect([ours.code, theirs.code]).toEqual([0, 0]);
    // With keys the cipher differs from nbdkit's.
    const withoutCipher = (stderr: string) =>
      sessionLines(stderr).map((line) => line.replace(/^(TLS session: .*-)\(.*\)$/, "$1"));
    expect(withoutCipher(ours.stderr)).toEqual(withoutCipher(theirs.stderr));
    expect(sessionLines(ours.stderr).length).toBe(count);
  });

  test("prints nothing unless it is set and -v is given", async () => {
    const client = `tls-certificates=${files.anonymous}`;
    const certificates = `--tls-certificates=${files.server}`;
    const silent = await served(program, [...session.slice(1), certificates], client);
    expect(silent).toEqual({ code: 0, stdout: "1048576\n", stderr: "" });
    const { stderr } = await served(program, ["-v", certificates], client);
    expect(sessionLines(stderr)).toEqual([]);
  });
});

const logging = needing("nbdinfo", "cc");

describe.skipIf(logging.skip)(`-D nbdkit.tls.log${logging.needs}`, () => {
  const client = () => `tls-certificates=${files.anonymous}`;
  const options = (level: number) => [
    ...["-D", `nbdkit.tls.log=${level}`, `--tls-certificates=${files.server}`],
  ];
  const levels = (stderr: string) => [
    ...new Set([...stderr.matchAll(/debug: gnutls: (\d+): /g)].map(([, level]) => Number(level))),
  ];

  test("prints GnuTLS's messages up to the level with -v", async () => {
    const { code, stderr } = await served(program, ["-v", ...options(5)], client());
    expect(code).toBe(0);
    expect(stderr).toMatch(/^nbdkit: memory\[1\]: debug: gnutls: 4: HSK\[.*CLIENT HELLO/m);
    expect(Math.max(...levels(stderr))).toBe(5);
    // No line ends in an escaped line feed.
    expect(stderr).not.toMatch(/gnutls: .*\\n$/m);
    const all = await served(program, ["-v", ...options(99)], client());
    expect(Math.max(...levels(all.stderr))).toBeGreaterThan(9);
  });

  test("prints nothing without -v, or at level 0", async () => {
    const silent = await served(program, options(99), client());
    expect(silent).toEqual({ code: 0, stdout: "1048576\n", stderr: "" });
    const { stderr } = await served(program, ["-v", ...options(0)], client());
    expect(levels(stderr)).toEqual([]);
  });

  test("reports that it needs a C compiler once", async () => {
    const cache = mkdtempSync(join(tmpdir(), "nbdkit-cache-"));
    const env = { CC: join(cache, "no-compiler"), XDG_CACHE_HOME: cache };
    const { code, stderr } = await served(program, ["-v", ...options(1)], client(), env);
    rmSync(cache, { recursive: true, force: true });
    expect(code).toBe(1);
    expect(stderr).toContain("need a C compiler once");
  });

  const nbd = join(moduleDirectories().plugindir, "nbdkit-nbd-plugin.so");
  test.skipIf(!existsSync(nbd))(
    "prints GnuTLS's messages of C modules, even from their own threads (needs nbdkit)",
    async () => {
      await using behind = await serve([
        ...["--tls=require", `--tls-certificates=${files.server}`, "pattern", "8M"],
      ]);
      const uri = `uri=nbds+unix:///?socket=${behind.socket}`;
      const tls = ["tls=require", `tls-certificates=${files.anonymous}`];
      await using front = await serve([
        ...["-v", ...options(99), "--tls=require", nbd, uri, ...tls],
      ]);
      const where = `nbds+unix:///?socket=${front.socket}&${client()}`;
      const { code, stderr } = await run(["nbdinfo", "--map", where]);
      expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
      // The plugin nbd is a TLS client.
      await front.printed(/debug: gnutls: 4: HSK\[.*SERVER HELLO \(2\) was received/);
      await front.printed(/nbd\[1\]: debug: gnutls: 4: HSK\[.*CLIENT HELLO \(1\) was received/);
    },
  );
});
