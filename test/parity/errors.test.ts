/** Compares the errors that clients get from a C plugin with nbdkit's: each errno of Linux, in each kind of request. */
import { describe } from "bun:test";

import { errnoName, errnos, errnoText } from "#lib/errno";
import { chunkError, NbdClient, type RequestFields } from "#test/client";
import { compileModule, haveCompiler } from "#test/modules";
import { until } from "#test/server";

import { connected, parity, type Side, wire } from "./both.ts";

const [DF, FAST_ZERO] = [4, 16] as const;
const { EPERM, EIO, ENOMEM, ENOSPC, ESHUTDOWN, EOPNOTSUPP, EOVERFLOW, EINVAL } = errnos;

const numbers = Array.from({ length: 133 }, (_, i) => i + 1);
/** The numbers that are an errno: 41 and 58 are not. */
const named = numbers.filter((number) => Object.values<number>(errnos).includes(number));

/** The error numbers of NBD. */
const known = new Map<number, number>([
  [EPERM, EPERM],
  [errnos.EROFS, EPERM],
  [EIO, EIO],
  [ENOMEM, ENOMEM],
  [errnos.EDQUOT, ENOSPC],
  [errnos.EFBIG, ENOSPC],
  [ENOSPC, ENOSPC],
  [ESHUTDOWN, ESHUTDOWN],
]);
const expected = (more: readonly number[] = []) =>
  numbers.map((number) => known.get(number) ?? (more.includes(number) ? number : EINVAL));

async function errorsOf(
  side: Side,
  fields: RequestFields,
  of: readonly number[] = numbers,
): Promise<number[]> {
  const { client } = await connected(side);
  await using connection = client;
  const errors: number[] = [];
  for (const number of of) {
    errors.push((await connection.ask({ ...fields, offset: BigInt(number) })).error);
  }
  return errors;
}

async function withDf({ server }: Side): Promise<number[]> {
  const { client } = await NbdClient.structured({ unix: server.socket });
  await using connection = client;
  const errors: number[] = [];
  for (const number of numbers) {
    const offset = BigInt(number);
    const chunk = await connection.askChunk({ type: wire.read, flags: DF, offset, count: 1 });
    errors.push(chunkError(chunk).error);
  }
  return errors;
}

/** The message of each error, from the debug lines. */
async function words(side: Side): Promise<string[]> {
  await errorsOf(side, { type: wire.read, count: 1 }, named);
  const found = () =>
    Array.from(side.server.stderr().matchAll(/sending error reply: (.*)\n/g), (m) => m[1] ?? "");
  // Messages on stderr may arrive later than the reply on the socket.
  await until(() => found().length >= named.length);
  return found();
}

describe.skipIf(!haveCompiler)("errors (needs cc)", async () => {
  const plugin = haveCompiler ? await compileModule("test/fixtures/errnos.c") : "";
  const args = () => [plugin];

  parity("of reads", {
    args,
    see: (side) => errorsOf(side, { type: wire.read, count: 1 }),
    expected: expected(),
  });
  parity("of reads in one piece", { args, see: withDf, expected: expected([EOVERFLOW]) });
  parity("of writes", {
    args,
    see: (side) => errorsOf(side, { type: wire.write, payload: new Uint8Array(1) }),
    expected: expected(),
  });
  parity("of fast zeroes", {
    args,
    see: (side) => errorsOf(side, { type: wire.zero, flags: FAST_ZERO, count: 1 }),
    expected: expected([EOPNOTSUPP]),
  });
  parity("in words", {
    args: () => ["-v", plugin],
    see: words,
    expected: named.map((number) => errnoText(errnoName(number))),
  });
});
