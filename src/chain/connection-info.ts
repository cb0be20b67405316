/** Makes what layers may know of a client, with sensible answers for what the caller does not say. */
import { serverStops } from "../lib/stopping.ts";
import type { ConnectionInfo } from "./layer.ts";

const never = new AbortController().signal;

export function connectionInfo(
  id: number,
  logName: string,
  facts: Partial<Omit<ConnectionInfo, "id" | "logName">> = {},
): ConnectionInfo {
  return { id, logName, isTls: false, ended: never, disconnect: () => {}, ...facts };
}

/**
 * What layers that were opened on behalf of no client are told: nbdkit says that they have TLS
 * where all clients have to.
 */
export const sharing = { isTls: false };

/** The connection of such layers. */
export function noClient(): ConnectionInfo {
  return connectionInfo(0, "", { ended: serverStops, isTls: sharing.isTls });
}
