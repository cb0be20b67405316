/** The configurations in which servers are compared: chains, options and sizes, and the arguments for both programs. */
import { closeSync, openSync, truncateSync } from "node:fs";
import { join } from "node:path";

import type { SessionOptions } from "./sessions.ts";

export interface PairConfiguration extends SessionOptions {
  /** The arguments after `-U SOCKET`. A configuration with `file` has a sparse file in `folder`. */
  readonly ours: (folder: string) => readonly string[];
  readonly genuine: (folder: string) => readonly string[];
}

type PluginName = "memory" | "file" | "null";

interface Chain {
  readonly filters: readonly string[];
  readonly parameters?: readonly string[];
  /** The size that clients see, by the size of the disk. */
  readonly size?: (size: bigint) => bigint;
  readonly emulates?: boolean;
  readonly forbidden?: readonly number[];
}

/** Filters of this server itself. Both servers use the genuine ones otherwise. */
const own: ReadonlySet<string> = new Set(["offset", "error"]);

const exportName = ["exportname=main", "exportname=", "exportdesc=fixed:a disk"];

const chains: Readonly<Record<string, Chain>> = {
  bare: { filters: [] },
  offset: {
    filters: ["offset"],
    parameters: ["offset=512", "range=65536"],
    size: () => 65536n,
  },
  "offset-to-the-end": {
    filters: ["offset"],
    parameters: ["offset=511"],
    size: (size) => size - 511n,
  },
  "genuine-offset": {
    filters: ["native:offset"],
    parameters: ["offset=4096", "range=70000"],
    size: () => 70000n,
  },
  "error-never": { filters: ["error"], parameters: ["error=EPERM", "error-rate=0"] },
  "error-always": { filters: ["error"], parameters: ["error=ENOSPC", "error-rate=100%"] },
  "error-by-request": {
    filters: ["error"],
    parameters: [
      "error-pread=ENOMEM",
      "error-pread-rate=0",
      "error-pwrite=EPERM",
      "error-pwrite-rate=1",
      "error-trim=EIO",
      "error-trim-rate=1",
      "error-zero=EINVAL",
      "error-zero-rate=1",
      "error-extents=ENOMEM",
      "error-extents-rate=1",
      "error-cache=ESHUTDOWN",
      "error-cache-rate=1",
    ],
  },
  "error-of-reads": {
    filters: ["error"],
    parameters: ["error-pread=ENOMEM", "error-pread-rate=1"],
  },
  "genuine-error": { filters: ["native:error"], parameters: ["error=EIO", "error-rate=1"] },
  exportname: { filters: ["exportname"], parameters: exportName },
  "exportname-strict": {
    filters: ["exportname"],
    parameters: [
      ...exportName,
      "exportname-strict=true",
      "exportname-list=explicit",
      "default-export=main",
    ],
  },
  "exportname-error": { filters: ["exportname"], parameters: ["exportname-list=error"] },
  "exportname-empty": {
    filters: ["exportname"],
    parameters: ["exportname-list=empty", "exportdesc=none"],
  },
  "blocksize-policy": {
    filters: ["blocksize-policy"],
    parameters: ["blocksize-minimum=512", "blocksize-preferred=4096", "blocksize-maximum=1M"],
  },
  "blocksize-policy-error": {
    filters: ["blocksize-policy"],
    parameters: [
      "blocksize-minimum=512",
      "blocksize-preferred=4096",
      "blocksize-maximum=64k",
      "blocksize-error-policy=error",
    ],
  },
  noextents: { filters: ["noextents"] },
  "nozero-none": { filters: ["nozero"], emulates: true },
  "nozero-emulate": { filters: ["nozero"], parameters: ["zeromode=emulate"], emulates: true },
  "nozero-notrim": { filters: ["nozero"], parameters: ["zeromode=notrim"], emulates: true },
  "nozero-slow": {
    filters: ["nozero"],
    parameters: ["zeromode=plugin", "fastzeromode=slow"],
    emulates: true,
  },
  "nozero-ignore": {
    filters: ["nozero"],
    parameters: ["zeromode=plugin", "fastzeromode=ignore"],
    emulates: true,
  },
  "fua-discard": { filters: ["fua"], parameters: ["fuamode=discard"] },
  "fua-emulate": { filters: ["fua"], parameters: ["fuamode=emulate"] },
  "fua-native": { filters: ["fua"], parameters: ["fuamode=native"] },
  "fua-force": { filters: ["fua"], parameters: ["fuamode=force"] },
  "nocache-none": { filters: ["nocache"], emulates: true },
  "nocache-emulate": { filters: ["nocache"], parameters: ["cachemode=emulate"], emulates: true },
  "nocache-nop": { filters: ["nocache"], parameters: ["cachemode=nop"], emulates: true },
  "multi-conn": { filters: ["multi-conn"], parameters: ["multi-conn-mode=emulate"] },
  "multi-conn-off": { filters: ["multi-conn"], parameters: ["multi-conn-mode=disable"] },
  // The genuine filter of 1.32.5 crashes, in both servers, on a trim or zero of a protected range.
  protect: { filters: ["protect"], parameters: ["protect=4096-65535"], forbidden: [4, 6] },
  swab: { filters: ["swab"], parameters: ["swab-bits=16"], size: (size) => (size / 2n) * 2n },
  truncate: { filters: ["truncate"], parameters: ["truncate=2M"], size: () => 2n << 20n },
  "truncate-down": { filters: ["truncate"], parameters: ["truncate=100000"], size: () => 100_000n },
  "truncate-up": {
    filters: ["truncate"],
    parameters: ["round-up=4096"],
    size: (size) => ((size + 4095n) / 4096n) * 4096n,
  },
  "offset-under-error": {
    filters: ["native:error", "offset"],
    parameters: ["error-extents=EPERM", "error-extents-rate=1", "offset=1024"],
    size: (size) => size - 1024n,
  },
  "offset-over-nozero": {
    filters: ["offset", "nozero", "noextents"],
    parameters: ["zeromode=emulate", "offset=1"],
    size: (size) => size - 1n,
    emulates: true,
  },
};

const sizes: Readonly<Record<string, bigint>> = {
  "0": 0n,
  "1": 1n,
  "511": 511n,
  "1M": 1n << 20n,
  "6G": 6n << 30n,
  most: (1n << 63n) - 512n,
};

const optionSets: Readonly<Record<string, readonly string[]>> = {
  one: ["-t1"],
  many: [],
  readonly: ["-t1", "-r"],
  "many-readonly": ["-r"],
  "no-sr": ["-t1", "--no-sr"],
  "mask-0": ["-t1", "--mask-handshake=0"],
  "mask-1": ["-t1", "--mask-handshake=1"],
  "mask-2": ["-t1", "--mask-handshake=2"],
  oldstyle: ["-t1", "-o"],
};

/** All useful configurations, with names such as `memory/1M/offset/many`. */
export function pairConfigurations(): readonly PairConfiguration[] {
  const configurations: PairConfiguration[] = [];
  for (const options of Object.keys(optionSets)) {
    for (const plugin of ["memory", "file", "null"] as const) {
      for (const size of Object.keys(sizes)) {
        // File systems do not support files of that size.
        if (plugin === "file" && size === "most") continue;
        configurations.push(pairConfiguration(`${plugin}/${size}/bare/${options}`));
      }
    }
  }
  for (const chain of Object.keys(chains)) {
    for (const options of ["one", "many", "readonly", "no-sr"]) {
      for (const plugin of ["memory", "file"]) {
        if (chain !== "bare")
          configurations.push(pairConfiguration(`${plugin}/1M/${chain}/${options}`));
      }
    }
  }
  for (const chain of ["truncate", "truncate-up", "exportname", "noextents", "error-always"]) {
    for (const size of ["0", "1", "511", "6G"]) {
      for (const plugin of ["memory", "file", "null"]) {
        configurations.push(pairConfiguration(`${plugin}/${size}/${chain}/one`));
      }
    }
  }
  return configurations;
}

/** `PLUGIN/SIZE/CHAIN/OPTIONS` */
export function pairConfiguration(name: string): PairConfiguration {
  const [plugin = "", size = "", chainName = "", optionName = ""] = name.split("/");
  const [bytes, chain, options] = [sizes[size], chains[chainName], optionSets[optionName]];
  if (bytes === undefined || chain === undefined || options === undefined || !isPlugin(plugin)) {
    throw new Error(`no such configuration: ${name}`);
  }
  const args = (filters: readonly string[]) => (folder: string) => [
    ...options,
    ...filters.map((filter) => `--filter=${filter}`),
    ...pluginArguments(plugin, bytes, folder),
    ...(chain.parameters ?? []),
  ];
  return {
    name,
    size: chain.size?.(bytes) ?? bytes,
    readonly: options.includes("-r"),
    oldstyle: options.includes("-o"),
    ordered: options.includes("-t1"),
    handshakeFlags: 3 & Number(/mask-handshake=(\d)/.exec(options.join(" "))?.[1] ?? 3),
    emulates: chain.emulates ?? false,
    forbidden: chain.forbidden ?? [],
    fast: plugin !== "file" && chain.emulates !== true,
    ours: args(
      chain.filters.map((filter) =>
        own.has(filter) || filter.startsWith("native:") ? filter : `native:${filter}`,
      ),
    ),
    genuine: args(chain.filters.map((filter) => filter.replace("native:", ""))),
  };
}

function isPlugin(name: string): name is PluginName {
  return name === "memory" || name === "file" || name === "null";
}

function pluginArguments(plugin: PluginName, size: bigint, folder: string): readonly string[] {
  if (plugin !== "file") return [plugin, `size=${size}`];
  const path = join(folder, "disk");
  closeSync(openSync(path, "w"));
  truncateSync(path, Number(size));
  return [plugin, path];
}
