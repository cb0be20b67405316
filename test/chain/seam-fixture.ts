/** A plugin for tests of the seam, whose methods are chosen one by one. */
import { definePlugin } from "#api";

/** A plugin with `methods` over a minimal one that writes down its calls. */
export function plugin(calls: string[], methods: object = {}) {
  return {
    ...definePlugin({
      name: "small",
      open: () => ({}),
      getSize: () => 4096n,
      pread: (_handle, buf) => {
        calls.push(`pread ${buf.length}`);
        buf.fill(7);
      },
    }),
    ...methods,
  };
}
export const writes = (calls: string[]) => ({
  pwrite: (_handle: unknown, buf: Uint8Array, offset: bigint, flags: number) => {
    calls.push(`pwrite ${buf.length} ${offset} flags=${flags}`);
  },
});
export const flushes = (calls: string[]) => ({ flush: () => void calls.push("flush") });
