/** Checks that a server's output answers what a client sent: each message once, in the right form, and no more. */
import type { ServerTls } from "../../src/server/tls.ts";
import { ByteReader, CutOff } from "./byte-reader.ts";
import { checkRequests, type Terms } from "./check-requests.ts";
import { type Features, kinds } from "./features.ts";
import { diskBytes } from "./flaky-plugin.ts";
import { handshakeMessage } from "./null-tls.ts";
import type { Transcript } from "./play.ts";
import { type Script, sentBy } from "./script.ts";

export interface Checked {
  /** Complete messages that the client sent. */
  readonly messages: number;
  readonly features: Features;
}

const optionMagic = 0x49484156454f5054n;
const replyMagic = 0x3e889045565a9n;
const mostOptionBytes = 64 << 20;
const listedExports = 2;

const [ACK, SERVER, INFO, META] = [1, 2, 3, 4] as const;
const [UNSUP, POLICY, INVALID, TLS_REQD, UNKNOWN, TOO_BIG] = [
  0x80000001, 0x80000002, 0x80000003, 0x80000005, 0x80000006, 0x80000009,
] as const;

/** The server's settings that affect clients, and its disk. */
export interface Facts {
  readonly maskHandshake: number;
  readonly structuredReplies: boolean;
  readonly metaContexts: boolean;
  readonly oldstyle: boolean;
  readonly tls: ServerTls["mode"];
  /** The data of ranges without writes, if known. */
  readonly disk?: Uint8Array;
}

/** Throws if the server made a mistake. */
export function check(facts: Facts, { steps }: Script, transcript: Transcript): Checked {
  const features: Features = new Set();
  for (const line of transcript.lines) features.add(kinds.line(line));
  const output = new ByteReader(transcript.output, transcript.cut);
  const sent = new ByteReader(sentBy(steps), true);
  const counts = { messages: 0 };
  try {
    const terms = facts.oldstyle
      ? oldstyle(sent, output)
      : new Handshake(facts, sent, output, features, counts).run();
    if (terms !== undefined) {
      counts.messages += checkRequests({
        disk: facts.disk,
        sent,
        output,
        features,
        terms,
        cut: transcript.cut,
      });
    }
  } catch (error) {
    if (!(error instanceof CutOff)) throw error;
  }
  return { messages: counts.messages, features };
}

function oldstyle(sent: ByteReader, output: ByteReader): Terms | undefined {
  if (leftSilently(sent, output)) return undefined;
  const at = output.skip(152, "greeting");
  if (output.u64(at + 8) !== 0x00420281861253n) throw new Error("no greeting of oldstyle");
  if (output.u64(at + 16) !== BigInt(diskBytes)) throw new Error("wrong size");
  return { structured: false, allocation: false };
}

/** The server need not greet a client that has left without sending anything. */
function leftSilently(sent: ByteReader, output: ByteReader): boolean {
  return sent.left === 0 && output.left === 0;
}

class Handshake {
  readonly #facts: Facts;
  readonly #sent: ByteReader;
  readonly #output: ByteReader;
  readonly #features: Features;
  readonly #counts: { messages: number };
  #fixed = false;
  #noZeroes = false;
  #secure = false;
  #structured = false;
  #listed = false;
  /** The export for which the client has chosen base:allocation. */
  #chosenFor: string | undefined;
  #left = 32;
  #last = 0;

  constructor(
    facts: Facts,
    sent: ByteReader,
    output: ByteReader,
    features: Features,
    counts: { messages: number },
  ) {
    this.#facts = facts;
    this.#sent = sent;
    this.#output = output;
    this.#features = features;
    this.#counts = counts;
  }

  run(): Terms | undefined {
    const output = this.#output;
    if (leftSilently(this.#sent, output)) return undefined;
    const greeting = output.skip(18, "greeting");
    const offered = 3 & this.#facts.maskHandshake;
    if (output.u16(greeting + 16) !== offered) throw new Error("wrong flags in the greeting");
    if (this.#sent.left < 4) return output.ends("the client sent no flags");
    const flags = this.#sent.u32(this.#sent.skip(4, "flags"));
    if ((flags & ~offered) !== 0) return output.ends("the client's flags are wrong");
    this.#fixed = (flags & 1) !== 0;
    this.#noZeroes = (flags & 2) !== 0;
    for (;;) {
      const outcome = this.#option();
      if (outcome === "end") return undefined;
      if (outcome !== "next") return outcome;
    }
  }

  #option(): Terms | "next" | "end" {
    const sent = this.#sent;
    if (sent.left < 16) return this.#ends("the client sent no more options");
    if (this.#left === 0) return this.#ends("too many options");
    const at = sent.skip(16, "option");
    const option = sent.u32(at + 8);
    const length = sent.u32(at + 12);
    if (sent.u64(at) !== optionMagic) return this.#ends("wrong magic of an option");
    if (length > mostOptionBytes) return this.#ends("option is too long");
    if (option === 1 && length > 4096) return this.#ends("name is too long");
    if (sent.left < length) return this.#ends("the client sent part of an option");
    const data = sent.take(length, "option");
    this.#left--;
    this.#counts.messages++;
    if (!this.#fixed && option !== 1) return this.#refused(option, INVALID);
    if (this.#facts.tls === "require" && !this.#secure && option !== 2 && option !== 5) {
      return option === 1 ? this.#ends("TLS is required") : this.#refused(option, TLS_REQD);
    }
    return this.#answer(option, data);
  }

  #answer(option: number, data: Uint8Array): Terms | "next" | "end" {
    const { metaContexts, structuredReplies } = this.#facts;
    const empty = data.length === 0;
    switch (option) {
      case 1:
        return this.#exportName(data);
      case 2:
        this.#expect(option, this.#replies(option), ACK);
        return this.#ends("the client aborted");
      case 3: {
        if (!empty) return this.#refused(option, INVALID);
        this.#expect(option, this.#replies(option, SERVER), ACK);
        if (!this.#listed) this.#left += 32 * listedExports;
        this.#listed = true;
        return "next";
      }
      case 5:
        return empty ? this.#startTls() : this.#refused(option, INVALID);
      case 6:
      case 7:
        return this.#infoOrGo(option, data);
      case 8: {
        if (!empty) return this.#refused(option, INVALID);
        if (!structuredReplies) return this.#refused(option, UNSUP);
        if (this.#structured) return this.#refused(option, INVALID);
        this.#expect(option, this.#replies(option), ACK);
        this.#structured = true;
        return "next";
      }
      case 9:
      case 10: {
        if (option === 10) this.#chosenFor = undefined;
        if (!metaContexts) return this.#refused(option, UNSUP);
        const { infos, final } = this.#replies(option, META);
        if (final === ACK && option === 10) {
          if (!this.#structured) throw new Error("a context without structured replies");
          if (infos.length > 0) this.#chosenFor = nameIn(data);
        } else if (final !== ACK && final !== INVALID && final !== TOO_BIG) {
          throw new Error(`meta context is answered with 0x${final.toString(16)}`);
        }
        return "next";
      }
      default:
        return this.#refused(option, UNSUP);
    }
  }

  /** STARTTLS also discards what was negotiated before. */
  #startTls(): "next" | "end" {
    if (this.#facts.tls === "off") return this.#refused(5, POLICY);
    if (this.#secure) return this.#refused(5, INVALID);
    this.#expect(5, this.#replies(5), ACK);
    if (this.#sent.left < handshakeMessage.length)
      return this.#ends("the client began no handshake");
    const message = this.#sent.take(handshakeMessage.length, "handshake");
    if (Buffer.compare(message, handshakeMessage) !== 0) return this.#ends("bad TLS handshake");
    this.#secure = true;
    this.#structured = false;
    this.#listed = false;
    this.#chosenFor = undefined;
    return "next";
  }

  #exportName(data: Uint8Array): Terms | "end" {
    const name = Buffer.from(data).toString("latin1");
    if (name.includes("\0")) return this.#ends("a zero byte in the name");
    if (name === "no") return this.#ends("an export that cannot be opened");
    const at = this.#output.skip(this.#noZeroes ? 10 : 134, "answer to EXPORT_NAME");
    if (this.#output.u64(at) !== BigInt(diskBytes)) throw new Error("wrong size");
    this.#features.add(kinds.option(1, ACK, this.#last));
    return this.#terms(name);
  }

  #infoOrGo(option: number, data: Uint8Array): Terms | "next" {
    const { infos, final } = this.#replies(option, INFO);
    if (final !== ACK) {
      if (final !== INVALID && final !== UNKNOWN) {
        throw new Error(`option ${option} is answered with 0x${final.toString(16)}`);
      }
      if (infos.length > 0) throw new Error("information about an export that is refused");
      return "next";
    }
    const [first] = infos;
    if (first?.length !== 12 || first[1] !== 0) throw new Error("INFO_EXPORT does not come first");
    return option === 7 ? this.#terms(nameIn(data)) : "next";
  }

  #terms(name: string): Terms {
    const allocation = this.#structured && this.#chosenFor === name;
    return { structured: this.#structured, allocation };
  }

  #refused(option: number, type: number): "next" {
    this.#expect(option, this.#replies(option), type);
    return "next";
  }

  #expect(option: number, { final }: { readonly final: number }, type: number): void {
    if (final === type) return;
    throw new Error(
      `option ${option} is answered with 0x${final.toString(16)}, not 0x${type.toString(16)}`,
    );
  }

  /** All replies to one option: those of type `info`, and the final one. */
  #replies(option: number, info?: number): { infos: Uint8Array[]; final: number } {
    const infos: Uint8Array[] = [];
    for (;;) {
      const at = this.#output.skip(20, `reply to option ${option}`);
      if (this.#output.u64(at) !== replyMagic) throw new Error("wrong magic of an option's reply");
      if (this.#output.u32(at + 8) !== option) {
        throw new Error(`a reply to option ${this.#output.u32(at + 8)} instead of ${option}`);
      }
      const type = this.#output.u32(at + 12);
      const data = this.#output.take(this.#output.u32(at + 16), "data of a reply");
      if (type === ACK || type >= 0x80000000) {
        if (type === ACK && data.length > 0) throw new Error("ACK with data");
        this.#features.add(kinds.option(option, type, this.#last));
        this.#last = option;
        return { infos, final: type };
      }
      if (type !== info) throw new Error(`a reply of type ${type} to option ${option}`);
      infos.push(data);
    }
  }

  #ends(why: string): "end" {
    this.#output.ends(why);
    return "end";
  }
}

/** The name at the start of an option's payload. */
function nameIn(data: Uint8Array): string {
  const length = new DataView(data.buffer, data.byteOffset).getUint32(0);
  return Buffer.from(data.subarray(4, 4 + length)).toString("latin1");
}
