/** Random chains for bench/soak.ts: genuine filters and plugins, filters of the first releases, and ours. */
import { compileModule } from "#test/modules";

import { filters as recipes, plugins as genuinePlugins } from "../test/stock/stack-recipes.ts";

export interface SoakStack {
  /** Filters, plugin and parameters, in which FOLDER stands for the server's folder. */
  readonly args: readonly string[];
  /** The same with short names, for the report. */
  readonly line: string;
}

export type Random = () => number;

interface Part {
  readonly name: string;
  readonly arg: () => Promise<string> | string;
  readonly params: readonly string[];
}

const nbdkit1_2 = { THREAD_MODEL: "NBDKIT_THREAD_MODEL_PARALLEL" };

/** Filters through which written data reads back at the same offset. */
const genuine: Readonly<Record<string, readonly (readonly string[])[]>> = {
  ...Object.fromEntries(
    [
      "blocksize",
      "cache",
      "cacheextents",
      "cow",
      "delay",
      "exportname",
      "extentlist",
      "fua",
      "ip",
      "log",
      "multi-conn",
      "nocache",
      "noextents",
      "nofilter",
      "noparallel",
      "nozero",
      "pause",
      "rate",
      "readahead",
      "retry-request",
      "scan",
      "stats",
    ].map((name) => [name, recipes[name] ?? [[]]]),
  ),
  "blocksize-policy": [["blocksize-preferred=64K"]],
  limit: [["limit=8"]],
  offset: [["offset=512"], ["offset=8K", "range=1M"]],
  retry: [["retries=2", "retry-delay=1"]],
  truncate: [["round-down=4096"]],
};

const oldest: Readonly<Record<string, { readonly source: string; readonly for1_2?: true }>> = {
  xor: { source: "examples/xor/xor.c" },
  tailguard: { source: "examples/tail-guard/tail-guard.c" },
  rmw: { source: "test/fixtures/rmw.c" },
  background: { source: "test/fixtures/background.c" },
  "background-1.2": { source: "test/fixtures/background.c", for1_2: true },
};

const oldestParams: Readonly<Record<string, readonly string[]>> = {
  xor: ["xor-key=90"],
  tailguard: ["guard=4k"],
};

const ours: Readonly<Record<string, readonly (readonly string[])[]>> = {
  cow: [[]],
  delay: [["rdelay=1ms"], ["wdelay=1ms"]],
  error: [["error-rate=0%"]],
  offset: [["offset=1024"]],
};

interface Plugin extends Part {
  readonly line: string;
  readonly options?: readonly string[];
}

const DISK = "2M";

/** bench/soak.ts creates FOLDER/disk, of 2 MiB. */
const plugins: readonly Plugin[] = [
  ...["native:memory", "memory"].map((name) => whole(name, [`size=${DISK}`])),
  ...["native:file", "file"].map((name) => whole(name, ["FOLDER/disk"])),
  whole("native:eval", genuinePlugins["eval"]?.[0] ?? []),
  checking("native:sparse-random", [`size=${DISK}`, "seed=7", "percent=40"]),
  whole("native:data", ['data=(1 2 3 4)*5000 @400000 ("text")*3000 @700000 9', `size=${DISK}`]),
  checking("native:pattern", [`size=${DISK}`]),
  {
    ...whole("ramdisk-v1", [`size=${DISK}`]),
    arg: () => compileModule("examples/ramdisk-v1/ramdisk-v1.c"),
  },
  {
    ...whole("ramdisk-v2", [`size=${DISK}`]),
    arg: () => compileModule("examples/ramdisk-v2/ramdisk-v2.c"),
  },
];

function whole(name: string, params: readonly string[]): Plugin {
  return { name, line: name, params, arg: () => name };
}

/** A plugin that fails writes of other data than it has, so that clients must not write. */
function checking(name: string, params: readonly string[]): Plugin {
  return { ...whole(name, params), line: `-r ${name}`, options: ["-r"] };
}

function pick<T>(random: Random, from: readonly T[]): T {
  const found = from[Math.floor(random() * from.length)];
  if (found === undefined) throw new Error("nothing to choose from");
  return found;
}

function randomFilter(random: Random): Part {
  const kind = random();
  if (kind < 0.6) {
    const name = pick(random, Object.keys(genuine));
    return {
      name,
      arg: () => `native:${name}`,
      params: pick(random, genuine[name] ?? [[]]),
    };
  }
  if (kind < 0.8) {
    const name = pick(random, Object.keys(oldest));
    const { source, for1_2 } = oldest[name] ?? { source: name };
    return {
      name,
      arg: () => compileModule(source, for1_2 ? { defines: nbdkit1_2, name } : { name }),
      params: oldestParams[name] ?? [],
    };
  }
  const name = pick(random, Object.keys(ours));
  return { name, arg: () => name, params: pick(random, ours[name] ?? [[]]) };
}

/** Pairs of filters that a stack must not have, the first above the second. */
const apart: readonly (readonly [above: string, below: string])[] = [
  // multi-conn of 1.32.5 fails in finalize when a client leaves.
  ["delay", "multi-conn"],
];

/** A stack of one to five different filters, since parameters go to the first filter that accepts them. */
export async function randomStack(random: Random): Promise<SoakStack> {
  const wanted = 1 + Math.floor(random() * 5);
  const parts: Part[] = [];
  while (parts.length < wanted) {
    const filter = randomFilter(random);
    const names = parts.map(({ name }) => name);
    if (names.includes(filter.name)) continue;
    if (apart.some(([above, below]) => below === filter.name && names.includes(above))) continue;
    parts.push(filter);
  }
  const plugin = pick(random, plugins);
  const params = [...plugin.params, ...parts.flatMap((part) => [...part.params])];
  const args = await Promise.all(parts.map((part) => part.arg()));
  return {
    args: [
      ...(plugin.options ?? []),
      ...args.map((arg) => `--filter=${arg}`),
      await plugin.arg(),
      ...params,
    ],
    line: [
      ...parts.map(({ name }, i) => (args[i]?.includes(":") ? `native:${name}` : name)),
      `${plugin.line}:`,
      ...params,
    ].join(" "),
  };
}
