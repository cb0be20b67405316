/**
 * The life of a connection: its phases, the events that can happen to it, and a table of what follows from each event.
 * All parts of a connection read the phase here. They report what happens to them as an event, and none of them decides
 * alone that the connection ends.
 */

/** What a connection does while it is in one phase. */
export interface Phase {
  readonly name: PhaseName;
  /** The server takes what the client sends. */
  readonly listens: boolean;
  /** Requests are answered with ESHUTDOWN. */
  readonly refuses: boolean;
  /** What is written may still reach the client. */
  readonly writes: boolean;
}

export type PhaseName =
  /** The client waits for its turn or negotiates. All connections begin here. */
  | "negotiating"
  /** The client negotiates, and layers have answered for an export and were closed again, as NBD_OPT_INFO does it. */
  | "asked"
  /** The client negotiates, and a layer has asked to disconnect it: it may finish, but its requests are refused. */
  | "unwelcome"
  /** The client negotiates, and the server stops: it waits for the handshake, but not for long. */
  | "lingering"
  /** Requests are run. */
  | "serving"
  /** A layer has asked to disconnect the client: requests are refused until the client leaves. */
  | "refusing"
  /** The server stops: requests are refused until none is in flight. */
  | "stopping"
  /** Nothing more is run. Requests in flight are answered, layers are closed, and the client gets what was written. */
  | "draining"
  /** The same, but the server stops, and does not wait long for a client that takes nothing. */
  | "closing"
  /** Nothing reaches the client any more. Requests in flight go on without an answer, then layers are closed. */
  | "over";

export type LifecycleEvent =
  /** Layers were closed after they had answered for an export. */
  | "exportClosed"
  /** The handshake is complete, and the connection is ready for requests. */
  | "negotiated"
  /** A layer called nbdkit_disconnect without force. */
  | "refuse"
  /** The server stops. */
  | "stop"
  /** The time that a stopping server gives to a handshake is used up. */
  | "late"
  /** The other end is half-closed or closed, but the server has not read all that it sent. */
  | "left"
  /** The client sends no more, and all that it sent has arrived. It may still read. */
  | "halfClosed"
  /** Nothing more is to be run: the client disconnected, broke the protocol, or has no export; or none is in flight. */
  | "done"
  /** Something that was written cannot reach the client: a write failed, or TLS is broken. */
  | "lost"
  /** The socket is closed, by either side. */
  | "closed";

/** What the parts of a connection do on a transition. The phase has changed already when an action is called. */
export interface LifecycleActions {
  /** Abort the layers' signal, with the reason that they see. Only the first reason counts. */
  tellGone(): void;
  tellStopping(): void;
  tellDisconnected(): void;
  /** Log that the client left. */
  logLeft(): void;
  /** Call `late` after the time that a stopping server gives to a handshake. */
  linger(): void;
  /** Free what the client sent and the handshake has not taken. */
  dropInput(): void;
  /** Free what was written and the kernel has not taken. */
  dropOutput(): void;
  /** Let everything that waits look at the phase again. It calls no layer, and runs no request before it returns. */
  wake(): void;
}

/** The next phase, and what is done then, in this order. */
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
    lingering: ["stopping", "tellStopping"],
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
    negotiating: ["closing", "tellStopping", "dropInput", "wake"],
    // As with nbdkit, a client that has asked about an export may choose it: the exitlast filter stops the server when
    // the layers that answered are closed.
    asked: ["lingering", "linger"],
    unwelcome: ["closing", "tellStopping", "dropInput", "wake"],
    lingering: ["lingering"],
    serving: ["stopping", "tellStopping", "wake"],
    refusing: ["stopping", "tellStopping", "wake"],
    stopping: ["stopping"],
    draining: ["closing", "tellStopping", "wake"],
    closing: ["closing"],
    over: ["over", "tellStopping"],
  },
  late: {
    lingering: ["closing", "tellStopping", "dropInput", "wake"],
    // The handshake ended before.
    stopping: ["stopping"],
    closing: ["closing"],
    over: ["over"],
  },
  left: {
    negotiating: ["negotiating", "tellGone"],
    asked: ["asked", "tellGone"],
    unwelcome: ["unwelcome", "tellGone"],
    lingering: ["lingering", "tellGone"],
    serving: ["serving", "tellGone"],
    refusing: ["refusing", "tellGone"],
    stopping: ["stopping"],
    draining: ["draining", "tellGone"],
    closing: ["closing"],
    over: ["over"],
  },
  // What the client sent before is still taken. `done` follows when all of it was.
  halfClosed: {
    negotiating: ["negotiating", "tellGone", "wake"],
    asked: ["asked", "tellGone", "wake"],
    unwelcome: ["unwelcome", "tellGone", "wake"],
    lingering: ["lingering", "tellGone", "wake"],
    serving: ["serving", "tellGone", "wake"],
    refusing: ["refusing", "tellGone", "wake"],
    stopping: ["stopping", "wake"],
    draining: ["draining", "tellGone"],
    closing: ["closing"],
    over: ["over"],
  },
  done: {
    negotiating: ["draining", "wake"],
    asked: ["draining", "wake"],
    unwelcome: ["draining", "wake"],
    lingering: ["closing", "tellStopping", "wake"],
    serving: ["draining", "tellDisconnected"],
    refusing: ["draining", "tellDisconnected"],
    stopping: ["closing"],
    draining: ["draining"],
    closing: ["closing"],
    over: ["over"],
  },
  // The output that failed drops what it holds by itself, after the write.
  lost: {
    negotiating: ["over", "tellGone", "wake"],
    asked: ["over", "tellGone", "wake"],
    unwelcome: ["over", "tellGone", "wake"],
    lingering: ["over", "tellGone", "wake"],
    serving: ["over", "tellGone", "wake"],
    refusing: ["over", "tellGone", "wake"],
    stopping: ["over", "wake"],
    draining: ["over", "tellGone", "wake"],
    closing: ["over", "wake"],
    over: ["over"],
  },
  closed: {
    negotiating: ["over", "tellGone", "dropOutput", "wake"],
    asked: ["over", "tellGone", "dropOutput", "wake"],
    unwelcome: ["over", "tellGone", "dropOutput", "wake"],
    lingering: ["over", "tellGone", "dropOutput", "wake"],
    serving: ["over", "tellGone", "logLeft", "dropOutput", "wake"],
    refusing: ["over", "tellGone", "logLeft", "dropOutput", "wake"],
    stopping: ["over", "logLeft", "dropOutput", "wake"],
    draining: ["over", "tellGone", "dropOutput", "wake"],
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
  /** The client sends no more, and all that it sent has arrived. */
  halfClosed = false;
  readonly #actions: LifecycleActions;

  constructor(actions: LifecycleActions) {
    this.#actions = actions;
  }

  /** Go to the next phase. Throws where the event cannot happen now, which is an error of the server. */
  raise(event: LifecycleEvent): void {
    const step = transitions[event][this.phase.name];
    if (step === undefined) throw new Error(`${event} cannot happen while ${this.phase.name}`);
    if (event === "halfClosed") this.halfClosed = true;
    const [next, ...actions] = step;
    this.phase = phases[next];
    for (const action of actions) this.#actions[action]();
  }
}
