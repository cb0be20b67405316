/** Serve a byte range of the layer below. The manual is README.md, beside this file. */
import { defineFilter, param } from "#api";

export default defineFilter({
  name: "offset",
  longName: "nbdkit offset filter",
  params: {
    offset: param.size({ default: 0n, help: "The start offset to serve." }),
    range: param.size({ help: "The total size to serve.", shownDefault: "the rest of the disk" }),
  },

  window: ({ offset, range }) => ({ offset, size: range }),
});
