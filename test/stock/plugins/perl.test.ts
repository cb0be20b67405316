/** The genuine perl plugin: it runs a Perl script. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";

import { stock } from "../stock.ts";

const script = `
use POSIX ();
my $disk = "\\0" x 65536;
my $log;
sub config { my ($key, $value) = @_; die "what is $key?" if $key ne "fill"; substr ($disk, 0, length $value) = $value; }
sub open { return { readonly => shift }; }
sub close { }
sub get_size { return length $disk; }
sub can_write { return 1; }
sub can_flush { return 1; }
sub can_trim { return 1; }
sub is_rotational { return 1; }
sub pread {
  my ($h, $count, $offset, $flags) = @_;
  if ($offset == 512) { Nbdkit::set_error (POSIX::ENOSPC); die "not there"; }
  if ($offset == 1024) { die "nor there"; }
  return substr ($disk, $offset, $count);
}
sub pwrite { my ($h, $buf, $offset, $flags) = @_; substr ($disk, $offset, length $buf) = $buf; }
sub flush { substr ($disk, 65535, 1) = "f"; }
sub trim { my ($h, $count, $offset, $flags) = @_; substr ($disk, $offset, $count) = "t" x $count; }
sub zero {
  my ($h, $count, $offset, $flags) = @_;
  if ($offset == 4096) { Nbdkit::set_error (POSIX::EOPNOTSUPP); die "use pwrite"; }
  substr ($disk, $offset, $count) = "z" x $count;
}
`;

stock("perl calls the subs of its script", {
  plugin: "perl",
  params: (folder) => [join(folder, "script.pl"), "fill=filled"],
  before: (folder) => writeFileSync(join(folder, "script.pl"), script),
  see: `
show (flags ())
h.pwrite (b"written", 3)
h.pwrite (b"fua", 20, nbd.CMD_FLAG_FUA)
h.trim (3, 12)
h.zero (3, 16)
h.pwrite (b"p" * 10, 4090)
h.zero (3, 4096)
show ([h.pread (24, 0).decode ("latin1"), h.pread (12, 4089).decode ("latin1"), h.pread (1, 65535)])
show (errnos (lambda: h.pread (1, 512), lambda: h.pread (1, 1024), h.flush))
`,
  expected: [
    "flush fua rotational trim zero df",
    [
      "filwritten\u0000\u0000ttt\u0000zzz\u0000fua\u0000",
      "\u0000pppppp\u0000\u0000\u0000p\u0000",
      "66",
    ],
    ["ENOSPC", "EIO", null],
  ],
});
