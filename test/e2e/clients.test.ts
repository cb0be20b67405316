/** Each real client prints the same with this server as with nbdkit, for the same disk and chain. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { isListening, needing, program, run, serve, type Served, until } from "#test/server";

import { pki } from "../tls/certificates.ts";

setDefaultTimeout(60_000);

const tools = [
  ...["bash", "certtool", "nbd-client", "nbdcopy", "nbddump", "nbdinfo", "nbdkit", "nbdsh"],
  ...["qemu-img", "qemu-io", "qemu-nbd", "systemd-socket-activate"],
];
const { skip, needs } = needing(...tools);

const MiB = 1 << 20;
const size = 6 * MiB;

/** The data of the disk: three pieces, with holes after each. */
const pieces = [0, 2 * MiB, 3.5 * MiB].map((at, i) => ({
  at,
  data: Uint8Array.from({ length: 128 << 10 }, (_, n) => (n * 7 + i) % 251),
}));

interface ChainCase {
  readonly what: string;
  /** For this server; IMAGE is the path of its disk. */
  readonly ours: readonly string[];
  /** The arguments for nbdkit, if they differ. */
  readonly genuine?: readonly string[];
  readonly readonly?: boolean;
  readonly exportName?: string;
  readonly tls?: boolean;
}

const named = [
  ...["2M", "exportname=disk one", "exportname-strict=true"],
  ...["exportname-list=explicit", "exportdesc=fixed:the first"],
];

const chains: readonly ChainCase[] = [
  { what: "TypeScript plugin", ours: ["file", "IMAGE"] },
  {
    what: "nbdkit's filter over TypeScript",
    ours: ["--filter=native:offset", "file", "IMAGE", "offset=1M"],
    genuine: ["--filter=offset", "file", "IMAGE", "offset=1M"],
  },
  {
    what: "TypeScript filter over nbdkit's plugin",
    ours: ["--filter=offset", "native:file", "IMAGE", "offset=512k", "range=4M"],
    genuine: ["--filter=offset", "file", "IMAGE", "offset=512k", "range=4M"],
  },
  { what: "read-only", ours: ["-r", "--filter=offset", "file", "IMAGE"], readonly: true },
  {
    what: "export names",
    // nbdkit 1.32's plugin reports no block sizes, but ours does, as later ones do.
    ours: ["--filter=exportname", "native:memory", ...named],
    genuine: ["--filter=exportname", "memory", ...named],
    exportName: "disk%20one",
  },
  { what: "TLS", ours: ["--tls=require", "file", "IMAGE"], tls: true },
];

interface ClientCase {
  readonly what: string;
  readonly script: string;
  /** A part of the output, so that two servers that refuse everything do not pass. */
  readonly has: string;
  /** The script changes the disk. */
  readonly writes?: boolean;
  /** The chains that the client can use: some have no TLS on Unix sockets. */
  readonly only?: (chain: ChainCase) => boolean;
}

const plainOnly = ({ tls }: ChainCase) => tls !== true;
const can = ["cache", "connect", "df", "fast-zero", "flush", "fua", "multi-conn", "read", "trim"];
/** Prints the exit status of a client for each word. */
const statuses = (command: string, wordList: readonly string[]) =>
  `for word in ${wordList.join(" ")}; do ${command} $word "$uri"; echo $word $?; done`;
/** Runs lines of Python that use the handle `h`, such as `connect`. */
const connect = 'h.connect_uri(os.environ["uri"])';
const nbdsh = (...lines: readonly string[]) =>
  `nbdsh -c '${["import os; h.set_uri_allow_local_file(True)", ...lines].join("\n")}'`;

const clients: readonly ClientCase[] = [
  { what: "nbdinfo", script: 'nbdinfo "$uri"', has: "export-size" },
  { what: "nbdinfo --json", script: 'nbdinfo --json "$uri"', has: '"export-size"' },
  { what: "nbdinfo --size", script: 'nbdinfo --size "$uri"', has: "\n" },
  { what: "nbdinfo --list", script: 'nbdinfo --list "$uri"', has: "export=" },
  { what: "nbdinfo --list --json", script: 'nbdinfo --list --json "$uri"', has: "contexts" },
  { what: "nbdinfo --map", script: 'nbdinfo --map "$uri"', has: "         0  " },
  { what: "nbdinfo --map --json", script: 'nbdinfo --map --json "$uri"', has: '"offset": 0' },
  { what: "nbdinfo --map --totals", script: 'nbdinfo --map --totals "$uri"', has: "%" },
  {
    what: "nbdinfo --can",
    script: statuses("nbdinfo --can", [...can, "write", "zero"]),
    has: "read 0\n",
  },
  {
    what: "nbdinfo --is",
    script: statuses("nbdinfo --is", ["read-only", "rotational", "tls"]),
    has: "rotational 2\n",
  },
  { what: "nbddump", script: 'nbddump "$uri" | md5sum', has: "  -\n" },
  { what: "nbdcopy out", script: 'nbdcopy "$uri" - | md5sum', has: "  -\n" },
  {
    what: "nbdcopy out, allocated, small requests",
    script: 'nbdcopy --allocated --request-size=32768 --connections=2 "$uri" copy; md5sum <copy',
    has: "  -\n",
  },
  {
    what: "nbdcopy in",
    script: `head -c $(nbdinfo --size "$uri") /dev/zero | tr '\\0' x >in
      nbdcopy --flush in "$uri" && nbdcopy "$uri" - | cmp - in && echo same`,
    has: "same\n",
    writes: true,
  },
  {
    what: "nbdsh",
    script: nbdsh(
      connect,
      'data = b"nbd" * 1024',
      "h.pwrite(data, 3072, nbd.CMD_FLAG_FUA)",
      "h.zero(1024, 4096); h.trim(512, 512); h.cache(4096, 0); h.flush()",
      "print(h.pread(3072, 3072) == data[:1024] + bytes(1024) + data[2048:])",
      "print(h.get_size(), h.can_fua(), h.get_protocol(), h.get_export_name())",
    ),
    has: "True\n",
    writes: true,
  },
  {
    what: "nbdsh, negotiation",
    script: nbdsh(
      "h.set_opt_mode(True); h.set_full_info(True); h.add_meta_context(nbd.CONTEXT_BASE_ALLOCATION)",
      connect,
      "h.opt_list(lambda *export: print(export))",
      "h.opt_info(); print(h.get_size(), h.get_canonical_export_name())",
      "h.opt_list_meta_context(print)",
      "h.opt_go(); print(h.can_meta_context(nbd.CONTEXT_BASE_ALLOCATION))",
      "h.block_status(h.get_size(), 0, lambda *extents: print(extents))",
    ),
    has: "base:allocation",
  },
  {
    what: "nbdsh, requests out of bounds",
    script: nbdsh(
      connect,
      "h.set_strict_mode(0)",
      "for request in (lambda: h.pread(512, h.get_size()), lambda: h.pwrite(bytes(512), h.get_size() - 511),",
      "                lambda: h.trim(1, h.get_size()), lambda: h.pread(0, 0), lambda: h.zero(0, 0),",
      "                lambda: h.cache(512, 1 << 62), lambda: h.pread(512, 0, 1 << 9)):",
      "  try: print(request())",
      "  except nbd.Error as error: print(error.errno)",
    ),
    has: "EINVAL\n",
    // With TLS, nbdkit 1.32.5 reads the data of a refused write as requests.
    only: plainOnly,
  },
  { what: "qemu-img info", script: 'qemu-img info "$uri"', has: "virtual size", only: plainOnly },
  {
    what: "qemu-img map",
    script: 'qemu-img map --output=json "$uri"',
    has: '"depth": 0',
    only: plainOnly,
  },
  {
    what: "qemu-img map, as text",
    script: 'qemu-img map "$uri"',
    has: "Mapped to",
    only: plainOnly,
  },
  {
    what: "qemu-img convert, compare",
    script: `qemu-img convert -f raw -O qcow2 "$uri" copy.qcow2 && qemu-img compare "$uri" copy.qcow2`,
    has: "Images are identical.\n",
    only: plainOnly,
  },
  {
    what: "qemu-img convert in",
    script: `truncate -s $(nbdinfo --size "$uri") in; printf hello | dd of=in seek=1 bs=4k conv=notrunc 2>&-
      qemu-img convert -n -f raw -O raw in "$uri" && qemu-img compare -f raw -F raw in "$uri"`,
    has: "Images are identical.\n",
    writes: true,
    only: plainOnly,
  },
  {
    what: "qemu-io",
    script: `qemu-io -f raw -c "write -P 7 4k 8k" -c "write -z 6k 1k" -c "discard 1M 64k" -c "aio_write -P 9 128k 64k" \
      -c aio_flush -c flush -c "read -P 7 4k 2k" -c "read -P 0 6k 1k" -c "read -v 4094 4" -c "read -P 9 128k 64k" \
      -c length -c map "$uri" | sed 's/, [0-9.]* [a-z]*; .*//' | grep -v 'ops;'`,
    has: "read 65536/65536 bytes at offset 131072\n",
    writes: true,
    only: plainOnly,
  },
  {
    what: "qemu-nbd --list",
    script: `qemu-nbd --list -k "$socket"`,
    has: "exports available: 1\n",
    only: plainOnly,
  },
  {
    what: "nbd-client -l",
    script: `nbd-client -l -unix "$socket"`,
    has: "Negotiation: ..\n",
    only: plainOnly,
  },
];

let folder = "";
let certificates = "";

interface Sides {
  readonly ours: Served;
  readonly genuine: Served;
}

async function start(chain: ChainCase, side: keyof Sides): Promise<Served> {
  const home = join(folder, chain.what.replaceAll(" ", "-"), side);
  mkdirSync(home, { recursive: true });
  const image = join(home, "image");
  // Keep the holes.
  await run(["cp", "--sparse=always", join(folder, "image"), image]);
  const words = side === "genuine" ? (chain.genuine ?? chain.ours) : chain.ours;
  const tls = chain.tls === true ? [`--tls-certificates=${certificates}`] : [];
  return await serve(
    [...tls, ...words.map((word) => (word === "IMAGE" ? image : word))],
    side === "genuine" ? { program: ["nbdkit"] } : {},
  );
}

/** The client's output, with SOCKET for the path of the socket. */
async function outputOf(server: Served, chain: ChainCase, script: string): Promise<string> {
  const work = mkdtempSync(join(folder, "work-"));
  const scheme = chain.tls === true ? "nbds" : "nbd";
  const tls = chain.tls === true ? `&tls-certificates=${certificates}&tls-hostname=localhost` : "";
  const uri = `${scheme}+unix:///${chain.exportName ?? ""}?socket=${server.socket}${tls}`;
  const result = await run(["bash", "-c", script], {
    cwd: work,
    env: { PATH: `/usr/bin:/bin:${process.env["PATH"]}`, socket: server.socket, uri },
  });
  return `${result.stdout}\n${result.stderr}\nstatus ${result.code}\n`.replaceAll(
    server.socket,
    "SOCKET",
  );
}

beforeAll(async () => {
  if (skip) return;
  folder = mkdtempSync(join(tmpdir(), "nbdkit-clients-"));
  certificates = (await pki()).server;
  const image = join(folder, "image");
  writeFileSync(image, "");
  await run(["truncate", "-s", String(size), image]);
  for (const { at, data } of pieces) {
    const command = ["dd", `of=${image}`, "bs=64k", `seek=${at >> 16}`, "conv=notrunc"];
    await run(command, { stdin: data });
  }
});
afterAll(() => {
  if (folder !== "") rmSync(folder, { recursive: true });
});

describe.skipIf(skip)(`the output of a client equals that with nbdkit${needs}`, () => {
  describe.each([...chains])("$what", (chain) => {
    let sides: Sides;
    beforeAll(async () => {
      sides = { ours: await start(chain, "ours"), genuine: await start(chain, "genuine") };
    });
    afterAll(async () => {
      const ends = await Promise.all([sides.ours.stop(), sides.genuine.stop()]);
      expect(ends.map(({ code }) => code)).toEqual([0, 0]);
    });

    const fit = clients.filter(({ only = () => true }) => only(chain));
    test.each(fit)("$what", async ({ script, has, writes }) => {
      const ours = await outputOf(sides.ours, chain, script);
      expect(ours).toBe(await outputOf(sides.genuine, chain, script));
      if (writes !== true || chain.readonly !== true) expect(ours).toContain(has);
      else expect(ours).not.toContain("status 0");
    });
  });
});

describe.skipIf(skip)(`the server${needs}`, () => {
  test("reads the data of a refused write with TLS", async () => {
    const chain = { what: "refused writes", ours: ["file", "IMAGE"], tls: true };
    await using server = await start(chain, "ours");
    const script = nbdsh(
      connect,
      "h.set_strict_mode(0)",
      "try: h.pwrite(bytes(1 << 20), h.get_size() - 512)",
      "except nbd.Error as error: print(error.errno, len(h.pread(512, 0)))",
    );
    expect(await outputOf(server, chain, script)).toBe("ENOSPC 512\n\n\nstatus 0\n");
  });
});

/** Runs systemd-socket-activate, which listens and starts the server. */
async function activated(options: readonly string[], server: readonly string[]) {
  const home = mkdtempSync(join(folder, "activated-"));
  const socket = join(home, "socket");
  const child = Bun.spawn(
    ["systemd-socket-activate", ...options, `--listen=${socket}`, "--", ...program, ...server],
    { cwd: home, stdin: "ignore", stdout: "ignore", stderr: "pipe" },
  );
  const stderr = new Response(child.stderr).text();
  const ended = async () => {
    child.kill();
    return { code: await child.exited, stderr: await stderr };
  };
  await until(() => isListening(socket) || child.exitCode !== null);
  return {
    uri: `nbd+unix:///?socket=${socket}`,
    ended,
    [Symbol.asyncDispose]: async () => void (await ended()),
  };
}

describe.skipIf(skip)(`systemd-socket-activate${needs}`, () => {
  test("starts the server for its first client, and the server serves all later ones", async () => {
    await using server = await activated([], ["memory", "1M"]);
    const answers = await Promise.all([1, 2, 3].map(() => run(["nbdinfo", "--size", server.uri])));
    expect(answers.map(({ stdout }) => stdout)).toEqual(["1048576\n", "1048576\n", "1048576\n"]);
    // systemd-socket-activate has become the server.
    expect((await server.ended()).code).toBe(0);
  });

  test("starts a server with -s for each client, like inetd", async () => {
    await using server = await activated(["--accept", "--inetd"], ["-s", "memory", "1M"]);
    const write = ["nbdsh", "-u", server.uri, "-c", "h.pwrite(bytes(512), 0); print(h.get_size())"];
    const env = { PATH: `/usr/bin:${process.env["PATH"]}` };
    for (const _ of [1, 2]) {
      // oxlint-disable-next-line no-await-in-loop -- one after the other
      expect((await run(write, { env })).stdout).toBe("1048576\n");
    }
    const { stderr } = await server.ended();
    expect(stderr).not.toContain("error");
  });
});
