/** Reads an ELF file without loading it: its machine, its symbols, and the libraries that it needs. */
import { ConfigError } from "#api";
import { textOf } from "#lib/text-bytes";

import { mostSymbols } from "./limits.ts";

interface ElfSymbol {
  readonly name: string;
  /** Whether the file defines it. Otherwise the loader looks for it in other files. */
  readonly defined: boolean;
  readonly weak: boolean;
  readonly kind: "function" | "object" | "other";
  readonly value: bigint;
  readonly size: number;
}

export interface ElfFile {
  /** GNU's name, such as `x86_64`, or `machine N`. */
  readonly machine: string;
  readonly bits: 32 | 64;
  readonly isShared: boolean;
  /** The symbols for the loader. */
  readonly dynamicSymbols: readonly ElfSymbol[];
  /** The symbols for debuggers; empty if the file is stripped or they are damaged. */
  readonly symbols: readonly ElfSymbol[];
  /** The shared libraries that the loader loads with it. */
  readonly needed: readonly string[];
}

/** Numbers of elf(5). */
const machines: Readonly<Record<number, string>> = {
  3: "i386",
  8: "mips",
  20: "powerpc",
  21: "powerpc64",
  22: "s390x",
  40: "arm",
  62: "x86_64",
  183: "aarch64",
  243: "riscv64",
  258: "loongarch64",
};
const typeShared = 3;
const segmentLoad = 1;
const segmentDynamic = 2;
const sectionSymbols = 2;
const sectionDynamicSymbols = 11;
const tagNeeded = 1n;
const tagHash = 4n;
const tagStrings = 5n;
const tagSymbols = 6n;
const tagGnuHash = 0x6ffffef5n;
const symbolBytes = 24;

/** Throws ConfigError. If the file is 32-bit or big-endian, only its head is read. */
export function readElf(bytes: Uint8Array): ElfFile {
  const magic = String.fromCharCode(...bytes.subarray(1, 4));
  if (bytes[0] !== 0x7f || magic !== "ELF") throw new ConfigError("not an ELF file");
  try {
    return new Reader(bytes).read();
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new ConfigError(`it is a damaged ELF file: ${error.message}`, { cause: error });
  }
}

interface Segment {
  readonly type: number;
  readonly offset: number;
  readonly address: bigint;
  readonly size: number;
}

interface Section {
  readonly type: number;
  readonly offset: number;
  readonly size: number;
  readonly link: number;
}

/** DataView checks all offsets and throws RangeError. */
class Reader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #little: boolean;
  readonly #segments: readonly Segment[];
  readonly #sections: readonly Section[];

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#little = this.#view.getUint8(5) === 1;
    const kinds = [this.#view.getUint8(4), this.#view.getUint8(5)];
    if (kinds.some((it) => it !== 1 && it !== 2)) throw new RangeError("the head makes no sense");
    const full = this.#isReadable();
    this.#segments = full ? this.#readSegments() : [];
    this.#sections = full ? this.#readSections() : [];
    // The loader does not check this, and would crash.
    const end = Math.max(0, ...this.#segments.map(({ offset, size }) => offset + size));
    if (end > bytes.length) throw new RangeError("a segment ends behind the file");
  }

  #isReadable(): boolean {
    return this.#view.getUint8(4) === 2 && this.#little;
  }

  read(): ElfFile {
    const number = this.#u16(18);
    const dynamic = this.#dynamic();
    const strings = this.#at(dynamic.get(tagStrings)?.[0]);
    const needed = dynamic.get(tagNeeded) ?? [];
    return {
      machine: machines[number] ?? `machine ${number}`,
      bits: this.#view.getUint8(4) === 2 ? 64 : 32,
      isShared: this.#u16(16) === typeShared,
      dynamicSymbols: this.#dynamicSymbols(dynamic),
      symbols: this.#debugSymbols(),
      needed: strings === undefined ? [] : needed.map((at) => this.#text(strings + Number(at))),
    };
  }

  #u16(at: number): number {
    return this.#view.getUint16(at, this.#little);
  }

  #u32(at: number): number {
    return this.#view.getUint32(at, this.#little);
  }

  #u64(at: number): bigint {
    return this.#view.getBigUint64(at, this.#little);
  }

  #text(at: number): string {
    const end = this.#bytes.indexOf(0, at);
    if (at >= this.#bytes.length || end < 0) throw new RangeError("a string has no end");
    return textOf(this.#bytes.subarray(at, end));
  }

  #readSegments(): Segment[] {
    const start = Number(this.#u64(32));
    const each = this.#u16(54);
    return Array.from({ length: this.#u16(56) }, (_, i) => {
      const at = start + i * each;
      return {
        type: this.#u32(at),
        offset: Number(this.#u64(at + 8)),
        address: this.#u64(at + 16),
        size: Number(this.#u64(at + 32)),
      };
    });
  }

  /** The loader does not use sections, so a file may lack them. */
  #readSections(): Section[] {
    const start = Number(this.#u64(40));
    const each = this.#u16(58);
    const count = this.#u16(60);
    if (start === 0 || start + each * count > this.#bytes.length) return [];
    return Array.from({ length: count }, (_, i) => {
      const at = start + i * each;
      return {
        type: this.#u32(at + 4),
        offset: Number(this.#u64(at + 24)),
        size: Number(this.#u64(at + 32)),
        link: this.#u32(at + 40),
      };
    });
  }

  /** The offset in the file of an address of the loaded module. */
  #at(address: bigint | undefined): number | undefined {
    if (address === undefined) return undefined;
    const segment = this.#segments.find(
      (it) =>
        it.type === segmentLoad && it.address <= address && address < it.address + BigInt(it.size),
    );
    return segment && segment.offset + Number(address - segment.address);
  }

  /** The values of each tag. */
  #dynamic(): ReadonlyMap<bigint, bigint[]> {
    const found = new Map<bigint, bigint[]>();
    const segment = this.#segments.find(({ type }) => type === segmentDynamic);
    if (segment === undefined) return found;
    for (let at = segment.offset; at < segment.offset + segment.size; at += 16) {
      const tag = this.#u64(at);
      if (tag === 0n) break;
      found.set(tag, [...(found.get(tag) ?? []), this.#u64(at + 8)]);
    }
    return found;
  }

  #dynamicSymbols(dynamic: ReadonlyMap<bigint, bigint[]>): ElfSymbol[] {
    const symbols = this.#at(dynamic.get(tagSymbols)?.[0]);
    const strings = this.#at(dynamic.get(tagStrings)?.[0]);
    if (symbols === undefined || strings === undefined) return [];
    const section = this.#sections.find(({ type }) => type === sectionDynamicSymbols);
    const count =
      section?.offset === symbols
        ? section.size / symbolBytes
        : this.#countByHash(dynamic, symbols, strings);
    return this.#readSymbols(symbols, count, strings);
  }

  /** The table of dynamic symbols does not have its length, but the hash table does. */
  #countByHash(dynamic: ReadonlyMap<bigint, bigint[]>, symbols: number, strings: number): number {
    const hash = this.#at(dynamic.get(tagHash)?.[0]);
    if (hash !== undefined) return this.#u32(hash + 4);
    const gnu = this.#at(dynamic.get(tagGnuHash)?.[0]);
    const hashed = gnu === undefined ? 0 : this.#lastHashed(gnu) + 1;
    // Undefined symbols are not hashed. Linkers put the strings right behind the symbols.
    return Math.max(hashed, strings > symbols ? Math.floor((strings - symbols) / symbolBytes) : 0);
  }

  #lastHashed(gnu: number): number {
    const buckets = this.#u32(gnu);
    const firstHashed = this.#u32(gnu + 4);
    const start = gnu + 16 + this.#u32(gnu + 8) * 8;
    let last = -1;
    for (let i = 0; i < buckets; i++) last = Math.max(last, this.#u32(start + i * 4));
    if (last < firstHashed) return firstHashed - 1;
    const chains = start + buckets * 4;
    while ((this.#u32(chains + (last - firstHashed) * 4) & 1) === 0) last++;
    return last;
  }

  /** The loader does not use them, so a file with damaged ones still works. */
  #debugSymbols(): ElfSymbol[] {
    const table = this.#sections.find(({ type }) => type === sectionSymbols);
    const strings = table && this.#sections[table.link];
    if (table === undefined || strings === undefined) return [];
    try {
      return this.#readSymbols(table.offset, Math.floor(table.size / symbolBytes), strings.offset);
    } catch (error) {
      if (error instanceof RangeError) return [];
      throw error;
    }
  }

  #readSymbols(start: number, count: number, strings: number): ElfSymbol[] {
    if (count > mostSymbols) throw new RangeError("too many symbols");
    // The first symbol is always empty.
    return Array.from({ length: Math.max(0, count - 1) }, (_, i) => {
      const at = start + (i + 1) * symbolBytes;
      const info = this.#view.getUint8(at + 4);
      const kind = info & 15;
      return {
        name: this.#text(strings + this.#u32(at)),
        defined: this.#u16(at + 6) !== 0,
        weak: info >> 4 === 2,
        kind: kind === 2 ? "function" : kind === 1 ? "object" : "other",
        value: this.#u64(at + 8),
        size: Number(this.#u64(at + 16)),
      };
    });
  }
}
