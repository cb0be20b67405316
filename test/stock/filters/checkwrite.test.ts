/** The genuine checkwrite filter: writes must say what is there already. */
import { run } from "#test/server";

import { nbdsh, stock } from "../stock.ts";

const common = {
  filters: ["checkwrite"],
  plugin: "data",
  params: () => ["data=@32768 1*32768 @98304 2*100", "size=131072"],
};

stock("checkwrite takes what is there already and nothing else", {
  ...common,
  see: ({ server }) =>
    nbdsh(
      server,
      `
show ([h.get_size (), flags ()])
show ([errno (lambda: h.pwrite (data, offset)) for data, offset in (
    (bytes (32768), 0), (bytes ([1] * 32768), 32768), (bytes ([0, 1]), 32767), (bytes ([1, 1]), 32767),
    (bytes ([2] * 100), 98304), (bytes ([2] * 101), 98304))])
show ([errno (lambda: h.pwrite (bytes ([1]), 32768, nbd.CMD_FLAG_FUA)), errno (h.flush)])
show ([errno (lambda: h.zero (count, offset, flags)) for count, offset, flags in (
    (32768, 0, 0), (32769, 0, 0), (98304 - 65536, 65536, nbd.CMD_FLAG_NO_HOLE), (4096, 98304, nbd.CMD_FLAG_FAST_ZERO))])
show ([errno (lambda: h.trim (count, offset)) for count, offset in ((65536, 0), (32768, 65536), (10, 98404))])
show (extents (131072, 0))
show (h.pread (4, 32766))
`,
    ),
  expected: [
    [
      131072,
      {
        is_read_only: false,
        can_flush: true,
        can_fua: true,
        is_rotational: false,
        can_trim: true,
        can_zero: true,
        can_fast_zero: true,
        can_multi_conn: true,
        can_cache: true,
        can_df: true,
      },
    ],
    [null, null, null, "EIO", null, "EIO"],
    [null, null],
    [null, "EIO", null, "ENOTSUP"],
    ["EIO", null, null],
    [
      [32768, 3],
      [32768, 0],
      [32768, 3],
      [32768, 0],
    ],
    "00000101",
  ],
});

stock("checkwrite lets nbdcopy copy the disk onto itself", {
  ...common,
  needs: ["nbdcopy"],
  see: async ({ server }) => {
    const { code, stderr } = await run(["nbdcopy", "--allocated", server.uri, server.uri]);
    return { code, stderr };
  },
  expected: { code: 0, stderr: "" },
});
