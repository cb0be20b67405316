/** One client, from accept to close: the thread model's locks, the handshake, the transmission, and the end. */
import type { Chain, ChainConnection } from "../chain/chain.ts";
import { connectionInfo } from "../chain/connection-info.ts";
import type { ConnectionInfo } from "../chain/layer.ts";
import { log } from "../lib/log.ts";
import { speakOf } from "../lib/speaker.ts";
import { Blocks } from "../protocol/blocks.ts";
import { exportFacts, smallestPiece } from "../protocol/export-flags.ts";
import { Gate } from "../protocol/gate.ts";
import { Input } from "../protocol/input.ts";
import { Lifecycle } from "../protocol/lifecycle.ts";
import type { Lock } from "../protocol/lock.ts";
import { type ChosenExport, negotiate, type OpenExport } from "../protocol/negotiation.ts";
import { oldstyleGreeting } from "../protocol/oldstyle.ts";
import { Output } from "../protocol/output.ts";
import type { ProtocolPolicy } from "../protocol/policy.ts";
import { Transmission } from "../protocol/transmission.ts";
import { failure } from "../protocol/wire-error.ts";
import type { ClientSocket } from "./client-socket.ts";
import type { IdleCollection } from "./idle-collection.ts";
import { handshakeWaitingBytes, lingerMs, receivedAtOnce } from "./limits.ts";
import { TlsTransport } from "./tls-transport.ts";
import type { ServerTls } from "./tls.ts";

/** What all connections of a server share. */
export interface Shared {
  readonly chain: Chain;
  readonly policy: ProtocolPolicy;
  readonly tls: ServerTls;
  readonly collection: IdleCollection;
  /** No client is greeted before this resolves. */
  readonly ready: Promise<void>;
  /** Held for a whole connection in model serialize_connections. */
  readonly connectionLock: Lock;
  /** Held for one request or one step of the handshake in models up to serialize_all_requests. */
  readonly requestLock: Lock;
}

/** nbdkit's default, for the log. */
const defaultThreads = 16;
/** The longest timeout of a timer, 24 days. */
const mostTimerMs = 2 ** 31 - 1;

/** With -s, nbdkit starts threads only for requests that may run in parallel. */
function lifecycleThread({ chain, policy }: Shared): "all" | "control" {
  return chain.threadModel === "parallel" && policy.threads !== 1 ? "control" : "all";
}

export class Connection {
  readonly #socket: ClientSocket;
  /** The same socket, if the server offers TLS. */
  readonly #secured: TlsTransport | undefined;
  readonly #shared: Shared;
  readonly #info: ConnectionInfo;
  readonly #logName: string;
  readonly #blocks = new Blocks();
  readonly #input: Input;
  readonly #output: Output;
  #transmission: Transmission | undefined;
  /** The connection's layers, while they are open. */
  #layers: ChainConnection | undefined;
  readonly #lifecycle: Lifecycle;
  #locked = false;
  /** Resolves when the handshake has nothing left to wait for: the client left, or the server stops. */
  readonly #handshakeEnds = Promise.withResolvers<void>();
  /** Its signal tells layers that the client left or that the server stops. */
  readonly #ended = new AbortController();
  #wakeFlush: (() => void) | undefined;
  #handshakeLimit: Timer | undefined;
  /** Ends a handshake that goes on while the server stops. */
  #lingering: Timer | undefined;

  /** `alone`: there will be no other client, so log lines need no number. */
  constructor(socket: ClientSocket, shared: Shared, id: number, alone = false) {
    this.#shared = shared;
    this.#logName = alone ? shared.chain.pluginName : `${shared.chain.pluginName}[${id}]`;
    this.#lifecycle = this.#newLifecycle();
    if ("offer" in shared.tls) {
      const receiver = {
        received: (chunk: Uint8Array) => this.#received(chunk),
        room: () => this.#transmission?.room,
        filled: (count: number) => this.#transmission?.filled(count),
        drained: () => this.#drained(),
      };
      this.#secured = new TlsTransport(socket, receiver, this.#lifecycle, this.#logName);
    }
    this.#socket = this.#secured ?? socket;
    this.#info = connectionInfo(id, this.#logName, {
      ...socket.client,
      lifecycleThread: alone ? lifecycleThread(shared) : undefined,
      ownThread: () => lifecycleThread(shared) === "all",
      ended: this.#ended.signal,
      // Wait until the request that asks for it has returned.
      disconnect: (force) => queueMicrotask(() => this.#disconnect(force)),
    });
    this.#input = new Input(this.#socket, this.#lifecycle);
    this.#output = new Output(this.#socket, this.#blocks, this.#lifecycle);
  }

  /** Bytes of memory that the connection holds for its client. */
  get heldBytes(): number {
    return (this.#transmission?.heldBytes ?? this.#output.held) + (this.#secured?.heldBytes ?? 0);
  }

  /** Aborted when the client sends no more, or when the server stops. */
  get ended(): AbortSignal {
    return this.#ended.signal;
  }

  // ---- what the socket says

  /** Take a chunk from the socket. The connection owns its memory. */
  data(chunk: Uint8Array): void {
    speakOf(this.#logName, this.#take, chunk);
  }

  /** Created once, since `data` is called for each chunk. */
  readonly #take = (chunk: Uint8Array): void => {
    this.#shared.collection.active();
    if (this.#secured !== undefined) return this.#secured.data(chunk);
    this.#received(chunk);
    if (this.#transmission !== undefined) this.#receiveMore(this.#transmission);
  };

  drained(): void {
    this.#shared.collection.active();
    speakOf(this.#logName, () => {
      if (this.#secured === undefined) this.#drained();
      else this.#secured.drained();
    });
  }

  inputEnded(): void {
    if (this.#secured === undefined) this.#lifecycle.raise("halfClosed");
    else this.#secured.inputEnded();
  }

  /** The client sends no more, but earlier bytes may not have been read. */
  left(): void {
    this.#lifecycle.raise("left");
  }

  gone(): void {
    if (this.#secured === undefined) this.#lifecycle.raise("closed");
    else this.#secured.gone();
  }

  // ---- what the client does, in clear

  #received(chunk: Uint8Array): void {
    if (this.#transmission === undefined) this.#input.push(chunk);
    else this.#transmission.feed(chunk);
  }

  /** Receive the rest of a write's data, and large writes behind it, straight into their blocks. */
  #receiveMore(transmission: Transmission): void {
    for (let left = receivedAtOnce; left > 0;) {
      const { room } = transmission;
      const count = room === undefined ? 0 : this.#socket.receive(room);
      if (count === 0) return;
      left -= count;
      transmission.filled(count);
    }
  }

  #drained(): void {
    if (this.#transmission === undefined) this.#output.drained();
    else this.#transmission.drained();
    this.#wakeFlush?.();
  }

  // ---- what follows from its phase

  #newLifecycle(): Lifecycle {
    return new Lifecycle({
      signalGone: () => this.#ended.abort("gone"),
      signalStopping: () => this.#ended.abort("stopping"),
      signalDisconnected: () => this.#ended.abort("disconnected"),
      logLeft: () => this.#transmission?.logLeft(),
      linger: () => {
        this.#lingering = setTimeout(() => this.#lifecycle.raise("late"), lingerMs);
      },
      dropInput: () => this.#input.drop(),
      dropOutput: () => this.#output.drop(),
      wake: () => {
        if (this.#ends) this.#handshakeEnds.resolve();
        this.#input.wake();
        this.#secured?.wake();
        this.#transmission?.wake();
        this.#wakeFlush?.();
      },
    });
  }

  /** Answer requests in flight, refuse others, and end. */
  stop(): void {
    this.#lifecycle.raise("stop");
  }

  /** See ChainConnection.flush. */
  async flushLayers(): Promise<void> {
    await this.#layers?.flush();
  }

  /** A layer disconnects the client: at once with `force`, otherwise after its requests in flight. */
  #disconnect(force: boolean): void {
    if (force) {
      this.#drop();
      this.gone();
    } else {
      this.#lifecycle.raise("refuse");
    }
  }

  /**
   * End the stream at once. A TLS client gets a close_notify if the socket takes it, so that it sees an orderly end.
   * The kernel still delivers earlier output, but a client that takes none is cut off after a while.
   */
  #drop(): void {
    this.#secured?.endTls();
    this.#socket.end();
    setTimeout(() => this.#socket.terminate(), lingerMs).unref();
  }

  // ---- its life

  /** Serve the client. Resolves when all layers and the socket are closed. Never rejects. */
  run(): Promise<void> {
    return speakOf(this.#logName, () => this.#run());
  }

  async #run(): Promise<void> {
    log.debug("accepted connection");
    try {
      if (await this.#admit()) await this.#serve();
    } catch (error) {
      const { message } = failure(error);
      if (message !== "") log.error(message, this.#logName);
    }
    this.#lifecycle.raise("done");
    if (this.#locked) this.#shared.connectionLock.release();
    this.#locked = false;
    await this.#flush();
    clearTimeout(this.#handshakeLimit);
    clearTimeout(this.#lingering);
    this.#socket.end();
    this.#lifecycle.raise("closed");
    this.#secured?.[Symbol.dispose]();
    this.#shared.collection.left();
  }

  /** Wait for the connection's turn, and call preconnect. */
  async #admit(): Promise<boolean> {
    const { chain, connectionLock, policy, ready } = this.#shared;
    await Promise.race([ready, this.#handshakeEnds.promise]);
    if (chain.threadModel === "serialize_connections") {
      const granted = connectionLock.acquire();
      await Promise.race([granted, this.#handshakeEnds.promise]);
      if (this.#ends) {
        void granted.then(() => connectionLock.release());
        return false;
      }
      await granted;
      this.#locked = true;
    }
    if (this.#ends) return false;
    await this.#exclusively(() => chain.preconnect(this.#info, policy.readonly));
    return !this.#ends;
  }

  async #serve(): Promise<void> {
    this.#limitHandshake();
    const { oldstyle } = this.#shared.policy;
    const chosen = oldstyle ? await this.#greetOldstyle() : await this.#negotiate();
    if (chosen === undefined) return;
    clearTimeout(this.#handshakeLimit);
    try {
      await this.#transmit(chosen);
    } finally {
      await chosen.close();
    }
  }

  /** The limit also applies to a client that was refused and does not leave. */
  #limitHandshake(): void {
    const { timeoutSeconds } = this.#shared.policy;
    if (timeoutSeconds === undefined) return;
    this.#handshakeLimit = setTimeout(
      () => {
        log.error(`client spent more than ${timeoutSeconds} s on the handshake`, this.#logName);
        this.#disconnect(true);
      },
      Math.min(timeoutSeconds * 1000, mostTimerMs),
    );
  }

  async #greetOldstyle(): Promise<ChosenExport> {
    const opened = await this.#open("");
    const flags = `global 0x0 export 0x${opened.eflags.toString(16)}`;
    log.debug(`oldstyle negotiation: flags: ${flags}`, this.#logName);
    this.#output.append(oldstyleGreeting(opened));
    this.#output.flush();
    return { ...opened, structured: false, allocation: false };
  }

  #negotiate(): Promise<ChosenExport | undefined> {
    const { chain, policy, tls } = this.#shared;
    return negotiate({
      input: this.#input,
      output: this.#output,
      logName: this.#logName,
      policy,
      tls: { mode: tls.mode, start: () => this.#startTls() },
      open: (exportName) => this.#open(exportName),
      listExports: () => this.#exclusively(() => chain.listExports(this.#info, policy.readonly)),
      defaultExport: () =>
        this.#exclusively(() => chain.defaultExport(this.#info, policy.readonly)),
      room: () => this.#room(),
    });
  }

  /** Start TLS when all output in clear text has been written. */
  async #startTls(): Promise<boolean> {
    const { tls } = this.#shared;
    while (this.#output.held > 0 && this.#lifecycle.phase.listens) await this.#progress();
    if (this.#secured === undefined || !("offer" in tls) || this.#ends) return false;
    const secure = await this.#secured.start(tls.offer, this.#input.rest());
    this.#info.isTls = secure;
    this.#info.tlsNames = secure ? this.#secured.names() : undefined;
    return secure;
  }

  async #transmit(chosen: ChosenExport): Promise<void> {
    const { chain, policy, requestLock } = this.#shared;
    const { threads } = policy;
    const model = chain.threadModel;
    const manner =
      model === "parallel" && threads !== 1
        ? `with ${threads ?? defaultThreads} threads`
        : "serially";
    log.debug(`handshake complete, processing requests ${manner}`, this.#logName);
    const mayReport = chosen.structured && chosen.canExtents;
    const reportsHoles = mayReport && chosen.source?.()?.extentsAnswerReads === true;
    const ask = () => smallestPiece(chosen.top);
    const piece = reportsHoles ? await this.#exclusively(ask) : undefined;
    const transmission = new Transmission({
      sink: this.#socket,
      output: this.#output,
      blocks: this.#blocks,
      export: chosen,
      logName: this.#logName,
      gate: new Gate(model, requestLock),
      lifecycle: this.#lifecycle,
      policy,
      smallestPiece: piece,
    });
    this.#transmission = transmission;
    this.#lifecycle.raise("negotiated");
    transmission.start(this.#input.rest());
    await transmission.done;
  }

  async #open(exportName: string): Promise<OpenExport> {
    const { chain, policy } = this.#shared;
    const connection = chain.connect(this.#info);
    this.#layers = connection;
    this.#info.exportName = exportName;
    const close = async () => {
      await connection.close();
      this.#layers = undefined;
      this.#info.exportName = undefined;
    };
    const facts = await this.#exclusively(async () => {
      try {
        await connection.open(policy.readonly, exportName, this.#info.isTls);
        return await exportFacts(connection.top, chain);
      } catch (error) {
        await close();
        throw error;
      }
    });
    const { source, top } = connection;
    return {
      top,
      source,
      ...facts,
      close: () => {
        this.#lifecycle.raise("exportClosed");
        return this.#exclusively(close);
      },
    };
  }

  /** Call the chain outside of requests, serialized as the thread model demands. */
  #exclusively<T>(go: () => Promise<T>): Promise<T> {
    const { chain, requestLock } = this.#shared;
    const model = chain.threadModel;
    if (model === "parallel" || model === "serialize_requests") return go();
    return requestLock.run(go);
  }

  /** Whether to end before the greeting. After it, a half-closed client may still wait for replies. */
  get #ends(): boolean {
    const { halfClosed, phase } = this.#lifecycle;
    return (halfClosed && this.#input.empty) || !phase.listens;
  }

  /** Wait until the client has taken most of the output. */
  async #room(): Promise<void> {
    const lifecycle = this.#lifecycle;
    while (this.#output.held > handshakeWaitingBytes && lifecycle.phase.listens) {
      await this.#progress();
    }
  }

  /** Wait until the client takes output or is gone. */
  #progress(): Promise<void> {
    return new Promise<void>((resolve) => {
      this.#wakeFlush = resolve;
    });
  }

  /** Wait until the client has taken all output; if the server stops, not for long. */
  async #flush(): Promise<void> {
    this.#output.flush();
    await this.#taken();
    this.#secured?.endTls();
    await this.#taken();
  }

  /** Bytes of output that the client has not taken. */
  get #untaken(): number {
    return this.#output.held + (this.#secured?.held ?? 0) + (this.#socket.unwritten ?? 0);
  }

  async #taken(): Promise<void> {
    let late: Timer | undefined;
    while (this.#untaken > 0 && !this.#output.dead) {
      if (this.#lifecycle.phase.name === "closing") {
        late ??= setTimeout(() => {
          this.#socket.terminate();
          this.gone();
        }, lingerMs);
      }
      await this.#progress();
    }
    clearTimeout(late);
  }
}
