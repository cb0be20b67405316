/** Debug lines equal nbdkit's word for word, since its users search them for the calls of their modules. */
import { describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { join } from "node:path";

import { moduleDirectories } from "#modules/directories";
import { needing, program, run } from "#test/server";

const { skip, needs } = needing("nbdkit", "nbdsh");
const haveFilters = existsSync(join(moduleDirectories().filterdir, "nbdkit-cow-filter.so"));

/** Lines that only one of the two prints, and why. */
const differences: readonly { readonly line: RegExp; readonly why: string }[] = [
  { line: /debug: nbdkit \d/, why: "the version" },
  { line: /debug: TLS disabled: /, why: "this server says which file is missing" },
  { line: /debug: using the private socket /, why: "only this server has such a socket" },
  { line: /debug: forked into background /, why: "nbdkit also forks for --run" },
  {
    line: /NBD_OPT_(INFO|GO): NBD_INFO_\w+: /,
    why: "the messages about missing information differ",
  },
  { line: /NBD_OPT_STRUCTURED_REPLY: /, why: "the messages about --no-sr differ" },
  { line: /_META_CONTEXT: (set base:|reply complete)/, why: "it follows from the other lines" },
  { line: /replying to NBD_OPT_INFO with NBD_REP_ACK/, why: "its place in the order differs" },
  { line: /NBD_OPT_ABORT|client aborted/, why: "nbdkit adds whether it could send the reply" },
  { line: /: close$/, why: "nbdkit closes no layer if the command ends first" },
];

/** The lines without differences between runs. */
function normal(stderr: string): readonly string[] {
  return stderr
    .replaceAll(/handle 0x[0-9a-f]+/g, "handle 0xN")
    .replaceAll(/\/tmp\/nbdkit\w{6}\//g, "/tmp/nbdkitXXXXXX/")
    .split("\n")
    .filter((line) => !differences.some((it) => it.line.test(line)));
}

const env = { PATH: `/usr/bin:${process.env["PATH"]}` };

/** The debug lines of a server with one thread, so that requests run one after the other. */
async function lines(server: readonly string[], layers: readonly string[], script: string) {
  const args = ["-v", "-t", "1", "-U", "-", ...layers];
  const { code, stderr } = await run([...server, ...args, "--run", script], { env });
  return { code, lines: normal(stderr) };
}

const nbdsh = (options: string, ...statements: string[]): string =>
  `nbdsh ${options} ${statements.map((text) => `-c '${text}'`).join(" ")}`;

const requests = [
  "h.pread(512, 0)",
  "h.pwrite(bytearray(512), 512)",
  "h.pwrite(bytearray(512), 512, nbd.CMD_FLAG_FUA)",
  "h.flush()",
  "h.trim(4096, 0)",
  "h.zero(4096, 0)",
  "h.zero(4096, 0, nbd.CMD_FLAG_NO_HOLE)",
  "h.cache(512, 0)",
  "h.block_status(8192, 0, lambda *a: 0)",
  "h.shutdown()",
];

const everything = nbdsh('--base-allocation -u "$uri"', ...requests);
const chains: readonly (readonly [string, readonly string[], string])[] = [
  ["requests to a plugin", ["memory", "1M"], everything],
  [
    "a filter that is stacked twice",
    ["--filter=nofilter", "--filter=nofilter", "memory", "1M"],
    everything,
  ],
  [
    "filters that change requests",
    ["--filter=blocksize", "--filter=fua", "memory", "1M", "fuamode=emulate"],
    everything,
  ],
  ["queries to a read-only export", ["-r", "--filter=nofilter", "memory", "1M"], 'nbdinfo "$uri"'],
  [
    "the list of exports",
    ["--filter=exportname", "memory", "1M", "exportname=a", "exportname=b"],
    'nbdinfo --list "$uri"',
  ],
  ["oldstyle", ["-o", "memory", "1M"], 'nbdinfo "$uri"'],
  ["a handshake without flags", ["--mask-handshake=0", "memory", "1M"], 'nbdinfo "$uri"'],
  ["no structured replies", ["--no-sr", "memory", "1M"], 'nbdinfo "$uri"'],
  [
    "an error",
    ["--filter=error", "memory", "1M", "error-pread=ENOMEM", "error-pread-rate=1"],
    nbdsh('-u "$uri"', "h.pread(512, 0)"),
  ],
  [
    "filters that remove capabilities",
    ["--filter=nozero", "--filter=nocache", "--filter=noextents", "memory", "1M"],
    'nbdinfo "$uri"',
  ],
];

/** The same modules for this server. */
function native(layers: readonly string[]): readonly string[] {
  return layers.map((word) =>
    word === "memory" ? "native:memory" : word.replace(/^--filter=/, "--filter=native:"),
  );
}

describe.skipIf(skip || !haveFilters)(`debug lines${needs}`, () => {
  test.each(chains)("of %s equal nbdkit's", async (_what, layers, script) => {
    const theirs = await lines(["nbdkit"], layers, script);
    const ours = await lines(program, native(layers), script);
    expect(ours).toEqual(theirs);
    expect(theirs.lines.length).toBeGreaterThan(20);
  });
});
