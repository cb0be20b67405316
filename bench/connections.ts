/**
 * Runs many clients at once, which read 4 KiB again and again, against our server and nbdkit in turn. Prints the number
 * of clients that were served, what they cost, and the latencies.
 *
 * usage: bun bench/connections.ts [CLIENTS] [READS]
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { bytes, infoPayload, option, request } from "#test/client";
import { installed, serve } from "#test/server";

const clients = Number(process.argv[2] ?? 2000);
const reads = Number(process.argv[3] ?? 50);
const readBytes = 4096;
const diskBytes = 64 << 20;
const silent = 1000;

const contenders: readonly {
  readonly name: string;
  readonly program?: readonly string[];
  readonly options: readonly string[];
}[] = [
  { name: "ours", options: [] },
  { name: "nbdkit", program: ["nbdkit"], options: [] },
  { name: "nbdkit -t 1", program: ["nbdkit"], options: ["-t", "1"] },
];

interface Outcome {
  readonly served: number;
  readonly failed: number;
  readonly seconds: number;
  /** The milliseconds of all requests, sorted. */
  readonly times: readonly number[];
  readonly mostKiB: number;
  readonly mostThreads: number;
}

/** Run one client. Resolves once all its reads are answered, or the connection ends. */
function client(socket: string, ready: () => Promise<void>, times: number[]): Promise<boolean> {
  return new Promise((resolve) => {
    let phase: "handshake" | "reads" | "over" = "handshake";
    let received = 0;
    let done = 0;
    let began = 0;
    const next = (to: Bun.Socket): void => {
      began = performance.now();
      const offset = BigInt(Math.floor((Math.random() * diskBytes) / readBytes) * readBytes);
      to.write(request({ type: 0, offset, count: readBytes }));
    };
    const end =
      (ok: boolean) =>
      (from: Bun.Socket): void => {
        // Others do not wait for a client that was disconnected.
        if (phase === "handshake") void ready();
        phase = "over";
        resolve(ok && done === reads);
        from.terminate();
      };
    // The greeting, INFO_EXPORT and ACK.
    const handshakeBytes = 18 + 20 + 12 + 20;
    void Bun.connect({
      unix: socket,
      socket: {
        open: (to) => void to.write(bytes(3, option(7, infoPayload("")))),
        data(from, chunk) {
          received += chunk.length;
          if (phase === "handshake") {
            if (received < handshakeBytes) return;
            phase = "reads";
            received = 0;
            void ready().then(() => next(from));
          } else if (received === 16 + readBytes) {
            received = 0;
            times.push(performance.now() - began);
            done++;
            if (done < reads) next(from);
            else end(true)(from);
          }
        },
        close: end(false),
        error: end(false),
      },
    }).catch(() => {
      void ready();
      resolve(false);
    });
  });
}

function status(pid: number, field: string): number {
  return Number(
    new RegExp(`^${field}:\\s+(\\d+)`, "m").exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1],
  );
}

async function crowd(socket: string, pid: number): Promise<Outcome> {
  const times: number[] = [];
  const all = Promise.withResolvers<void>();
  let waiting = clients;
  let began = 0;
  let [mostKiB, mostThreads] = [0, 0];
  const watch = setInterval(() => {
    mostKiB = Math.max(mostKiB, status(pid, "VmRSS"));
    mostThreads = Math.max(mostThreads, status(pid, "Threads"));
  }, 20);
  // All clients start together, once all are connected.
  const ready = (): Promise<void> => {
    if (--waiting === 0) {
      began = performance.now();
      all.resolve();
    }
    return all.promise;
  };
  const results = await Promise.all(
    Array.from({ length: clients }, () => client(socket, ready, times)),
  );
  clearInterval(watch);
  const served = results.filter(Boolean).length;
  return {
    served,
    failed: clients - served,
    seconds: (performance.now() - began) / 1000,
    times: times.toSorted((a, b) => a - b),
    mostKiB,
    mostThreads,
  };
}

/** The reads of one client in a second, one at a time. */
async function rate(socket: string): Promise<number> {
  const end = performance.now() + 1000;
  let count = 0;
  await new Promise<void>((resolve) => {
    let received = 0;
    void Bun.connect({
      unix: socket,
      socket: {
        open: (to) =>
          void to.write(
            bytes(3, option(7, infoPayload("")), request({ type: 0, count: readBytes })),
          ),
        data(from, chunk) {
          received += chunk.length;
          const whole = 70 + (count + 1) * (16 + readBytes);
          if (received < whole) return;
          count++;
          if (performance.now() < end) {
            from.write(request({ type: 0, count: readBytes }));
          } else {
            from.terminate();
            resolve();
          }
        },
        close: () => resolve(),
      },
    });
  });
  return count;
}

/** Measure how much a thousand silent clients slow down another one, and the memory of a silent client. */
async function silence(socket: string, pid: number): Promise<string> {
  await rate(socket);
  const alone = await rate(socket);
  const before = status(pid, "VmRSS");
  const others: Bun.Socket[] = [];
  for (let i = 0; i < silent; i++) {
    others.push(await Bun.connect({ unix: socket, socket: { data: () => {} } }));
  }
  const among = await rate(socket);
  const each = (status(pid, "VmRSS") - before) / silent;
  for (const other of others) other.terminate();
  return `${alone} reads/s alone, ${among} among ${silent} silent clients, which cost ${each.toFixed(1)} KiB each`;
}

const folder = mkdtempSync(join(tmpdir(), "nbdkit-connections-"));
try {
  const image = join(folder, "image");
  writeFileSync(image, Buffer.alloc(diskBytes, "some data "));
  for (const { name, options, program } of contenders) {
    if (program?.some((one) => !installed(one)) === true) continue;
    await using server = await serve(
      [...options, "file", image],
      program === undefined ? {} : { program },
    );
    const { pid } = server.process;
    const quiet = await silence(server.socket, pid);
    const { failed, mostKiB, mostThreads, seconds, served, times } = await crowd(
      server.socket,
      pid,
    );
    const at = (share: number) => (times[Math.floor((times.length - 1) * share)] ?? 0).toFixed(1);
    process.stdout.write(
      `${name}: ${served} of ${clients} clients served, ${failed} failed; ${times.length} reads of ${readBytes} bytes ` +
        `in ${seconds.toFixed(2)} s, p50 ${at(0.5)} ms, p99 ${at(0.99)} ms, slowest ${at(1)} ms; ` +
        `at most ${mostKiB >> 10} MiB and ${mostThreads} threads\n  ${quiet}\n`,
    );
  }
} finally {
  rmSync(folder, { recursive: true });
}
