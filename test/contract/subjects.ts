/** The modules under contract: the parameters that they need, and their exceptions. */
import { mkdtempSync, readdirSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const root = join(import.meta.dirname, "..", "..");

export interface Subject {
  readonly name: string;
  readonly module: unknown;
  /** The parameters that it needs in order to load, or to have an effect. */
  readonly texts: Readonly<Record<string, string>>;
  /** Requests that do not reach the layer below, or reach it as other requests; with the reason. */
  readonly keeps?: { readonly kinds: readonly string[]; readonly because: string };
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

async function defaultOf(kind: "filters" | "plugins", name: string): Promise<unknown> {
  const module: { readonly default?: unknown } = await import(join(root, kind, name, `${name}.ts`));
  return module.default;
}

/** All filters, by their folders. */
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
