/**
 * Answers large reads from files: where layers do no more than move a read to another place, the kernel sends what the
 * file has, and nobody copies it.
 */
import type { FilePart, FindFilePart } from "../chain/layer.ts";
import { CMD_READ } from "./constants.ts";
import type { Output } from "./output.ts";
import type { Asked, Replies } from "./replies.ts";

/** Smaller ones are cheaper when they are copied, many into one write. */
const leastBytes = 32 << 10;
/** Larger ones are read on another thread, while others are served. */
const mostBytes = 4 << 20;

interface Read extends Asked {
  readonly type: number;
  readonly count: number;
}

export class FileReads {
  readonly #find: FindFilePart | undefined;
  readonly #output: Output;
  readonly #replies: Replies;

  constructor(find: FindFilePart | undefined, output: Output, replies: Replies) {
    this.#find = output.sendsFiles ? find : undefined;
    this.#output = output;
    this.#replies = replies;
  }

  /** Whether it is worth to wait until the client has taken what was written: then nothing has to be copied. */
  suits(read: Read): boolean {
    try {
      return this.#part(read) !== undefined;
    } catch {
      // Whoever runs it finds out.
      return false;
    }
  }

  /** False: it has to be read. */
  answer(read: Read): boolean {
    const part = this.#part(read);
    if (part === undefined) return false;
    const output = this.#output;
    output.flush();
    if (output.held > 0) return false;
    const { headerBytes } = this.#replies;
    const at = output.reserve(headerBytes);
    this.#replies.dataHeader(output.block, at, read, read.count);
    return output.sendFile(output.block.bytes.subarray(at, at + headerBytes), part);
  }

  #part({ type, count, offset }: Read): FilePart | undefined {
    if (type !== CMD_READ || count < leastBytes || count > mostBytes) return undefined;
    return this.#find?.(count, offset);
  }
}
