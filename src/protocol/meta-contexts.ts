/** Remembers for which export the client has chosen `base:allocation`, the only metadata context. */
import { BASE_ALLOCATION, BASE_ALLOCATION_ID } from "./constants.ts";
import type { MetaRequest } from "./option-payload.ts";

/** The query of LIST_META_CONTEXT that matches all contexts of this namespace. */
const family = "base:";

export class MetaContexts {
  #chosenFor: Uint8Array | undefined;

  /** Whether one of the queries lists the context. */
  lists({ queries }: MetaRequest): boolean {
    return queries.length === 0 || queries.includes(family) || queries.includes(BASE_ALLOCATION);
  }

  /** Whether one of the queries chooses the context. Each choice replaces the one before. */
  choose({ rawName, queries }: MetaRequest): boolean {
    this.#chosenFor = queries.includes(BASE_ALLOCATION) ? rawName.slice() : undefined;
    return this.#chosenFor !== undefined;
  }

  forget(): void {
    this.#chosenFor = undefined;
  }

  /**
   * Whether the choice holds for the export that the client opened. The names must be equal as the client sent them.
   */
  chosenFor(rawName: Uint8Array): boolean {
    return this.#chosenFor !== undefined && Buffer.compare(this.#chosenFor, rawName) === 0;
  }
}

/** The payload of the reply. Contexts that are only listed have no number. */
export function contextReply(chosen: boolean): Uint8Array {
  const reply = new Uint8Array(4 + BASE_ALLOCATION.length);
  reply[3] = chosen ? BASE_ALLOCATION_ID : 0;
  reply.set(new TextEncoder().encode(BASE_ALLOCATION), 4);
  return reply;
}
