/** Chains whose C layers may take shortcuts, and requests that show which way they went. */
import { spyOn } from "bun:test";

import { defineFilter, type NextOps } from "#api";
import { configuredChain, openConnection } from "#test/chain";
import { scriptLayer } from "#test/native";

import type { ChainConnection } from "../../src/chain/chain.ts";
import type { Layer } from "../../src/chain/layer.ts";
import { forgetRecord, recorded } from "./every-callback.ts";

export async function opened(
  layers: readonly Layer[],
  texts: Readonly<Record<string, string>> = {},
): Promise<ChainConnection> {
  const connection = await openConnection(await configuredChain(layers, texts));
  // Otherwise the first request would ask these questions, and later ones would not.
  const { top } = connection;
  await Promise.all([top.getSize(), top.canWrite(), top.canFlush(), top.canTrim(), top.canCache()]);
  forgetRecord();
  return connection;
}

/** The same layer under another identity, to which C has no shortcut. */
export const withoutShortcut = (layer: Layer): Layer => ({ ...layer });

export const requests: Readonly<Record<string, (top: NextOps) => unknown>> = {
  pread: (top) => top.pread(new Uint8Array(512), 0n, 0),
  pwrite: (top) => top.pwrite(new Uint8Array(512), 0n, 0),
  flush: (top) => top.flush(0),
  trim: (top) => top.trim(512, 0n, 0),
  cache: (top) => top.cache(512, 0n, 0),
};

/** Makes a request three times: how often JavaScript called the lower layer, and how often the layer ran. */
export async function askedThrice(top: NextOps, lower: Layer, method: string) {
  const spy = spyOn(lower, method as "pread");
  try {
    forgetRecord();
    for (let i = 0; i < 3; i++) await requests[method]?.(top);
    const done = recorded().filter((line) => line.startsWith(`${lower.name} ${method}`));
    return { javascript: spy.mock.calls.length, c: done.length };
  } finally {
    spy.mockRestore();
  }
}

export const size = 65536;

/** A filter with a window that begins at `offset`. */
export const lens = (offset: bigint): Layer =>
  scriptLayer("filter", defineFilter({ name: "lens", window: () => ({ offset }) }));
