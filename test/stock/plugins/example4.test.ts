/** The genuine example4 plugin: a Perl script, which the perl plugin runs. */
import { refuses } from "../cases.ts";
import { stock, stockCommand } from "../stock.ts";
import { dumped, lines } from "./dumped.ts";

const perl = (await Bun.file("/usr/share/doc/nbdkit-plugin-perl/copyright").exists())
  ? []
  : ["nbdkit-plugin-perl"];

stock("example4 serves zeros, read-only in release 1.32.5", {
  plugin: "example4",
  params: () => ["size=65536"],
  needs: perl,
  see: `
show ([h.get_size (), client ().pread (8, 65528), extents (65536, 0)])
show (errnos (lambda: h.pread (1, 65536), lambda: h.pwrite (b"xx", 65535), lambda: h.trim (512, 0), h.flush))
show (flags ())
`,
  expected: [
    [65536, "0000000000000000", "65536 data"],
    ["EINVAL", "EPERM", "EPERM", "EINVAL"],
    "read_only df",
  ],
});

refuses("example4 requires a size", {
  plugin: "example4",
  needs: perl,
  error:
    "size was not set at /usr/lib/x86_64-linux-gnu/nbdkit/plugins/nbdkit-example4-plugin line 79.",
});

stockCommand("example4 prints its fields with --dump-plugin", {
  options: ["--dump-plugin"],
  plugin: "example4",
  needs: perl,
  // nbdkit prints the script's own line first, since it is not buffered.
  see: async (side) => [...(await dumped(side, /^perl_version=/)).lines].toSorted(),
  expected: lines(`
api_version=2 errno_is_preserved=0 example4_extra=hello
can_flush can_trim can_write close config config_complete config_help dump_plugin flush
get_ready get_size is_rotational load open pread pwrite trim unload zero
max_thread_model=serialize_all_requests name=perl struct_size=384
thread_model=serialize_all_requests version=1.32.5
`),
});
