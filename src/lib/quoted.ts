/** Text of others in messages: what would break the line, or do something to a terminal, is written as in C. */

const letters: Readonly<Record<string, string>> = { "\n": "\\n", "\r": "\\r", "\t": "\\t" };

/** In quotes. Bytes that are no UTF-8 stay as they are. */
export function quoted(text: string): string {
  return `"${printable(text).replaceAll('"', String.raw`\"`)}"`;
}

/** Control characters are written as in C, and backslashes doubled, so that one is told from the other. */
export function printable(text: string): string {
  return withoutControls(text.replaceAll("\\", String.raw`\\`), "");
}

/** Control characters but those in `kept` are written as in C. */
export function withoutControls(text: string, kept: string): string {
  // oxlint-disable-next-line no-control-regex -- these it is about
  return text.replaceAll(/[\u0000-\u001f\u007f-\u009f]/g, (control) =>
    kept.includes(control) ? control : (letters[control] ?? escaped(control)),
  );
}

function escaped(control: string): string {
  const code = control.charCodeAt(0).toString(16).padStart(2, "0");
  return control < "\u0080" ? `\\x${code}` : `\\u00${code}`;
}
