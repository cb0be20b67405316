/** A request from the call of the layers to the reply. */
import type { Awaitable } from "../api/generated/methods.gen.ts";
import type { ChosenExport } from "./negotiation.ts";
import type { Output } from "./output.ts";
import type { Replies } from "./replies.ts";
import type { RequestHeader } from "./request-header.ts";
import type { RequestReader } from "./request-reader.ts";

/** Where the requests of one connection come from, and where their replies go. */
export interface Exchange {
  readonly reader: RequestReader;
  readonly export: ChosenExport;
  readonly replies: Replies;
  readonly output: Output;
}

/**
 * One object of each kind runs all requests that the layers answer at once, so these allocate no object. If the layers
 * answer later, the object belongs to that request until then. bench: "Allocations".
 */
export abstract class Request implements RequestHeader {
  type = 0;
  flags = 0;
  cookieHigh = 0;
  cookieLow = 0;
  offset = 0n;
  count = 0;
  protected readonly exchange: Exchange;

  constructor(exchange: Exchange) {
    this.exchange = exchange;
  }

  /** Become the request in the reader. */
  begin(): void {
    const { reader } = this.exchange;
    this.type = reader.type;
    this.flags = reader.flags;
    this.cookieHigh = reader.cookieHigh;
    this.cookieLow = reader.cookieLow;
    this.offset = reader.offset;
    this.count = reader.count;
  }

  /** Call the layers. Throws what they throw. */
  abstract run(): Awaitable<void>;

  /** The layers have answered: send the reply. */
  reply(): void {
    this.exchange.replies.done(this);
  }

  /** A layer has failed, or the client is gone: free what the request holds. */
  drop(): void {}
}
