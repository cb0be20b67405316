/**
 * The transmission phase of one connection: parses requests, runs them and gathers their replies.
 * Where layers answer at once, nothing here makes a promise, a closure or a copy for a request.
 */
import { FLAG_FUA, FLAG_REQ_ONE } from "../api/generated/constants.gen.ts";
import type { NextOps } from "../api/generated/methods.gen.ts";
import { errnoText } from "../lib/errno.ts";
import { Extents } from "../lib/extents.ts";
import { log } from "../lib/log.ts";
import type { Blocks } from "./blocks.ts";
import {
  CMD_BLOCK_STATUS,
  CMD_FLAG_FUA,
  CMD_FLAG_REQ_ONE,
  CMD_READ,
  CMD_TRIM,
  CMD_WRITE,
  CMD_WRITE_ZEROES,
} from "./constants.ts";
import type { Gate } from "./gate.ts";
import type { Lifecycle } from "./lifecycle.ts";
import { aheadBytes, flushedBytes, mostBytesInFlight, mostInFlight } from "./limits.ts";
import type { ChosenExport } from "./negotiation.ts";
import type { Output, Sink } from "./output.ts";
import { type Held, type Pending, type Running, weightOf } from "./pending.ts";
import { perform } from "./perform.ts";
import type { ProtocolPolicy } from "./policy.ts";
import { type ReadOptions, Reads } from "./reads.ts";
import { Replies } from "./replies.ts";
import { RequestReader } from "./request-reader.ts";
import type { Refusal } from "./request.ts";
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
  /** Resolves when nothing is in flight and nothing more will be run. */
  readonly done: Promise<void>;
  #finish: () => void = () => {};
  readonly #options: TransmissionOptions;
  readonly #output: Output;
  readonly #replies: Replies;
  readonly #top: NextOps;
  readonly #gate: Gate;
  readonly #lifecycle: Lifecycle;
  readonly #mostInFlight: number;
  /** Holds the request that is received or run. */
  readonly #reader: RequestReader;
  readonly #reads: Reads;

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
    this.#top = options.export.top;
    this.#reads = new Reads(options.export, this.#output, this.#replies, options);
    this.#gate = options.gate;
    this.#lifecycle = options.lifecycle;
    const { policy } = options;
    this.#mostInFlight = this.#gate.one
      ? 1
      : Math.min(policy.threads ?? mostInFlight, mostInFlight);
    // Who has them run one after the other may count on their order.
    this.#output.inOrder = this.#mostInFlight === 1;
    this.#reader = new RequestReader(options.export, options.blocks, options.logName);
    this.done = new Promise((resolve) => {
      this.#finish = resolve;
    });
    this.#gate.onGranted = () => {
      this.#turn();
      // A request that cannot run, because the client takes no output, must not delay others.
      this.#gate.leave();
    };
  }

  /** Bytes of memory that this connection holds for its client, but for what the layers hold. */
  get heldBytes(): number {
    return this.#reader.heldBytes + this.#output.held + this.#bytesInFlight;
  }

  /** Take what the client sent behind its last option. It may have left since. */
  start(chunks: readonly Uint8Array[]): void {
    for (const chunk of chunks) this.#reader.push(chunk);
    this.#proceed();
  }

  /** Bytes from the client. */
  feed(chunk: Uint8Array): void {
    if (!this.#lifecycle.phase.listens) return;
    this.#reader.push(chunk);
    this.#proceed();
  }

  /** Where the next bytes from the client may be put instead: they are those of a write, or what follows one. */
  get room(): Uint8Array | undefined {
    return this.#lifecycle.phase.listens ? this.#reader.room : undefined;
  }

  /** So many bytes were put into `room`. */
  filled(count: number): void {
    this.#reader.fill(count);
    if (this.#reader.ready || this.#reader.broken) this.#proceed();
  }

  /** The kernel takes output again. */
  drained(): void {
    this.#output.drained();
    this.#proceed();
  }

  /** The connection's phase has changed, or the client is half-closed. */
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

  /** Parse and run as much as may be, then write what was gathered. */
  #proceed(): void {
    const lifecycle = this.#lifecycle;
    this.#run();
    this.#output.flush();
    if (this.#hasInput()) this.#hold();
    else if (lifecycle.halfClosed) this.#leave();
    else this.#release();
    // Refusals are for clients that take them.
    if (lifecycle.phase.name === "stopping" && this.#inFlight === 0) {
      if (this.#output.blocked || !this.#hasInput()) lifecycle.raise("done");
    }
    if (!lifecycle.phase.listens) this.#clear();
  }

  /** Whether something waits that could be run later. */
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

  /** All that the client sent was run. */
  #leave(): void {
    if (!this.#lifecycle.phase.listens) return;
    this.logLeft();
    this.#lifecycle.raise("done");
  }

  /** Nothing more will be run. */
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
        // As with nbdkit, a goodbye is heard once there is room for one more request.
        if (reader.broken && this.#inFlight < this.#mostInFlight) lifecycle.raise("done");
        return;
      }
      if (!this.#mayRun()) return;
      reader.ready = false;
      this.#execute();
      if (this.#output.held >= flushedBytes) this.#output.flush();
    }
  }

  /** Whether there is room for one more request: in the output, in flight, and in the thread model. */
  #mayRun(): boolean {
    const { count, refused, type } = this.#reader;
    if (this.#output.blocked) {
      if (this.#output.held >= aheadBytes) return false;
      const refuses = refused !== undefined || this.#lifecycle.phase.refuses;
      if (!refuses && this.#reads.shouldWait(this.#reader)) return false;
    }
    if (this.#inFlight > 0) {
      if (this.#inFlight >= this.#mostInFlight) return false;
      if (this.#bytesInFlight + weightOf(type, count) > mostBytesInFlight) return false;
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
    } else if (reader.type === CMD_BLOCK_STATUS) {
      this.#blockStatus();
    } else if (reader.type === CMD_READ) {
      this.#read();
    } else {
      this.#perform();
    }
  }

  #read(): void {
    let answer: ReturnType<Reads["begin"]>;
    try {
      answer = this.#reads.begin(this.#reader);
    } catch (error) {
      this.#failed(error);
      return;
    }
    if (answer === "sent") this.#gate.leave();
    else this.#await(answer.result, answer);
  }

  #blockStatus(): void {
    const reader = this.#reader;
    const { count, flags, offset } = reader;
    const extents = new Extents(offset, this.#options.export.size);
    let result: void | Promise<void>;
    try {
      const one = flags & CMD_FLAG_REQ_ONE ? FLAG_REQ_ONE : 0;
      result = this.#top.extents(count, offset, one, extents);
    } catch (error) {
      this.#failed(error);
      return;
    }
    if (result === undefined) {
      this.#gate.leave();
      this.#tellExtents(reader, extents);
    } else {
      this.#await(result, { extents });
    }
  }

  #tellExtents(request: Running, extents: Extents): void {
    const { count, flags, offset } = request;
    const one = (flags & CMD_FLAG_REQ_ONE) !== 0;
    if (this.#replies.blockStatus(request, extents, count, one)) return;
    const message = `extents: no layer told what is at ${offset}`;
    log.error(message, this.#options.logName);
    this.#refuse(request, { errno: "EINVAL", message });
  }

  #perform(): void {
    const reader = this.#reader;
    const { count, data, flags, offset, type } = reader;
    if (type === CMD_TRIM || type === CMD_WRITE_ZEROES) this.#reads.forgetData();
    let result: void | Promise<void>;
    try {
      result =
        type === CMD_WRITE
          ? this.#top.pwrite(data, offset, flags & CMD_FLAG_FUA ? FLAG_FUA : 0)
          : perform(this.#top, type, flags, offset, count);
    } catch (error) {
      reader.releasePayload();
      this.#failed(error);
      return;
    }
    if (result === undefined) {
      this.#gate.leave();
      reader.releasePayload();
      this.#replies.done(reader);
      return;
    }
    const payload = reader.keepPayload();
    this.#await(result, payload === undefined ? {} : { payload });
  }

  /** The request that ran was answered at once, with an error. */
  #failed(error: unknown): void {
    this.#gate.leave();
    this.#report(this.#reader, error);
  }

  // ---- answers that come later

  #await(result: Promise<void>, held: Held): void {
    const { cookieHigh, cookieLow, count, flags, offset, type } = this.#reader;
    const weight = weightOf(type, count);
    const pending: Pending = { ...held, cookieHigh, cookieLow, offset, flags, count, weight };
    this.#inFlight++;
    this.#bytesInFlight += weight;
    this.#gate.stay();
    result.then(
      () => this.#settled(pending, undefined),
      (error: unknown) => this.#settled(pending, { error }),
    );
  }

  #settled(pending: Pending, failed: { readonly error: unknown } | undefined): void {
    this.#inFlight--;
    this.#bytesInFlight -= pending.weight;
    this.#gate.leaveLater();
    pending.payload?.release();
    if (failed === undefined) {
      this.#succeeded(pending);
    } else {
      if (pending.place !== undefined) this.#output.release(pending.place);
      pending.sparse?.drop();
      this.#report(pending, failed.error);
    }
    // All that settle in one go are answered by one write.
    this.wake();
  }

  #succeeded(pending: Pending): void {
    const { count, extents, place, sparse } = pending;
    if (this.#output.dead) return;
    if (sparse !== undefined) return sparse.send();
    if (place !== undefined) this.#replies.data(place, pending, count);
    else if (extents !== undefined) this.#tellExtents(pending, extents);
    else this.#replies.done(pending);
  }

  // ---- errors

  /** What a layer threw. */
  #report(request: Running, error: unknown): void {
    const { errno, message, told } = failure(error);
    if (message !== "") log.error(message, this.#options.logName);
    this.#refuse(request, { errno, message: told });
  }

  #refuse(request: Running, { errno, message, at }: Refusal): void {
    if (log.verbose) {
      log.debug(`sending error reply: ${errnoText(errno)}`, this.#options.logName);
    }
    if (this.#output.dead) return;
    this.#replies.failed(request, { error: wireError(errno, request.flags), text: message, at });
  }
}
