/** The text for a thrown value of any kind. Even a value that throws when it is inspected must be reported. */

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

export function messageOf(thrown: unknown): string {
  return text(thrown, withoutOddPath);
}

/** Removes the path: Bun damages paths that are not UTF-8, and the caller names the path anyway. */
function withoutOddPath({ message, path, syscall }: NodeJS.ErrnoException): string {
  if (path === undefined || !path.includes("\ufffd")) return message;
  const tail = `, ${syscall} '${path}'`;
  return message.endsWith(tail) ? message.slice(0, -tail.length) : message;
}

/** A value of any kind, as a program would write it if possible. */
export function shown(value: unknown): string {
  try {
    const json = typeof value === "bigint" ? `${value}n` : JSON.stringify(value);
    if (typeof json === "string") return json;
  } catch {
    // It refers to itself, or throws.
  }
  return messageOf(value);
}
