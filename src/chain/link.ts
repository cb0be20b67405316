/** A layer's place in the chain. It answers what needs no open layer, and names the layer in errors and debug lines. */
import { after } from "../api/awaitable.ts";
import type { Awaitable } from "../api/generated/methods.gen.ts";
import { NbdError } from "../lib/errors.ts";
import { type Exports, isNbdString } from "../lib/exports.ts";
import { log } from "../lib/log.ts";
import { noteOrigin } from "../lib/speaker.ts";
import { methodName, oddAnswer } from "./answers.ts";
import { attempt, failureOf } from "./failure.ts";
import type { ConnectionInfo, Layer, Visit } from "./layer.ts";
import { type Watch, withNext } from "./next-function.ts";
import { waitFor } from "./outside.ts";
import { numberOf, runAs } from "./running.ts";

/** The default export that a client was told, which must stay the same. */
interface Default {
  readonly isTls: boolean;
  readonly name: string;
}

export class Link {
  readonly layer: Layer;
  /** What running.ts knows the layer by. */
  readonly number: number;
  /** The link below; undefined for the plugin. */
  readonly next: Link | undefined;
  /** The name of the layer above; empty for the outermost one. */
  #above = "";
  readonly #defaults = new WeakMap<ConnectionInfo, Default>();

  constructor(layer: Layer, next: Link | undefined) {
    this.layer = layer;
    this.number = numberOf(layer);
    this.next = next;
    if (next !== undefined) next.#above = layer.name;
  }

  /** Print a debug line about a request for data. Callers see to it that such lines are wanted. */
  trace({ logName }: ConnectionInfo, message: string): void {
    log.debug(`${this.layer.name}: ${message}`, logName);
  }

  /** Print a debug line about anything else, if such lines are wanted. */
  control(connection: ConnectionInfo, message: string): void {
    if (log.verbose && log.controlpath) this.trace(connection, message);
  }

  /** The error of the layer's `method`, as it reaches the layer above. */
  failure(error: unknown, method: string, { logName }: ConnectionInfo): NbdError {
    return failureOf(error, this.layer, methodName(this.layer, method), logName);
  }

  /** Fail a call that the layer above must not make: nbdkit would assert. The log names both layers. */
  refuse(what: string): never {
    const error = new NbdError("EINVAL", `${this.layer.name} was asked for ${what}`);
    noteOrigin(error, this.#above);
    throw error;
  }

  preconnect(readonly: boolean, visit: Visit): Awaitable<void> {
    const { layer, next } = this;
    this.control(visit.connection, "preconnect");
    if (layer.preconnect === undefined) return next?.preconnect(readonly, visit);
    return this.#run("preconnect", visit, (watch) =>
      layer.preconnect?.(
        (ro, thread = visit.thread) =>
          watch(next?.preconnect(ro, { connection: visit.connection, thread })),
        readonly,
        visit,
      ),
    );
  }

  /** Add the exports of this layer and of those below it. */
  listExports(readonly: boolean, exports: Exports, visit: Visit): Awaitable<void> {
    const { isTls } = visit.connection;
    this.control(visit.connection, `list_exports readonly=${bit(readonly)} tls=${bit(isTls)}`);
    const listed = attempt(
      () =>
        after(this.#listed(readonly, exports, visit), () =>
          this.#settleDefault(readonly, exports, visit),
        ),
      (error) => {
        this.control(visit.connection, "list_exports failed");
        return error;
      },
    );
    return after(listed, () =>
      this.control(visit.connection, `list_exports returned ${exports.entries.length} names`),
    );
  }

  /** The export that a client gets if it asks for "". Undefined: it gets none. */
  defaultExport(readonly: boolean, visit: Visit): Awaitable<string | undefined> {
    const { connection } = visit;
    const { isTls } = connection;
    this.control(visit.connection, `default_export readonly=${bit(readonly)} tls=${bit(isTls)}`);
    const known = this.#defaults.get(connection);
    if (known?.isTls === isTls) return known.name;
    return after(this.#askDefault(readonly, visit), (answer) => {
      const name = this.checkedString("default_export", answer, connection);
      if (name !== undefined) this.#defaults.set(connection, { isTls, name });
      return name;
    });
  }

  /** `text` if NBD can carry it; others are ignored, as in nbdkit. */
  checkedString(
    method: string,
    text: string | undefined,
    connection: ConnectionInfo,
  ): string | undefined {
    if (text === undefined) return undefined;
    if (typeof text !== "string") {
      throw oddAnswer(this.layer, method, text, "a string or undefined");
    }
    if (isNbdString(text)) return text;
    this.control(connection, `${method}: ignoring invalid string`);
    return undefined;
  }

  #listed(readonly: boolean, exports: Exports, visit: Visit): Awaitable<void> {
    const { layer, next } = this;
    if (layer.listExports !== undefined) {
      return this.#run("list_exports", visit, (watch) =>
        layer.listExports?.(
          (ro, list, thread = visit.thread) =>
            watch(next?.listExports(ro, list, { connection: visit.connection, thread })),
          readonly,
          visit.connection.isTls,
          exports,
          visit,
        ),
      );
    }
    if (next !== undefined) return next.listExports(readonly, exports, visit);
    return exports.useDefault();
  }

  #settleDefault(readonly: boolean, exports: Exports, visit: Visit): Awaitable<void> {
    if (!exports.wantsDefault) return undefined;
    return after(this.defaultExport(readonly, visit), (name) => exports.settleDefault(name));
  }

  #askDefault(readonly: boolean, visit: Visit): Awaitable<string | undefined> {
    const { layer, next } = this;
    if (layer.defaultExport !== undefined) {
      return this.#run("default_export", visit, (watch) =>
        layer.defaultExport?.(
          (ro, thread = visit.thread) =>
            watch(next?.defaultExport(ro, { connection: visit.connection, thread })),
          readonly,
          visit.connection.isTls,
          visit,
        ),
      );
    }
    return next === undefined ? "" : next.defaultExport(readonly, visit);
  }

  #run<T>(method: string, visit: Visit, call: (watch: Watch) => Awaitable<T>): Awaitable<T> {
    const { logName } = visit.connection;
    const shownName = methodName(this.layer, method);
    const result = attempt(
      () =>
        withNext(this.layer.name, shownName, (watch) =>
          runAs(this.number, shownName, () => call(watch)),
        ),
      (error) => this.failure(error, method, visit.connection),
    );
    return waitFor(this.layer, shownName, logName, result);
  }
}

function bit(yes: boolean): 0 | 1 {
  return yes ? 1 : 0;
}
