/**
 * The life of a connection: its phases, the events that can happen to it, and a table of what follows from each event.
 * Every part of a connection reads the phase here and reports what happens to it as an event. No part decides by itself
 * that the connection ends.
 */

/** What a connection does in one phase. */
export interface Phase {
  readonly name: PhaseName;
  /** The server takes input from the client. */
  readonly listens: boolean;
  /** Requests are answered with ESHUTDOWN. */
  readonly refuses: boolean;
  /** Output may still reach the client. */
  readonly writes: boolean;
}

export type PhaseName =
  /** The client waits for its turn or negotiates. Every connection begins here. */
  | "negotiating"
  /** The client negotiates. Layers were opened and closed for a question about an export, as for NBD_OPT_INFO. */
  | "asked"
  /** The client negotiates, and a layer has asked to disconnect it: it may finish, but its requests will be refused. */
  | "unwelcome"
  /** The client negotiates while the server stops: the server waits for the handshake, but not for long. */
  | "lingering"
  /** Requests are run. */
  | "serving"
  /** A layer has asked to disconnect the client: requests are refused until the client leaves. */
  | "refusing"
  /** The server stops: requests are refused until none is in flight. */
  | "stopping"
  /**
   * No more requests run. Those in flight are answered, layers are closed, and the client gets the rest of the output.
   */
  | "draining"
  /** The same while the server stops: it does not wait long for a client that takes no output. */
  | "closing"
  /** Nothing reaches the client any more. Requests in flight finish without a reply, then layers are closed. */
  | "over";

export type LifecycleEvent =
  /** Layers that were opened for a question about an export were closed. */
  | "exportClosed"
  /** The handshake is complete: requests may run. */
  | "negotiated"
  /** A layer called nbdkit_disconnect without force. */
  | "refuse"
  /** The server stops. */
  | "stop"
  /** The handshake took longer than a stopping server waits. */
  | "late"
  /** The client has half-closed or closed the connection, but the server has not read everything before that. */
  | "left"
  /** The client sends no more, and everything that it sent has arrived. It may still read. */
  | "halfClosed"
  /**
   * No more requests are to run: the client disconnected, broke the protocol or has no export, or none is in flight.
   */
  | "done"
  /** Output cannot reach the client: a write failed, or TLS is broken. */
  | "lost"
  /** Either side has closed the socket. */
  | "closed";

/** What the parts of a connection do on a transition. The phase changes before the actions are called. */
export interface LifecycleActions {
  /** Abort the layers' signal with a reason. Only the first reason counts. */
  signalGone(): void;
  signalStopping(): void;
  signalDisconnected(): void;
  /** Log that the client left. */
  logLeft(): void;
  /** Raise `late` after the time that a stopping server gives to a handshake. */
  linger(): void;
  /** Free the input that the handshake has not taken. */
  dropInput(): void;
  /** Free the output that the kernel has not taken. */
  dropOutput(): void;
  /** Make everything that waits look at the phase again. Calls no layer, and runs no request before it returns. */
  wake(): void;
}

/** The next phase, and the actions in order. */
type Step = readonly [next: PhaseName, ...actions: (keyof LifecycleActions)[]];

/** An event without an entry for a phase cannot happen in that phase. */
export const transitions: {
  readonly [event in LifecycleEvent]: { readonly [phase in PhaseName]?: Step };
} = {
  exportClosed: {
    negotiating: ["asked"],
    asked: ["asked"],
    unwelcome: ["unwelcome"],
    lingering: ["lingering"],
    draining: ["draining"],
    closing: ["closing"],
    over: ["over"],
  },
  negotiated: {
    negotiating: ["serving"],
    asked: ["serving"],
    unwelcome: ["refusing"],
    lingering: ["stopping", "signalStopping"],
    closing: ["closing"],
    over: ["over"],
  },
  refuse: {
    negotiating: ["unwelcome"],
    asked: ["unwelcome"],
    unwelcome: ["unwelcome"],
    lingering: ["lingering"],
    serving: ["refusing"],
    refusing: ["refusing"],
    stopping: ["stopping"],
    draining: ["draining"],
    closing: ["closing"],
    over: ["over"],
  },
  stop: {
    negotiating: ["closing", "signalStopping", "dropInput", "wake"],
    // As with nbdkit, a client that has asked about an export may still choose it: the exitlast filter stops the server
    // when the layers that answered are closed.
    asked: ["lingering", "linger"],
    unwelcome: ["closing", "signalStopping", "dropInput", "wake"],
    lingering: ["lingering"],
    serving: ["stopping", "signalStopping", "wake"],
    refusing: ["stopping", "signalStopping", "wake"],
    stopping: ["stopping"],
    draining: ["closing", "signalStopping", "wake"],
    closing: ["closing"],
    over: ["over", "signalStopping"],
  },
  late: {
    lingering: ["closing", "signalStopping", "dropInput", "wake"],
    // The handshake has already ended.
    stopping: ["stopping"],
    closing: ["closing"],
    over: ["over"],
  },
  left: {
    negotiating: ["negotiating", "signalGone"],
    asked: ["asked", "signalGone"],
    unwelcome: ["unwelcome", "signalGone"],
    lingering: ["lingering", "signalGone"],
    serving: ["serving", "signalGone"],
    refusing: ["refusing", "signalGone"],
    stopping: ["stopping"],
    draining: ["draining", "signalGone"],
    closing: ["closing"],
    over: ["over"],
  },
  // Requests that arrived before still run. `done` follows after the last one.
  halfClosed: {
    negotiating: ["negotiating", "signalGone", "wake"],
    asked: ["asked", "signalGone", "wake"],
    unwelcome: ["unwelcome", "signalGone", "wake"],
    lingering: ["lingering", "signalGone", "wake"],
    serving: ["serving", "signalGone", "wake"],
    refusing: ["refusing", "signalGone", "wake"],
    stopping: ["stopping", "wake"],
    draining: ["draining", "signalGone"],
    closing: ["closing"],
    over: ["over"],
  },
  done: {
    negotiating: ["draining", "wake"],
    asked: ["draining", "wake"],
    unwelcome: ["draining", "wake"],
    lingering: ["closing", "signalStopping", "wake"],
    serving: ["draining", "signalDisconnected"],
    refusing: ["draining", "signalDisconnected"],
    stopping: ["closing"],
    draining: ["draining"],
    closing: ["closing"],
    over: ["over"],
  },
  // The output drops what it holds by itself, after the failed write.
  lost: {
    negotiating: ["over", "signalGone", "wake"],
    asked: ["over", "signalGone", "wake"],
    unwelcome: ["over", "signalGone", "wake"],
    lingering: ["over", "signalGone", "wake"],
    serving: ["over", "signalGone", "wake"],
    refusing: ["over", "signalGone", "wake"],
    stopping: ["over", "wake"],
    draining: ["over", "signalGone", "wake"],
    closing: ["over", "wake"],
    over: ["over"],
  },
  closed: {
    negotiating: ["over", "signalGone", "dropOutput", "wake"],
    asked: ["over", "signalGone", "dropOutput", "wake"],
    unwelcome: ["over", "signalGone", "dropOutput", "wake"],
    lingering: ["over", "signalGone", "dropOutput", "wake"],
    serving: ["over", "signalGone", "logLeft", "dropOutput", "wake"],
    refusing: ["over", "signalGone", "logLeft", "dropOutput", "wake"],
    stopping: ["over", "logLeft", "dropOutput", "wake"],
    draining: ["over", "signalGone", "dropOutput", "wake"],
    closing: ["over", "dropOutput", "wake"],
    over: ["over"],
  },
};

export const phases: { readonly [name in PhaseName]: Phase } = {
  negotiating: { name: "negotiating", listens: true, refuses: false, writes: true },
  asked: { name: "asked", listens: true, refuses: false, writes: true },
  unwelcome: { name: "unwelcome", listens: true, refuses: true, writes: true },
  lingering: { name: "lingering", listens: true, refuses: false, writes: true },
  serving: { name: "serving", listens: true, refuses: false, writes: true },
  refusing: { name: "refusing", listens: true, refuses: true, writes: true },
  stopping: { name: "stopping", listens: true, refuses: true, writes: true },
  draining: { name: "draining", listens: false, refuses: false, writes: true },
  closing: { name: "closing", listens: false, refuses: false, writes: true },
  over: { name: "over", listens: false, refuses: false, writes: false },
};

export class Lifecycle {
  phase: Phase = phases.negotiating;
  /** The client sends no more, and everything that it sent has arrived. */
  halfClosed = false;
  readonly #actions: LifecycleActions;

  constructor(actions: LifecycleActions) {
    this.#actions = actions;
  }

  /** Go to the next phase. Throws if the event cannot happen in this phase, which is a bug in the server. */
  raise(event: LifecycleEvent): void {
    const step = transitions[event][this.phase.name];
    if (step === undefined) throw new Error(`${event} cannot happen while ${this.phase.name}`);
    if (event === "halfClosed") this.halfClosed = true;
    const [next, ...actions] = step;
    this.phase = phases[next];
    for (const action of actions) this.#actions[action]();
  }
}
