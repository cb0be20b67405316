/** The genuine exportname filter: the exports that a client can list and open. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { nbdsh, type Side, stock } from "../stock.ts";

const common = {
  filters: ["exportname"],
  plugin: "file",
  before: (folder: string) => {
    mkdirSync(join(folder, "dir"));
    for (const name of ["one", "two", "three"]) {
      writeFileSync(join(folder, "dir", name), name.padEnd(512, "."));
    }
  },
};
const params = (folder: string, ...more: readonly string[]) => [
  `dir=${join(folder, "dir")}`,
  ...more,
];

/** The list of exports, and the result of opening four names. */
const look = ({ server }: Side) =>
  nbdsh(
    server,
    `
h.set_opt_mode (True)
h.connect_uri (uri)
exports = []
error = errno (lambda: h.opt_list (lambda name, description: exports.append ([name, description])))
show (error or sorted (exports))
h.opt_abort ()
def text (call):
    try:
        return call ()
    except nbd.Error as e:
        return e.errno
def start (name):
    c = nbd.NBD ()
    c.set_opt_mode (True)
    c.set_full_info (True)
    c.connect_uri (uri)
    c.set_export_name (name)
    error = errno (c.opt_go)
    if error:
        return error
    return [c.pread (5, 0).decode (), text (c.get_canonical_export_name), text (c.get_export_description)]
show ({ name: start (name) for name in ("", "one", "two", "four") })
`,
    null,
  );

stock("exportname passes the plugin's list on, and changes the default", {
  ...common,
  params: (folder) => params(folder, "default-export=two"),
  see: look,
  expected: [
    [
      ["one", ""],
      ["three", ""],
      ["two", ""],
    ],
    {
      "": ["two..", "two", "ENOTSUP"],
      one: ["one..", "one", "ENOTSUP"],
      two: ["two..", "two", "ENOTSUP"],
      four: "ENOENT",
    },
  ],
});

stock("exportname lists its own exports, and refuses others with exportname-strict", {
  ...common,
  params: (folder) =>
    params(
      folder,
      "exportname-list=explicit",
      "exportname-strict=true",
      "exportname=one",
      "exportname=four",
      "exportdesc=fixed:some file",
    ),
  see: look,
  expected: [
    [
      ["four", "some file"],
      ["one", "some file"],
    ],
    { "": "ENOENT", one: ["one..", "one", "some file"], two: "ENOENT", four: "ENOENT" },
  ],
});

stock("exportname lists only the default, and describes exports with a script", {
  ...common,
  params: (folder) =>
    params(
      folder,
      "default-export=one",
      "exportname-list=defaultonly",
      `exportdesc=script:echo "$name has $(wc -c <${folder}/dir/$name) bytes"`,
    ),
  see: look,
  expected: [
    [["one", ""]],
    {
      "": ["one..", "one", "one has 512 bytes"],
      one: ["one..", "one", "one has 512 bytes"],
      two: ["two..", "two", "two has 512 bytes"],
      four: "ENOENT",
    },
  ],
});

stock("exportname lists nothing with exportname-list=empty", {
  ...common,
  params: (folder) => params(folder, "exportname-list=empty", "exportdesc=none"),
  see: look,
  expected: [
    [],
    {
      "": "ENOENT",
      one: ["one..", "one", "ENOTSUP"],
      two: ["two..", "two", "ENOTSUP"],
      four: "ENOENT",
    },
  ],
});

stock("exportname refuses to list with exportname-list=error", {
  ...common,
  params: (folder) => params(folder, "exportname-list=error"),
  see: look,
  expected: [
    "ENOTSUP",
    {
      "": "ENOENT",
      one: ["one..", "one", "ENOTSUP"],
      two: ["two..", "two", "ENOTSUP"],
      four: "ENOENT",
    },
  ],
});
