/** The modules under contract: the parameters that they need, and their exceptions. */
import { mkdtempSync, readdirSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { defineFilter, type NextOps } from "#api";

import uppercase from "../../examples/uppercase/uppercase.ts";

const root = join(import.meta.dirname, "..", "..");

export interface Subject {
  readonly name: string;
  readonly module: unknown;
  /** The parameters that it needs in order to load, or to have an effect. */
  readonly texts: Readonly<Record<string, string>>;
  /** Requests that do not reach the layer below, or reach it as other requests; with the reason. */
  readonly keeps?: { readonly kinds: readonly string[]; readonly because: string };
  /** The byte that a read shows where the disk below has this one; by default the same. */
  readonly shows?: (byte: number) => number;
  /** Prepare a disk for the module. If possible, disks with different numbers are served from different offsets. */
  readonly prepare?: (disk: Uint8Array, number?: number) => void;
}

type Exception = Partial<Omit<Subject, "module" | "name">>;

const filters: Readonly<Record<string, Exception>> = {
  cow: {
    texts: { "cow-block-size": "4096" },
    keeps: {
      kinds: ["pwrite", "trim", "zero", "flush", "cache"],
      because: "written data stays in the overlay, and the filter never writes to the disk below",
    },
  },
  delay: { texts: { "delay-extents": "0" } },
  error: { texts: { error: "EIO", "error-rate": "0" } },
  offset: { texts: { offset: "512", range: "12k" } },
  partition: { texts: { partition: "1" }, prepare: putPartition },
};

/** Write an MBR with one partition of 24 sectors, which starts at the fifth sector, or `number` sectors later. */
function putPartition(disk: Uint8Array, number = 0): void {
  const view = new DataView(disk.buffer, disk.byteOffset, 512);
  disk.fill(0, 0, 512);
  view.setUint8(446 + 4, 0x83);
  view.setUint32(446 + 8, 4 + number, true);
  view.setUint32(446 + 12, 24 + number, true);
  view.setUint16(510, 0xaa55, true);
}

/** Filters that differ from all of filters/ in what the contract allows. */
const others: readonly Subject[] = [
  { name: "read-only, with other reads", module: uppercase, texts: {}, shows: toUpper },
  {
    name: "writable, with other reads",
    module: { ...uppercase, canWrite: (next: NextOps) => next.canWrite() },
    texts: {},
    shows: toUpper,
  },
  {
    name: "unable to do anything but read and write",
    module: defineFilter({
      name: "unable",
      canFlush: () => false,
      canTrim: () => false,
      canZero: () => "none",
      canExtents: () => false,
      canCache: () => "none",
    }),
    texts: {},
  },
];

function toUpper(byte: number): number {
  return byte >= 0x61 && byte <= 0x7a ? byte - 0x20 : byte;
}

async function defaultOf(kind: "filters" | "plugins", name: string): Promise<unknown> {
  const module: { readonly default?: unknown } = await import(join(root, kind, name, `${name}.ts`));
  return module.default;
}

/** All filters in filters/, and the others. */
export async function allFilters(): Promise<Subject[]> {
  const found = readdirSync(join(root, "filters")).map(async (name) => ({
    name,
    module: await defaultOf("filters", name),
    texts: {},
    ...filters[name],
  }));
  return [...(await Promise.all(found)), ...others];
}

export interface PluginSubject {
  readonly name: string;
  readonly module: unknown;
  /** Parameters for a new disk of 64 KiB. */
  readonly texts: () => Readonly<Record<string, string>>;
  /** The disk does not keep written data. */
  readonly forgets: boolean;
}

export const pluginSize = 65536;

const folder = mkdtempSync(join(tmpdir(), "contract-"));
process.once("exit", () => rmSync(folder, { recursive: true, force: true }));
let images = 0;

function newImage(): string {
  const path = join(folder, `${(images += 1)}.img`);
  writeFileSync(path, "");
  truncateSync(path, pluginSize);
  return path;
}

const plugins: Readonly<Record<string, Pick<PluginSubject, "forgets" | "texts">>> = {
  file: { texts: () => ({ file: newImage() }), forgets: false },
  null: { texts: () => ({ size: `${pluginSize}` }), forgets: true },
};

/** All plugins, by their folders. A plugin takes size= unless it is listed above. */
export async function allPlugins(): Promise<PluginSubject[]> {
  return Promise.all(
    readdirSync(join(root, "plugins")).map(async (name) => ({
      name,
      module: await defaultOf("plugins", name),
      texts: () => ({ size: `${pluginSize}` }),
      forgets: false,
      ...plugins[name],
    })),
  );
}
