/** The text for a thrown value of any kind. Even a value that throws when it is inspected must be reported. */
import { errnoText, isErrno } from "./errno.ts";

function text(thrown: unknown, of: (error: Error) => string | undefined): string {
  try {
    const found = thrown instanceof Error ? of(thrown) : String(thrown);
    if (typeof found === "string") return found;
  } catch {
    // A proxy, a getter, or an object that cannot be converted: report its type.
  }
  return `a value that cannot be printed (${typeof thrown})`;
}

/** The stack, if there is one. */
export function stackOf(thrown: unknown): string {
  return text(thrown, (error) => error.stack ?? error.message);
}

/** The message; that of an error of node:fs is the text of strerror(3), without the path, which the caller names. */
export function messageOf(thrown: unknown): string {
  return text(thrown, ({ code, message }: NodeJS.ErrnoException) =>
    code !== undefined && isErrno(code) && message.startsWith(`${code}: `)
      ? errnoText(code)
      : message,
  );
}

/** A value of any kind, as a program would write it if possible. */
export function shown(value: unknown): string {
  try {
    // JSON has no NaN and no Infinity.
    if (typeof value === "number") return String(value);
    const json = typeof value === "bigint" ? `${value}n` : JSON.stringify(value);
    if (typeof json === "string") return json;
  } catch {
    // It refers to itself, or throws.
  }
  return messageOf(value);
}
