/** Show letters as capitals, and refuse writes. The manual is README.md, beside this file. */
import { after, defineFilter } from "#api";

const firstLetter = 0x61;
const lastLetter = 0x7a;
const toCapital = 0x20;

export default defineFilter({
  name: "uppercase",
  longName: "nbdkit uppercase filter",
  description: "Show the letters a to z as capitals.",
  params: {},

  // Clients do not read the stored bytes, so writing them back would change the disk.
  canWrite: () => false,

  pread(next, _config, buf, offset, flags) {
    // A layer may answer at once or later. `after` makes no promise in the first case, which is much faster.
    return after(next.pread(buf, offset, flags), () => capitalize(buf));
  },
});

function capitalize(buf: Uint8Array): void {
  for (const [i, byte] of buf.entries()) {
    if (byte >= firstLetter && byte <= lastLetter) buf[i] = byte - toCapital;
  }
}
