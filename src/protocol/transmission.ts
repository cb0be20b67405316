/**
 * The transmission phase of one connection: takes requests from the input, runs as many as flow control and the thread
 * model allow, and replies. For a request that is answered at once, nothing here makes a promise, a closure or a copy.
 */
import type { Awaitable } from "../api/generated/methods.gen.ts";
import { errnoText } from "../lib/errno.ts";
import { log } from "../lib/log.ts";
import type { Blocks } from "./blocks.ts";
import { CMD_BLOCK_STATUS, CMD_READ, CMD_WRITE } from "./constants.ts";
import type { Gate } from "./gate.ts";
import type { Lifecycle } from "./lifecycle.ts";
import {
  aheadBytes,
  extentsBytes,
  flushedBytes,
  mostBytesInFlight,
  mostInFlight,
} from "./limits.ts";
import type { ChosenExport } from "./negotiation.ts";
import type { Output, Sink } from "./output.ts";
import type { ProtocolPolicy } from "./policy.ts";
import { type ReadOptions, Reads } from "./reads.ts";
import type { Refusal } from "./refusal.ts";
import { Replies } from "./replies.ts";
import type { RequestHeader } from "./request-header.ts";
import { RequestReader } from "./request-reader.ts";
import type { Request } from "./request.ts";
import { Requests } from "./requests.ts";
import { failure, wireError } from "./wire-error.ts";

export interface TransmissionOptions extends ReadOptions {
  readonly sink: Sink;
  readonly output: Output;
  readonly blocks: Blocks;
  readonly export: ChosenExport;
  readonly logName: string;
  readonly gate: Gate;
  readonly lifecycle: Lifecycle;
  readonly policy: ProtocolPolicy;
}

const shuttingDown: Refusal = {
  errno: "ESHUTDOWN",
  message: "the server takes no more requests from this client",
};

export class Transmission {
  /** Resolves when no request is in flight and no more will run. */
  readonly done: Promise<void>;
  #finish: () => void = () => {};
  readonly #options: TransmissionOptions;
  readonly #output: Output;
  readonly #replies: Replies;
  readonly #gate: Gate;
  readonly #lifecycle: Lifecycle;
  readonly #mostInFlight: number;
  /** Holds the request that is being received or run. */
  readonly #reader: RequestReader;
  readonly #reads: Reads;
  readonly #requests: Requests;

  #inFlight = 0;
  #bytesInFlight = 0;
  #paused = false;
  #turnScheduled = false;
  readonly #turn = (): void => {
    this.#turnScheduled = false;
    this.#output.flush();
    this.#proceed();
  };

  constructor(options: TransmissionOptions) {
    this.#options = options;
    this.#output = options.output;
    this.#replies = new Replies(options.output, options.export.structured);
    this.#reads = new Reads(options.export, this.#output, options);
    this.#gate = options.gate;
    this.#lifecycle = options.lifecycle;
    const { policy } = options;
    this.#mostInFlight = this.#gate.one
      ? 1
      : Math.min(policy.threads ?? mostInFlight, mostInFlight);
    // A client whose requests are serialized may rely on replies in request order.
    this.#output.inOrder = this.#mostInFlight === 1;
    this.#reader = new RequestReader(options.export, options.blocks, options.logName);
    const { export: chosen, output } = options;
    const exchange = { reader: this.#reader, export: chosen, replies: this.#replies, output };
    this.#requests = new Requests(exchange, this.#reads);
    this.done = new Promise((resolve) => {
      this.#finish = resolve;
    });
    this.#gate.onGranted = () => {
      this.#turn();
      // No request may have run, if the client takes no output. Other connections must not wait for that.
      this.#gate.leave();
    };
  }

  /** Bytes of memory that this connection holds for its client, without the memory of layers. */
  get heldBytes(): number {
    return this.#reader.heldBytes + this.#output.held + this.#bytesInFlight;
  }

  /** Take the input behind the handshake. The client may have left since. */
  start(chunks: readonly Uint8Array[]): void {
    for (const chunk of chunks) this.#reader.push(chunk);
    this.#proceed();
  }

  /** Take a chunk from the client. */
  feed(chunk: Uint8Array): void {
    if (!this.#lifecycle.phase.listens) return;
    this.#reader.push(chunk);
    this.#proceed();
  }

  /** Where to receive the next bytes: the data of a write, or what follows a large one. */
  get room(): Uint8Array | undefined {
    return this.#lifecycle.phase.listens ? this.#reader.room : undefined;
  }

  /** The caller has put `count` bytes into `room`. */
  filled(count: number): void {
    this.#reader.fill(count);
    if (this.#reader.ready || this.#reader.broken) this.#proceed();
  }

  /** The kernel takes output again. */
  drained(): void {
    this.#output.drained();
    this.#proceed();
  }

  /** The connection's phase has changed, or the client has half-closed. */
  wake(): void {
    if (this.#turnScheduled) return;
    this.#turnScheduled = true;
    queueMicrotask(this.#turn);
  }

  /** Log that the client left. */
  logLeft(): void {
    const where = this.#reader.incomplete ? " in the middle of a request" : "";
    log.debug(`client closed input socket${where}, closing connection`, this.#options.logName);
  }

  /** Run as many requests as possible, then write the replies. */
  #proceed(): void {
    const lifecycle = this.#lifecycle;
    this.#run();
    this.#output.flush();
    if (this.#hasInput()) this.#hold();
    else if (lifecycle.halfClosed) this.#leave();
    else this.#release();
    // A stopping server refuses waiting requests only while the client takes replies.
    if (lifecycle.phase.name === "stopping" && this.#inFlight === 0) {
      if (this.#output.blocked || !this.#hasInput()) lifecycle.raise("done");
    }
    if (!lifecycle.phase.listens) this.#clear();
  }

  /** Whether input waits that may be run later. */
  #hasInput(): boolean {
    return this.#lifecycle.phase.listens && !this.#reader.empty;
  }

  #hold(): void {
    if (this.#paused) return;
    this.#paused = true;
    this.#options.sink.pause();
  }

  #release(): void {
    if (!this.#paused || !this.#lifecycle.phase.listens) return;
    this.#paused = false;
    this.#options.sink.resume();
  }

  /** Everything that the client sent has run. */
  #leave(): void {
    if (!this.#lifecycle.phase.listens) return;
    this.logLeft();
    this.#lifecycle.raise("done");
  }

  /** No more requests will run. */
  #clear(): void {
    this.#reader.clear();
    this.#gate.leave();
    if (this.#inFlight === 0) this.#finish();
  }

  #run(): void {
    const lifecycle = this.#lifecycle;
    const reader = this.#reader;
    while (lifecycle.phase.listens) {
      if (!reader.ready && !reader.read()) {
        // As with nbdkit, a disconnect takes effect once one more request could run.
        if (reader.broken && this.#inFlight < this.#mostInFlight) lifecycle.raise("done");
        return;
      }
      if (!this.#mayRun()) return;
      reader.ready = false;
      this.#execute();
      if (this.#output.held >= flushedBytes) this.#output.flush();
    }
  }

  /** Whether output, flow control and the thread model have room for one more request. */
  #mayRun(): boolean {
    const reader = this.#reader;
    const { refused } = reader;
    if (this.#output.blocked) {
      if (this.#output.held >= aheadBytes) return false;
      const refuses = refused !== undefined || this.#lifecycle.phase.refuses;
      if (!refuses && this.#reads.shouldWait(reader)) return false;
    }
    if (this.#inFlight > 0) {
      if (this.#inFlight >= this.#mostInFlight) return false;
      if (this.#bytesInFlight + weightOf(reader) > mostBytesInFlight) return false;
    }
    return (
      refused !== undefined || this.#lifecycle.phase.refuses || this.#gate.open(this.#inFlight)
    );
  }

  #execute(): void {
    const reader = this.#reader;
    const refusal = reader.refused ?? (this.#lifecycle.phase.refuses ? shuttingDown : undefined);
    if (refusal !== undefined) {
      reader.releasePayload();
      this.#refuse(reader, refusal);
      return;
    }
    const request = this.#requests.next();
    let result: Awaitable<void> = undefined;
    try {
      result = request.run();
      if (result === undefined) request.reply();
    } catch (error) {
      this.#failed(request, error);
    }
    if (result === undefined) this.#gate.leave();
    else this.#await(request, result);
  }

  // ---- answers that come later

  #await(request: Request, result: Promise<void>): void {
    this.#requests.keep(request);
    this.#inFlight++;
    this.#bytesInFlight += weightOf(request);
    this.#gate.stay();
    result.then(
      () => {
        this.#settled(request);
        this.#reply(request);
      },
      (error: unknown) => {
        this.#settled(request);
        this.#failed(request, error);
      },
    );
  }

  #settled(request: Request): void {
    this.#inFlight--;
    this.#bytesInFlight -= weightOf(request);
    this.#gate.leaveLater();
    // Requests that settle together are answered with one write.
    this.wake();
  }

  #reply(request: Request): void {
    if (this.#output.dead) {
      request.drop();
      return;
    }
    try {
      request.reply();
    } catch (error) {
      this.#failed(request, error);
    }
  }

  // ---- errors

  /** A layer has failed with `error`. */
  #failed(request: Request, error: unknown): void {
    request.drop();
    const { errno, message, text } = failure(error);
    if (message !== "") log.error(message, this.#options.logName);
    this.#refuse(request, { errno, message: text });
  }

  #refuse(request: RequestHeader, { errno, message, at }: Refusal): void {
    if (log.verbose) {
      log.debug(`sending error reply: ${errnoText(errno)}`, this.#options.logName);
    }
    if (this.#output.dead) return;
    this.#replies.failed(request, { error: wireError(errno, request.flags), text: message, at });
  }
}

/** The memory that a request may need while it is in flight. */
function weightOf({ count, type }: RequestHeader): number {
  if (type === CMD_READ || type === CMD_WRITE) return count;
  return type === CMD_BLOCK_STATUS ? extentsBytes : 0;
}
