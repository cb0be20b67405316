/** A filter that passes buffers at odd addresses to the layer below. With own=true it answers 19 of 20 reads itself. */
import { after, defineFilter, param } from "#api";

const unaligned = defineFilter({
  name: "unaligned",
  params: { own: param.bool({ default: false, help: "Answer most reads (default false)." }) },
  open: async (next, config, readonly, exportName) => {
    await next(readonly, exportName);
    return { ...config, reads: 0 };
  },
  pread(next, handle, buf, offset, flags) {
    handle.reads++;
    if (!handle.own) {
      const own = new Uint8Array(buf.length + 1).subarray(1);
      return after(next.pread(own, offset, flags), () => buf.set(own));
    }
    if (handle.reads % 20 === 0) return next.pread(buf, offset, flags);
    buf.fill(0);
    return undefined;
  },
  pwrite(next, _handle, buf, offset, flags) {
    const own = new Uint8Array(buf.length + 1).subarray(1);
    own.set(buf);
    return next.pwrite(own, offset, flags);
  },
});

// oxlint-disable-next-line import/no-default-export -- the chain loads what a module exports by default
export default unaligned;
