/** Converts names between C and TypeScript. No other code does. */

/** `can_fast_zero` is `canFastZero`. */
export function camelCase(name: string): string {
  return name.replaceAll(/(?<=[a-z0-9])_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
}

/** The macro of a callback's number: `RT_OP_CAN_FAST_ZERO`. */
export function opName(callback: string): string {
  return `RT_OP_${callback.toUpperCase()}`;
}

export const releasePrefix = "NBDKIT_FILTER_RELEASE_";

/** The macro that chooses a layout: `NBDKIT_FILTER_RELEASE_1_25_4` for 1.25.4. */
export function releaseMacro(id: string): string {
  return `${releasePrefix}${idWord(id).toUpperCase()}`;
}

/** The layout that a macro chooses: the inverse of releaseMacro. */
export function releaseOfMacro(macro: string): string {
  return macro.slice(releasePrefix.length).replaceAll("_", ".").toLowerCase();
}

/** A layout's id within a name: `1_25_4` for 1.25.4. */
export function idWord(id: string): string {
  return id.replaceAll(".", "_");
}

/** The name of a struct's layout in layouts.gen.ts: `filter_1_30`, `nextOps_1_25_4`. */
export function layoutName(struct: "filter" | "nextOps", id: string): string {
  return `${struct}_${idWord(id)}`;
}

/** The name in TypeScript of a struct in abi/runtime/runtime.h: `rt_context_open` is `contextOpen`. */
export function runtimeName(struct: string): string {
  return camelCase(struct.replace(/^rt_/, ""));
}

/** The name of a layout's adapter, in C: `filter_1_25_4`. */
export function adapterName(id: string): string {
  return `filter_${idWord(id)}`;
}

/** The macro of an adapter's number: `RT_ADAPTER_FILTER_1_25_4`. */
export function adapterMacro(name: string): string {
  return `RT_ADAPTER_${name.toUpperCase()}`;
}
