/** Sends what files have to a client's socket without reading it. */
import { FilePipe, isNonBlocking } from "#abi/file-pipe";

import type { FilePart } from "../chain/layer.ts";
import type { FileReply, Sink } from "../protocol/output.ts";

/** For clients that have not taken all of a reply. The others' replies are read, as each pipe takes two descriptors. */
const mostPipes = 32;

/** Pipes that are empty. */
const spare: FilePipe[] = [];
let open = 0;

/** What `Sink.fileReply` is for this socket, whose bytes else go through `write`; undefined where it cannot be. */
export function fileReplies(socket: number, write: Sink["write"]): Sink["fileReply"] {
  if (!isNonBlocking(socket)) return undefined;
  return (header, part) => {
    const pipe = filledPipe(header, part);
    return pipe === undefined ? undefined : new PipedReply(pipe, socket, write);
  };
}

function filledPipe(header: Uint8Array, part: FilePart): FilePipe | undefined {
  let pipe = spare.pop();
  if (pipe === undefined) {
    if (open === mostPipes) return undefined;
    pipe = FilePipe.open();
    if (pipe === undefined) return undefined;
    open++;
  }
  if (pipe.fill(header, part.descriptor, part.offset, part.count)) return pipe;
  release(pipe);
  return undefined;
}

function release(pipe: FilePipe): void {
  if (pipe.held === 0) {
    spare.push(pipe);
  } else {
    pipe[Symbol.dispose]();
    open--;
  }
}

class PipedReply implements FileReply {
  readonly #pipe: FilePipe;
  readonly #socket: number;
  readonly #write: Sink["write"];
  /** The next byte, where Bun was asked to write it. */
  readonly #byte = new Uint8Array(new ArrayBuffer(1));
  #offered = false;

  constructor(pipe: FilePipe, socket: number, write: Sink["write"]) {
    this.#pipe = pipe;
    this.#socket = socket;
    this.#write = write;
  }

  get held(): number {
    return this.#pipe.held + (this.#offered ? 1 : 0);
  }

  write(): number {
    const before = this.held;
    for (;;) {
      if (this.#offered) {
        const taken = this.#write(this.#byte, 0, 1);
        if (taken < 0) return -1;
        if (taken === 0) return before - this.held;
        this.#offered = false;
      }
      if (this.#pipe.give(this.#socket) < 0) return -1;
      if (this.#pipe.held === 0) {
        release(this.#pipe);
        return before;
      }
      // Bun tells of room in a socket only after it could not write to it.
      if (this.#pipe.take(this.#byte) !== 1) return -1;
      this.#offered = true;
    }
  }

  drop(): void {
    release(this.#pipe);
  }
}
