/** The kinds of requests. Reads have a file of their own: reads.ts. */
import {
  FLAG_FAST_ZERO,
  FLAG_FUA,
  FLAG_MAY_TRIM,
  FLAG_REQ_ONE,
} from "../api/generated/constants.gen.ts";
import type { Awaitable } from "../api/generated/methods.gen.ts";
import { NbdError } from "../lib/errors.ts";
import { Extents } from "../lib/extents.ts";
import {
  CMD_BLOCK_STATUS,
  CMD_CACHE,
  CMD_FLAG_FAST_ZERO,
  CMD_FLAG_FUA,
  CMD_FLAG_NO_HOLE,
  CMD_FLAG_REQ_ONE,
  CMD_FLUSH,
  CMD_READ,
  CMD_TRIM,
  CMD_WRITE,
  CMD_WRITE_ZEROES,
} from "./constants.ts";
import type { Payload } from "./payload.ts";
import { Read, type Reads } from "./reads.ts";
import { type Exchange, Request } from "./request.ts";

/** The objects that run the requests of one connection. */
export class Requests {
  readonly #exchange: Exchange;
  readonly #reads: Reads;
  /** The object that runs the next request of each type. */
  readonly #idle: (Request | undefined)[] = [];

  constructor(exchange: Exchange, reads: Reads) {
    this.#exchange = exchange;
    this.#reads = reads;
  }

  /** The request in the reader, which must have passed all checks. */
  next(): Request {
    const { type } = this.#exchange.reader;
    const request = (this.#idle[type] ??= this.#make(type));
    request.begin();
    return request;
  }

  /** The layers answer `request` later: the next request of this type gets another object. */
  keep({ type }: Request): void {
    this.#idle[type] = undefined;
  }

  #make(type: number): Request {
    const exchange = this.#exchange;
    switch (type) {
      case CMD_READ:
        return new Read(exchange, this.#reads);
      case CMD_WRITE:
        return new Write(exchange);
      case CMD_FLUSH:
        return new Flush(exchange);
      case CMD_TRIM:
        return new Trim(exchange, this.#reads);
      case CMD_CACHE:
        return new Cache(exchange);
      case CMD_WRITE_ZEROES:
        return new WriteZeroes(exchange, this.#reads);
      case CMD_BLOCK_STATUS:
        return new BlockStatus(exchange);
      default:
        throw new Error(`request type ${type} was not checked`);
    }
  }
}

class Write extends Request {
  /** The data, if it has its own block and the layers answer later. */
  #payload: Payload | undefined;

  run(): Awaitable<void> {
    const { export: chosen, reader } = this.exchange;
    let result: Awaitable<void> = undefined;
    try {
      result = chosen.top.pwrite(reader.data, this.offset, fuaOf(this.flags));
    } finally {
      if (result === undefined) reader.releasePayload();
      else this.#payload = reader.keepPayload();
    }
    return result;
  }

  override reply(): void {
    this.drop();
    super.reply();
  }

  override drop(): void {
    this.#payload?.release();
    this.#payload = undefined;
  }
}

class Flush extends Request {
  run(): Awaitable<void> {
    return this.exchange.export.top.flush(0);
  }
}

class Cache extends Request {
  run(): Awaitable<void> {
    return this.exchange.export.top.cache(this.count, this.offset, 0);
  }
}

/** A request that may turn data into holes. */
abstract class Erasing extends Request {
  readonly #reads: Reads;

  constructor(exchange: Exchange, reads: Reads) {
    super(exchange);
    this.#reads = reads;
  }

  override begin(): void {
    super.begin();
    this.#reads.forgetData();
  }
}

class Trim extends Erasing {
  run(): Awaitable<void> {
    return this.exchange.export.top.trim(this.count, this.offset, fuaOf(this.flags));
  }
}

class WriteZeroes extends Erasing {
  run(): Awaitable<void> {
    const { count, flags, offset } = this;
    const mayTrim = flags & CMD_FLAG_NO_HOLE ? 0 : FLAG_MAY_TRIM;
    const fast = flags & CMD_FLAG_FAST_ZERO ? FLAG_FAST_ZERO : 0;
    return this.exchange.export.top.zero(count, offset, fuaOf(flags) | mayTrim | fast);
  }
}

class BlockStatus extends Request {
  #extents: Extents | undefined;

  run(): Awaitable<void> {
    const { size, top } = this.exchange.export;
    const { count, offset } = this;
    this.#extents = new Extents(offset, size);
    return top.extents(count, offset, this.#isOne ? FLAG_REQ_ONE : 0, this.#extents);
  }

  override reply(): void {
    const extents = this.#extents;
    this.drop();
    if (extents === undefined) throw new Error("the request was not run");
    if (!this.exchange.replies.blockStatus(this, extents, this.#isOne)) {
      throw new NbdError("EINVAL", `extents: no layer told what is at ${this.offset}`);
    }
  }

  override drop(): void {
    this.#extents = undefined;
  }

  get #isOne(): boolean {
    return (this.flags & CMD_FLAG_REQ_ONE) !== 0;
  }
}

function fuaOf(flags: number): number {
  return flags & CMD_FLAG_FUA ? FLAG_FUA : 0;
}
