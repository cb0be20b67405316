/** The genuine cdi plugin: it serves a layer of a container image, which podman fetches. */
import { readdirSync } from "node:fs";

import { refuses } from "../cases.ts";
import { nbdsh, stock } from "../stock.ts";
import { podman, podmanEnv, Registry } from "./registry.ts";

const hosts = new Map<string, string>();
const image = (folder: string) => `${hosts.get(folder)}/stock:latest`;

function registry(folder: string, peers: AsyncDisposableStack): void {
  const server = peers.use(
    new Registry([
      ["first.img", Buffer.from("the first disk")],
      ["second.img", Buffer.from("the second disk".repeat(100))],
    ]),
  );
  hosts.set(folder, server.host);
  podman(folder, server.host);
}

const needs = ["podman", "jq"];

stock("cdi serves a layer of an image, which is a tar archive", {
  plugin: "cdi",
  params: (folder) => [image(folder)],
  before: registry,
  env: podmanEnv,
  needs,
  see: async ({ server, folder }) => [
    await nbdsh(
      server,
      `
show ([h.get_size () % 512, h.pread (9, 0).decode (), h.pread (14, 512).decode ()])
show ([errno (lambda: h.pread (1, h.get_size ())), errno (lambda: h.pwrite (b"x", 0)), extents (512, 0, nbd.CMD_FLAG_REQ_ONE)])
show (flags ())
`,
    ),
    readdirSync(folder).filter((name) => name.startsWith("image")),
  ],
  expected: [
    [
      [0, "first.img", "the first disk"],
      ["EINVAL", "EPERM", "512 data"],
      "read_only multi_conn cache df",
    ],
    [],
  ],
});

stock("cdi serves the disk in another layer, below the tar filter", {
  filters: ["tar"],
  plugin: "cdi",
  params: (folder) => [`name=${image(folder)}`, "layer=1", "tar-entry=second.img"],
  before: registry,
  env: podmanEnv,
  needs,
  see: "show ([h.get_size (), h.pread (15, 0).decode ()])",
  expected: [1500, "the second disk"],
});

refuses("cdi ends if the image is missing", {
  plugin: "cdi",
  params: (folder) => [`${hosts.get(folder)}/no/image`],
  before: registry,
  env: podmanEnv,
  needs,
  error: "podman: command failed with exit code 125",
});
