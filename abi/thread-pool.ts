/** Hands out request threads: each connection has its share of them, and its further requests wait in order. */
import {
  type Call,
  type Down,
  downcall,
  type RequestThread,
  type Result,
  type ThreadLink,
} from "./request-thread.ts";

/** Request threads that are kept for later. */
const maxIdle = 64;

/** What the pool needs of the bridge. */
export interface ThreadMaker extends ThreadLink {
  /** Start a native thread; undefined where the system has none left. */
  newThread(): RequestThread | undefined;
  endThread(thread: RequestThread): void;
}

/** The threads of one connection. */
export class Share {
  readonly #pool: ThreadPool;
  readonly #limit: number;
  readonly #waiting: Down[] = [];
  /** Threads that were told what to do after what they are doing. */
  readonly #told = new Set<RequestThread>();
  #held = 0;

  constructor(pool: ThreadPool, limit: number) {
    this.#pool = pool;
    this.#limit = limit;
  }

  call(call: Call): Promise<Result> {
    return downcall(call, (down) => {
      this.#waiting.push(down);
      if (this.#held < this.#limit) this.#engage();
    });
  }

  /** Take a thread for what waits. Where there is none and none of ours will come free, wait for others'. */
  #engage(): void {
    const thread = this.#pool.take();
    if (thread === undefined) {
      if (this.#held === 0) this.#pool.starved.add(this);
      return;
    }
    const next = this.#waiting.shift();
    if (next === undefined) {
      this.#pool.giveBack(thread);
      return;
    }
    this.#held++;
    thread.owner = this;
    thread.start(next);
  }

  /** Something to do for a thread that is likely to be done soon: it needs not sleep in between. */
  more(thread: RequestThread): Down | undefined {
    const next = this.#waiting.shift();
    if (next !== undefined) this.#told.add(thread);
    return next;
  }

  /** A thread has begun with what it was told. */
  begun(thread: RequestThread): void {
    this.#told.delete(thread);
  }

  /** A thread has nothing to do. */
  idle(thread: RequestThread): void {
    const next = this.#waiting.shift() ?? this.#reclaim();
    if (next !== undefined) {
      thread.start(next);
      return;
    }
    this.#held--;
    thread.owner = undefined;
    this.#pool.giveBack(thread);
  }

  /** Whether a thread may be had for what waits here, now that one came free elsewhere. */
  unstarve(): void {
    if (this.#waiting.length > 0 && this.#held === 0) this.#engage();
  }

  /** What another thread was told and has not begun, because what it does takes longer than was thought. */
  #reclaim(): Down | undefined {
    for (const thread of this.#told) {
      this.#told.delete(thread);
      const down = thread.takeBack();
      if (down !== undefined) return down;
    }
    return undefined;
  }
}

export class ThreadPool {
  /** Connections with requests for which the system had no thread left. */
  readonly starved = new Set<Share>();
  readonly #maker: ThreadMaker;
  readonly #idle: RequestThread[] = [];

  constructor(maker: ThreadMaker) {
    this.#maker = maker;
  }

  take(): RequestThread | undefined {
    return this.#idle.pop() ?? this.#maker.newThread();
  }

  giveBack(thread: RequestThread): void {
    if (this.#idle.length >= maxIdle) this.#maker.endThread(thread);
    else this.#idle.push(thread);
    const [other] = this.starved;
    if (other === undefined) return;
    this.starved.delete(other);
    other.unstarve();
  }
}
