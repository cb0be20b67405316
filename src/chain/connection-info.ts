/** Makes the facts about a client that layers may know, with defaults for those that the caller leaves out. */
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

/** The facts for layers that are opened on behalf of no client. As in nbdkit, they have TLS if all clients must. */
export const sharing = { isTls: false };

/** The connection of such layers. */
export function noClient(): ConnectionInfo {
  return connectionInfo(0, "", { ended: serverStops, isTls: sharing.isTls });
}
