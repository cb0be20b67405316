/** What to print of whatever was thrown: even a value that throws when it is looked at has to be reported. */

function text(thrown: unknown, of: (error: Error) => string | undefined): string {
  try {
    const found = thrown instanceof Error ? of(thrown) : String(thrown);
    if (typeof found === "string") return found;
  } catch {
    // A proxy, a getter, or an object that cannot be converted: what it is has to do.
  }
  return `a value that cannot be shown (${typeof thrown})`;
}

/** Its stack, where it has one. */
export function stackOf(thrown: unknown): string {
  return text(thrown, (error) => error.stack ?? error.message);
}

export function messageOf(thrown: unknown): string {
  return text(thrown, withoutOddPath);
}

/** A path that is not UTF-8 is damaged there, and whoever reports the error names it anyway. */
function withoutOddPath({ message, path, syscall }: NodeJS.ErrnoException): string {
  if (path === undefined || !path.includes("\ufffd")) return message;
  const tail = `, ${syscall} '${path}'`;
  return message.endsWith(tail) ? message.slice(0, -tail.length) : message;
}

/** A value of any kind, as it would be written in a program where that is possible. */
export function shown(value: unknown): string {
  try {
    const json = typeof value === "bigint" ? `${value}n` : JSON.stringify(value);
    if (typeof json === "string") return json;
  } catch {
    // It refers to itself, or throws.
  }
  return messageOf(value);
}
