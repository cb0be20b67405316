/** The one metadata context that there is, `base:allocation`, and for which export the client chose it. */
import { BASE_ALLOCATION, BASE_ALLOCATION_ID } from "./constants.ts";
import type { MetaRequest } from "./option-payload.ts";

/** What LIST_META_CONTEXT takes for "all contexts of this family". */
const family = "base:";

export class MetaContexts {
  #chosenFor: Uint8Array | undefined;

  /** Whether it is listed for clients that list contexts. */
  lists({ queries }: MetaRequest): boolean {
    return queries.length === 0 || queries.includes(family) || queries.includes(BASE_ALLOCATION);
  }

  /** Whether the client chose it. Whatever it chose before is forgotten. */
  choose({ rawName, queries }: MetaRequest): boolean {
    this.#chosenFor = queries.includes(BASE_ALLOCATION) ? rawName.slice() : undefined;
    return this.#chosenFor !== undefined;
  }

  forget(): void {
    this.#chosenFor = undefined;
  }

  /** Whether it holds for the export that the client took in the end, by the name it asked for. */
  chosenFor(rawName: Uint8Array): boolean {
    return this.#chosenFor !== undefined && Buffer.compare(this.#chosenFor, rawName) === 0;
  }
}

/** The payload of the reply; contexts that are only listed have no number. */
export function contextReply(chosen: boolean): Uint8Array {
  const reply = new Uint8Array(4 + BASE_ALLOCATION.length);
  reply[3] = chosen ? BASE_ALLOCATION_ID : 0;
  reply.set(new TextEncoder().encode(BASE_ALLOCATION), 4);
  return reply;
}
