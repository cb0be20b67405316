/** An open file for tests. A test can watch every system call and make it fail. */
import { NbdError } from "#api";

import { type Calls } from "./calls.ts";
import { Changes } from "./changes.ts";
import { noBlockSize } from "./device.ts";
import { type OpenFile } from "./open-file.ts";
import { Pace } from "./pace.ts";
import { syncer } from "./syncer.ts";

type Fakes = { [K in keyof Calls]?: (...args: never[]) => unknown };

/** `recorded` lists the calls, e.g. "punchHole 0 4096". A fake may throw; calls without a fake succeed. */
export function fakeFile(
  fakes: Fakes = {},
  overrides: Partial<OpenFile> = {},
): { file: OpenFile; recorded: string[] } {
  const recorded: string[] = [];
  const calls = new Proxy({} as Calls, {
    get(_target, name: keyof Calls) {
      return (_fd: number, ...args: unknown[]) => {
        const [first, second] = args.map((it) => (it instanceof Uint8Array ? it.length : it));
        recorded.push([name, first, second].filter((it) => it !== undefined).join(" "));
        // The casts are correct in tests: a fake has its call's parameters or fewer.
        const fake = fakes[name] as ((...all: unknown[]) => unknown) | undefined;
        const go = () => (fake === undefined ? usual(name, args) : fake(...args));
        return /Now$|Sync$/.test(name) ? go() : Promise.try(go);
      };
    },
  });
  const file: OpenFile = {
    path: "fake.img",
    // Not a descriptor: a call without a fake would fail with EBADF.
    fd: -1,
    calls,
    writable: true,
    rotational: false,
    blockSize: noBlockSize,
    sector: undefined,
    pace: new Pace("disk", () => 0),
    changes: new Changes(),
    evictor: undefined,
    sync: syncer(() => calls.fdatasync(-1)),
    lacks: new Set(),
    ...overrides,
  };
  return { file, recorded };
}

/** The result of a call without a fake: it transfers everything. */
function usual(name: keyof Calls, args: readonly unknown[]): unknown {
  const [buf] = args;
  if (name === "size") return 4096n;
  return buf instanceof Uint8Array ? buf.length : undefined;
}

/** A fake that always fails with `errno`. */
export function failing(errno: ConstructorParameters<typeof NbdError>[0]): () => never {
  return () => {
    throw new NbdError(errno, "the test makes it fail");
  };
}

/** Makes the file belong to a network file system. */
export const remote: Partial<OpenFile> = { pace: new Pace("remote") };
/** Makes the file belong to a tmpfs. */
export const inMemory: Partial<OpenFile> = { pace: new Pace("memory") };
