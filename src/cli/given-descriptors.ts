/** Descriptors above the standard streams that this process was started with, as `nbdkit ... 9<lock` does. */
import { descriptorState, foreignDescriptors, setInherited } from "../sys/process.ts";

let given: readonly number[] = [];

/** Bun does not pass them to programs that modules start; nbdkit does. Call this before opening anything else. */
export function passOnDescriptors(): void {
  given = foreignDescriptors();
  for (const fd of given) setInherited(fd, true);
}

/** The descriptor is for this process, and is not passed on. */
export function keepDescriptor(fd: number): void {
  given = given.filter((other) => other !== fd);
  setInherited(fd, false);
}

/** The descriptors that the command of --run gets besides its streams. */
export function givenDescriptors(): readonly number[] {
  // A module may have closed some of them.
  return given.filter((fd) => descriptorState(fd) !== "closed");
}
