/** An open file for tests, on which every system call can be watched and made to fail. */
import { NbdError } from "#api";

import { type Calls } from "./calls.ts";
import { type OpenFile } from "./open-file.ts";
import { syncer } from "./syncer.ts";

type Fakes = { [K in keyof Calls]?: (...args: never[]) => unknown };

/** `said` lists the calls, e.g. "punchHole 0 4096". A fake may throw; what is not faked succeeds. */
export function fakeFile(
  fakes: Fakes = {},
  overrides: Partial<OpenFile> = {},
): { file: OpenFile; said: string[] } {
  const said: string[] = [];
  const calls = new Proxy({} as Calls, {
    get(_target, name: keyof Calls) {
      return (_fd: number, ...args: unknown[]) => {
        const [first, second] = args.map((it) => (it instanceof Uint8Array ? it.length : it));
        said.push([name, first, second].filter((it) => it !== undefined).join(" "));
        // The casts are true in tests: a fake has its call's parameters or fewer.
        const fake = fakes[name] as ((...all: unknown[]) => unknown) | undefined;
        return fake === undefined ? usual(name, args) : fake(...args);
      };
    },
  });
  const file: OpenFile = {
    path: "fake.img",
    // Not a descriptor: a call that is not faked would fail with EBADF.
    fd: -1,
    calls,
    writable: true,
    rotational: false,
    sector: undefined,
    evictor: undefined,
    sync: syncer(() => calls.fdatasync(-1)),
    lacks: new Set(),
    ...overrides,
  };
  return { file, said };
}

/** Transfers take all; fdatasync is done at once. */
function usual(name: keyof Calls, args: readonly unknown[]): unknown {
  const [buf] = args;
  const all = buf instanceof Uint8Array ? buf.length : undefined;
  return name === "pread" || name === "pwrite" || name === "fdatasync" ? Promise.resolve(all) : all;
}

/** A fake that always fails with `errno`. */
export function failing(errno: ConstructorParameters<typeof NbdError>[0]): () => never {
  return () => {
    throw new NbdError(errno, "said the test");
  };
}
