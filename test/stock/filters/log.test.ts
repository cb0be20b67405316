/** The genuine log filter: it logs requests. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { until } from "#test/server";

import { logLines, nbdsh, stock } from "../stock.ts";

/** One request of each kind. */
const everything = `
h.pread (512, 0)
h.pwrite (bytes (512), 512, nbd.CMD_FLAG_FUA)
h.zero (512, 1024, nbd.CMD_FLAG_NO_HOLE)
h.zero (512, 1024, nbd.CMD_FLAG_FAST_ZERO)
h.trim (512, 1536)
h.cache (512, 2048)
extents (4096, 0, nbd.CMD_FLAG_REQ_ONE)
h.flush ()
`;

stock("log logs every request and every error", {
  filters: ["log", "error"],
  plugin: "memory",
  params: (folder) => [
    "1M",
    `logfile=${join(folder, "log")}`,
    "error=ENOSPC",
    "error-rate=100%",
    `error-file=${join(folder, "fail")}`,
  ],
  see: async ({ server, folder }) => {
    await nbdsh(
      server,
      `
${everything}
touch ("${folder}/fail")
for call in (lambda: h.pread (1, 0), lambda: h.pwrite (b"x", 0), lambda: extents (1, 0)):
    errno (call)
h.shutdown ()
h = nbd.NBD ()
h.set_opt_mode (True)
h.connect_uri (uri)
h.opt_list (lambda *_: 0)
h.set_export_name ("it's one")
h.opt_go ()
h.shutdown ()
`,
    );
    await server.stop();
    return logLines(join(folder, "log"));
  },
  expected: [
    "Ready thread_model=3",
    "Preconnect id=1 readonly=0 ...",
    "...Preconnect id=1 return=0",
    'connection=1 Connect export="" tls=0 size=0x100000 minsize=0x0 prefsize=0x0 maxsize=0x0 write=1 flush=1 rotational=0 trim=1 zero=2 fua=2 extents=1 cache=2 fast_zero=1',
    "connection=1 Read id=1 offset=0x0 count=0x200 ...",
    "connection=1 ...Read id=1 return=0",
    "connection=1 Write id=2 offset=0x200 count=0x200 fua=1 ...",
    "connection=1 ...Write id=2 return=0",
    "connection=1 Zero id=3 offset=0x400 count=0x200 trim=0 fua=0 fast=0 ...",
    "connection=1 ...Zero id=3 return=0",
    "connection=1 Zero id=4 offset=0x400 count=0x200 trim=1 fua=0 fast=1 ...",
    "connection=1 ...Zero id=4 return=0",
    "connection=1 Trim id=5 offset=0x600 count=0x200 fua=0 ...",
    "connection=1 ...Trim id=5 return=0",
    "connection=1 Cache id=6 offset=0x800 count=0x200 ...",
    "connection=1 ...Cache id=6 return=0",
    "connection=1 Extents id=7 offset=0x0 count=0x1000 req_one=1 ...",
    'connection=1 ...Extents id=7 extents=(0x0 0x8000 "hole,zero") return=0',
    "connection=1 Flush id=8 ...",
    "connection=1 ...Flush id=8 return=0",
    "connection=1 Read id=9 offset=0x0 count=0x1 ...",
    "connection=1 ...Read id=9 return=-1 error=ENOSPC",
    "connection=1 Write id=10 offset=0x0 count=0x1 fua=0 ...",
    "connection=1 ...Write id=10 return=-1 error=ENOSPC",
    "connection=1 Extents id=11 offset=0x0 count=0x1 req_one=0 ...",
    "connection=1 ...Extents id=11 return=-1 error=ENOSPC",
    "connection=1 Disconnect transactions=11",
    "Preconnect id=2 readonly=0 ...",
    "...Preconnect id=2 return=0",
    "ListExports id=1 readonly=0 tls=0 ...",
    '...ListExports id=1 exports=("") return=0',
    'connection=2 Connect export="it\'s one" tls=0 size=0x100000 minsize=0x0 prefsize=0x0 maxsize=0x0 write=1 flush=1 rotational=0 trim=1 zero=2 fua=2 extents=1 cache=2 fast_zero=1',
    "connection=2 Disconnect transactions=0",
  ],
});

stock("log appends to its file with logappend", {
  filters: ["log"],
  plugin: "memory",
  before: (folder) => writeFileSync(join(folder, "log"), "what was there\n"),
  params: (folder) => ["1M", `logfile=${join(folder, "log")}`, "logappend=true"],
  see: async ({ server, folder }) => {
    await nbdsh(server, "h.pread (512, 0)");
    await server.stop();
    const [first, ...rest] = readFileSync(join(folder, "log"), "utf8").trimEnd().split("\n");
    return [first, rest.length, rest.at(-1)?.replace(/^[-0-9]+ [0-9:.]+/, "")];
  },
  expected: ["what was there", 7, " connection=1 Disconnect transactions=1"],
});

stock("log calls logscript for every event", {
  filters: ["log"],
  plugin: "memory",
  before: (folder) => writeFileSync(join(folder, "seen"), ""),
  params: (folder) => [
    "1M",
    `logscript=echo $type $act connection=$connection id=$id offset=$offset count=$count return=$return >>${folder}/seen`,
  ],
  see: async ({ server, folder }) => {
    await nbdsh(server, everything);
    await server.stop();
    // The scripts run at the same time, and some end after the server.
    let lines: string[] = [];
    await until(() => {
      lines = readFileSync(join(folder, "seen"), "utf8").trimEnd().split("\n");
      return lines.length >= 21;
    });
    return lines.toSorted();
  },
  expected: [
    "ENTER Cache connection=1 id=6 offset=0x800 count=0x200 return=",
    "ENTER Extents connection=1 id=7 offset=0x0 count=0x1000 return=",
    "ENTER Flush connection=1 id=8 offset= count= return=",
    "ENTER Preconnect connection= id=1 offset= count= return=",
    "ENTER Read connection=1 id=1 offset=0x0 count=0x200 return=",
    "ENTER Trim connection=1 id=5 offset=0x600 count=0x200 return=",
    "ENTER Write connection=1 id=2 offset=0x200 count=0x200 return=",
    "ENTER Zero connection=1 id=3 offset=0x400 count=0x200 return=",
    "ENTER Zero connection=1 id=4 offset=0x400 count=0x200 return=",
    "LEAVE Cache connection=1 id=6 offset= count= return=0",
    "LEAVE Extents connection=1 id=7 offset= count= return=0",
    "LEAVE Flush connection=1 id=8 offset= count= return=0",
    "LEAVE Preconnect connection= id=1 offset= count= return=0",
    "LEAVE Read connection=1 id=1 offset= count= return=0",
    "LEAVE Trim connection=1 id=5 offset= count= return=0",
    "LEAVE Write connection=1 id=2 offset= count= return=0",
    "LEAVE Zero connection=1 id=3 offset= count= return=0",
    "LEAVE Zero connection=1 id=4 offset= count= return=0",
    "PRINT Connect connection=1 id= offset= count= return=",
    "PRINT Disconnect connection=1 id= offset= count= return=",
    "PRINT Ready connection= id= offset= count= return=",
  ],
});
