/** The genuine example4 plugin: a script in Perl, which the perl plugin runs. */
import { nbdsh, ran, stock, stockCommand } from "../stock.ts";
import { dumped } from "./dumped.ts";

const perl = (await Bun.file("/usr/share/doc/nbdkit-plugin-perl/copyright").exists())
  ? []
  : ["nbdkit-plugin-perl"];

stock("example4 serves zeros, which release 1.32.5 does not let clients change", {
  plugin: "example4",
  params: () => ["size=65536"],
  needs: perl,
  see: ({ server }) =>
    nbdsh(
      server,
      `
show ([h.get_size (), client ().pread (8, 65528), extents (65536, 0)])
show ([errno (lambda: h.pread (1, 65536)), errno (lambda: h.pwrite (b"xx", 65535)), errno (lambda: h.trim (512, 0)), errno (lambda: h.flush ())])
show (flags ())
`,
    ),
  expected: [
    [65536, "0000000000000000", [[65536, 0]]],
    ["EINVAL", "EPERM", "EPERM", "EINVAL"],
    {
      is_read_only: true,
      can_flush: false,
      can_fua: false,
      is_rotational: false,
      can_trim: false,
      can_zero: false,
      can_fast_zero: false,
      can_multi_conn: false,
      can_cache: false,
      can_df: true,
    },
  ],
});

stockCommand("example4 wants a size", {
  options: ["-f"],
  plugin: "example4",
  needs: perl,
  see: ran,
  expected: {
    code: 1,
    errors: [
      "nbdkit: error: size was not set at /usr/lib/x86_64-linux-gnu/nbdkit/plugins/nbdkit-example4-plugin line 79.",
    ],
  },
});

stockCommand("example4 tells what it has", {
  options: ["--dump-plugin"],
  plugin: "example4",
  needs: perl,
  // The script's own line is not buffered, so nbdkit prints it first.
  see: async (side) => [...(await dumped(side, /^perl_version=/)).lines].toSorted(),
  expected: [
    "api_version=2",
    "errno_is_preserved=0",
    "example4_extra=hello",
    "has_can_flush=1",
    "has_can_trim=1",
    "has_can_write=1",
    "has_close=1",
    "has_config=1",
    "has_config_complete=1",
    "has_config_help=1",
    "has_dump_plugin=1",
    "has_flush=1",
    "has_get_ready=1",
    "has_get_size=1",
    "has_is_rotational=1",
    "has_load=1",
    "has_open=1",
    "has_pread=1",
    "has_pwrite=1",
    "has_trim=1",
    "has_unload=1",
    "has_zero=1",
    "max_thread_model=serialize_all_requests",
    "name=perl",
    "struct_size=384",
    "thread_model=serialize_all_requests",
    "version=1.32.5",
  ],
});
