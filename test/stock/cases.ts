/** Cases that many modules have. */
import { run } from "#test/server";

import { captive, type Modules, ran, stock, stockCommand, withErrors } from "./stock.ts";

interface Refusal extends Omit<Modules, "expected" | "differs"> {
  /** The error line without nbdkit's prefix. */
  readonly error: string;
}

/** The server does not start: it prints one error, and its exit code is 1. */
export function refuses(
  title: string,
  {
    error,
    differs,
    options = [],
    ...modules
  }: Refusal & { readonly differs?: { readonly why: string; readonly error: string } },
): void {
  const failed = (message: string) => ({ code: 1, errors: [`nbdkit: error: ${message}`] });
  const ours = differs && { differs: { why: differs.why, expected: failed(differs.error) } };
  stockCommand(title, {
    ...modules,
    // A server that starts by mistake ends at once.
    options: typeof options === "function" ? options : (folder) => [...options, ...captive(folder)],
    see: ran,
    expected: failed(error),
    ...ours,
  });
}

/** The server starts, prints one error for its client and refuses it, and goes on. */
export function refusesClients(title: string, { error, ...modules }: Refusal): void {
  stock(title, {
    ...modules,
    see: (side) => withErrors(side, "show (errno (client))", null),
    expected: ["ENOENT", [`nbdkit: ${modules.plugin}: error: ${error}`]],
  });
}

/** nbdcopy can write the data of the disk back to the disk. */
export function copiesOntoItself(
  title: string,
  modules: Omit<Modules, "expected" | "differs" | "needs">,
  options: readonly string[] = [],
): void {
  stock(title, {
    ...modules,
    needs: ["nbdcopy"],
    see: async ({ server }) => {
      const { code, stderr } = await run(["nbdcopy", ...options, server.uri, server.uri]);
      return { code, stderr };
    },
    expected: { code: 0, stderr: "" },
  });
}
