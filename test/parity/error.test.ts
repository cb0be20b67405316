/** Compares the error filter with nbdkit's own. */
import { describe } from "bun:test";
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import type { RequestFields } from "#test/client";

import { bothAccept, bothRefuse, connected, parity, type Side, wire } from "./both.ts";

const memory = ["--filter=error", "memory", "size=1M"];

const requests = {
  pread: { type: wire.read, count: 512 },
  pwrite: { type: wire.write, payload: new Uint8Array(512) },
  trim: { type: wire.trim, count: 512 },
  zero: { type: wire.zero, count: 512 },
  cache: { type: wire.cache, count: 512 },
  flush: { type: wire.flush },
} as const satisfies Record<string, RequestFields>;
type Kind = keyof typeof requests;

const numbers = { EPERM: 1, EIO: 5, ENOMEM: 12, EINVAL: 22, ENOSPC: 28, ESHUTDOWN: 108 } as const;

/** The error number that the client gets for each kind of request, and the server's message. */
async function answers(side: Side): Promise<{ errors: Record<string, number>; log: string[] }> {
  const { client } = await connected(side);
  await using _ = client;
  const errors: Record<string, number> = {};
  for (const [kind, fields] of Object.entries(requests)) {
    const { error } = await client.ask(fields);
    errors[kind] = error;
    // Messages on stderr may arrive later than the reply on the socket.
    if (error !== 0) await side.server.printed(new RegExp(`injecting \\w+ error into ${kind}\n`));
  }
  const words = side.server.stderr().matchAll(/error: (injecting \w+ error into \w+)\n/g);
  return { errors, log: Array.from(words, (match) => match[1] ?? "") };
}

/** The result of `answers` if these kinds fail. */
function failing(kinds: Readonly<Partial<Record<Kind, keyof typeof numbers>>>) {
  const none = { pread: 0, pwrite: 0, trim: 0, zero: 0, cache: 0, flush: 0 };
  const entries = Object.entries(kinds);
  return {
    errors: {
      ...none,
      ...Object.fromEntries(entries.map(([kind, name]) => [kind, numbers[name]])),
    },
    log: entries.map(([kind, name]) => `injecting ${name} error into ${kind}`),
  };
}

const all = <N extends keyof typeof numbers>(name: N) => ({
  pread: name,
  pwrite: name,
  trim: name,
  zero: name,
  cache: name,
});

describe("error filter and nbdkit's", () => {
  for (const [texts, kinds] of [
    [[], {}],
    [["error=EPERM"], {}],
    [["error-rate=0"], {}],
    [["error-rate=1"], all("EIO")],
    [["error=EPERM", "error-rate=100%"], all("EPERM")],
    [["error=ENOMEM", "error-rate=1"], all("ENOMEM")],
    [["error=EINVAL", "error-rate=1"], all("EINVAL")],
    [["error=ENOSPC", "error-rate=1"], all("ENOSPC")],
    [["error=ESHUTDOWN", "error-rate=1"], all("ESHUTDOWN")],
    [["error-pread-rate=1"], { pread: "EIO" }],
    [["error-pwrite-rate=1", "error-pwrite=ENOSPC"], { pwrite: "ENOSPC" }],
    [["error-trim-rate=1", "error=EPERM"], { trim: "EPERM" }],
    [["error=EPERM", "error-zero=ENOMEM", "error-zero-rate=1"], { zero: "ENOMEM" }],
    [["error-cache-rate=1"], { cache: "EIO" }],
    [["error-extents-rate=1"], {}],
    [["error-pread-rate=1", "error-rate=0"], {}],
    [["error-pread=EPERM", "error=ENOSPC", "error-rate=1"], all("ENOSPC")],
    [["error-rate=1", "error-file=/nonexistent/trigger"], {}],
    [["error-rate=1", "error-file=/nonexistent/trigger", "error-pread-file=/"], { pread: "EIO" }],
  ] as const) {
    parity(`give the same answers with "${texts.join(" ")}"`, {
      args: () => [...memory, ...texts],
      see: answers,
      expected: failing(kinds),
    });
  }

  parity("check for the file at each request", {
    args: (folder) => [...memory, "error-rate=1", `error-file=${join(folder, "trigger")}`],
    see: async (side) => {
      const { client } = await connected(side);
      await using _ = client;
      const file = join(side.folder, "trigger");
      const before = await client.ask(requests.pread);
      writeFileSync(file, "");
      const during = await client.ask(requests.pread);
      rmSync(file);
      const after = await client.ask(requests.pread);
      return [before.error, during.error, after.error];
    },
    expected: [0, numbers.EIO, 0],
  });

  for (const text of ["error=eio", "error=ENOENT", "error-pread=", "error-foo=EIO"]) {
    bothRefuse([...memory, text]);
  }
  for (const text of ["101%", "1.1", "-0.1", "0.1x", "", "%", "50 %", "inf"]) {
    bothRefuse([...memory, `error-rate=${text}`]);
  }
  for (const text of ["100%", "0", "1e-3", ".5", " 50%"]) {
    bothAccept([...memory, `error-cache-rate=${text}`]);
  }
  bothAccept([...memory, "error-extents=EPERM", "error-extents-file=x"]);
});
