/** What goes to the client: replies gathered into few writes, and no more of them than the kernel takes. */
import { log } from "../lib/log.ts";
import { freeUsedUp } from "../lib/used-up.ts";
import { type Block, type Blocks, dataStart } from "./blocks.ts";
import type { Lifecycle } from "./lifecycle.ts";
import { copiedReplyBytes, firstReplyBytes, fullBlockBytes } from "./limits.ts";

/** The connection's socket. */
export interface Sink {
  /** How many bytes the kernel took, or -1 where the connection is gone. */
  write(bytes: Uint8Array, start: number, length: number): number;
  /** Stop and go on delivering what the client sends. */
  pause(): void;
  resume(): void;
  /**
   * Take `header` and behind it what a file has, without reading it. Undefined where that would have to wait, or cannot
   * be done.
   */
  fileReply?: ((header: Uint8Array, part: FilePart) => FileReply | undefined) | undefined;
}

/** Bytes of an open file. */
export interface FilePart {
  readonly descriptor: number;
  readonly offset: bigint;
  readonly count: number;
}

/** A reply that a socket gets from a file. */
export interface FileReply {
  /** Bytes that were not written yet. */
  readonly held: number;
  /** How many of them the kernel took, or -1 where the connection is gone. If it took all, this was the last call. */
  write(): number;
  /** They will not be written. */
  drop(): void;
}

interface Segment {
  readonly block: Block;
  start: number;
  readonly end: number;
  /** No other code uses the block. */
  readonly recycle: boolean;
}

/** A place in a block for the header and data of a reply. */
export interface Place {
  readonly block: Block;
  readonly start: number;
  /** Nothing else is in the block. */
  readonly own: boolean;
}

export class Output {
  /** The kernel took less than it was given: `drained` will be called. */
  blocked = false;
  /** No reply may overtake another one. */
  inOrder = false;
  /** Gathered replies are in `block` up to `end`. */
  block: Block;
  end = 0;
  #start = 0;
  /** The block goes first: part of it was written, perhaps up to the middle of a reply, or the handshake is in it. */
  #begun = false;
  /** Replies with blocks of their own. Unless they are in order, these go first where neither has begun. */
  readonly #segments: Segment[] = [];
  #segmentBytes = 0;
  /** A reply that was begun. */
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

  /** Nothing that is written reaches the client. */
  get dead(): boolean {
    return !this.#lifecycle.phase.writes;
  }

  /** Bytes that wait to be written. */
  get held(): number {
    return this.#segmentBytes + this.end - this.#start + (this.#file?.held ?? 0);
  }

  /** Make room for `length` bytes at the position returned. They count once `end` was moved. */
  reserve(length: number): number {
    if (this.block.bytes.length - this.end < length) this.#grow(length);
    return this.end;
  }

  /** The reply in `place`, `length` bytes with its header, is complete. */
  adopt(place: Place, length: number): void {
    const { block, start, own } = place;
    if (length <= copiedReplyBytes) {
      const at = this.reserve(length);
      this.block.bytes.set(block.bytes.subarray(start, start + length), at);
      this.end = at + length;
      this.release(place);
      return;
    }
    if (this.inOrder && this.end > this.#start) this.#another(true);
    this.#segments.push({ block, start, end: start + length, recycle: own });
    this.#segmentBytes += length;
  }

  /** `place` is needed no more. */
  release(place: Place): void {
    if (place.own) this.#blocks.give(place.block);
  }

  /**
   * A place of its own, for a reply that will be complete later: `headerBytes`, and behind them
   * `count` aligned bytes.
   */
  place(headerBytes: number, count: number): Place {
    const data = dataStart(count);
    return { block: this.#blocks.take(data + count), start: data - headerBytes, own: true };
  }

  /**
   * What was reserved last is still being filled: leave the block to it, and gather in another one.
   * The block is then used for nothing else.
   */
  detach(): Place {
    const { block } = this;
    const start = this.end;
    this.#another(false);
    return { block, start, own: false };
  }

  /** Add bytes as they are: the handshake. Nothing that comes later may go first. */
  append(bytes: Uint8Array): void {
    const at = this.reserve(bytes.length);
    this.block.bytes.set(bytes, at);
    this.end = at + bytes.length;
    this.#begun = true;
  }

  /** Whether `sendFile` can be of use. */
  get sendsFiles(): boolean {
    return this.#sink.fileReply !== undefined;
  }

  /**
   * Send `header` and behind it what a file has. False where it cannot be done now: nothing else may wait to be
   * written, and the data has to be in memory.
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
    // What has begun must end before anything else begins.
    if (this.#begun && !this.#writeBlock()) return;
    while (this.#segments.length > 0) if (!this.#writeSegment()) return;
    if (this.end > 0) this.#writeBlock();
  }

  /** The kernel takes more. */
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

  /** The kernel takes no more of it, now or ever. */
  #lose(): void {
    this.#lifecycle.raise("lost");
    this.drop();
  }

  /** Free all that waits to be written. */
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

  /** What is too large to be kept is freed now, as the collector would find it late. The layers are done with it. */
  #giveBack(block: Block): void {
    if (!this.#blocks.give(block)) freeUsedUp(block.bytes);
  }

  #reset(): void {
    this.#start = 0;
    this.end = 0;
    this.#begun = false;
  }

  /** Gather in a block with room for `length` more bytes. */
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

  /** Whether the replies of that block are gone: a layer that was lent a part of it gave it away. */
  #isLost(block: Block): boolean {
    if (block.bytes.length > 0) return false;
    log.error("a layer gave away memory that had replies in it: the client is disconnected");
    this.#lose();
    return true;
  }

  /** Gather in another block, behind what this one holds. */
  #another(recycle: boolean): void {
    this.#seal(recycle);
    this.block = this.#blocks.take(firstReplyBytes);
    this.#reset();
  }

  /** What the block holds becomes a segment, in front of others where part of it has left. */
  #seal(recycle: boolean): void {
    const { block, end } = this;
    if (end === this.#start) return;
    const segment = { block, start: this.#start, end, recycle };
    if (this.#begun) this.#segments.unshift(segment);
    else this.#segments.push(segment);
    this.#segmentBytes += end - this.#start;
  }
}
