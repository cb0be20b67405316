/** A small raw NBD client for wire tests. It sends exactly what the test requests, valid or not. */

export type Target =
  { readonly unix: string } | { readonly port: number; readonly address?: string };

export interface OptionReply {
  readonly option: number;
  readonly type: number;
  readonly data: Uint8Array;
}

export interface Export {
  readonly size: bigint;
  readonly eflags: number;
}

export interface RequestFields {
  readonly type: number;
  readonly flags?: number;
  readonly cookie?: bigint;
  readonly offset?: bigint;
  readonly count?: number;
  readonly magic?: number;
  readonly payload?: Uint8Array;
}

export interface Reply {
  readonly error: number;
  readonly cookie: bigint;
}

/** One chunk of a structured reply. */
export interface Chunk {
  /** 1: the last chunk of the reply. */
  readonly flags: number;
  readonly type: number;
  readonly cookie: bigint;
  readonly data: Uint8Array;
}

/** The content of an error chunk. */
export interface ChunkError {
  readonly error: number;
  readonly text: string;
  /** The offset, if the chunk has one. */
  readonly at: bigint | undefined;
}

const optionMagic = 0x49484156454f5054n;
const optionReplyMagic = 0x3e889045565a9n;
const requestMagic = 0x25609513;
const replyMagic = 0x67446698;
const chunkMagic = 0x668e33ef;

/** Big-endian numbers and bytes in a row: [2, value] is a u16, bigint a u64, number a u32. */
export function bytes(
  ...parts: readonly (Uint8Array | bigint | number | string | readonly [2, number])[]
): Uint8Array {
  const chunks = parts.map((part) => {
    if (part instanceof Uint8Array) return part;
    if (typeof part === "string") return new TextEncoder().encode(part);
    const view = new DataView(new ArrayBuffer(8));
    if (typeof part === "bigint") {
      view.setBigUint64(0, part);
      return new Uint8Array(view.buffer);
    }
    if (typeof part === "number") {
      view.setUint32(0, part);
      return new Uint8Array(view.buffer, 0, 4);
    }
    view.setUint16(0, part[1]);
    return new Uint8Array(view.buffer, 0, 2);
  });
  return new Uint8Array(Buffer.concat(chunks));
}

/** The reply without the message of an error. */
export function wordless(reply: OptionReply): OptionReply {
  return reply.type < 0x80000000 ? reply : { ...reply, data: new Uint8Array(0) };
}

/** The bytes of one request, for sending several at once. */
export function request(fields: RequestFields): Uint8Array {
  const count = fields.count ?? fields.payload?.length ?? 0;
  return bytes(
    fields.magic ?? requestMagic,
    [2, fields.flags ?? 0],
    [2, fields.type],
    fields.cookie ?? 1n,
    fields.offset ?? 0n,
    count,
    fields.payload ?? new Uint8Array(0),
  );
}

/** The bytes of one option. */
export function option(number: number, data: Uint8Array = new Uint8Array(0)): Uint8Array {
  return bytes(optionMagic, number, data.length, data);
}

/** The payload of INFO and GO. */
export function infoPayload(name: string | Uint8Array, infos: readonly number[] = []): Uint8Array {
  return bytes(
    Buffer.byteLength(name),
    name,
    [2, infos.length],
    ...infos.map((info) => [2, info] as const),
  );
}

/** The payload of LIST_META_CONTEXT and SET_META_CONTEXT. */
export function metaPayload(
  name: string | Uint8Array,
  queries: readonly string[] = [],
): Uint8Array {
  const texts = queries.flatMap((query) => [Buffer.byteLength(query), query] as const);
  return bytes(Buffer.byteLength(name), name, queries.length, ...texts);
}

/** Parse an error chunk. */
export function chunkError({ type, data }: Chunk): ChunkError {
  const view = new DataView(data.buffer, data.byteOffset, data.length);
  const length = view.getUint16(4);
  const text = new TextDecoder().decode(data.subarray(6, 6 + length));
  if (data.length !== 6 + length + (type === 0x8002 ? 8 : 0)) throw new Error("wrong error chunk");
  return {
    error: view.getUint32(0),
    text,
    at: type === 0x8002 ? view.getBigUint64(6 + length) : undefined,
  };
}

export class NbdClient implements AsyncDisposable {
  /** Resolves when the connection is closed. Data received before can still be taken. */
  readonly closed: Promise<void>;
  #socket: Bun.Socket<unknown> | undefined;
  #received: Uint8Array[] = [];
  #available = 0;
  #unsent: Uint8Array[] = [];
  #over = false;
  #wake: (() => void) | undefined;
  #sent: (() => void)[] = [];
  #markClosed: () => void = () => {};

  constructor() {
    this.closed = new Promise((resolve) => {
      this.#markClosed = resolve;
    });
  }

  static async connect(target: Target): Promise<NbdClient> {
    const client = new NbdClient();
    const socket: Bun.SocketHandler = {
      data: (_socket, chunk) => client.#push(chunk),
      drain: () => client.#flush(),
      end: () => client.#end(),
      close: () => client.#end(),
      error: () => client.#end(),
    };
    client.#socket = await ("unix" in target
      ? Bun.connect({ unix: target.unix, socket, allowHalfOpen: true })
      : Bun.connect({
          hostname: target.address ?? "127.0.0.1",
          port: target.port,
          socket,
          allowHalfOpen: true,
        }));
    return client;
  }

  /** Like `ready`, with structured replies and block status. */
  static async structured(
    target: Target,
    name = "",
  ): Promise<{ client: NbdClient; export: Export }> {
    const client = await NbdClient.connect(target);
    await client.hello();
    await client.option(8);
    await client.option(10, metaPayload(name, ["base:allocation"]));
    const result = await client.go(name);
    if (!("size" in result)) throw new Error(`GO was refused with ${result.type.toString(16)}`);
    return { client, export: result };
  }

  /** Connect, negotiate with GO, and be ready for requests. */
  static async ready(target: Target, name = ""): Promise<{ client: NbdClient; export: Export }> {
    const client = await NbdClient.connect(target);
    await client.hello();
    const result = await client.go(name);
    if (!("size" in result)) throw new Error(`GO was refused with ${result.type.toString(16)}`);
    return { client, export: result };
  }

  /** The number of bytes received but not yet taken. */
  get available(): number {
    return this.#available;
  }

  /** Whether the server has closed its side. */
  get over(): boolean {
    return this.#over;
  }

  send(data: Uint8Array): void {
    this.#unsent.push(data);
    if (this.#unsent.length === 1) this.#flush();
  }

  /** Resolves when the kernel has accepted all sent bytes. */
  sent(): Promise<void> {
    if (this.#unsent.length === 0) return Promise.resolve();
    return new Promise((resolve) => this.#sent.push(resolve));
  }

  /** Take exactly `count` bytes. Rejects if the server closes before. */
  async take(count: number): Promise<Uint8Array> {
    while (this.#available < count) {
      if (this.#over) {
        throw new Error(`the server closed after ${this.#available} of ${count} bytes`);
      }
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    const result = new Uint8Array(count);
    let at = 0;
    while (at < count) {
      const chunk = this.#received[0] ?? new Uint8Array(0);
      const part = chunk.subarray(0, count - at);
      result.set(part, at);
      at += part.length;
      if (part.length === chunk.length) this.#received.shift();
      else this.#received[0] = chunk.subarray(part.length);
    }
    this.#available -= count;
    return result;
  }

  async #view(count: number): Promise<DataView> {
    return new DataView((await this.take(count)).buffer);
  }

  /** Read the greeting and send the client's flags. Returns the server's flags. */
  async hello(flags = 3): Promise<number> {
    const greeting = await this.#view(18);
    if (greeting.getBigUint64(0) !== 0x4e42444d41474943n) throw new Error("no NBDMAGIC");
    if (greeting.getBigUint64(8) !== optionMagic) throw new Error("no IHAVEOPT");
    this.send(bytes(flags));
    return greeting.getUint16(16);
  }

  async optionReply(): Promise<OptionReply> {
    const header = await this.#view(20);
    if (header.getBigUint64(0) !== optionReplyMagic) throw new Error("no option reply magic");
    return {
      option: header.getUint32(8),
      type: header.getUint32(12),
      data: await this.take(header.getUint32(16)),
    };
  }

  /** Send an option and collect its replies up to the ACK or error. */
  async option(number: number, data: Uint8Array = new Uint8Array(0)): Promise<OptionReply[]> {
    this.send(option(number, data));
    const replies: OptionReply[] = [];
    for (;;) {
      const reply = await this.optionReply();
      replies.push(reply);
      if (reply.type === 1 || reply.type >= 0x80000000) return replies;
    }
  }

  /** Read the greeting of an oldstyle server, which does not negotiate. */
  async oldstyle(): Promise<Export & { zeroes: Uint8Array }> {
    const view = await this.#view(152);
    if (view.getBigUint64(0) !== 0x4e42444d41474943n) throw new Error("no NBDMAGIC");
    if (view.getBigUint64(8) !== 0x00420281861253n) throw new Error("no magic of oldstyle");
    const zeroes = new Uint8Array(view.buffer, 28);
    return { size: view.getBigUint64(16), eflags: view.getUint32(24), zeroes };
  }

  /** Send GO. Returns the export, or the refusal. */
  async go(
    name: string | Uint8Array = "",
    infos: readonly number[] = [],
  ): Promise<Export | OptionReply> {
    const replies = await this.option(7, infoPayload(name, infos));
    const last = replies.at(-1);
    const info = replies.find((reply) => reply.type === 3 && reply.data[1] === 0);
    if (last !== undefined && last.type !== 1) return last;
    if (info === undefined) throw new Error("GO succeeded without INFO_EXPORT");
    const view = new DataView(info.data.buffer);
    return { size: view.getBigUint64(2), eflags: view.getUint16(10) };
  }

  /** Send EXPORT_NAME. The answer has 124 zero bytes unless `noZeroes`. */
  async exportName(
    name: string | Uint8Array,
    noZeroes = true,
  ): Promise<Export & { zeroes: Uint8Array }> {
    this.send(option(1, bytes(name)));
    const view = await this.#view(10);
    const zeroes = await this.take(noZeroes ? 0 : 124);
    return { size: view.getBigUint64(0), eflags: view.getUint16(8), zeroes };
  }

  request(fields: RequestFields): void {
    this.send(request(fields));
  }

  async reply(): Promise<Reply> {
    const view = await this.#view(16);
    if (view.getUint32(0) !== replyMagic) throw new Error("no simple reply magic");
    return { error: view.getUint32(4), cookie: view.getBigUint64(8) };
  }

  /** Whether the next reply is a structured one. */
  async structuredIsNext(): Promise<boolean> {
    const magic = await this.take(4);
    this.#received.unshift(magic);
    this.#available += 4;
    return new DataView(magic.buffer).getUint32(0) === chunkMagic;
  }

  /** Read one chunk of a structured reply. */
  async chunk(): Promise<Chunk> {
    const view = await this.#view(20);
    if (view.getUint32(0) !== chunkMagic) throw new Error("no structured reply magic");
    return {
      flags: view.getUint16(4),
      type: view.getUint16(6),
      cookie: view.getBigUint64(8),
      data: await this.take(view.getUint32(16)),
    };
  }

  /** Send one request, and read its reply, which must be one chunk. */
  async askChunk(fields: RequestFields): Promise<Chunk> {
    this.request(fields);
    return this.chunk();
  }

  /** Send one BLOCK_STATUS request. Returns the blocks as [length, type]. */
  async blockStatus(
    offset: bigint,
    count: number,
    flags = 0,
  ): Promise<readonly (readonly [number, number])[]> {
    const { type, data } = await this.askChunk({ type: 7, flags, offset, count });
    if (type !== 5) throw new Error(`no block status, but a chunk of type ${type.toString(16)}`);
    const view = new DataView(data.buffer, data.byteOffset, data.length);
    if (view.getUint32(0) !== 1) throw new Error("block status of another context");
    return Array.from({ length: (data.length - 4) / 8 }, (_, i) => [
      view.getUint32(4 + 8 * i),
      view.getUint32(8 + 8 * i),
    ]);
  }

  /** Send one request, and read its reply, with the data of a read. */
  async ask(fields: RequestFields): Promise<Reply & { data: Uint8Array }> {
    this.request(fields);
    const reply = await this.reply();
    const isRead = fields.type === 0 && reply.error === 0;
    return { ...reply, data: await this.take(isRead ? (fields.count ?? 0) : 0) };
  }

  pause(): void {
    this.#socket?.pause();
  }

  resume(): void {
    this.#socket?.resume();
  }

  /** Half-close the connection: no more requests, but replies may still arrive. */
  shutdown(): void {
    this.#socket?.shutdown();
  }

  /** Close the socket at once. */
  terminate(): void {
    this.#socket?.terminate();
    this.#end();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.terminate();
    await this.closed;
  }

  #push(chunk: Uint8Array): void {
    this.#received.push(chunk);
    this.#available += chunk.length;
    this.#wake?.();
  }

  #end(): void {
    this.#over = true;
    this.#markClosed();
    this.#wake?.();
    for (const resolve of this.#sent.splice(0)) resolve();
  }

  #flush(): void {
    for (;;) {
      const first = this.#unsent[0];
      if (first === undefined) break;
      const taken = this.#socket?.write(first) ?? -1;
      if (taken < 0) {
        this.#unsent = [];
        break;
      }
      if (taken < first.length) {
        this.#unsent[0] = first.subarray(taken);
        return;
      }
      this.#unsent.shift();
    }
    for (const resolve of this.#sent.splice(0)) resolve();
  }
}
