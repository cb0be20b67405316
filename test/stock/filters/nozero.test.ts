/** The genuine nozero filter: it hides or emulates zero requests, or changes their flags. */
import { makeDisk, noted, recorder } from "../recorder.ts";
import { nbdsh, stock } from "../stock.ts";

const script = `
h.pwrite (b"x" * 16384, 0)
show ([h.can_zero (), h.can_fast_zero ()])
# Clients must not send the fast zero flag if it is not offered.
show ([*errnos (lambda: h.zero (4096, 0), lambda: h.zero (512, 4096, nbd.CMD_FLAG_NO_HOLE),
                lambda: h.zero (512, 8192, nbd.CMD_FLAG_FUA)),
       h.can_fast_zero () and errno (lambda: h.zero (512, 12288, nbd.CMD_FLAG_FAST_ZERO)),
       errno (lambda: h.zero (1, 16384))])
show ([bytes (h.pread (2, at)) for at in (4095, 4607, 8703, 12799)])
`;

/** Checks the offered flags, the errors, the content, and the plugin's requests from the second to the reads. */
function withModes(
  title: string,
  modes: readonly string[],
  seen: readonly unknown[],
  requests: readonly string[],
): void {
  stock(title, {
    filters: ["nozero"],
    plugin: "eval",
    before: (folder) => makeDisk(folder, 16384),
    params: (folder) => [
      ...recorder(folder, { can_fast_zero: "exit 0", can_fua: "echo native" }),
      ...modes,
    ],
    see: async ({ server, folder }) => [await nbdsh(server, script), noted(folder)],
    expected: [
      seen,
      [
        "pwrite 16384 0",
        ...requests,
        ...["pread 2 4095", "pread 2 4607", "pread 2 8703", "pread 2 12799"],
      ],
    ],
  });
}

withModes(
  "nozero hides the zero capability by default",
  [],
  [
    [false, false],
    ["EINVAL", "EINVAL", "EINVAL", false, "ENOSPC"],
    ["7878", "7878", "7878", "7878"],
  ],
  [],
);
withModes(
  "nozero writes buffers of zeros with zeromode=emulate",
  ["zeromode=emulate"],
  [
    [true, true],
    [null, null, null, "ENOTSUP", "ENOSPC"],
    ["0000", "0078", "0078", "7878"],
  ],
  ["pwrite 4096 0", "pwrite 512 4096", "pwrite 512 8192 fua"],
);
withModes(
  "nozero forbids holes with zeromode=notrim",
  ["zeromode=notrim"],
  [
    [true, true],
    [null, null, null, null, "ENOSPC"],
    ["0000", "0078", "0078", "0078"],
  ],
  ["zero 4096 0", "zero 512 4096", "zero 512 8192 fua", "zero 512 12288 fast"],
);
withModes(
  "nozero passes everything on with zeromode=plugin",
  ["zeromode=plugin"],
  [
    [true, true],
    [null, null, null, null, "ENOSPC"],
    ["0000", "0078", "0078", "0078"],
  ],
  [
    "zero 4096 0 may_trim",
    "zero 512 4096",
    "zero 512 8192 fua,may_trim",
    "zero 512 12288 may_trim,fast",
  ],
);
withModes(
  "nozero hides the fast zero capability with fastzeromode=none",
  ["zeromode=plugin", "fastzeromode=none"],
  [
    [true, false],
    [null, null, null, false, "ENOSPC"],
    ["0000", "0078", "0078", "7878"],
  ],
  ["zero 4096 0 may_trim", "zero 512 4096", "zero 512 8192 fua,may_trim"],
);
withModes(
  "nozero refuses fast zero requests with fastzeromode=slow",
  ["zeromode=plugin", "fastzeromode=slow"],
  [
    [true, true],
    [null, null, null, "ENOTSUP", "ENOSPC"],
    ["0000", "0078", "0078", "7878"],
  ],
  ["zero 4096 0 may_trim", "zero 512 4096", "zero 512 8192 fua,may_trim"],
);
withModes(
  "nozero drops the fast zero flag with fastzeromode=ignore",
  ["zeromode=plugin", "fastzeromode=ignore"],
  [
    [true, true],
    [null, null, null, null, "ENOSPC"],
    ["0000", "0078", "0078", "0078"],
  ],
  [
    "zero 4096 0 may_trim",
    "zero 512 4096",
    "zero 512 8192 fua,may_trim",
    "zero 512 12288 may_trim",
  ],
);
