/** The copies of all exports of one cow layer, by the names of the exports. */
import { Copy, type CopyOptions } from "./copy.ts";
import type { Overlay } from "./overlay.ts";

interface Entry {
  readonly copy: Copy;
  clients: number;
}

export class Copies implements Disposable {
  private readonly overlay: Overlay;
  private readonly options: CopyOptions;
  private readonly entries = new Map<string, Entry>();

  constructor(overlay: Overlay, options: CopyOptions) {
    this.overlay = overlay;
    this.options = options;
  }

  /** How many exports have a copy now. */
  get count(): number {
    return this.entries.size;
  }

  /** The copy of an export. The caller must leave it once. */
  enter(exportName: string): Copy {
    let entry = this.entries.get(exportName);
    if (entry === undefined) {
      entry = { copy: new Copy(this.overlay, this.options), clients: 0 };
      this.entries.set(exportName, entry);
    }
    entry.clients += 1;
    return entry.copy;
  }

  /** A copy without changes is dropped, so that invented export names cost no memory. */
  leave(exportName: string): void {
    const entry = this.entries.get(exportName);
    if (entry === undefined) return;
    entry.clients -= 1;
    if (entry.clients === 0 && entry.copy.untouched) this.entries.delete(exportName);
  }

  [Symbol.dispose](): void {
    this.overlay[Symbol.dispose]();
  }
}
