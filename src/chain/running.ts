/**
 * The layer and the method that JavaScript runs at the moment, in memory that the watchdog's thread
 * reads while JavaScript is blocked: src/cli/watchdog.ts. Numbers, so that a request costs two
 * stores.
 */

import { methods as all } from "./methods.ts";

/** What is said of a method is its place here. */
export const methods: readonly string[] = ["", ...all, "window"];

export const PREAD = methods.indexOf("pread");
export const PWRITE = methods.indexOf("pwrite");

/** A code is the number of a layer times this, and a method. */
export const methodsPerLayer = 64;
/** The layers of a chain; in tests there may be more, which have the number 0. */
const mostLayers = 64;

const places = new Map<string, number>(methods.map((name, place) => [name, place]));
const numbers = new WeakMap<object, number>();
/** How messages name the layers, by their numbers. */
export const titles: string[] = [""];

/** How much memory the two have. */
const words = 2 + mostLayers * methodsPerLayer;
export const memory = new SharedArrayBuffer(words * Int32Array.BYTES_PER_ELEMENT);
/** At 0 the code of what runs, 0 for nothing; at 1 a count of turns of the event loop. */
export const now = new Int32Array(memory, 0, 2);
/** How many calls are under way that are answered later, by their codes. */
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

/** A method, by its place, of the layer with this number begins. Returns what `now[0]` has to be again at its end. */
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

/** A call with this code is answered later, or was answered: `by` is 1 or -1. */
export function countUnderWay(code: number, by: number): void {
  underWay[code] = (underWay[code] ?? 0) + by;
}
