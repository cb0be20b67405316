/**
 * Text from outside in messages: control characters, which could break the line or affect a
 * terminal, are escaped as in C.
 */

const letters: Readonly<Record<string, string>> = { "\n": "\\n", "\r": "\\r", "\t": "\\t" };

/** In quotes. Bytes that are not UTF-8 are kept. */
export function quoted(text: string): string {
  return `"${printable(text).replaceAll('"', String.raw`\"`)}"`;
}

/** Escapes control characters as in C, and doubles backslashes, so that the two can be distinguished. */
export function printable(text: string): string {
  return withoutControls(text.replaceAll("\\", String.raw`\\`), "");
}

/** Escapes control characters as in C, except those in `kept`. */
export function withoutControls(text: string, kept: string): string {
  // oxlint-disable-next-line no-control-regex -- control characters are the point
  return text.replaceAll(/[\u0000-\u001f\u007f-\u009f]/g, (control) =>
    kept.includes(control) ? control : (letters[control] ?? escaped(control)),
  );
}

function escaped(control: string): string {
  const code = control.charCodeAt(0).toString(16).padStart(2, "0");
  return control < "\u0080" ? `\\x${code}` : `\\u00${code}`;
}
