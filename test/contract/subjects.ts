/** The modules that contracts are tested with: what they need to be configured, and where they are unlike others. */
import { mkdtempSync, readdirSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const root = join(import.meta.dirname, "..", "..");

export interface Subject {
  readonly name: string;
  readonly module: unknown;
  /** Parameters, without which it cannot be loaded or does nothing. */
  readonly texts: Readonly<Record<string, string>>;
  /** Requests that do not reach the layer below, or reach it as something else; with the reason. */
  readonly keeps?: { readonly kinds: readonly string[]; readonly because: string };
  /**
   * What it makes of a disk before it is served. Disks of other numbers are served from elsewhere,
   * as far as it can.
   */
  readonly prepare?: (disk: Uint8Array, number?: number) => void;
}

type Exception = Partial<Omit<Subject, "module" | "name">>;

const filters: Readonly<Record<string, Exception>> = {
  cow: {
    texts: { "cow-block-size": "4096" },
    keeps: {
      kinds: ["pwrite", "trim", "zero", "flush", "cache"],
      because: "what is written stays in the overlay, and the disk below is never written",
    },
  },
  delay: { texts: { "delay-extents": "0" } },
  error: { texts: { error: "EIO", "error-rate": "0" } },
  offset: { texts: { offset: "512", range: "12k" } },
  partition: { texts: { partition: "1" }, prepare: putPartition },
};

/** An MBR with one partition of 24 sectors that begins at the fifth, or later by `number`. */
function putPartition(disk: Uint8Array, number = 0): void {
  const view = new DataView(disk.buffer, disk.byteOffset, 512);
  disk.fill(0, 0, 512);
  view.setUint8(446 + 4, 0x83);
  view.setUint32(446 + 8, 4 + number, true);
  view.setUint32(446 + 12, 24 + number, true);
  view.setUint16(510, 0xaa55, true);
}

async function defaultOf(kind: "filters" | "plugins", name: string): Promise<unknown> {
  const module: { readonly default?: unknown } = await import(join(root, kind, name, `${name}.ts`));
  return module.default;
}

/** Every filter that there is a folder of. */
export async function allFilters(): Promise<Subject[]> {
  return Promise.all(
    readdirSync(join(root, "filters")).map(async (name) => ({
      name,
      module: await defaultOf("filters", name),
      texts: {},
      ...filters[name],
    })),
  );
}

/** A plugin, whose disk of 64 KiB may forget what is written. */
export interface PluginSubject {
  readonly name: string;
  readonly module: unknown;
  /** Parameters for a new disk of 64 KiB. */
  readonly texts: () => Readonly<Record<string, string>>;
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

/** Every plugin that there is a folder of; it takes size= unless it is listed above. */
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
