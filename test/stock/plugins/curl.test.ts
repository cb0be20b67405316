/** The genuine curl plugin: it serves a disk of a web server. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";

import { refuses } from "../cases.ts";
import { nbdsh, stock } from "../stock.ts";
import { dumps } from "./dumped.ts";
import { Web, Webs } from "./web.ts";

const webs = new Webs();

stock("curl reads ranges, and writes with PUT", {
  plugin: "curl",
  params: (folder) => [`${webs.of(folder).origin}/disk`],
  before: webs.start,
  see: async ({ server, folder }) => [
    await nbdsh(
      server,
      `
show ([h.get_size (), flags ()])
show ([h.pread (4, 510), client ().pread (2, 65022)])
h.pwrite (b"written", 1000)
show (h.pread (9, 999))
h.zero (512, 4096)
show ([h.pread (2, 4095), h.pread (2, 4607), extents (65536, 0)])
show (errnos (lambda: h.pread (1, 65100), lambda: h.pread (1, 65536), lambda: h.trim (512, 0)))
`,
    ),
    webs.of(folder).requests,
  ],
  expected: [
    [
      [65536, "zero fast_zero df"],
      ["01010202", "fdfd"],
      "037772697474656e03",
      ["0f00", "0012", "65536 data"],
      ["EIO", "EINVAL", "EINVAL"],
    ],
    [
      { method: "HEAD", path: "/disk" },
      { method: "GET", path: "/disk", range: "bytes=510-514" },
      { method: "HEAD", path: "/disk" },
      { method: "GET", path: "/disk", range: "bytes=65022-65024" },
      {
        method: "PUT",
        path: "/disk",
        "content-range": "bytes 1000-1007/-1",
        expect: "100-continue",
        "transfer-encoding": "chunked",
      },
      { method: "GET", path: "/disk", range: "bytes=999-1008" },
      {
        method: "PUT",
        path: "/disk",
        "content-range": "bytes 4096-4608/-1",
        expect: "100-continue",
        "transfer-encoding": "chunked",
      },
      { method: "GET", path: "/disk", range: "bytes=4095-4097" },
      { method: "GET", path: "/disk", range: "bytes=4607-4609" },
      { method: "GET", path: "/disk", range: "bytes=65100-65101" },
    ],
  ],
});

stock("curl sends headers, cookies, a password and a user agent", {
  options: ["-r"],
  plugin: "curl",
  params: (folder) => [
    `url=${webs.of(folder).origin}/secret`,
    "header=X-One: 1",
    "header=X-Empty;",
    "header=Accept:",
    "cookie=a=b; c=d",
    "user=me",
    `password=+${join(folder, "password")}`,
    "user-agent=tester/1.0",
    "timeout=10",
    "tcp-keepalive=true",
    "tcp-nodelay=false",
    "protocols=http,https",
  ],
  before: (folder, peers) => {
    writeFileSync(join(folder, "password"), "secret\n");
    webs.start(folder, peers);
  },
  see: async ({ server, folder }) => [
    await nbdsh(server, "show ([h.pread (4, 510), flags (), errno (lambda: h.pwrite (b'x', 0))])"),
    webs.of(folder).requests,
  ],
  expected: [
    ["01010202", "read_only df", "EPERM"],
    [
      { method: "HEAD", path: "/secret" },
      { method: "GET", path: "/secret", range: "bytes=510-514" },
    ].map((request) => ({
      ...request,
      authorization: "Basic bWU6c2VjcmV0",
      cookie: "a=b; c=d",
      "user-agent": "tester/1.0",
      "x-empty": "",
      "x-one": "1",
    })),
  ],
});

stock("curl gets headers and cookies from scripts, and follows redirects", {
  options: ["-r"],
  plugin: "curl",
  params: (folder) => [
    `${webs.of(folder).origin}/moved`,
    'header-script=echo "X-Header: header $iteration"; echo "X-Path: /${url##*/}"',
    'cookie-script=echo "cookie=$iteration"',
    "header-script-renew=1000",
    "cookie-script-renew=1000",
  ],
  before: webs.start,
  see: async ({ server, folder }) => [
    await nbdsh(server, "show ([h.get_size (), h.pread (2, 255), h.pread (2, 511)])"),
    webs.of(folder).requests,
  ],
  expected: [
    [65536, "0001", "0102"],
    [
      { method: "HEAD", path: "/moved" },
      { method: "HEAD", path: "/disk" },
      { method: "GET", path: "/moved", range: "bytes=255-257" },
      { method: "GET", path: "/disk", range: "bytes=255-257" },
      { method: "GET", path: "/moved", range: "bytes=511-513" },
      { method: "GET", path: "/disk", range: "bytes=511-513" },
    ].map((request) => ({
      ...request,
      cookie: "cookie=0",
      "x-header": "header 0",
      "x-path": "/moved",
    })),
  ],
});

for (const [what, path, params, requests] of [
  ["the file is missing", "/none", [], ["HEAD"]],
  ["the web server does not support ranges", "/plain", [], ["HEAD"]],
  ["followlocation=false forbids the redirect", "/moved", ["followlocation=false"], ["HEAD"]],
  ["protocols= forbids the protocol", "/disk", ["protocols=https"], []],
] as const) {
  stock(`curl refuses clients if ${what}`, {
    plugin: "curl",
    params: (folder) => [`${webs.of(folder).origin}${path}`, ...params],
    before: webs.start,
    see: async ({ server, folder }) => [
      await nbdsh(server, "show (errno (client))", null),
      webs.of(folder).requests.map(({ method }) => method),
    ],
    expected: ["ENOENT", requests],
  });
}

stock("curl connects to a web server on a Unix socket", {
  options: ["-r"],
  plugin: "curl",
  params: (folder) => [
    "http://localhost/disk",
    `unix-socket-path=${join(folder, "web")}`,
    "cookiefile=",
  ],
  before: (folder, peers) => peers.use(new Web(new Uint8Array(4096).fill(7), join(folder, "web"))),
  see: "show ([h.get_size (), h.pread (4, 1000)])",
  expected: [4096, "07070707"],
});

stock("curl reads files", {
  options: ["-r"],
  plugin: "curl",
  params: (folder) => [`file://${join(folder, "disk")}`],
  before: (folder) => writeFileSync(join(folder, "disk"), "0123456789"),
  see: "show ([h.get_size (), h.pread (4, 5)])",
  expected: [10, "35363738"],
});

refuses("curl requires a URL", {
  plugin: "curl",
  error: "you must supply the url=<URL> parameter after the plugin name on the command line",
});

refuses("curl refuses an unknown protocol", {
  plugin: "curl",
  params: () => ["http://localhost/", "protocols=http,carrier-pigeon"],
  error: "protocols: protocol name not found: carrier-pigeon",
});

dumps(
  "curl",
  `
name=curl version=1.32.5 api_version=1 struct_size=384 max_thread_model=serialize_requests
thread_model=serialize_requests errno_is_preserved=0 magic_config_key=url
load unload config config_complete config_help open close get_size _pread_v1 _pwrite_v1
`,
);
