/** Builds chains in the test process: a module under test over an in-memory disk, through the real seam. */
import {
  type BlockSize,
  definePlugin,
  EXTENT_HOLE,
  EXTENT_ZERO,
  Extents,
  FLAG_REQ_ONE,
  NbdError,
  type NextOps,
} from "#api";
import { typescriptLayer } from "#modules/typescript";

import { Chain, type ChainConnection } from "../../src/chain/chain.ts";
import { connectionInfo } from "../../src/chain/connection-info.ts";
import type { ConnectionInfo, Layer } from "../../src/chain/layer.ts";
import { noBlockSize } from "../../src/lib/block-size.ts";

export interface Stack extends AsyncDisposable {
  /** The top layer. */
  readonly next: NextOps;
  readonly chain: Chain;
  readonly connection: ChainConnection;
  readonly disk: Uint8Array;
  /** The requests that reached the disk, e.g. "pread 512 0", "zero 512 0 flags=1", "flush". */
  readonly calls: string[];
  close(): Promise<void>;
}

export interface StackOptions {
  readonly readonly?: boolean;
  readonly exportName?: string;
  /** Filters between the one under test and the disk, outermost first. */
  readonly below?: readonly unknown[];
  /** Answer all requests to the disk later instead of at once. */
  readonly later?: boolean;
  /** Throws the errors for the disk's methods. */
  readonly fail?: (call: string) => void;
  readonly canWrite?: boolean;
  /** Whether the disk reports sectors of zeroes as holes; true by default. */
  readonly extents?: boolean;
  /** The disk's block sizes, if any. */
  readonly blockSize?: BlockSize;
  readonly description?: string;
  /** Facts about the client. */
  readonly client?: Partial<Omit<ConnectionInfo, "id" | "logName">>;
}

const sector = 512;

/** Add sectors of zeroes as holes. The extents start at a sector and may end anywhere, as nbdkit allows. */
function addExtents(
  disk: Uint8Array,
  count: number,
  offset: bigint,
  flags: number,
  extents: Extents,
): void {
  const first = Number(offset) - (Number(offset) % sector);
  const end = Number(offset) + count;
  for (let at = first; at < end; at += sector) {
    const part = disk.subarray(at, at + sector);
    const type = part.every((byte) => byte === 0) ? EXTENT_HOLE | EXTENT_ZERO : 0;
    if (flags & FLAG_REQ_ONE && at > first && extents.entries.at(-1)?.type !== type) return;
    extents.add(BigInt(at), BigInt(part.length), type);
  }
}

/** A plugin that serves `disk` and records its calls. */
export function diskPlugin(disk: Uint8Array, calls: string[], options: StackOptions = {}) {
  const part = (count: number, offset: bigint) =>
    disk.subarray(Number(offset), Number(offset) + count);
  const at = (call: string, go: () => void): void | Promise<void> => {
    calls.push(call);
    options.fail?.(call);
    if (options.later === true) {
      return new Promise((resolve) => {
        setImmediate(() => {
          go();
          resolve();
        });
      });
    }
    go();
  };
  const flagged = (flags: number) => (flags === 0 ? "" : ` flags=${flags}`);
  return definePlugin({
    name: "disk",
    open: () => ({}),
    getSize: () => BigInt(disk.length),
    blockSize: () => options.blockSize ?? noBlockSize,
    exportDescription: () => options.description,
    canWrite: () => options.canWrite ?? true,
    canMultiConn: () => true,
    canFua: () => "native" as const,
    canCache: () => "native" as const,
    pread: (_handle, buf, offset) =>
      at(`pread ${buf.length} ${offset}`, () => buf.set(part(buf.length, offset))),
    pwrite: (_handle, buf, offset, flags) =>
      at(`pwrite ${buf.length} ${offset}${flagged(flags)}`, () =>
        part(buf.length, offset).set(buf),
      ),
    flush: () => at("flush", () => {}),
    trim: (_handle, count, offset, flags) =>
      at(`trim ${count} ${offset}${flagged(flags)}`, () => part(count, offset).fill(0)),
    zero: (_handle, count, offset, flags) =>
      at(`zero ${count} ${offset}${flagged(flags)}`, () => part(count, offset).fill(0)),
    canFastZero: () => true,
    canExtents: () => options.extents ?? true,
    extents: (_handle, count, offset, flags, extents) =>
      at(`extents ${count} ${offset}${flagged(flags)}`, () =>
        addExtents(disk, count, offset, flags, extents),
      ),
    cache: (_handle, count, offset) => at(`cache ${count} ${offset}`, () => {}),
  });
}

/** A chain of `layers`, outermost first, which is configured as the server does it. */
export async function configuredChain(
  layers: readonly Layer[],
  texts: Readonly<Record<string, string>>,
): Promise<Chain> {
  const chain = new Chain(layers);
  for (const layer of layers.toReversed()) await layer.load?.();
  for (const [key, value] of Object.entries(texts)) await chain.config(key, value);
  await chain.configComplete();
  await chain.getReady();
  await chain.afterFork();
  return chain;
}

/** A client of the chain without a socket. */
export function clientOf(
  chain: Chain,
  id = 1,
  facts: Partial<Omit<ConnectionInfo, "id" | "logName">> = {},
): ConnectionInfo {
  return connectionInfo(id, `${chain.pluginName}[${id}]`, facts);
}

/** Open the layers of a chain for a client. */
export async function openConnection(
  chain: Chain,
  options: {
    readonly client?: ConnectionInfo;
    readonly readonly?: boolean;
    readonly exportName?: string;
  } = {},
): Promise<ChainConnection> {
  const { client = clientOf(chain), readonly = false, exportName = "" } = options;
  const connection = chain.connect(client);
  await connection.open(readonly, exportName, false);
  return connection;
}

async function openStack(
  layers: readonly Layer[],
  texts: Readonly<Record<string, string>>,
  parts: { readonly disk: Uint8Array; readonly calls: string[] },
  options: StackOptions,
): Promise<Stack> {
  const chain = await configuredChain(layers, texts);
  const { client, ...how } = options;
  const connection = await openConnection(chain, { ...how, client: clientOf(chain, 1, client) });
  let closed = false;
  const close = async () => {
    if (closed) return;
    closed = true;
    await connection.close();
    await chain.cleanup();
    await chain.unload();
  };
  return {
    next: connection.top,
    chain,
    connection,
    ...parts,
    close,
    [Symbol.asyncDispose]: close,
  };
}

/** Open `filter`, configured with `texts`, over an in-memory disk. */
export async function above(
  disk: Uint8Array,
  filter: unknown,
  texts: Readonly<Record<string, string>> = {},
  options: StackOptions = {},
): Promise<Stack> {
  const calls: string[] = [];
  const layers = [filter, ...(options.below ?? [])].map((it) =>
    typescriptLayer("filter", it, "test"),
  );
  layers.push(typescriptLayer("plugin", diskPlugin(disk, calls, options), "test"));
  return openStack(layers, texts, { disk, calls }, options);
}

/** Open `plugin`, configured with `texts`. */
export async function overPlugin(
  plugin: unknown,
  texts: Readonly<Record<string, string>> = {},
  options: StackOptions = {},
): Promise<Stack> {
  const layers = [typescriptLayer("plugin", plugin, "test")];
  return openStack(layers, texts, { disk: new Uint8Array(0), calls: [] }, options);
}

/** Only configure `module`, over an empty disk if it is a filter. Rejects with the error of the configuration. */
export async function configured(
  module: { readonly kind?: "filter" | "plugin" },
  texts: Readonly<Record<string, string>>,
): Promise<Chain> {
  const layers = [typescriptLayer(module.kind ?? "filter", module, "test")];
  if (layers[0]?.kind === "filter") {
    layers.push(typescriptLayer("plugin", diskPlugin(new Uint8Array(0), []), "test"));
  }
  return configuredChain(layers, texts);
}

/** Waits until all promise callbacks that can run have run. */
export async function settled(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
}

/** The abilities of a layer that can do everything. */
export const everyAbility: Awaited<ReturnType<typeof abilities>> = {
  write: true,
  flush: true,
  trim: true,
  zero: "native",
  fast: true,
  fua: "native",
  cache: "native",
  multi: true,
  rotational: false,
};

/** The layer's answers to all can_* and is_* methods. */
export async function abilities(next: NextOps) {
  return {
    write: await next.canWrite(),
    flush: await next.canFlush(),
    trim: await next.canTrim(),
    zero: await next.canZero(),
    fast: await next.canFastZero(),
    fua: await next.canFua(),
    cache: await next.canCache(),
    multi: await next.canMultiConn(),
    rotational: await next.isRotational(),
  };
}

/** The extents that `next` reports for a range, up to the end of its disk: "0+512 data", "512+1024 hole zero". */
export async function mapOf(
  next: NextOps,
  offset: bigint,
  count: number,
  flags = 0,
): Promise<string[]> {
  const extents = new Extents(offset, await next.getSize());
  await next.extents(count, offset, flags, extents);
  return extents.entries.map((it) => `${it.offset}+${it.length} ${typeNames[it.type & 3]}`);
}

const typeNames = ["data", "hole", "zero", "hole zero"];

/** The error number of a failed request: `expect(await errnoOf(() => next.pread(...))).toBe("EIO")`. */
export async function errnoOf(call: () => unknown): Promise<string> {
  try {
    await call();
  } catch (error) {
    return error instanceof NbdError ? error.errno : `not an NbdError: ${String(error)}`;
  }
  return "no error";
}
