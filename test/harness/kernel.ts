/** What this machine's kernel can do. */
import { release } from "node:os";

const [major = 0, minor = 0] = release()
  .split(".")
  .map((part) => Number.parseInt(part, 10));

/** cachestat(2), of Linux 6.5: without it the server reads and copies what it sends. */
export const kernelTellsWhatIsInMemory = major > 6 || (major === 6 && minor >= 5);
