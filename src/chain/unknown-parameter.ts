/** Explains a parameter that no layer knows: lists the layers, and suggests a similar parameter. */
import { ConfigError, NbdError } from "../lib/errors.ts";
import { didYouMean } from "../lib/near.ts";
import { namedMessage } from "../lib/speaker.ts";
import { messageOf } from "../lib/thrown.ts";
import type { Layer } from "./layer.ts";

/** Adds to `error`, which the last of the `asked` layers threw, unless one of these knows the key. */
export function explained(error: unknown, key: string, asked: readonly Layer[]): unknown {
  const known = asked.flatMap(keysOf);
  if (known.includes(key)) return error;
  const names = asked.map(({ kind, name }) => `${kind} ${name}`).join(", ");
  const who = asked.length > 1 ? ` (asked: ${names})` : "";
  const meant = didYouMean(key, known, (near) => `${near}=`);
  if (who + meant === "") return error;
  const message = error instanceof Error ? namedMessage(error) : messageOf(error);
  if (message !== "") return new ConfigError(`${message}${who}${meant}`, { cause: error });
  // The C module has reported its error. It may also reject the value of a parameter that its help does not name.
  if (!(error instanceof NbdError && /\bunknown (?:key|option|parameter)\b/i.test(error.reported)))
    return error;
  return new ConfigError(`no layer knows the parameter ${key}=${who}${meant}`, { cause: error });
}

/** The keys of a layer. Those of a C module are taken from its help: one at the start of each line. */
function keysOf({ keys, configHelp }: Layer): readonly string[] {
  if (keys !== undefined) return keys;
  const lines = (configHelp ?? "").matchAll(/^\s*(?:\([^)]*\)\s*)?\[?([A-Za-z][A-Za-z0-9._-]*)=/gm);
  return Array.from(lines, ([, key]) => key ?? "");
}
