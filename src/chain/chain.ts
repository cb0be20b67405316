/** The chain of layers: its life cycle and its connections, in nbdkit's order. */
import { after } from "../api/awaitable.ts";
import { threadModels } from "../api/generated/constants.gen.ts";
import type { Awaitable, NextOps, ThreadModel } from "../api/generated/methods.gen.ts";
import { ConfigError } from "../lib/errors.ts";
import { Exports } from "../lib/exports.ts";
import { log } from "../lib/log.ts";
import { methodName, oddAnswer } from "./answers.ts";
import { logFailure } from "./failure.ts";
import type { ConnectionInfo, Layer, Source } from "./layer.ts";
import { Link } from "./link.ts";
import { withNext } from "./next-function.ts";
import { lifeCycle } from "./outside.ts";
import { Seam } from "./seam.ts";
import type { State } from "./state.ts";
import { explained } from "./unknown-parameter.ts";

/** All layers opened for one client. */
export interface ChainConnection {
  /** The outermost layer, checked. */
  readonly top: NextOps;
  /** What the server needs to answer reads without calling the layers. Undefined if a layer has to see them. */
  readonly source: () => Source | undefined;
  /**
   * Open and prepare all layers. On failure the open layers are closed, and an NbdError is thrown. Then only a new
   * connection object may be opened.
   */
  open(readonly: boolean, exportName: string, isTls: boolean): Promise<void>;
  /** Flush all layers that still answer, when the server no longer waits for the others. May never resolve. */
  flush(): Promise<void>;
  /** Finalize and close. All open layers are closed, and failures are logged. */
  close(): Promise<void>;
}

export class Chain {
  /** Outermost first, the plugin last. */
  readonly layers: readonly Layer[];
  readonly pluginName: string;
  /** The least parallel model of all layers. */
  threadModel: ThreadModel = "parallel";
  readonly #top: Link;

  constructor(layers: readonly Layer[]) {
    const plugin = layers.at(-1);
    if (plugin?.kind !== "plugin") throw new ConfigError("the chain has no plugin");
    this.layers = layers;
    this.pluginName = plugin.name;
    let top = new Link(plugin, undefined);
    for (const layer of layers.slice(0, -1).toReversed()) top = new Link(layer, top);
    this.#top = top;
    for (let link: Link | undefined = top; link !== undefined; link = link.next) attach(link);
  }

  /** The key of a word without `=` on the command line. */
  get magicConfigKey(): string | undefined {
    return this.layers.at(-1)?.magicConfigKey;
  }

  async config(key: string, value: string): Promise<void> {
    const asked = new Set<Layer>();
    try {
      await this.configAt(0, asked, key, value);
    } catch (error) {
      throw explained(error, key, [...asked]);
    }
  }

  /** Tell all layers that configuration is complete, then settle the thread model. */
  async configComplete(): Promise<void> {
    await this.configCompleteAt(0);
    await this.settleThreadModel();
    log.debug(`using thread model: ${this.threadModel}`);
  }

  async getReady(): Promise<void> {
    for (const layer of this.layers.toReversed()) {
      const model =
        layer.kind === "filter" ? ` thread_model=${threadModels[this.threadModel]}` : "";
      log.debug(`${layer.name}: get_ready${model}`);
      await lifeCycle(layer, "get_ready", () => layer.getReady?.(this.threadModel));
    }
  }

  async afterFork(): Promise<void> {
    for (const layer of this.layers.toReversed()) {
      log.debug(`${layer.name}: after_fork`);
      await lifeCycle(layer, "after_fork", () => layer.afterFork?.());
    }
  }

  /** As in nbdkit, a failure is logged, and the other layers are still called. */
  async cleanup(): Promise<void> {
    for (const layer of this.layers) {
      log.debug(`${layer.name}: cleanup`);
      await regardless(layer, "cleanup", () => layer.cleanup?.());
    }
  }

  /** As in cleanup, a failure is logged. */
  async unload(): Promise<void> {
    for (const layer of this.layers.toReversed()) {
      log.debug(`${layer.name}: unload ${layer.kind}`);
      await regardless(layer, "unload", () => layer.unload?.());
    }
  }

  /** Print the lines that modules add to --dump-plugin, the plugin's first. `before` is called before each layer. */
  async dumpPlugin(before?: (layer: Layer) => void): Promise<void> {
    for (const layer of this.layers.toReversed()) {
      before?.(layer);
      await lifeCycle(layer, "dump_plugin", () => layer.dumpPlugin?.());
    }
  }

  /** A client has connected. Throws if a layer rejects it. */
  async preconnect(connection: ConnectionInfo, readonly: boolean): Promise<void> {
    await this.#top.preconnect(readonly, { connection, thread: undefined });
  }

  /** The exports that the client may choose from. */
  async listExports(connection: ConnectionInfo, readonly: boolean): Promise<Exports> {
    const exports = new Exports();
    await this.#top.listExports(readonly, exports, { connection, thread: undefined });
    return exports;
  }

  /** The export that the client gets if it asks for "". Undefined: it gets none. */
  async defaultExport(connection: ConnectionInfo, readonly: boolean): Promise<string | undefined> {
    return this.#top.defaultExport(readonly, { connection, thread: undefined });
  }

  /** Does not call any layer yet. A client that opens several exports needs a connection object for each. */
  connect(info: ConnectionInfo): ChainConnection {
    return new OpenChain(Seam.to(this.#top, info), info);
  }

  /** Ask every layer for its thread model, innermost first, and keep the least. */
  async settleThreadModel(): Promise<void> {
    let least: ThreadModel = "parallel";
    for (const layer of this.layers.toReversed()) {
      const model = await lifeCycle(layer, "thread_model", () => layer.threadModel?.(least));
      if (model === undefined) continue;
      if (!Object.hasOwn(threadModels, model)) {
        const words = `one of ${Object.keys(threadModels).join(", ")}`;
        throw new ConfigError(oddAnswer(layer, "thread_model", model, words).message);
      }
      if (threadModels[model] < threadModels[least]) least = model;
    }
    this.threadModel = least;
  }

  private configAt(index: number, asked: Set<Layer>, key: string, value: string): Awaitable<void> {
    const layer = this.layers[index];
    if (layer === undefined) return undefined;
    asked.add(layer);
    log.debug(`${layer.name}: config key=${key}, value=${value}`);
    if (layer.config !== undefined) {
      const done = lifeCycle(layer, "config", () =>
        withNext(`${layer.kind} ${layer.name}`, "config", (watch) =>
          layer.config?.((k, v) => watch(this.configAt(index + 1, asked, k, v)), key, value),
        ),
      );
      return after(done, () => this.shareParameters(layer));
    }
    if (layer.kind === "filter") return this.configAt(index + 1, asked, key, value);
    throw new ConfigError(
      `${layer.name}: this plugin does not need command line configuration, but was given ${key}=${value}. ` +
        `Try using: nbdkit --help ${layer.path}`,
    );
  }

  /**
   * In C the parameters of a filter are globals: a filter that is stacked twice takes a parameter once, the outermost
   * instance does, and all instances have it. Other state is each instance's own.
   */
  private shareParameters({ parameters }: Layer): void {
    if (parameters === undefined) return;
    for (const { parameters: others } of this.layers) {
      if (others?.module === parameters.module) Object.assign(others.values, parameters.values);
    }
  }

  private configCompleteAt(index: number): Awaitable<void> {
    const layer = this.layers[index];
    if (layer === undefined) return undefined;
    log.debug(`${layer.name}: config_complete`);
    if (layer.configComplete !== undefined) {
      return lifeCycle(layer, "config_complete", () =>
        withNext(`${layer.kind} ${layer.name}`, methodName(layer, "config_complete"), (watch) =>
          layer.configComplete?.(() => watch(this.configCompleteAt(index + 1))),
        ),
      );
    }
    return this.configCompleteAt(index + 1);
  }
}

class OpenChain implements ChainConnection {
  readonly top: Seam;
  readonly source: () => Source | undefined;
  readonly #info: ConnectionInfo;

  constructor(top: Seam, info: ConnectionInfo) {
    this.top = top;
    this.source = () => top.target("pread");
    this.#info = info;
  }

  async open(readonly: boolean, exportName: string, isTls: boolean): Promise<void> {
    this.#info.exportName = exportName;
    this.#info.isTls = isTls;
    try {
      await this.top.open(readonly, exportName);
      await this.top.prepare();
    } catch (error) {
      await this.close();
      throw error;
    }
  }

  async flush(): Promise<void> {
    const all: Promise<void>[] = [];
    for (let it: State | undefined = this.top.state; it !== undefined; it = it.below) {
      if (it.life.phase === "prepared") all.push(flushLayer(new Seam(it)));
    }
    await Promise.all(all);
  }

  async close(): Promise<void> {
    await this.top.end();
  }
}

async function flushLayer(layer: Seam): Promise<void> {
  try {
    if ((await layer.canFlush()) && (await layer.canWrite())) await layer.flush(0);
  } catch (error) {
    logFailure(error, layer.connection.logName);
  }
}

/** Let a layer open the layers below it on its own behalf. */
function attach({ layer, next }: Link): void {
  layer.attach?.(
    next && {
      open: (readonly, exportName, shared, visit) =>
        Seam.open(next, readonly, exportName, shared, visit),
    },
  );
}

async function regardless(
  layer: Layer,
  method: string,
  call: () => Awaitable<void>,
): Promise<void> {
  try {
    await lifeCycle(layer, method, call);
  } catch (error) {
    logFailure(error);
  }
}
