/** Gathers replies, and writes as many of them as the kernel takes, with few writes. */
import { log } from "../lib/log.ts";
import { freeUsedUp } from "../lib/used-up.ts";
import { type Block, type Blocks, dataStart } from "./blocks.ts";
import type { Lifecycle } from "./lifecycle.ts";
import { copiedReplyBytes, firstReplyBytes, fullBlockBytes } from "./limits.ts";

/** The connection's socket. */
export interface Sink {
  /** Returns how many bytes the kernel took, or -1 if the connection is gone. */
  write(bytes: Uint8Array, start: number, length: number): number;
  /** Stop or resume delivering input from the client. */
  pause(): void;
  resume(): void;
  /**
   * Send `header` and a part of a file behind it, without reading the file. Undefined if this would block or is not
   * possible.
   */
  fileReply?: ((header: Uint8Array, part: FilePart) => FileReply | undefined) | undefined;
}

/** A range of an open file. */
export interface FilePart {
  readonly descriptor: number;
  readonly offset: bigint;
  readonly count: number;
}

/** A reply that the kernel sends from a file. */
export interface FileReply {
  /** Bytes that are not yet written. */
  readonly held: number;
  /**
   * Returns how many bytes the kernel took, or -1 if the connection is gone. After it took all, this is not called
   * again.
   */
  write(): number;
  /** Discard the bytes that are not yet written. */
  drop(): void;
}

interface Segment {
  readonly block: Block;
  start: number;
  readonly end: number;
  /** The segment owns the block, so the block can be reused. */
  readonly recycle: boolean;
}

/** The memory of one reply: the header from `start` on, and the data behind it. */
export interface Place {
  readonly block: Block;
  readonly start: number;
  /** The block holds nothing else. */
  readonly own: boolean;
}

export class Output {
  /** The kernel took less than it was given. `drained` follows. */
  blocked = false;
  /** Replies must keep the order of requests. */
  inOrder = false;
  /** Gathered replies are in `block`, up to `end`. */
  block: Block;
  end = 0;
  #start = 0;
  /**
   * The block must be written before any segment: it was partly written, perhaps up to the middle of a reply, or it
   * holds part of the handshake.
   */
  #begun = false;
  /**
   * Replies in blocks of their own. Unless replies must keep their order, these overtake the replies in the block, if
   * that is not yet begun.
   */
  readonly #segments: Segment[] = [];
  #segmentBytes = 0;
  /** A reply from a file that is partly written. */
  #file: FileReply | undefined;
  readonly #sink: Sink;
  readonly #blocks: Blocks;
  readonly #lifecycle: Lifecycle;

  constructor(sink: Sink, blocks: Blocks, lifecycle: Lifecycle) {
    this.#sink = sink;
    this.#blocks = blocks;
    this.#lifecycle = lifecycle;
    this.block = blocks.take(firstReplyBytes);
  }

  /** Output no longer reaches the client. */
  get dead(): boolean {
    return !this.#lifecycle.phase.writes;
  }

  /** Bytes that are not yet written. */
  get held(): number {
    return this.#segmentBytes + this.end - this.#start + (this.#file?.held ?? 0);
  }

  /** Make room for `length` bytes, and return their position. The caller moves `end` when they are complete. */
  reserve(length: number): number {
    if (this.block.bytes.length - this.end < length) this.#grow(length);
    return this.end;
  }

  /** The reply of `length` bytes in `place`, with its header, is complete. */
  adopt(place: Place, length: number): void {
    const { block, start, own } = place;
    if (length <= copiedReplyBytes) {
      const at = this.reserve(length);
      const reply = block.bytes.subarray(start, start + length);
      this.block.bytes.set(reply, at);
      this.end = at + length;
      this.release(place);
      if (own) block.clear.clear(reply);
      return;
    }
    if (this.inOrder && this.end > this.#start) this.#another(true);
    this.#segments.push({ block, start, end: start + length, recycle: own });
    this.#segmentBytes += length;
  }

  /** The memory of `place` is no longer needed. */
  release(place: Place): void {
    if (place.own) this.#blocks.give(place.block);
  }

  /** Memory for a reply that will be complete later: `headerBytes`, then `count` aligned bytes. */
  place(headerBytes: number, count: number): Place {
    const data = dataStart(count);
    return { block: this.#blocks.takeForRead(data + count), start: data - headerBytes, own: true };
  }

  /**
   * The layers answer later into the bytes that were reserved last. Leave the block to them, and gather further replies
   * in another one. The block is not reused.
   */
  detach(): Place {
    const { block } = this;
    const start = this.end;
    this.#another(false);
    return { block, start, own: false };
  }

  /** Add bytes of the handshake. They are written before all later replies. */
  append(bytes: Uint8Array): void {
    const at = this.reserve(bytes.length);
    this.block.bytes.set(bytes, at);
    this.end = at + bytes.length;
    this.#begun = true;
  }

  /** Whether `sendFile` is possible for this socket. */
  get sendsFiles(): boolean {
    return this.#sink.fileReply !== undefined;
  }

  /**
   * Send `header` and a part of a file behind it. Returns false if other output waits, or if the data is not in memory.
   */
  sendFile(header: Uint8Array, part: FilePart): boolean {
    if (this.blocked || this.dead || this.held > 0) return false;
    this.#file = this.#sink.fileReply?.(header, part);
    if (this.#file === undefined) return false;
    this.flush();
    return true;
  }

  /** Write what was gathered, as far as the kernel takes it. */
  flush(): void {
    if (this.dead) return this.drop();
    if (this.blocked) return;
    if (this.#file !== undefined && !this.#writeFile(this.#file)) return;
    // Complete what is partly written before writing anything else.
    if (this.#begun && !this.#writeBlock()) return;
    while (this.#segments.length > 0) if (!this.#writeSegment()) return;
    if (this.end > 0) this.#writeBlock();
  }

  /** The kernel takes output again. */
  drained(): void {
    this.blocked = false;
    this.flush();
  }

  #writeFile(file: FileReply): boolean {
    const { held } = file;
    const taken = file.write();
    if (taken !== held) return this.#refused(taken);
    this.#file = undefined;
    return true;
  }

  #writeBlock(): boolean {
    const { block } = this;
    if (this.#isLost(block)) return false;
    const length = this.end - this.#start;
    const taken = this.#sink.write(block.bytes, this.#start, length);
    if (taken !== length) {
      if (taken > 0) {
        this.#begun = true;
        this.#start += taken;
      }
      return this.#refused(taken);
    }
    this.#reset();
    if (block.bytes.length > 2 * fullBlockBytes) {
      this.#giveBack(block);
      this.block = this.#blocks.take(fullBlockBytes);
    }
    return true;
  }

  #writeSegment(): boolean {
    const [segment] = this.#segments;
    if (segment === undefined) return true;
    if (this.#isLost(segment.block)) return false;
    const length = segment.end - segment.start;
    const taken = this.#sink.write(segment.block.bytes, segment.start, length);
    if (taken === length) {
      this.#segments.shift();
      this.#segmentBytes -= length;
      if (segment.recycle) this.#giveBack(segment.block);
      return true;
    }
    if (taken > 0) {
      segment.start += taken;
      this.#segmentBytes -= taken;
    }
    return this.#refused(taken);
  }

  #refused(taken: number): false {
    if (taken < 0) this.#lose();
    else this.blocked = true;
    return false;
  }

  /** The connection is gone. */
  #lose(): void {
    this.#lifecycle.raise("lost");
    this.drop();
  }

  /** Free all output that is not yet written. */
  drop(): void {
    this.blocked = false;
    this.#file?.drop();
    this.#file = undefined;
    for (const { block, recycle } of this.#segments) if (recycle) this.#giveBack(block);
    this.#segments.length = 0;
    this.#segmentBytes = 0;
    this.#giveBack(this.block);
    this.block = this.#blocks.take(firstReplyBytes);
    this.#reset();
  }

  /** Free a block at once if it is not kept: the collector would do so late, and the layers no longer use it. */
  #giveBack(block: Block): void {
    if (!this.#blocks.give(block)) freeUsedUp(block.bytes);
  }

  #reset(): void {
    this.#start = 0;
    this.end = 0;
    this.#begun = false;
  }

  /** Provide a block with room for `length` more bytes. */
  #grow(length: number): void {
    const { block } = this;
    if (this.end > this.#start) this.#isLost(block);
    const used = this.end - this.#start;
    if (used > copiedReplyBytes && block.bytes.length >= fullBlockBytes) {
      this.#seal(true);
      this.block = this.#blocks.take(Math.max(fullBlockBytes, length));
      this.#reset();
      return;
    }
    this.block = this.#blocks.take(Math.max(2 * block.bytes.length, used + length));
    if (used > 0) this.block.bytes.set(block.bytes.subarray(this.#start, this.end));
    this.#blocks.give(block);
    this.#start = 0;
    this.end = used;
  }

  /** Whether a layer has detached the memory of this block, and lost the replies in it. */
  #isLost(block: Block): boolean {
    if (block.bytes.length > 0) return false;
    log.error("a layer gave away memory that had replies in it: the client is disconnected");
    this.#lose();
    return true;
  }

  /** Gather further replies in another block, and write this one before that. */
  #another(recycle: boolean): void {
    this.#seal(recycle);
    this.block = this.#blocks.take(firstReplyBytes);
    this.#reset();
  }

  /** Make a segment of the block. It goes first if it is partly written. */
  #seal(recycle: boolean): void {
    const { block, end } = this;
    if (end === this.#start) return;
    const segment = { block, start: this.#start, end, recycle };
    if (this.#begun) this.#segments.unshift(segment);
    else this.#segments.push(segment);
    this.#segmentBytes += end - this.#start;
  }
}
