/** The genuine luks filter: it decrypts a LUKS disk. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { run } from "#test/server";

import { luksDisk } from "../luks-disk.ts";
import { nbdsh, stock, withErrors } from "../stock.ts";

const common = {
  filters: ["luks"],
  plugin: "file",
  before: (folder: string) => {
    const plain = Buffer.alloc(65536, "what is inside. ");
    writeFileSync(join(folder, "disk"), luksDisk(plain, "open sesame"));
    writeFileSync(join(folder, "secret"), "open sesame\n");
  },
} as const;

/** The data of the disk, decrypted by qemu-img. */
async function decrypted(folder: string): Promise<Buffer> {
  const plain = join(folder, "plain");
  const secret = `secret,id=key,file=${join(folder, "qemu-secret")}`;
  const disk = `driver=luks,key-secret=key,file.filename=${join(folder, "disk")}`;
  writeFileSync(join(folder, "qemu-secret"), "open sesame");
  const { code, stderr } = await run([
    "qemu-img",
    "convert",
    "--object",
    secret,
    "--image-opts",
    disk,
    "-O",
    "raw",
    plain,
  ]);
  if (code !== 0) throw new Error(stderr);
  return readFileSync(plain);
}

stock("luks reads and writes data that qemu-img can decrypt", {
  ...common,
  needs: ["qemu-img"],
  params: (folder) => [join(folder, "disk"), `passphrase=+${join(folder, "secret")}`],
  see: async ({ server, folder }) => {
    const seen = await nbdsh(
      server,
      `
show ([h.get_size (), flags (), block_sizes ()])
show ([h.pread (14, 32768).decode (), h.pread (65536, 0) == b"what is inside. " * 4096])
h.pwrite (b"changed" + bytes (505), 1024, nbd.CMD_FLAG_FUA)
h.pwrite (b"x" * 2048, 63488)
h.flush ()
h.zero (512, 4096)
show ([errno (lambda: h.trim (512, 0)), h.pread (16, 1020), h.pread (16, 4088), h.pread (16, 4600), h.pread (16, 63480)])
`,
    );
    await server.stop();
    const inside = await decrypted(folder);
    const parts = [1020, 4088, 4600, 63_480].map((at) => inside.toString("hex", at, at + 16));
    return { seen, length: inside.length, parts };
  },
  expected: {
    seen: [
      [65536, "flush fua zero multi_conn cache df", [512, 512, 4294967295]],
      ["what is inside", true],
      [
        "EINVAL",
        "64652e206368616e6765640000000000",
        "696e736964652e200000000000000000",
        "00000000000000007768617420697320",
        "696e736964652e207878787878787878",
      ],
    ],
    length: 65536,
    parts: [
      "64652e206368616e6765640000000000",
      "696e736964652e200000000000000000",
      "00000000000000007768617420697320",
      "696e736964652e207878787878787878",
    ],
  },
});

// After this error, close of release 1.32.5 frees memory that was not allocated, which crashes both servers.
stock("luks crashes with the wrong passphrase", {
  ...common,
  params: (folder) => [join(folder, "disk"), "passphrase=open barley"],
  see: (side) => withErrors(side, "show (refused (client))", null),
  expected: [
    true,
    ["nbdkit: file: error: LUKS passphrase is not correct, no key slot could be unlocked"],
  ],
  code: 139,
});
