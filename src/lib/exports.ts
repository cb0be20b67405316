/** The exports that a server offers: the list that a `listExports` method fills. nbdkit-plugin(3), ".list_exports". */
import { errnoError } from "./errno.ts";
import { quoted } from "./quoted.ts";
import { byteLengthOf } from "./text-bytes.ts";

/** One disk that clients can request by name; "" is the default one. */
export interface Export {
  readonly name: string;
  readonly description: string | undefined;
}

/** nbdkit's limit for one list. */
const mostEntries = 10_000;
/** The length limit of NBD's strings, in bytes. */
const mostStringBytes = 4096;

/** Whether NBD, and C, can carry `text`. */
export function isNbdString(text: string): boolean {
  return !text.includes("\0") && byteLengthOf(text) <= mostStringBytes;
}

/**
 * A list of exports.
 *
 * @example
 * listExports(config, _readonly, _isTls, exports) {
 *   for (const file of readdirSync(filePath(config.dir), "buffer")) exports.add(textOf(file));
 * }
 */
export class Exports {
  readonly #entries: Export[] = [];
  #wantsDefault = false;

  get entries(): readonly Export[] {
    return this.#entries;
  }

  /** Whether to add the layer's default export. */
  get wantsDefault(): boolean {
    return this.#wantsDefault;
  }

  add(name: string, description?: string): void {
    if (this.#entries.length === mostEntries) {
      throw errnoError("EINVAL", `export ${shown(name)}: a list holds at most ${mostEntries}`);
    }
    for (const text of [name, description ?? ""]) {
      if (isNbdString(text)) continue;
      throw errnoError(
        "EINVAL",
        `export ${shown(text)}: expected at most ${mostStringBytes} bytes, none of them zero`,
      );
    }
    this.#entries.push({ name, description });
  }

  /** Add the result of the same layer's `defaultExport`, which is called after `listExports` has returned. */
  useDefault(): void {
    this.#wantsDefault = true;
  }

  /** The caller of `listExports` has found the default export, or that there is none. */
  settleDefault(name: string | undefined): void {
    this.#wantsDefault = false;
    if (name !== undefined) this.add(name);
  }
}

function shown(text: string): string {
  return quoted(text.length > 100 ? `${text.slice(0, 100)}...` : text);
}
