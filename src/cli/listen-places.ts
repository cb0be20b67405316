/** Converts the places on the command line to the addresses that the server listens on. */
import { chownSync, mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";

import { ConfigError } from "../lib/errors.ts";
import { log } from "../lib/log.ts";
import { messageOf } from "../lib/thrown.ts";
import type { ListenTarget } from "../server/sockets.ts";
import type { Place } from "./settings.ts";

/** Dispose of it to remove the directories that were made for it. */
export interface ListenPlaces extends Disposable {
  readonly targets: readonly ListenTarget[];
  /**
   * Give these directories to the user that will remove them. The sockets must exist already:
   * afterwards that user could put other files in their place.
   */
  giveTo(owner: number): void;
}

export function listenPlaces(places: readonly Place[]): ListenPlaces {
  const stack = new DisposableStack();
  try {
    const folders: string[] = [];
    const targets = places.map((place) => targetOf(place, folders, stack));
    const made = stack.move();
    return {
      targets,
      giveTo: (owner) => folders.forEach((folder) => give(folder, owner)),
      [Symbol.dispose]: () => made.dispose(),
    };
  } finally {
    stack.dispose();
  }
}

function give(folder: string, owner: number): void {
  try {
    chownSync(folder, owner, -1);
  } catch (error) {
    // Changing the user fails then too, with a message.
    log.debug(`${folder} cannot be given to user ${owner}: ${String(error)}`);
  }
}

function targetOf(place: Place, folders: string[], stack: DisposableStack): ListenTarget {
  switch (place.kind) {
    case "private": {
      const folder = privateFolder(stack);
      folders.push(folder);
      return { unix: join(folder, "socket") };
    }
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

function temporaryFolder(prefix: string): string {
  try {
    return mkdtempSync(prefix);
  } catch (error) {
    throw new ConfigError(
      `option -U -: cannot create a folder for the socket: ${messageOf(error)}: ` +
        "expected a writable /tmp, or -U PATH",
      { cause: error },
    );
  }
}

/** A folder that only this user may enter. */
function privateFolder(stack: DisposableStack): string {
  // Not in $TMPDIR, which may be long: the path of a socket must be short.
  const folder = temporaryFolder("/tmp/nbdkit");
  const remove = (): void => {
    try {
      rmSync(folder, { recursive: true, force: true });
    } catch (error) {
      log.debug(`${folder} cannot be removed: ${String(error)}`);
    }
  };
  // Remove it even if a second signal or a bug ends the program.
  process.on("exit", remove);
  stack.defer(() => {
    remove();
    process.off("exit", remove);
  });
  log.debug(`using the private socket ${join(folder, "socket")}`);
  return folder;
}
