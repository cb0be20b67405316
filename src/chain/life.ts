/** The life of a layer in one connection, from open to close: nbdkit-filter(3), "CALLBACKS". */
import type { Awaitable } from "../api/generated/methods.gen.ts";
import { NbdError } from "../lib/errors.ts";
import { noteOrigin } from "../lib/speaker.ts";
import { oddAnswer } from "./answers.ts";
import { type Caller, presentAnswers } from "./calls.ts";
import { attempt, logFailure } from "./failure.ts";
import type { Link } from "./link.ts";
import { waitFor } from "./outside.ts";
import { runAs } from "./running.ts";

/** Opens the layer below, bound to `thread` if there is one. Undefined: it is open, or there is none. */
type OpenNext = (
  readonly: boolean,
  exportName: string,
  thread?: unknown,
) => Promise<void> | undefined;

/**
 * `prepared`: ready for requests. `failed`: its finalize has failed, is not called again, and counts as failing until
 * the layer is opened anew. `retired`: never opened, and refused as the `next` of a call that has ended.
 */
type Phase = "closed" | "failed" | "open" | "prepared" | "retired";

export class Life {
  readonly link: Link;
  /** Whether the layer was opened on behalf of no client. */
  readonly isShared: boolean;
  phase: Phase = "closed";
  /** What the layer's `open` returned. */
  handle: unknown = undefined;
  /** The file that a plugin has declared: its bytes are those of the disk. */
  descriptor: number | undefined;
  /** The connection has ended. Layers opened now would never be closed. */
  isOver = false;

  constructor(link: Link, isShared: boolean) {
    this.link = link;
    this.isShared = isShared;
  }

  get isOpen(): boolean {
    const { phase } = this;
    return phase !== "closed" && phase !== "retired";
  }

  mustBeOpen({ user }: Caller, method: string): void {
    if (this.isOpen) return;
    if (this.phase !== "retired" || user === undefined) {
      this.link.refuse(`${method}, but it is not open`);
    }
    const what = "for a call that it had answered already: only the next of prepare is for that";
    throw new NbdError("EIO", `${user.name}: next.${method} was called ${what}`);
  }

  mustBePrepared(caller: Caller, method: string): void {
    if (this.phase === "prepared") return;
    this.mustBeOpen(caller, method);
    const { connection } = caller;
    if (!connection.ended.aborted) this.link.refuse(`${method}, but it is not prepared`);
    // A thread of a filter may not know yet that the client has left: readahead's, at every other disconnect.
    this.link.trace(connection, `${method} for a client that is gone`);
    throw new NbdError("ESHUTDOWN", "");
  }

  /** Open the layer, which opens those below it by `openNext`. Returns its failure; those below may be open then. */
  async open(
    caller: Caller,
    openNext: OpenNext,
    readonly: boolean,
    exportName: string,
  ): Promise<NbdError | undefined> {
    const { layer } = this.link;
    const { connection } = caller;
    const { isTls } = connection;
    this.link.control(
      connection,
      `open readonly=${readonly ? 1 : 0} exportname="${exportName}" tls=${isTls ? 1 : 0}`,
    );
    let opening: Promise<void> | undefined;
    const openOnce: OpenNext = (ro, name, thread) => {
      if (opening !== undefined) return opening;
      const result = openNext(ro, name, thread);
      if (result === undefined) return undefined;
      opening = result.finally(() => (opening = undefined));
      // This open waits for it below. A layer that does not wait for it must not end the server.
      opening.catch(() => {});
      return opening;
    };
    try {
      const name = await this.#resolvedName(caller, readonly, exportName);
      // As in nbdkit: the client's name, as filters and default_export have changed it.
      if (layer.kind === "plugin" && !this.isShared) connection.exportName = name;
      if (layer.open === undefined) {
        await openOnce(readonly, name);
      } else {
        const handle = runAs(this.link.number, "open", () =>
          layer.open?.(caller, openOnce, readonly, name, isTls),
        );
        this.handle = await waitFor(layer, "open", connection.logName, handle);
        await opening;
      }
      this.phase = "open";
    } catch (error) {
      const failure = this.link.failure(error, "open", connection);
      // Layers that are still being opened could not be closed.
      await opening?.catch(() => {});
      return failure;
    }
    this.link.control(connection, `open returned handle 0x${this.#address().toString(16)}`);
    return undefined;
  }

  async prepare(caller: Caller, readonly: boolean): Promise<void> {
    const { layer } = this.link;
    const { connection } = caller;
    this.link.control(connection, `prepare readonly=${readonly ? 1 : 0}`);
    try {
      const prepare = () => layer.prepare?.(caller, readonly);
      const preparing = runAs(this.link.number, "prepare", prepare);
      caller.calls.giveNext();
      await waitFor(layer, "prepare", connection.logName, preparing);
      if (layer.descriptor !== undefined) this.descriptor = await this.#declared(caller);
      this.phase = "prepared";
    } catch (error) {
      throw this.link.failure(error, "prepare", connection);
    }
  }

  /** Returns the layer's failure. */
  async finalize(caller: Caller): Promise<NbdError | undefined> {
    if (this.phase === "failed") return new NbdError("EIO", "");
    if (this.phase !== "prepared") return undefined;
    const { layer } = this.link;
    // A filter may have asked for something by the `next` that its prepare got, and not waited for it.
    await presentAnswers(caller.state);
    this.link.control(caller.connection, "finalize");
    const failure = await this.#failureIn(caller, "finalize", () =>
      caller.calls.ask("finalize", () => layer.finalize?.(caller)),
    );
    this.phase = failure === undefined ? "open" : "failed";
    return failure;
  }

  /** A failure is logged. */
  async close(caller: Caller): Promise<void> {
    if (this.isOpen) {
      const { layer } = this.link;
      const { connection } = caller;
      this.phase = "closed";
      await presentAnswers(caller.state);
      this.link.control(connection, "close");
      const failure = await this.#failureIn(caller, "close", () => {
        const closing = runAs(this.link.number, "close", () => layer.close?.(caller));
        return waitFor(layer, "close", connection.logName, closing);
      });
      if (failure !== undefined) logFailure(failure, connection.logName);
    }
    this.handle = undefined;
    this.descriptor = undefined;
  }

  /** The address of C's handle. Handles of TypeScript layers have none, and are counted. */
  #address(): number {
    return this.link.layer.handleAddress?.(this.handle) ?? ++opened;
  }

  /** The layer gets the name of its default export instead of "", if it is opened for a client. */
  async #resolvedName(caller: Caller, readonly: boolean, exportName: string): Promise<string> {
    if (exportName !== "" || this.isShared) return exportName;
    const name = await this.link.defaultExport(readonly, caller);
    if (name !== undefined) return name;
    const failure = new NbdError("EINVAL", `default export ("") not permitted`);
    // As in nbdkit, the server says this, not the layer.
    noteOrigin(failure, "");
    throw failure;
  }

  async #declared(caller: Caller): Promise<number | undefined> {
    const { layer, number } = this.link;
    const { connection } = caller;
    const declared = attempt(
      () => runAs(number, "descriptor", () => layer.descriptor?.(caller)),
      (error) => this.link.failure(error, "descriptor", connection),
    );
    const descriptor: unknown = await waitFor(layer, "descriptor", connection.logName, declared);
    if (descriptor === undefined) return undefined;
    if (isDescriptor(descriptor)) return descriptor;
    throw oddAnswer(layer, "descriptor", descriptor, "the number of an open file, or undefined");
  }

  async #failureIn(
    { connection }: Caller,
    method: string,
    call: () => Awaitable<void>,
  ): Promise<NbdError | undefined> {
    try {
      await call();
      return undefined;
    } catch (error) {
      return this.link.failure(error, method, connection);
    }
  }
}

let opened = 0;

/** C takes it as an int. */
function isDescriptor(it: unknown): it is number {
  return typeof it === "number" && Number.isInteger(it) && it >= 0 && it <= 0x7fffffff;
}
