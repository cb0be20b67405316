/** A layer in one connection: nbdkit's `struct context`. All seams that lead to it share it. */
import { Capabilities } from "./capabilities.ts";
import type { ConnectionInfo } from "./layer.ts";
import { Life } from "./life.ts";
import type { Link } from "./link.ts";
import { Requests } from "./requests.ts";

export class State {
  readonly link: Link;
  readonly connection: ConnectionInfo;
  /** The layer below. A filter may put another one there. */
  below: State | undefined;
  readonly life: Life;
  readonly capabilities: Capabilities;
  readonly requests: Requests;
  #retired: State | undefined;

  /** `isShared`: opened on behalf of no client. */
  constructor(link: Link, connection: ConnectionInfo, below: State | undefined, isShared: boolean) {
    this.link = link;
    this.connection = connection;
    this.below = below;
    this.life = new Life(link, isShared);
    this.capabilities = new Capabilities(link, this.life);
    this.requests = new Requests(link, this.life, this.capabilities);
  }

  /** The layer at `link` and those below it, none of them open. */
  static stack(link: Link, connection: ConnectionInfo, isShared: boolean): State {
    const below = link.next && State.stack(link.next, connection, isShared);
    return new State(link, connection, below, isShared);
  }

  /** The same layer, never open: it refuses everything. */
  get retired(): State {
    if (this.life.phase === "retired") return this;
    if (this.#retired === undefined) {
      this.#retired = new State(this.link, this.connection, undefined, this.life.isShared);
      this.#retired.life.phase = "retired";
    }
    return this.#retired;
  }
}
