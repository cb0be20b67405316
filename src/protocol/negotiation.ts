/** The newstyle handshake: handles options until the client has chosen an export or leaves. */
import type { NextOps } from "../api/generated/methods.gen.ts";
import type { Source } from "../chain/layer.ts";
import { errnoText } from "../lib/errno.ts";
import type { Exports } from "../lib/exports.ts";
import { log } from "../lib/log.ts";
import { textOf } from "../lib/text-bytes.ts";
import {
  BASE_ALLOCATION,
  BASE_ALLOCATION_ID,
  EFLAG_SEND_DF,
  FLAG_FIXED_NEWSTYLE,
  FLAG_NO_ZEROES,
  IHAVEOPT,
  MAX_META_BYTES,
  MAX_OPTION_BYTES,
  MAX_OPTIONS,
  MAX_STRING_BYTES,
  NBDMAGIC,
  OPT_ABORT,
  OPT_EXPORT_NAME,
  OPT_GO,
  OPT_INFO,
  OPT_LIST,
  OPT_LIST_META_CONTEXT,
  OPT_SET_META_CONTEXT,
  OPT_STARTTLS,
  OPT_STRUCTURED_REPLY,
  optionName,
  REP_ACK,
  REP_ERR_INVALID,
  REP_ERR_PLATFORM,
  REP_ERR_POLICY,
  REP_ERR_TLS_REQD,
  REP_ERR_TOO_BIG,
  REP_ERR_UNKNOWN,
  REP_ERR_UNSUP,
  REP_INFO,
  REP_META_CONTEXT,
  REP_SERVER,
} from "./constants.ts";
import type { ExportFacts } from "./export-flags.ts";
import { exportInfo, listedExport, requestedInfos } from "./infos.ts";
import type { Input } from "./input.ts";
import { contextReply, MetaContexts } from "./meta-contexts.ts";
import { MAX_INFO_BYTES, parseInfo, parseMeta, parseName } from "./option-payload.ts";
import { OptionReplies } from "./option-replies.ts";
import type { Output } from "./output.ts";
import type { ProtocolPolicy } from "./policy.ts";
import type { Terms } from "./refusal.ts";
import { failure } from "./wire-error.ts";

/** An export whose layers are open. */
export interface OpenExport extends ExportFacts {
  readonly top: NextOps;
  /** What can answer reads in place of the layers at the moment. */
  readonly source?: () => Source | undefined;
  close(): Promise<void>;
}

/** The export that the client chose, and what it negotiated. */
export type ChosenExport = OpenExport & Terms;

/** How the server treats requests for TLS, and clients without TLS. */
interface TlsTerms {
  readonly mode: "unsupported" | "off" | "on" | "require";
  /** The client was told to start TLS. Resolves to whether the connection is secure now; if not, it is lost. */
  start(): Promise<boolean>;
}

export interface NegotiationOptions {
  readonly input: Input;
  readonly output: Output;
  readonly logName: string;
  readonly policy: ProtocolPolicy;
  readonly tls: TlsTerms;
  /** Open the layers and ask for their capabilities. */
  open(exportName: string): Promise<OpenExport>;
  listExports(): Promise<Exports>;
  /** The export that "" stands for. */
  defaultExport(): Promise<string | undefined>;
  /** Wait until the client has taken most of the output. */
  room(): Promise<void>;
}

/** What follows an option: the next option, the end of the connection, or transmission. */
type Outcome = "next" | "leave" | ChosenExport;

/** Returns the export, or undefined if the client left or the connection ends. */
export async function negotiate(options: NegotiationOptions): Promise<ChosenExport | undefined> {
  return new Negotiation(options).run();
}

class Negotiation {
  readonly #input: Input;
  readonly #output: Output;
  readonly #replies: OptionReplies;
  readonly #options: NegotiationOptions;
  readonly #contexts = new MetaContexts();
  readonly #serverFlags: number;
  #clientFlags = 0;
  #structured = false;
  #listed = false;
  #secure = false;
  #optionsLeft = MAX_OPTIONS;

  constructor(options: NegotiationOptions) {
    this.#input = options.input;
    this.#output = options.output;
    this.#replies = new OptionReplies(options.output, options.logName);
    this.#options = options;
    this.#serverFlags = (FLAG_FIXED_NEWSTYLE | FLAG_NO_ZEROES) & options.policy.maskHandshake;
  }

  async run(): Promise<ChosenExport | undefined> {
    this.#greet();
    if (!(await this.#takeClientFlags())) return undefined;
    for (; this.#optionsLeft > 0; this.#optionsLeft--) {
      // Do not open the layers again for every remaining option.
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
    greeting.setUint16(16, this.#serverFlags);
    this.#debug(`flags: global 0x${this.#serverFlags.toString(16)}`);
    this.#replies.raw(greeting.buffer);
  }

  async #takeClientFlags(): Promise<boolean> {
    const flags = viewOf(await this.#input.take(4))?.getUint32(0);
    if (flags === undefined) {
      if (!this.#input.empty) this.#error("client left in the middle of its flags");
      return false;
    }
    this.#debug(`client flags: 0x${flags.toString(16)}`);
    if ((flags & ~this.#serverFlags) !== 0) {
      this.#error(
        `client flags 0x${flags.toString(16)} have bits that were not offered: only 0x${this.#serverFlags.toString(16)} were`,
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
    if (length > MAX_OPTION_BYTES) {
      this.#error(
        `${optionName(option)}: payload of ${length} bytes, at most ${MAX_OPTION_BYTES} are taken`,
      );
      return "leave";
    }
    if ((this.#clientFlags & FLAG_FIXED_NEWSTYLE) === 0 && option !== OPT_EXPORT_NAME) {
      return this.#refuse(option, length, REP_ERR_INVALID, "client did not ask for fixed newstyle");
    }
    return this.#mayAsk(option) ? this.#answer(option, length) : this.#demandTls(option, length);
  }

  /** While TLS is required and not in use, a client may only start it or leave. */
  #mayAsk(option: number): boolean {
    if (this.#secure || this.#options.tls.mode !== "require") return true;
    return option === OPT_ABORT || option === OPT_STARTTLS;
  }

  async #demandTls(option: number, length: number): Promise<Outcome> {
    const why = "the server requires TLS";
    if (option !== OPT_EXPORT_NAME) return this.#refuse(option, length, REP_ERR_TLS_REQD, why);
    this.#error(`${optionName(option)}: ${why}`);
    return "leave";
  }

  async #answer(option: number, length: number): Promise<Outcome> {
    switch (option) {
      case OPT_EXPORT_NAME:
        return this.#exportName(length);
      case OPT_ABORT:
        if (!(await this.#input.skip(length))) return "leave";
        this.#replies.reply(option, REP_ACK);
        this.#debug("client aborted");
        return "leave";
      case OPT_LIST:
        return this.#list(length);
      case OPT_INFO:
      case OPT_GO:
        return this.#infoOrGo(option, length);
      case OPT_STARTTLS:
        return this.#startTls(length);
      case OPT_STRUCTURED_REPLY:
        return this.#structuredReply(length);
      case OPT_LIST_META_CONTEXT:
      case OPT_SET_META_CONTEXT:
        return this.#metaContext(option, length);
      default:
        return this.#refuse(option, length, REP_ERR_UNSUP, "the server does not know this option");
    }
  }

  /** NBD_OPT_EXPORT_NAME has no error reply in the protocol. */
  async #exportName(length: number): Promise<Outcome> {
    if (length > MAX_STRING_BYTES) {
      this.#error(`export name of ${length} bytes, at most ${MAX_STRING_BYTES} are taken`);
      return "leave";
    }
    const raw = await this.#payload(length);
    if (raw === undefined) return "leave";
    const name = parseName(raw);
    if (name === undefined) {
      this.#error("export name contains a zero byte");
      return "leave";
    }
    this.#requested(OPT_EXPORT_NAME, name);
    const opened = await this.#open(name);
    if ("refusal" in opened) return "leave";
    const chosen = this.#chosen(opened, raw);
    const zeroes = (this.#clientFlags & FLAG_NO_ZEROES) === 0 ? 124 : 0;
    const reply = new DataView(new ArrayBuffer(10 + zeroes));
    reply.setBigUint64(0, chosen.size);
    reply.setUint16(8, chosen.eflags);
    this.#replies.raw(reply.buffer);
    return chosen;
  }

  async #list(length: number): Promise<Outcome> {
    if (length !== 0) {
      return this.#refuse(OPT_LIST, length, REP_ERR_INVALID, "it has a payload");
    }
    this.#debug("NBD_OPT_LIST: advertising exports");
    let exports: Exports;
    try {
      exports = await this.#options.listExports();
    } catch (error) {
      this.#replies.error(OPT_LIST, REP_ERR_PLATFORM, this.#report(error));
      return "next";
    }
    // As with nbdkit, a client may ask about each export of a list. But it cannot list without end.
    if (!this.#listed) this.#optionsLeft += MAX_OPTIONS * exports.entries.length;
    this.#listed = true;
    for (const { name, description } of exports.entries) {
      await this.#options.room();
      if (this.#output.dead) return "leave";
      this.#replies.part(OPT_LIST, REP_SERVER, listedExport(name, description));
    }
    this.#replies.reply(OPT_LIST, REP_ACK);
    return "next";
  }

  async #infoOrGo(option: number, length: number): Promise<Outcome> {
    if (length > MAX_INFO_BYTES) {
      return this.#refuse(option, length, REP_ERR_INVALID, `its payload has ${length} bytes`);
    }
    const data = await this.#payload(length);
    if (data === undefined) return "leave";
    const request = parseInfo(data);
    if (typeof request === "string") return this.#refuse(option, 0, REP_ERR_INVALID, request);
    this.#requested(option, request.name);
    const opened = await this.#open(request.name);
    if ("refusal" in opened) {
      this.#replies.error(option, REP_ERR_UNKNOWN, opened.refusal);
      return "next";
    }
    const chosen = this.#chosen(opened, request.rawName);
    let infos: readonly Uint8Array[];
    try {
      infos = await requestedInfos(
        request,
        opened.top,
        () => this.#options.defaultExport(),
        (what) => this.#debug(`${optionName(option)}: ${what}`),
      );
    } catch (error) {
      await opened.close();
      this.#replies.error(option, REP_ERR_UNKNOWN, this.#report(error));
      return "next";
    }
    this.#replies.part(option, REP_INFO, exportInfo(chosen.size, chosen.eflags));
    for (const info of infos) this.#replies.part(option, REP_INFO, info);
    if (option === OPT_INFO) await opened.close();
    this.#replies.reply(option, REP_ACK);
    return option === OPT_INFO ? "next" : chosen;
  }

  async #startTls(length: number): Promise<Outcome> {
    if (length !== 0) {
      return this.#refuse(OPT_STARTTLS, length, REP_ERR_INVALID, "it has a payload");
    }
    const { tls } = this.#options;
    if (tls.mode === "unsupported") {
      return this.#refuse(OPT_STARTTLS, 0, REP_ERR_UNSUP, "the server has no TLS");
    }
    if (tls.mode === "off") {
      return this.#refuse(OPT_STARTTLS, 0, REP_ERR_POLICY, "TLS is switched off");
    }
    if (this.#secure) {
      return this.#refuse(OPT_STARTTLS, 0, REP_ERR_INVALID, "TLS is in use already");
    }
    this.#replies.reply(OPT_STARTTLS, REP_ACK);
    if (!(await tls.start())) return "leave";
    // Forget all options before TLS: an attacker may have sent them.
    this.#secure = true;
    this.#structured = false;
    this.#listed = false;
    this.#contexts.forget();
    return "next";
  }

  async #structuredReply(length: number): Promise<Outcome> {
    const option = OPT_STRUCTURED_REPLY;
    if (length !== 0) return this.#refuse(option, length, REP_ERR_INVALID, "it has a payload");
    if (!this.#options.policy.structuredReplies) {
      return this.#refuse(option, 0, REP_ERR_UNSUP, "the server was told to have none");
    }
    if (this.#structured) {
      return this.#refuse(option, 0, REP_ERR_INVALID, "structured replies were agreed on already");
    }
    this.#debug("NBD_OPT_STRUCTURED_REPLY: client requested structured replies");
    this.#structured = true;
    this.#replies.reply(option, REP_ACK);
    return "next";
  }

  async #metaContext(option: number, length: number): Promise<Outcome> {
    const sets = option === OPT_SET_META_CONTEXT;
    // Drop the earlier choice, even if this one fails.
    if (sets) this.#contexts.forget();
    if (!this.#options.policy.metaContexts) {
      return this.#refuse(option, length, REP_ERR_UNSUP, "the server was told to have none");
    }
    if (length > MAX_META_BYTES) {
      return this.#refuse(option, length, REP_ERR_TOO_BIG, `its payload has ${length} bytes`);
    }
    const data = await this.#payload(length);
    if (data === undefined) return "leave";
    if (sets && !this.#structured) {
      return this.#refuse(option, 0, REP_ERR_INVALID, "it needs structured replies");
    }
    const request = parseMeta(data);
    if (typeof request === "string") return this.#refuse(option, 0, REP_ERR_INVALID, request);
    this.#requested(option, textOf(request.rawName));
    this.#debug(
      `${optionName(option)}: ${sets ? "set" : "query"} count: ${request.queries.length}`,
    );
    if (sets ? this.#contexts.choose(request) : this.#contexts.lists(request)) {
      const id = sets ? BASE_ALLOCATION_ID : 0;
      this.#debug(`${optionName(option)}: replying with ${BASE_ALLOCATION} id ${id}`);
      this.#replies.part(option, REP_META_CONTEXT, contextReply(sets));
    }
    this.#replies.reply(option, REP_ACK);
    return "next";
  }

  #chosen(opened: OpenExport, rawName: Uint8Array): ChosenExport {
    const structured = this.#structured;
    const eflags = opened.eflags | (structured ? EFLAG_SEND_DF : 0);
    this.#debug(`flags: export 0x${eflags.toString(16)}`);
    return {
      ...opened,
      eflags,
      structured,
      allocation: structured && this.#contexts.chosenFor(rawName),
    };
  }

  async #open(name: string): Promise<OpenExport | { readonly refusal: string }> {
    try {
      return await this.#options.open(name);
    } catch (error) {
      return { refusal: this.#report(error) };
    }
  }

  /** Log an error of a layer, and return the text for the client. */
  #report(error: unknown): string {
    const { message, errno, text } = failure(error);
    if (message !== "") this.#error(message);
    return text || errnoText(errno);
  }

  /** The option's payload, or undefined if the client left. */
  async #payload(length: number): Promise<Uint8Array | undefined> {
    const data = await this.#input.take(length);
    if (data === undefined) this.#error("client left in the middle of an option");
    return data;
  }

  /** Skip the payload and reply with an error. The client may go on. */
  async #refuse(option: number, length: number, reply: number, why: string): Promise<Outcome> {
    const text = `${optionName(option)}: ${why}`;
    this.#debug(text);
    if (!(await this.#input.skip(length))) {
      this.#error("client left in the middle of an option");
      return "leave";
    }
    this.#replies.error(option, reply, text);
    return "next";
  }

  #requested(option: number, name: string): void {
    this.#debug(`${optionName(option)}: client requested export '${name}'`);
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
