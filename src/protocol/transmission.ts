/**
 * The transmission phase of one connection: parses requests, runs them and gathers their replies.
 * Where layers answer at once, nothing here makes a promise, a closure or a copy for a request.
 */
import { FLAG_FUA } from "#abi/generated/constants.gen";
import type { NextOps } from "#abi/generated/methods.gen";

import type { Errno } from "../lib/errno.ts";
import { log } from "../lib/log.ts";
import type { Blocks } from "./blocks.ts";
import {
  CMD_FLAG_FUA,
  CMD_READ,
  CMD_WRITE,
  MAX_REQUEST_BYTES,
  REPLY_HEADER_BYTES,
} from "./constants.ts";
import type { Gate } from "./gate.ts";
import type { OpenExport } from "./negotiation.ts";
import { Output, type Place, type Sink } from "./output.ts";
import type { Payload } from "./payload.ts";
import { perform } from "./perform.ts";
import { RequestReader } from "./request-reader.ts";
import { errnoText, failure, wireError } from "./wire-error.ts";

export interface TransmissionOptions {
  readonly sink: Sink;
  readonly output: Output;
  readonly blocks: Blocks;
  readonly export: OpenExport;
  readonly logName: string;
  readonly gate: Gate;
}

/** Requests whose answers are promises, and the data they may hold, in one connection. */
const maxInFlight = 256;
const maxBytesInFlight = MAX_REQUEST_BYTES;
/** While the kernel takes no output, so much of it is made ready for when it does. */
const aheadBytes = 512 << 10;
/** After so many reads that were answered at once, the next one is expected to be, too. */
const trustedReads = 16;

/** Memory that a request needs until it is answered. */
interface Held {
  /** A read's data, and where the reply with it stands. */
  readonly data?: Uint8Array;
  readonly place?: Place;
  /** A write's collected data. */
  readonly payload?: Payload;
}

/** A request that will be answered later. */
interface Pending extends Held {
  readonly cookieHigh: number;
  readonly cookieLow: number;
  readonly flags: number;
  /** Bytes of data that it counts for. */
  readonly count: number;
}

export class Transmission {
  /** Resolves when nothing is in flight and nothing more will be run. */
  readonly done: Promise<void>;
  #finish: () => void = () => {};
  readonly #options: TransmissionOptions;
  readonly #output: Output;
  readonly #top: NextOps;
  readonly #gate: Gate;
  /** Holds the request that is received or run. */
  readonly #reader: RequestReader;

  #inFlight = 0;
  #bytesInFlight = 0;
  /** Reads in a row that were answered at once. */
  #atOnce = trustedReads;
  #paused = false;
  #endsAfterInput = false;
  #turnScheduled = false;
  /** No more input: DISC, the end of the stream, or an error. */
  #ended = false;
  /** The server stops: what comes now is refused. */
  #quitting = false;
  readonly #turn = (): void => {
    this.#turnScheduled = false;
    this.#output.flush();
    this.#proceed();
  };

  constructor(options: TransmissionOptions) {
    this.#options = options;
    this.#output = options.output;
    this.#top = options.export.top;
    this.#gate = options.gate;
    this.#reader = new RequestReader(options.export, options.blocks, options.logName);
    this.done = new Promise((resolve) => {
      this.#finish = resolve;
    });
    this.#gate.onGranted = () => {
      this.#turn();
      // Whoever cannot run after all, as the client takes no output, must not keep others waiting.
      this.#gate.leave();
    };
  }

  /** Bytes of memory that this connection holds for its client, but for what the layers hold. */
  get heldBytes(): number {
    return this.#reader.heldBytes + this.#output.held + this.#bytesInFlight;
  }

  /** Bytes from the client. */
  feed(chunk: Uint8Array): void {
    if (this.#ended) return;
    this.#reader.push(chunk);
    this.#proceed();
  }

  /** The kernel takes output again. */
  drained(): void {
    this.#output.drained();
    this.#proceed();
  }

  /** The client sends no more; what it sent completely is still answered. */
  inputEnded(): void {
    if (this.#reader.incomplete) {
      log.debug("client left in the middle of a request", this.#options.logName);
    }
    if (this.#paused) this.#endsAfterInput = true;
    else this.#end();
  }

  /** The connection is gone. What is in flight goes on, but nobody is told. */
  died(): void {
    this.#output.die();
    this.#end();
  }

  /** Refuse what comes from now on, and end when what is in flight was answered. */
  quit(): void {
    this.#quitting = true;
    this.#turn();
  }

  /** Parse and run as much as may be, then write what was gathered. */
  #proceed(): void {
    if (!this.#output.dead) this.#run();
    this.#output.flush();
    if (this.#output.dead) this.#end();
    if (this.#hasInput()) this.#hold();
    else if (this.#endsAfterInput) this.#end();
    else this.#release();
    // Refusals are for clients that take them.
    if (this.#quitting && this.#inFlight === 0 && (this.#output.blocked || !this.#hasInput())) {
      this.#end();
    }
    if (this.#ended && this.#inFlight === 0) this.#finish();
  }

  /** Whether something waits that could be run later. */
  #hasInput(): boolean {
    return !this.#ended && !this.#reader.empty;
  }

  #hold(): void {
    if (this.#paused) return;
    this.#paused = true;
    this.#options.sink.pause();
  }

  #release(): void {
    if (!this.#paused || this.#ended) return;
    this.#paused = false;
    this.#options.sink.resume();
  }

  #end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#reader.clear();
    this.#gate.abandon();
    if (this.#inFlight === 0) this.#finish();
  }

  #run(): void {
    const reader = this.#reader;
    while (!this.#ended) {
      if (!reader.ready && !reader.read()) {
        if (reader.broken) this.#end();
        return;
      }
      if (!this.#mayRun()) return;
      reader.ready = false;
      this.#execute();
      if (this.#output.end >= Output.aheadBytes) this.#output.flush();
    }
  }

  /** Whether there is room for one more request: in the output, in flight, and in the thread model. */
  #mayRun(): boolean {
    if (this.#output.blocked && this.#output.held >= aheadBytes) return false;
    const { count, refused } = this.#reader;
    if (this.#inFlight > 0) {
      if (this.#inFlight >= maxInFlight) return false;
      if (this.#bytesInFlight + count > maxBytesInFlight) return false;
    }
    return refused !== undefined || this.#quitting || this.#gate.open(this.#inFlight);
  }

  #execute(): void {
    const reader = this.#reader;
    const errno = reader.refused ?? (this.#quitting ? "ESHUTDOWN" : undefined);
    if (errno !== undefined) {
      reader.releasePayload();
      this.#trace(errno);
      const wire = wireError(errno, reader.flags);
      this.#output.reply(wire, reader.cookieHigh, reader.cookieLow);
    } else if (reader.type !== CMD_READ) {
      this.#perform();
    } else if (this.#atOnce >= trustedReads) {
      this.#read();
    } else {
      this.#readElsewhere();
    }
  }

  /** Read right to where the reply is sent from. */
  #read(): void {
    const { count, cookieHigh, cookieLow, offset } = this.#reader;
    const output = this.#output;
    const at = output.reserve(REPLY_HEADER_BYTES + count);
    const start = at + REPLY_HEADER_BYTES;
    const data = output.block.bytes.subarray(start, start + count);
    let result: void | Promise<void>;
    try {
      result = this.#top.pread(data, offset, 0);
    } catch (error) {
      this.#failed(error);
      return;
    }
    if (result === undefined) {
      this.#gate.leave();
      output.header(at, 0, cookieHigh, cookieLow);
      output.end = start + count;
      return;
    }
    this.#atOnce = 0;
    this.#await(result, count, { data, place: output.detach() });
  }

  /** The answer will probably come later: what it is written to must not stand among other replies. */
  #readElsewhere(): void {
    const { count, cookieHigh, cookieLow, offset } = this.#reader;
    const place = this.#output.place(count);
    const start = place.start + REPLY_HEADER_BYTES;
    const data = place.block.bytes.subarray(start, start + count);
    let result: void | Promise<void>;
    try {
      result = this.#top.pread(data, offset, 0);
    } catch (error) {
      this.#output.release(place);
      this.#failed(error);
      return;
    }
    if (result === undefined) {
      this.#gate.leave();
      this.#atOnce++;
      this.#output.replyData(place, data, cookieHigh, cookieLow);
      return;
    }
    this.#atOnce = 0;
    this.#await(result, count, { data, place });
  }

  #perform(): void {
    const reader = this.#reader;
    const { cookieHigh, cookieLow, count, data, flags, offset, type } = reader;
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
      this.#output.reply(0, cookieHigh, cookieLow);
      return;
    }
    const payload = reader.takePayload();
    const held = type === CMD_WRITE ? count : 0;
    this.#await(result, held, payload === undefined ? {} : { payload });
  }

  /** The request that ran was answered at once, with an error. */
  #failed(error: unknown): void {
    const { cookieHigh, cookieLow, flags } = this.#reader;
    this.#gate.leave();
    this.#output.reply(this.#errorOf(error, flags), cookieHigh, cookieLow);
  }

  // ---- answers that come later

  #await(result: Promise<void>, count: number, held: Held): void {
    const { cookieHigh, cookieLow, flags } = this.#reader;
    const pending: Pending = { ...held, cookieHigh, cookieLow, flags, count };
    this.#inFlight++;
    this.#bytesInFlight += count;
    this.#gate.stay();
    result.then(
      () => this.#settled(pending, 0),
      (error: unknown) => this.#settled(pending, this.#errorOf(error, flags)),
    );
  }

  #settled(pending: Pending, error: number): void {
    const { cookieHigh, cookieLow, data, place, payload } = pending;
    this.#inFlight--;
    this.#bytesInFlight -= pending.count;
    this.#gate.leaveLater();
    payload?.release();
    const output = this.#output;
    if (output.dead) {
      // Nobody is left to be told.
    } else if (data === undefined || place === undefined) {
      output.reply(error, cookieHigh, cookieLow);
    } else if (error === 0) {
      output.replyData(place, data, cookieHigh, cookieLow);
    } else {
      output.release(place);
      output.reply(error, cookieHigh, cookieLow);
    }
    // All that settle in one go are answered by one write.
    if (this.#turnScheduled) return;
    this.#turnScheduled = true;
    queueMicrotask(this.#turn);
  }

  #errorOf(error: unknown, flags: number): number {
    const { errno, message } = failure(error);
    // Modules in C have logged what they had to say.
    if (message !== "") log.error(message, this.#options.logName);
    this.#trace(errno);
    return wireError(errno, flags);
  }

  #trace(errno: Errno): void {
    if (!log.verbose) return;
    log.debug(`sending error reply: ${errnoText(errno)}`, this.#options.logName);
  }
}
