/** Features of this machine's kernel. */
import { release } from "node:os";

const [major = 0, minor = 0] = release()
  .split(".")
  .map((part) => Number.parseInt(part, 10));

/** Linux 6.5 added cachestat(2). Without it the server reads and copies all data that it sends. */
export const kernelHasCachestat = major > 6 || (major === 6 && minor >= 5);
