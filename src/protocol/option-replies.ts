/** Writes the server's side of the handshake. */
import { log } from "../lib/log.ts";
import { OPTION_REPLY_MAGIC, optionName, replyName } from "./constants.ts";
import { flushedBytes } from "./limits.ts";
import type { Output } from "./output.ts";
import { textBytes } from "./replies.ts";

const nothing = new Uint8Array(0);

export class OptionReplies {
  readonly #output: Output;
  readonly #logName: string;

  constructor(output: Output, logName: string) {
    this.#output = output;
    this.#logName = logName;
  }

  /** Write bytes unchanged. */
  raw(data: ArrayBuffer | Uint8Array): void {
    this.#output.append(data instanceof Uint8Array ? data : new Uint8Array(data));
    this.#output.flush();
  }

  /** The final reply to an option. */
  reply(option: number, type: number, data: Uint8Array = nothing): void {
    if (log.verbose) {
      log.debug(`replying to ${optionName(option)} with ${replyName(type)}`, this.#logName);
    }
    this.part(option, type, data);
    this.#output.flush();
  }

  /** A reply before the final one. These are gathered, so a list of thousands of exports takes few writes. */
  part(option: number, type: number, data: Uint8Array): void {
    this.#header(option, type, data.length);
    this.#output.append(data);
    if (this.#output.held >= flushedBytes) this.#output.flush();
  }

  /** An error reply, with a text for people. */
  error(option: number, type: number, text: string): void {
    this.reply(option, type, textBytes(text));
  }

  #header(option: number, type: number, length: number): void {
    const header = new DataView(new ArrayBuffer(20));
    header.setBigUint64(0, OPTION_REPLY_MAGIC);
    header.setUint32(8, option);
    header.setUint32(12, type);
    header.setUint32(16, length);
    this.#output.append(new Uint8Array(header.buffer));
  }
}
