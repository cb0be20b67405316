/** The only place where C names become TypeScript names and the other way round. */

/** `can_fast_zero` is `canFastZero`. */
export function camelCase(name: string): string {
  return name.replaceAll(/(?<=[a-z0-9])_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
}

/** The macro of a callback's number: `RT_OP_CAN_FAST_ZERO`. */
export function opName(callback: string): string {
  return `RT_OP_${callback.toUpperCase()}`;
}

/** What layouts.gen.ts calls a struct of a generation: `filterK`, `nextOpsI1`. */
export function layoutName(struct: "filter" | "nextOps", id: string): string {
  return `${struct}${id.slice(0, 1).toUpperCase()}${id.slice(1)}`;
}

/** The name of a generation's adapter, in C: `filter_i1`. */
export function adapterName(id: string): string {
  return `filter_${id.toLowerCase()}`;
}

/** The macro of an adapter's number: `RT_ADAPTER_FILTER_I1`. */
export function adapterMacro(name: string): string {
  return `RT_ADAPTER_${name.toUpperCase()}`;
}
