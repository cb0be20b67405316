/** Makes of the places on the command line what the server listens on. */
import { chownSync, mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";

import { log } from "../lib/log.ts";
import type { ListenTarget } from "../server/sockets.ts";
import type { Place } from "./settings.ts";

/** Disposing of it removes what was made for it. */
export interface ListenPlaces extends Disposable {
  readonly targets: readonly ListenTarget[];
}

/** `owner`: who will have to remove what was made, if that is not the user of now. */
export function listenPlaces(places: readonly Place[], owner?: number): ListenPlaces {
  const folders = new DisposableStack();
  try {
    const targets = places.map((place) => targetOf(place, folders, owner));
    const made = folders.move();
    return { targets, [Symbol.dispose]: () => made.dispose() };
  } finally {
    folders.dispose();
  }
}

function targetOf(place: Place, folders: DisposableStack, owner: number | undefined): ListenTarget {
  switch (place.kind) {
    case "private":
      return { unix: join(privateFolder(folders, owner), "socket") };
    case "tcp": {
      const { port, address } = place;
      return address === undefined ? { port } : { port, address };
    }
    case "unix":
      return { unix: place.path };
    case "vsock":
      return { vsock: place.port };
    default:
      return place satisfies never;
  }
}

/** A folder that only this user may enter. */
function privateFolder(folders: DisposableStack, owner: number | undefined): string {
  // Not in $TMPDIR, whose length is not known: the path of a socket must be short.
  const folder = mkdtempSync("/tmp/nbdkit");
  const remove = (): void => {
    try {
      rmSync(folder, { recursive: true, force: true });
    } catch (error) {
      log.debug(`${folder} cannot be removed: ${String(error)}`);
    }
  };
  try {
    if (owner !== undefined) chownSync(folder, owner, -1);
  } catch (error) {
    // Then changing the user fails, too, and says why.
    log.debug(`${folder} cannot be given to user ${owner}: ${String(error)}`);
  }
  // Also when a second signal or a bug ends the program.
  process.on("exit", remove);
  folders.defer(() => {
    remove();
    process.off("exit", remove);
  });
  log.debug(`using the private socket ${join(folder, "socket")}`);
  return folder;
}
