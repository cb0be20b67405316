/** Sends parts of files to a client's socket through pipes, without reading them. */
import type { FilePart, FileReply, Sink } from "../protocol/output.ts";
import { FilePipe, isInMemory, isNonBlocking } from "../sys/file-pipe.ts";
import { mostPipes, mostSparePipes } from "./limits.ts";

/** Empty pipes for reuse. */
const spare: FilePipe[] = [];
let open = 0;

const nothing = new Uint8Array(0);

/** Make `Sink.fileReply` for this socket. Undefined if the socket may block. `write` sends single bytes through Bun. */
export function fileReplies(socket: number, write: Sink["write"]): Sink["fileReply"] {
  if (!isNonBlocking(socket)) return undefined;
  return (header, part) => {
    const pipes = filledPipes(header, part);
    return pipes === undefined ? undefined : new PipedReply(pipes, socket, write);
  };
}

function filledPipes(header: Uint8Array, part: FilePart): FilePipe[] | undefined {
  const { count, descriptor, offset } = part;
  if (!isInMemory(descriptor, offset, count)) return undefined;
  const pipes: FilePipe[] = [];
  for (let at = 0; at < count;) {
    const pipe = emptyPipe();
    if (pipe !== undefined) pipes.push(pipe);
    const length = Math.min(count - at, pipe?.room ?? 0);
    const front = at === 0 ? header : nothing;
    if (pipe?.fill(front, descriptor, offset + BigInt(at), length) !== true) {
      pipes.forEach(release);
      return undefined;
    }
    at += length;
  }
  return pipes;
}

function emptyPipe(): FilePipe | undefined {
  const pipe = spare.pop();
  if (pipe !== undefined || open === mostPipes) return pipe;
  const made = FilePipe.open();
  if (made !== undefined) open++;
  return made;
}

function release(pipe: FilePipe): void {
  if (pipe.held === 0 && spare.length < mostSparePipes) {
    spare.push(pipe);
  } else {
    pipe[Symbol.dispose]();
    open--;
  }
}

class PipedReply implements FileReply {
  /** The pipes that are not yet empty, in order. */
  readonly #pipes: FilePipe[];
  readonly #socket: number;
  readonly #write: Sink["write"];
  /** The next byte, if Bun has it to write. */
  readonly #byte = new Uint8Array(new ArrayBuffer(1));
  #offered = false;

  constructor(pipes: FilePipe[], socket: number, write: Sink["write"]) {
    this.#pipes = pipes;
    this.#socket = socket;
    this.#write = write;
  }

  get held(): number {
    return this.#pipes.reduce((sum, { held }) => sum + held, this.#offered ? 1 : 0);
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
      const [pipe] = this.#pipes;
      if (pipe === undefined) return before;
      if (pipe.give(this.#socket) < 0) return -1;
      if (pipe.held === 0) {
        release(pipe);
        this.#pipes.shift();
        continue;
      }
      // Bun reports that the socket drained only after an incomplete write. So take one byte out of the pipe, and write
      // it through Bun.
      if (pipe.take(this.#byte) !== 1) return -1;
      this.#offered = true;
    }
  }

  drop(): void {
    this.#pipes.forEach(release);
  }
}
