/** Reads of an ELF file what can be told without loading it: the machine, and the symbols that it has and wants. */
import { ConfigError } from "#api";
import { textOf } from "#lib/text-bytes";

import { mostSymbols } from "./limits.ts";

interface ElfSymbol {
  readonly name: string;
  /** Whether the file has it; else it has to be found elsewhere. */
  readonly defined: boolean;
  readonly weak: boolean;
  readonly kind: "function" | "object" | "other";
  readonly value: bigint;
  readonly size: number;
}

export interface ElfFile {
  /** As GNU names it: `x86_64`. Others are `machine N`. */
  readonly machine: string;
  readonly bits: 32 | 64;
  readonly isShared: boolean;
  /** What the loader sees. */
  readonly dynamicSymbols: readonly ElfSymbol[];
  /** What debuggers see; empty in a stripped file, and where they are damaged. */
  readonly symbols: readonly ElfSymbol[];
  /** Shared libraries that are loaded with it. */
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

/** Throws ConfigError. Of files of 32 bits, or in big-endian order, only the head is read. */
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

/** All offsets are checked by DataView, which throws RangeError. */
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
    // The loader does not look: it would die of what is not there.
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

  /** They are of no use to the loader, so a file may have lost them: then there are none. */
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

  /** Where in the file an address of the loaded module is. */
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

  /** The dynamic symbols have no count of their own. */
  #countByHash(dynamic: ReadonlyMap<bigint, bigint[]>, symbols: number, strings: number): number {
    const hash = this.#at(dynamic.get(tagHash)?.[0]);
    if (hash !== undefined) return this.#u32(hash + 4);
    const gnu = this.#at(dynamic.get(tagGnuHash)?.[0]);
    const hashed = gnu === undefined ? 0 : this.#lastHashed(gnu) + 1;
    // What is not defined is not hashed; linkers put the strings behind the symbols.
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

  /** The loader does without them, so a file in which they are damaged works. */
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
    // The first one is always empty.
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
