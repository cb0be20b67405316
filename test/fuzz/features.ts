/** The features of a server that a script shows, as numbers. A script that shows a new one is kept. */

export type Features = Set<number>;

function hash(text: string): number {
  let h = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  return h >>> 0;
}

/** The feature of each log line, by its text without numbers and names. */
const knownLines = new Map<string, number>();

function line(text: string): number {
  const shape = text.slice(0, 200).replaceAll(/0x[0-9a-f]+|\d+|"[^"]*"/g, "#");
  let known = knownLines.get(shape);
  if (known === undefined) knownLines.set(shape, (known = hash(shape) * 4));
  return known;
}

export const kinds = {
  line,
  /** An option, its reply, and the option before it. */
  option: (option: number, reply: number, before: number): number =>
    hash(`${option} ${reply} ${before}`) * 4 + 1,
  /** A request's type, flags and error. All flags above 31 count as one. */
  request: (type: number, flags: number, error: number): number =>
    (((type & 0xff) * 64 + (flags & 31) + (flags > 31 ? 32 : 0)) * 128 + (error & 127)) * 4 + 2,
  /** A chunk's type, its request's type, and the number of chunks before it. */
  chunk: (type: number, request: number, before: number): number =>
    ((type * 16 + (request & 15)) * 4 + Math.min(before, 3)) * 4 + 3,
};
