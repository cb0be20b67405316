/** The newstyle handshake: options until the client has chosen an export, or leaves. */
import type { NextOps } from "#abi/generated/methods.gen";

import { log } from "../lib/log.ts";
import {
  FLAG_FIXED_NEWSTYLE,
  FLAG_NO_ZEROES,
  IHAVEOPT,
  INFO_EXPORT,
  INFO_NAME,
  MAX_OPTION_BYTES,
  MAX_OPTIONS,
  MAX_STRING_BYTES,
  NBDMAGIC,
  OPT_ABORT,
  OPT_EXPORT_NAME,
  OPT_GO,
  OPT_INFO,
  OPT_LIST,
  OPTION_REPLY_MAGIC,
  optionName,
  REP_ACK,
  REP_ERR_INVALID,
  REP_ERR_UNKNOWN,
  REP_ERR_UNSUP,
  REP_INFO,
  REP_SERVER,
  replyName,
} from "./constants.ts";
import type { ExportFacts } from "./export-flags.ts";
import type { Input } from "./input.ts";
import { type InfoRequest, MAX_INFO_BYTES, parseInfo, parseName } from "./option-payload.ts";
import type { Output } from "./output.ts";
import { failure } from "./wire-error.ts";

/** An export that a client chose: its layers are open. */
export interface OpenExport extends ExportFacts {
  readonly top: NextOps;
  close(): Promise<void>;
}

export interface NegotiationOptions {
  readonly input: Input;
  readonly output: Output;
  readonly logName: string;
  /** Open the layers and ask what they can do. */
  open(exportName: string): Promise<OpenExport>;
}

const globalFlags = FLAG_FIXED_NEWSTYLE | FLAG_NO_ZEROES;
const nothing = new Uint8Array(0);

/** An option's outcome: go on with the next one, leave, or start transmission. */
type Outcome = "next" | "leave" | OpenExport;

/** Returns the export, or undefined where the client left or was sent away. */
export async function negotiate(options: NegotiationOptions): Promise<OpenExport | undefined> {
  return new Negotiation(options).run();
}

class Negotiation {
  readonly #input: Input;
  readonly #output: Output;
  readonly #options: NegotiationOptions;
  #clientFlags = 0;
  #listed = false;
  #optionsLeft = MAX_OPTIONS;

  constructor(options: NegotiationOptions) {
    this.#input = options.input;
    this.#output = options.output;
    this.#options = options;
  }

  async run(): Promise<OpenExport | undefined> {
    this.#greet();
    if (!(await this.#takeClientFlags())) return undefined;
    for (; this.#optionsLeft > 0; this.#optionsLeft--) {
      // Opening the layers once more for every option that is left would help nobody.
      if (this.#output.dead) return undefined;
      const outcome = await this.#nextOption();
      if (outcome === "leave") return undefined;
      if (outcome !== "next") return outcome;
    }
    this.#error("client spent too much time negotiating without selecting an export");
    return undefined;
  }

  #greet(): void {
    const greeting = new DataView(new ArrayBuffer(18));
    greeting.setBigUint64(0, NBDMAGIC);
    greeting.setBigUint64(8, IHAVEOPT);
    greeting.setUint16(16, globalFlags);
    this.#debug(`flags: global 0x${globalFlags.toString(16)}`);
    this.#send(new Uint8Array(greeting.buffer));
  }

  async #takeClientFlags(): Promise<boolean> {
    const flags = viewOf(await this.#input.take(4))?.getUint32(0);
    if (flags === undefined) {
      if (!this.#input.empty) this.#error("client left in the middle of its flags");
      return false;
    }
    this.#debug(`client flags: 0x${flags.toString(16)}`);
    if ((flags & ~globalFlags) !== 0) {
      this.#error(
        `client flags 0x${flags.toString(16)} have bits that were not offered: only 0x${globalFlags.toString(16)} are known`,
      );
      return false;
    }
    this.#clientFlags = flags;
    return true;
  }

  async #nextOption(): Promise<Outcome> {
    const header = viewOf(await this.#input.take(16));
    if (header === undefined) {
      if (!this.#input.empty) this.#error("client left in the middle of an option");
      return "leave";
    }
    if (header.getBigUint64(0) !== IHAVEOPT) {
      this.#error(`option with the wrong magic number 0x${header.getBigUint64(0).toString(16)}`);
      return "leave";
    }
    const option = header.getUint32(8);
    const length = header.getUint32(12);
    this.#debug(`${optionName(option)}: payload of ${length} bytes`);
    if (length > MAX_OPTION_BYTES) {
      this.#error(
        `${optionName(option)}: payload of ${length} bytes, at most ${MAX_OPTION_BYTES} are taken`,
      );
      return "leave";
    }
    if ((this.#clientFlags & FLAG_FIXED_NEWSTYLE) === 0 && option !== OPT_EXPORT_NAME) {
      return this.#refuse(option, length, REP_ERR_INVALID, "client did not ask for fixed newstyle");
    }
    return this.#answer(option, length);
  }

  async #answer(option: number, length: number): Promise<Outcome> {
    switch (option) {
      case OPT_EXPORT_NAME:
        return this.#exportName(length);
      case OPT_ABORT:
        if (!(await this.#input.skip(length))) return "leave";
        this.#reply(option, REP_ACK);
        this.#debug("client aborted");
        return "leave";
      case OPT_LIST:
        return this.#list(length);
      case OPT_INFO:
      case OPT_GO:
        return this.#infoOrGo(option, length);
      default:
        return this.#refuse(option, length, REP_ERR_UNSUP);
    }
  }

  /** The one option whose refusal the protocol has no words for. */
  async #exportName(length: number): Promise<Outcome> {
    if (length > MAX_STRING_BYTES) {
      this.#error(`export name of ${length} bytes, at most ${MAX_STRING_BYTES} are taken`);
      return "leave";
    }
    const raw = await this.#input.take(length);
    if (raw === undefined) {
      this.#error("client left in the middle of an option");
      return "leave";
    }
    const name = parseName(raw);
    if (name === undefined) {
      this.#error("export name contains a zero byte");
      return "leave";
    }
    this.#debug(`NBD_OPT_EXPORT_NAME: client requested export "${name}"`);
    const chosen = await this.#open(name);
    if ("refusal" in chosen) return "leave";
    const zeroes = (this.#clientFlags & FLAG_NO_ZEROES) === 0 ? 124 : 0;
    const reply = new DataView(new ArrayBuffer(10 + zeroes));
    reply.setBigUint64(0, chosen.size);
    reply.setUint16(8, chosen.eflags);
    this.#send(new Uint8Array(reply.buffer));
    return chosen;
  }

  async #list(length: number): Promise<Outcome> {
    if (length !== 0) {
      return this.#refuse(OPT_LIST, length, REP_ERR_INVALID, "it has a payload");
    }
    if (this.#listed) {
      return this.#refuse(OPT_LIST, 0, REP_ERR_INVALID, "exports were listed already");
    }
    this.#listed = true;
    // One export, whose name is empty. nbdkit gives a client that lists more time, and so do we.
    this.#optionsLeft += MAX_OPTIONS;
    this.#reply(OPT_LIST, REP_SERVER, new Uint8Array(4));
    this.#reply(OPT_LIST, REP_ACK);
    return "next";
  }

  async #infoOrGo(option: number, length: number): Promise<Outcome> {
    if (length > MAX_INFO_BYTES) {
      return this.#refuse(option, length, REP_ERR_INVALID, `its payload has ${length} bytes`);
    }
    const data = await this.#input.take(length);
    if (data === undefined) {
      this.#error("client left in the middle of an option");
      return "leave";
    }
    const request = parseInfo(data);
    if (typeof request === "string") return this.#refuse(option, 0, REP_ERR_INVALID, request);
    this.#debug(`${optionName(option)}: client requested export "${request.name}"`);
    const chosen = await this.#open(request.name);
    if ("refusal" in chosen) {
      const text = new TextEncoder().encode(chosen.refusal).subarray(0, MAX_STRING_BYTES);
      this.#reply(option, REP_ERR_UNKNOWN, text);
      return "next";
    }
    this.#sendInfos(option, request, chosen);
    if (option === OPT_INFO) {
      await chosen.close();
      this.#reply(option, REP_ACK);
      return "next";
    }
    this.#reply(option, REP_ACK);
    return chosen;
  }

  /** Each kind is answered once, however often it was asked for: replies stay in proportion to questions. */
  #sendInfos(option: number, request: InfoRequest, facts: ExportFacts): void {
    const info = new DataView(new ArrayBuffer(12));
    info.setUint16(0, INFO_EXPORT);
    info.setBigUint64(2, facts.size);
    info.setUint16(10, facts.eflags);
    this.#reply(option, REP_INFO, new Uint8Array(info.buffer));
    for (const kind of request.infos) {
      if (kind !== INFO_NAME) continue;
      const name = new Uint8Array(2 + request.rawName.length);
      name[1] = INFO_NAME;
      name.set(request.rawName, 2);
      this.#reply(option, REP_INFO, name);
    }
  }

  async #open(name: string): Promise<OpenExport | { readonly refusal: string }> {
    try {
      return await this.#options.open(name);
    } catch (error) {
      const { message, errno } = failure(error);
      if (message !== "") this.#error(message);
      return { refusal: message === "" ? errno : message };
    }
  }

  /** Throw the payload away and answer with an error; the client may go on. */
  async #refuse(option: number, length: number, reply: number, why?: string): Promise<Outcome> {
    if (why !== undefined) this.#debug(`${optionName(option)}: ${why}`);
    if (!(await this.#input.skip(length))) {
      this.#error("client left in the middle of an option");
      return "leave";
    }
    this.#reply(option, reply);
    return "next";
  }

  #reply(option: number, reply: number, data: Uint8Array = nothing): void {
    if (log.verbose) {
      log.debug(
        `replying to ${optionName(option)} with ${replyName(reply)}`,
        this.#options.logName,
      );
    }
    const header = new DataView(new ArrayBuffer(20));
    header.setBigUint64(0, OPTION_REPLY_MAGIC);
    header.setUint32(8, option);
    header.setUint32(12, reply);
    header.setUint32(16, data.length);
    this.#output.append(new Uint8Array(header.buffer));
    this.#send(data);
  }

  #send(bytes: Uint8Array): void {
    this.#output.append(bytes);
    this.#output.flush();
  }

  #debug(message: string): void {
    if (log.verbose) log.debug(`newstyle negotiation: ${message}`, this.#options.logName);
  }

  #error(message: string): void {
    log.error(message, this.#options.logName);
  }
}

function viewOf(bytes: Uint8Array | undefined): DataView | undefined {
  return bytes && new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
}
