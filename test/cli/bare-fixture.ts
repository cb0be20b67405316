/** A plugin with only the required methods. */
import { definePlugin } from "#api";

const bare = definePlugin({
  name: "bare",
  open: () => ({}),
  getSize: () => 512n,
  pread(_handle, buf) {
    buf.fill(0);
  },
});
// oxlint-disable-next-line import/no-default-export -- the chain loads what a module exports by default
export default bare;
