/** The methods of layers, picked from the table of callbacks by its columns. */
import { type Callback, callbacks } from "../api/generated/callbacks.gen.ts";

export type Method = keyof typeof callbacks;

/** The methods whose rows have these columns. */
export type MethodsWith<C extends Partial<Callback>> = {
  [M in Method]: (typeof callbacks)[M] extends C ? M : never;
}[Method];

/** The row of a method, in the type that all rows have. */
export function rowOf(method: Method): Callback {
  return callbacks[method];
}

// Object.keys has forgotten the type of the keys.
export const methods = Object.keys(callbacks) as Method[];

/** The requests for data. */
export type Request = MethodsWith<{ flags: number }>;
/** The questions about an open layer. */
export type Question = Exclude<MethodsWith<{ next: true }>, Request>;
/** Questions that the seam asks once. */
export type Capability = Exclude<Question, "exportDescription">;

export const requests = methods.filter(
  (method): method is Request => rowOf(method).flags !== undefined,
);

export const questions = methods.filter(
  (method): method is Question => rowOf(method).next && rowOf(method).flags === undefined,
);

export const capabilities = questions.filter((question) => question !== "exportDescription");

/** Methods that are not called for each request. */
export const lifeCycleMethods = methods.filter(
  (method) => rowOf(method).filter && (rowOf(method).scope !== "connection" || method === "close"),
);
