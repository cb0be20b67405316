/** The files of --tls-certificates and --tls-psk: the places of search, and the messages about wrong files. */
import { beforeAll, describe, expect, test } from "bun:test";
import {
  chmodSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";

import { filePath } from "#lib/text-bytes";
import { temporaryFolder } from "#test/modules";
import { program, run } from "#test/server";

import { Folder } from "../cli/daemon-fixture.ts";
import { type Pki, pki } from "./certificates.ts";
import { missing, needing, needs, skip } from "./tls-fixture.ts";

let files: Pki;
let folder: string;
beforeAll(async () => {
  folder = mkdtempSync(join(temporaryFolder(), "files-"));
  if (missing.length > 0) return;
  files = await pki();
  // The unprivileged user must be able to enter it.
  for (const path of [temporaryFolder(), files.folder, folder]) chmodSync(path, 0o755);
});

interface Started {
  readonly code: number;
  /** `$tls` of --run: 1 for on, 2 for require, "" for off. */
  readonly tls: string | undefined;
  /** The lines of stderr, with the folder of the files as FOLDER. */
  readonly lines: readonly string[];
}

interface StartOptions {
  readonly server?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** Run as a user other than root. */
  readonly asNobody?: boolean;
}

const unprivileged = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
const isRoot = process.geteuid?.() === 0;

async function start(args: readonly string[], options: StartOptions = {}): Promise<Started> {
  const command = [
    ...(options.asNobody === true ? unprivileged : []),
    ...(options.server ?? program),
  ];
  // nbdkit leaves the folder of -U - behind when it exits early.
  const socket = join(mkdtempSync(join(tmpdir(), "nbdkit-files-")), "socket");
  if (options.asNobody === true) chmodSync(dirname(socket), 0o777);
  const { code, stdout, stderr } = await run(
    [...command, "-U", socket, ...args, "null", "1M", "--run", 'echo "tls=$tls"'],
    { cwd: folder, env: { HOME: folder, ...options.env } },
  );
  rmSync(dirname(socket), { recursive: true });
  const text = stderr.replaceAll(files.folder, "FOLDER").replaceAll(folder, "FOLDER");
  return {
    code,
    tls: /^tls=(\d?)$/m.exec(stdout)?.[1],
    lines: text.split("\n").filter((line) => line !== ""),
  };
}

/** A folder with the server's files, some of them replaced. */
function folderWith(name: string, changes: Readonly<Record<string, string | null>>): string {
  const path = join(folder, name);
  rmSync(path, { recursive: true, force: true });
  cpSync(files.server, path, { recursive: true });
  for (const [file, text] of Object.entries(changes)) {
    if (text === null) rmSync(join(path, file));
    else writeFileSync(join(path, file), text);
  }
  return path;
}

/** Starts a command with a HOME that is not UTF-8. */
const intoOdd = String.raw`HOME=$HOME/$(printf 'odd\351'); exec "$@"`;

const garbage = "not a certificate\n";

describe.skipIf(skip)(`certificates${needs}`, () => {
  test("that do not exist turn TLS off, with a warning for --tls=on and an error for --tls=require", async () => {
    const none = "see --tls-certificates and --tls-psk in nbdkit(1)";
    const absent = "--tls-certificates=/nonexistent";
    const why = "cannot read /nonexistent/ca-cert.pem: No such file or directory";
    expect([
      await start([absent]),
      await start([absent, "--tls=on"]),
      await start([absent, "--tls=require"]),
    ]).toEqual([
      { code: 0, tls: "", lines: [] },
      {
        code: 0,
        tls: "",
        lines: [
          `nbdkit: warning: --tls=on, but there are no certificates, so that TLS is refused: ${why}: ${none}`,
        ],
      },
      {
        code: 1,
        tls: undefined,
        lines: [`nbdkit: error: --tls=require, but there are no certificates: ${why}: ${none}`],
      },
    ]);
  });

  test.each(["ca-cert.pem", "server-cert.pem", "server-key.pem"])(
    "without %s count as missing",
    async (name) => {
      const path = folderWith("incomplete", { [name]: null });
      const { code, lines } = await start(["--tls=require", `--tls-certificates=${path}`]);
      expect({ code, lines }).toEqual({
        code: 1,
        lines: [
          expect.stringContaining(
            `cannot read FOLDER/incomplete/${name}: No such file or directory`,
          ),
        ],
      });
    },
  );

  test.each([
    [
      "an invalid certificate",
      { "server-cert.pem": garbage },
      /^nbdkit: error: FOLDER\/wrong\/server-cert\.pem: expected a certificate in PEM form: /,
    ],
    [
      "an invalid key",
      { "server-key.pem": garbage },
      /^nbdkit: error: FOLDER\/wrong\/server-key\.pem: expected a private key in PEM form, without a password: /,
    ],
    [
      "an invalid list of revoked certificates",
      { "ca-crl.pem": garbage },
      /^nbdkit: error: FOLDER\/wrong\/ca-crl\.pem: expected a list of revoked certificates in PEM form: /,
    ],
  ])("with %s stop the server, unless --tls is off", async (_what, changes, line) => {
    const path = folderWith("wrong", changes);
    for (const args of [[], ["--tls=on"], ["--tls=require"]]) {
      expect(await start([...args, `--tls-certificates=${path}`])).toEqual({
        code: 1,
        tls: undefined,
        lines: [expect.stringMatching(line)],
      });
    }
    expect((await start(["--tls=off", `--tls-certificates=${path}`])).code).toBe(0);
  });

  test("with the key of another certificate stop the server", async () => {
    const path = folderWith("mismatch", {});
    cpSync(join(files.client, "client-key.pem"), join(path, "server-key.pem"));
    const { code, lines } = await start([`--tls-certificates=${path}`]);
    expect({ code, lines }).toEqual({
      code: 1,
      lines: [
        "nbdkit: error: FOLDER/mismatch/server-cert.pem, FOLDER/mismatch/server-key.pem: The certificate and the given key do not match",
      ],
    });
  });

  test("without an authority cause a warning, or an error with --tls-verify-peer", async () => {
    const path = folderWith("nobody", { "ca-cert.pem": garbage });
    const problem = /FOLDER\/nobody\/ca-cert\.pem: no certificate in PEM form is in this file/;
    expect(await start([`--tls-certificates=${path}`])).toEqual({
      code: 0,
      tls: "1",
      lines: [expect.stringMatching(problem)],
    });
    expect(await start([`--tls-certificates=${path}`, "--tls-verify-peer"])).toEqual({
      code: 1,
      tls: undefined,
      lines: [expect.stringMatching(problem)],
    });
  });

  test("that have expired cause a warning", async () => {
    expect(await start([`--tls-certificates=${files.expired}`])).toEqual({
      code: 0,
      tls: "1",
      lines: [
        "nbdkit: warning: FOLDER/of-expired/server-cert.pem: the certificate has expired on 2021-02-03: clients will refuse it",
      ],
    });
  });

  test.skipIf(!isRoot)("that the server may not read count as missing (needs root)", async () => {
    const path = folderWith("secret", {});
    chmodSync(join(path, "server-key.pem"), 0o600);
    const args = [`--tls-certificates=${path}`];
    const { code, lines } = await start(["--tls=require", ...args], { asNobody: true });
    expect({ code, lines }).toEqual({
      code: 1,
      lines: [
        expect.stringContaining("cannot read FOLDER/secret/server-key.pem: Permission denied"),
      ],
    });
    expect((await start(args, { asNobody: true })).tls).toBe("");
  });

  const usual = [".pki/nbdkit", ".config/pki/nbdkit"];
  test.skipIf(!isRoot).each(usual)("are found in the user's %s (needs root)", async (below) => {
    const home = mkdtempSync(join(folder, "home-"));
    chmodSync(home, 0o755);
    const asNobody = { asNobody: true, env: { HOME: home } };
    const { code, lines } = await start(["--tls=require"], asNobody);
    expect(code).toBe(1);
    expect(lines[0]).toContain(`/.pki/nbdkit/ca-cert.pem: No such file or directory; cannot read `);
    cpSync(files.server, join(home, below), { recursive: true });
    chmodSync(join(home, below, "server-key.pem"), 0o644);
    expect(await start(["--tls=require"], asNobody)).toEqual({ code: 0, tls: "2", lines: [] });
    expect((await start([], asNobody)).tls).toBe("1");
    // For root they are elsewhere.
    expect((await start(["--tls=require"], { env: { HOME: home } })).lines[0]).toContain(
      "/etc/pki/nbdkit/ca-cert.pem",
    );
    const odd = { server: ["sh", "-c", intoOdd, "sh", ...program], ...asNobody };
    expect((await start(["--tls=require"], odd)).lines[0]).toContain("/odd\udce9/.pki/nbdkit");
    cpSync(home, `${home}-odd`, { recursive: true });
    renameSync(`${home}-odd`, filePath(`${home}/odd\udce9`));
    expect(await start(["--tls=require"], odd)).toEqual({ code: 0, tls: "2", lines: [] });
  });

  test.skipIf(!isRoot)("are not found without HOME (needs root)", async () => {
    const server = ["env", "-u", "HOME", ...program];
    const { code, lines } = await start(["--tls=require"], { server, asNobody: true });
    expect(code).toBe(1);
    expect(lines[0]).toContain("there are no certificates: HOME is not set: ");
    expect((await start([], { server, asNobody: true })).tls).toBe("");
  });
});

describe.skipIf(skip)(`keys${needs}`, () => {
  test("turn TLS on, and take precedence over certificates", async () => {
    const args = [`--tls-psk=${files.psk}`, "--tls-certificates=/nonexistent"];
    expect(await start(args)).toEqual({ code: 0, tls: "1", lines: [] });
    expect(await start([...args, "--tls=require"])).toEqual({ code: 0, tls: "2", lines: [] });
    expect(await start([...args, "--tls=off"])).toEqual({ code: 0, tls: "", lines: [] });
  });

  test("in a file that cannot be read stop the server", async () => {
    mkdirSync(join(folder, "no-file"));
    expect((await start(["--tls-psk=/nonexistent"])).lines).toEqual([
      "nbdkit: error: cannot read /nonexistent: No such file or directory",
    ]);
    const { code, lines } = await start([`--tls-psk=${join(folder, "no-file")}`]);
    expect({ code, lines }).toEqual({
      code: 1,
      lines: ["nbdkit: error: cannot read FOLDER/no-file: Is a directory"],
    });
    expect((await start(["--tls=off", "--tls-psk=/nonexistent"])).code).toBe(0);
  });

  test("in lines of a wrong form cause a warning for each line", async () => {
    const path = join(folder, "odd.psk");
    writeFileSync(path, `# users\nalice:00ff\n\nbob\ncarol:xyz\ndave:012\n#00ff:00ff\n`);
    const { code, lines } = await start([`--tls-psk=${path}`]);
    const wrong = (line: number): string =>
      `nbdkit: warning: FOLDER/odd.psk: line ${line}: expected USER:KEY, with the key in hexadecimal`;
    expect({ code, lines }).toEqual({ code: 0, lines: [wrong(4), wrong(5), wrong(6)] });
  });
});

describe.skipIf(skip)(`a machine without GnuTLS${needs}`, () => {
  const without = (): StartOptions => {
    const libraries = join(folder, "libraries");
    mkdirSync(libraries, { recursive: true });
    writeFileSync(join(libraries, "libgnutls.so.30"), "not a library");
    return { env: { LD_LIBRARY_PATH: libraries } };
  };
  const reason = "the library GnuTLS cannot be loaded (libgnutls.so.30): ";

  test("has no TLS, and reports why if TLS is needed", async () => {
    const args = [`--tls-certificates=${files.server}`];
    expect(await start(["--tls=require", ...args], without())).toEqual({
      code: 1,
      tls: undefined,
      lines: [expect.stringContaining(`error: --tls=require: TLS is not available: ${reason}`)],
    });
    expect((await start(["--tls=on"], without())).code).toBe(1);
    expect(await start(args, without())).toEqual({
      code: 0,
      tls: "",
      lines: [expect.stringContaining(`warning: TLS is off: ${reason}`)],
    });
    expect(await start([], without())).toEqual({ code: 0, tls: "", lines: [] });
    expect(await start(["--tls=off", ...args], without())).toEqual({ code: 0, tls: "", lines: [] });
  });

  test("has tls=no in --dump-config", async () => {
    const dump = async (env: Readonly<Record<string, string>>): Promise<string | undefined> =>
      /^tls=(.*)$/m.exec((await run([...program, "--dump-config"], { env })).stdout)?.[1];
    expect(await dump(without().env ?? {})).toBe("no");
    expect(await dump({})).toBe("yes");
  });
});

const parity = needing("nbdkit");
describe.skipIf(parity.skip)(`the server${parity.needs}`, () => {
  const folders: readonly (readonly [string, () => string])[] = [
    ["good", () => files.server],
    ["missing", () => "/nonexistent"],
    ["no key", () => folderWith("parity", { "server-key.pem": null })],
    ["no certificate", () => folderWith("parity", { "server-cert.pem": garbage })],
    ["an invalid key", () => folderWith("parity", { "server-key.pem": garbage })],
    [
      "an invalid list of revoked certificates",
      () => folderWith("parity", { "ca-crl.pem": garbage }),
    ],
    ["no authority", () => folderWith("parity", { "ca-cert.pem": garbage })],
    ["expired", () => files.expired],
    ["revoking", () => files.revoking],
  ];
  const modes = [
    [],
    ["--tls=off"],
    ["--tls=on"],
    ["--tls=require"],
    ["--tls=required"],
    ["--tls=1"],
  ];

  test.each(folders)(
    "starts if nbdkit does with these certificates: %s",
    async (_what, make) => {
      const certificates = `--tls-certificates=${make()}`;
      for (const mode of modes) {
        const [ours, theirs] = [
          await start([...mode, certificates]),
          await start([...mode, certificates], { server: ["nbdkit"] }),
        ];
        expect({ mode, code: ours.code, tls: ours.tls }).toEqual({
          mode,
          code: theirs.code,
          tls: theirs.tls,
        });
      }
    },
    60_000,
  );
});

const client = needing("nbdinfo");
test.skipIf(client.skip)(
  `--run gets the paths as they were given, and a daemon finds its keys by a relative path${client.needs}`,
  async () => {
    using started = new Folder();
    cpSync(files.psk, started.file("keys"));
    cpSync(files.server, started.file("certificates"), { recursive: true });
    const shown = await run(
      [
        ...[...program, "--tls=require", "--tls-psk=./keys", "--tls-certificates=certificates"],
        ...["null", "1M", "--run", 'echo "$tls_psk $tls_certificates $uri"'],
      ],
      { cwd: started.path },
    );
    expect(shown.stdout).toMatch(
      /^\.\/keys certificates nbds\+unix:\/\/\?socket=\S+&tls-psk-file=\.\/keys\n$/,
    );
    const psk = ["--tls=require", "--tls-psk=keys", "-U", "sock", "null", "1M"];
    await using daemon = await started.daemon(psk);
    expect(daemon.ran).toEqual({ code: 0, stdout: "", stderr: "" });
    const query = `socket=${started.file("sock")}&tls-psk-file=${files.psk}`;
    const size = await run(["nbdinfo", "--size", `nbds+unix://alice@/?${query}`]);
    expect(size).toEqual({ code: 0, stdout: "1048576\n", stderr: "" });
  },
);
