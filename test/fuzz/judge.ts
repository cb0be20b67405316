/** Whether what a server said is an answer to what a client sent: every message once, in its form, and nothing else. */
import type { ServerTls } from "../../src/server/tls.ts";
import { type Features, kinds } from "./features.ts";
import { judgeRequests, type Terms } from "./judge-requests.ts";
import { diskBytes } from "./moody.ts";
import { hello } from "./null-tls.ts";
import type { Played } from "./play.ts";
import { CutOff, Said } from "./said.ts";
import { type Script, sentBy } from "./script.ts";

export interface Verdict {
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

/** What the server was told, as far as clients notice. */
export interface Facts {
  readonly maskHandshake: number;
  readonly structuredReplies: boolean;
  readonly metaContexts: boolean;
  readonly oldstyle: boolean;
  readonly tls: ServerTls["mode"];
  /** The data of ranges without writes, if known. */
  readonly disk?: Uint8Array;
}

/** Throws where the server did wrong. */
export function judge(facts: Facts, { steps }: Script, played: Played): Verdict {
  const features: Features = new Set();
  for (const line of played.lines) features.add(kinds.line(line));
  const said = new Said(played.said, played.cut);
  const sent = new Said(sentBy(steps), true);
  const judged = { messages: 0 };
  try {
    const terms = facts.oldstyle
      ? oldstyle(sent, said)
      : new Handshake(facts, sent, said, features, judged).run();
    if (terms !== undefined) {
      judged.messages += judgeRequests({
        disk: facts.disk,
        sent,
        said,
        features,
        terms,
        cut: played.cut,
      });
    }
  } catch (error) {
    if (!(error instanceof CutOff)) throw error;
  }
  return { messages: judged.messages, features };
}

function oldstyle(sent: Said, said: Said): Terms | undefined {
  if (leftSilently(sent, said)) return undefined;
  const at = said.skip(152, "greeting");
  if (said.u64(at + 8) !== 0x00420281861253n) throw new Error("no greeting of oldstyle");
  if (said.u64(at + 16) !== BigInt(diskBytes)) throw new Error("wrong size");
  return { structured: false, allocation: false };
}

/** Who has left without a word may not even be greeted. */
function leftSilently(sent: Said, said: Said): boolean {
  return sent.left === 0 && said.left === 0;
}

class Handshake {
  readonly #facts: Facts;
  readonly #sent: Said;
  readonly #said: Said;
  readonly #features: Features;
  readonly #judged: { messages: number };
  #fixed = false;
  #noZeroes = false;
  #secure = false;
  #structured = false;
  #listed = false;
  /** The export that block status was chosen for. */
  #chosenFor: string | undefined;
  #left = 32;
  #last = 0;

  constructor(
    facts: Facts,
    sent: Said,
    said: Said,
    features: Features,
    judged: { messages: number },
  ) {
    this.#facts = facts;
    this.#sent = sent;
    this.#said = said;
    this.#features = features;
    this.#judged = judged;
  }

  run(): Terms | undefined {
    const said = this.#said;
    if (leftSilently(this.#sent, said)) return undefined;
    const greeting = said.skip(18, "greeting");
    const offered = 3 & this.#facts.maskHandshake;
    if (said.u16(greeting + 16) !== offered) throw new Error("wrong flags in the greeting");
    if (this.#sent.left < 4) return said.ends("the client sent no flags");
    const flags = this.#sent.u32(this.#sent.skip(4, "flags"));
    if ((flags & ~offered) !== 0) return said.ends("the client's flags are wrong");
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
    this.#judged.messages++;
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

  /** All that was said before is forgotten. */
  #startTls(): "next" | "end" {
    if (this.#facts.tls === "off") return this.#refused(5, POLICY);
    if (this.#secure) return this.#refused(5, INVALID);
    this.#expect(5, this.#replies(5), ACK);
    if (this.#sent.left < hello.length) return this.#ends("the client began no handshake");
    const said = this.#sent.take(hello.length, "handshake");
    if (Buffer.compare(said, hello) !== 0) return this.#ends("that is no handshake");
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
    const at = this.#said.skip(this.#noZeroes ? 10 : 134, "answer to EXPORT_NAME");
    if (this.#said.u64(at) !== BigInt(diskBytes)) throw new Error("wrong size");
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

  /** All replies to one option: those of type `info`, and the last one. */
  #replies(option: number, info?: number): { infos: Uint8Array[]; final: number } {
    const infos: Uint8Array[] = [];
    for (;;) {
      const at = this.#said.skip(20, `reply to option ${option}`);
      if (this.#said.u64(at) !== replyMagic) throw new Error("wrong magic of an option's reply");
      if (this.#said.u32(at + 8) !== option) {
        throw new Error(`a reply to option ${this.#said.u32(at + 8)} instead of ${option}`);
      }
      const type = this.#said.u32(at + 12);
      const data = this.#said.take(this.#said.u32(at + 16), "data of a reply");
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
    this.#said.ends(why);
    return "end";
  }
}

/** The name that begins the payload of an option. */
function nameIn(data: Uint8Array): string {
  const length = new DataView(data.buffer, data.byteOffset).getUint32(0);
  return Buffer.from(data.subarray(4, 4 + length)).toString("latin1");
}
