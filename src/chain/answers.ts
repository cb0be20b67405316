/** Messages about answers that a layer must not give, in the terms of the layer's language. */
import { NbdError } from "../lib/errors.ts";
import { shown } from "../lib/thrown.ts";
import type { Layer } from "./layer.ts";

type Named = Pick<Layer, "inTypeScript" | "name">;

/** The name of a method in the layer's language: `getSize` in TypeScript, `get_size` in C. */
export function methodName({ inTypeScript }: Named, cName: string): string {
  if (inTypeScript !== true) return cName;
  return cName.replaceAll(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
}

/** The error of a layer whose method returned `answer`. */
export function oddAnswer(
  layer: Named,
  cName: string,
  answer: unknown,
  expected: { readonly c: string; readonly typescript: string } | string,
): NbdError {
  const inTypeScript = layer.inTypeScript === true;
  const what = inTypeScript ? withType(answer) : String(answer);
  const words =
    typeof expected === "string" ? expected : inTypeScript ? expected.typescript : expected.c;
  const method = methodName(layer, cName);
  return new NbdError("EIO", `${layer.name}: ${method} returned ${what}: expected ${words}`);
}

export function withType(answer: unknown): string {
  if (answer === undefined || answer === null) return String(answer);
  if (typeof answer === "function") return "a function";
  if (typeof answer === "object") {
    return `an object (${Object.prototype.toString.call(answer).slice("[object ".length, -1)})`;
  }
  return `${shown(answer)} (a ${typeof answer})`;
}
