/** Runs one session against this server and the genuine nbdkit, for tests that compare them. */
import { expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { NbdClient } from "#test/client";
import { installed, program, serve, type Served } from "#test/server";

/** A session's server, and the folder of this server alone. */
export interface Side {
  readonly server: Served;
  readonly folder: string;
}

export interface Case {
  /** Everything after `-f -U SOCKET`. */
  readonly args: (folder: string) => readonly string[];
  /** Prepare the folder for the arguments. */
  readonly before?: (folder: string) => unknown;
  /** Use the server, and return the results to compare. */
  readonly see: (side: Side) => Promise<unknown>;
  /** The expected output of both. */
  readonly expected: unknown;
  /** Programs that the case needs besides nbdkit. */
  readonly needs?: readonly string[];
}

const programs = { ours: program, genuine: ["nbdkit"] } as const;

function missingOf(needs: readonly string[]): string {
  return needs.filter((name) => !installed(name)).join(", ");
}

/** A test that is skipped if a program is missing, with the program in its name. */
function testWith(needs: readonly string[], title: string, body: () => Promise<void>): void {
  const missing = missingOf(needs);
  test.skipIf(missing !== "")(missing === "" ? title : `${title} (needs ${missing})`, body, 60_000);
}

/** Test the same session with both servers: both give the expected results, and exit with 0. */
export function parity(title: string, it: Case): void {
  testWith(["nbdkit", ...(it.needs ?? [])], title, async () => {
    const [ours, genuine] = await Promise.all([
      session(programs.ours, it),
      session(programs.genuine, it),
    ]);
    const wanted = { seen: it.expected, code: 0 };
    expect({ ours, genuine }).toEqual({ ours: wanted, genuine: wanted });
  });
}

async function session(command: readonly string[], it: Case): Promise<unknown> {
  const folder = mkdtempSync(join(tmpdir(), "nbdkit-parity-"));
  try {
    await it.before?.(folder);
    await using server = await serve(it.args(folder), { program: command });
    const seen = await it.see({ server, folder });
    const { code } = await server.stop();
    return { seen, code };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Test that both servers refuse the last argument, `KEY=VALUE`, and exit with 1. Our message names the key. */
export function bothRefuse(args: readonly string[]): void {
  const words = (text: string) =>
    expect.stringMatching(
      new RegExp(`^the server exited with 1 before .*\\n[^]*error: .*${RegExp.escape(text)}`),
    );
  const [key = ""] = args.at(-1)?.split("=") ?? [];
  testWith(["nbdkit"], `refuse ${args.join(" ")}`, async () => {
    const [ours, genuine] = await Promise.all([
      startOf(programs.ours, args),
      startOf(programs.genuine, args),
    ]);
    expect({ ours, genuine }).toEqual({ ours: words(key), genuine: words("") });
  });
}

/** Test that both servers start with these arguments. */
export function bothAccept(args: readonly string[]): void {
  testWith(["nbdkit"], `accept ${args.join(" ")}`, async () => {
    const [ours, genuine] = await Promise.all([
      startOf(programs.ours, args),
      startOf(programs.genuine, args),
    ]);
    expect({ ours, genuine }).toEqual({ ours: "started", genuine: "started" });
  });
}

async function startOf(command: readonly string[], args: readonly string[]): Promise<string> {
  try {
    await using server = await serve(args, { program: command });
    expect(server.stderr()).not.toContain("error:");
    return "started";
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/** Commands and flags of the NBD protocol. */
export const wire = {
  read: 0,
  write: 1,
  disconnect: 2,
  flush: 3,
  trim: 4,
  cache: 5,
  zero: 6,
  fastZero: 16,
} as const;

/** Connect and negotiate. Returns the client and the size of the export. */
export async function connected(side: Side): Promise<{ client: NbdClient; size: bigint }> {
  const { client, export: served } = await NbdClient.ready({ unix: side.server.socket });
  return { client, size: served.size };
}

/** The type of the reply by which the server refuses the export; undefined if it accepts. */
export async function refusal(side: Side): Promise<number | undefined> {
  await using client = await NbdClient.connect({ unix: side.server.socket });
  await client.hello();
  const answer = await client.go();
  return "type" in answer ? answer.type : undefined;
}
