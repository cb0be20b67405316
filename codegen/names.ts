/** The only place where C names become TypeScript names and the other way round. */

/** `can_fast_zero` is `canFastZero`. */
export function camelCase(name: string): string {
  return name.replaceAll(/(?<=[a-z0-9])_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
}

/** The macro of a callback's number: `RT_OP_CAN_FAST_ZERO`. */
export function opName(callback: string): string {
  return `RT_OP_${callback.toUpperCase()}`;
}
