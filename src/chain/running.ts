/**
 * The method and layer that JavaScript is running, in memory that the watchdog's thread (src/cli/watchdog.ts) reads
 * while JavaScript is blocked. They are stored as numbers, so that a request costs two stores.
 */

import { methods as all } from "./methods.ts";

/** The names of methods. A method's number is its place here. */
export const methods: readonly string[] = ["", ...all, "window", "descriptor"];

export const PREAD = methods.indexOf("pread");
export const PWRITE = methods.indexOf("pwrite");

/** A code is the number of a layer times this, plus the number of a method. */
export const methodsPerLayer = 64;
/** The most layers of a chain. Tests may make more, which have the number 0. */
const mostLayers = 64;

const places = new Map<string, number>(methods.map((name, place) => [name, place]));
const numbers = new WeakMap<object, number>();
/** How messages name the layers, by their numbers. */
export const titles: string[] = [""];

/** The size of `now` and `underWay`. */
const words = 2 + mostLayers * methodsPerLayer;
export const memory = new SharedArrayBuffer(words * Int32Array.BYTES_PER_ELEMENT);
/** At 0 the code of the running method, 0 if none runs; at 1 a count of turns of the event loop. */
export const now = new Int32Array(memory, 0, 2);
/** The numbers of calls that layers will answer later, by code. */
const underWay = new Int32Array(memory, 2 * Int32Array.BYTES_PER_ELEMENT);

export function numberOf(layer: { readonly name: string }): number {
  const known = numbers.get(layer);
  if (known !== undefined) return known;
  const number = titles.length < mostLayers ? titles.push(layer.name) - 1 : 0;
  numbers.set(layer, number);
  return number;
}

export function codeOf(number: number, method: string): number {
  return number * methodsPerLayer + (places.get(method) ?? 0);
}

/** A method begins. Returns the value to restore in `now[0]` when it ends. */
export function enter(number: number, method: number): number {
  const before = now[0] ?? 0;
  now[0] = number * methodsPerLayer + method;
  return before;
}

/** Call a method of the layer with this number. */
export function runAs<T>(number: number, method: string, call: () => T): T {
  const before = enter(number, places.get(method) ?? 0);
  try {
    return call();
  } finally {
    now[0] = before;
  }
}

/** A call with this code begins to wait for its answer (`by` is 1), or was answered (-1). */
export function countUnderWay(code: number, by: number): void {
  underWay[code] = (underWay[code] ?? 0) + by;
}
