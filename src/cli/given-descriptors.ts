/** Descriptors above the standard streams that this process was started with, as `nbdkit ... 9<lock` does. */
import { descriptorState, foreignDescriptors, setInherited } from "../sys/process.ts";

let given: readonly number[] = [];

/** Bun keeps them from what modules start, which nbdkit does not. To be called before anything else is opened. */
export function passOnDescriptors(): void {
  given = foreignDescriptors();
  for (const fd of given) setInherited(fd, true);
}

/** The descriptor is for this process. */
export function keepDescriptor(fd: number): void {
  given = given.filter((other) => other !== fd);
  setInherited(fd, false);
}

/** What the command of --run gets besides its streams. */
export function givenDescriptors(): readonly number[] {
  // A module may have closed some.
  return given.filter((fd) => descriptorState(fd) !== "closed");
}
