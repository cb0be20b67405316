/** The genuine cc plugin: it compiles C source when the server starts. */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { run, until } from "#test/server";

import { captive, nbdsh, ownTmp, stock, stockCommand } from "../stock.ts";
import { listed } from "./listed.ts";

/** A disk that its parameter fills, with extents of its own, exports and errors. */
const source = `
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NBDKIT_API_VERSION 2
#include <nbdkit-plugin.h>
#define THREAD_MODEL NBDKIT_THREAD_MODEL_PARALLEL

static char disk[SIZE];
static const char *log_file;

static int
my_config (const char *key, const char *value)
{
  if (strcmp (key, "fill") == 0)
    memset (disk, value[0], sizeof disk);
  else if (strcmp (key, "log") == 0)
    log_file = value;
  else {
    nbdkit_error ("unknown parameter %s", key);
    return -1;
  }
  return 0;
}

#define my_config_help "fill=C  what the disk is full of"

static int
my_list_exports (int readonly, int is_tls, struct nbdkit_exports *exports)
{
  return nbdkit_add_export (exports, "inline", "compiled");
}

static void *
my_open (int readonly)
{
  char *handle = strdup (nbdkit_export_name ());
  nbdkit_debug ("opened");
  return handle;
}

static void
my_close (void *handle)
{
  FILE *log = fopen (log_file, "a");
  fprintf (log, "close %s\\n", (char *) handle);
  fclose (log);
  free (handle);
}

static void
my_unload (void)
{
  FILE *log = log_file ? fopen (log_file, "a") : NULL;
  if (log != NULL) {
    fprintf (log, "unload\\n");
    fclose (log);
  }
}

static int64_t
my_get_size (void *handle)
{
  return sizeof disk;
}

static int
my_pread (void *handle, void *buf, uint32_t count, uint64_t offset, uint32_t flags)
{
  if (offset == 13) {
    nbdkit_error ("not from there");
    nbdkit_set_error (ENOSPC);
    return -1;
  }
  memcpy (buf, disk + offset, count);
  return 0;
}

static int
my_pwrite (void *handle, const void *buf, uint32_t count, uint64_t offset, uint32_t flags)
{
  memcpy (disk + offset, buf, count);
  if (flags & NBDKIT_FLAG_FUA)
    disk[0] = 'F';
  return 0;
}

static int
my_flush (void *handle, uint32_t flags)
{
  disk[1] = 'f';
  return 0;
}

static int
my_can_fua (void *handle)
{
  return NBDKIT_FUA_NATIVE;
}

static int
my_extents (void *handle, uint32_t count, uint64_t offset, uint32_t flags,
            struct nbdkit_extents *extents)
{
  uint64_t at;
  for (at = offset - offset % 512; at < offset + count; at += 512)
    if (nbdkit_add_extent (extents, at, 512, at % 1024 ? NBDKIT_EXTENT_HOLE : 0) == -1)
      return -1;
  return 0;
}

static struct nbdkit_plugin plugin = {
  .name              = "inline",
  .version           = "1.2.3",
  .config            = my_config,
  .config_help       = my_config_help,
  .list_exports      = my_list_exports,
  .open              = my_open,
  .close             = my_close,
  .unload            = my_unload,
  .get_size          = my_get_size,
  .pread             = my_pread,
  .pwrite            = my_pwrite,
  .flush             = my_flush,
  .can_fua           = my_can_fua,
  .extents           = my_extents,
};

NBDKIT_REGISTER_PLUGIN (plugin)
`;

const write = (folder: string) => writeFileSync(join(folder, "inline.c"), source);

stock("cc compiles a plugin and passes all calls to it", {
  plugin: "cc",
  params: (folder) => [
    join(folder, "inline.c"),
    "EXTRA_CFLAGS=-DSIZE=8192 -O0",
    "fill=x",
    `log=${join(folder, "log")}`,
  ],
  before: write,
  env: ownTmp,
  needs: ["gcc"],
  see: async ({ server, folder }) => {
    const seen = await nbdsh(
      server,
      `
show ([h.get_size (), flags ()])
h.pwrite (b"written", 4090, nbd.CMD_FLAG_FUA)
h.flush ()
h.zero (2, 8190)
show ([h.pread (3, 0), h.pread (9, 4089), h.pread (3, 8189), errno (lambda: h.pread (1, 13))])
show (extents (4096, 256))
show (extents (4096, 256, nbd.CMD_FLAG_REQ_ONE))
other = client ("another")
show (other.pread (1, 0))
other.shutdown ()
`,
    );
    const log = join(folder, "log");
    // The server may stop before it has closed the connections of clients that have left.
    await until(() => existsSync(log) && readFileSync(log, "utf8").split("\n").length > 2);
    await server.stop();
    return [seen, readFileSync(log, "utf8").trimEnd().split("\n").toSorted()];
  },
  expected: [
    [
      [8192, "flush fua zero df"],
      ["466678", "787772697474656e78", "780000", "ENOSPC"],
      "256 data, 512 hole, 512 data, 512 hole, 512 data, 512 hole, 512 data, 512 hole, 512 data",
      "256 data",
      "46",
    ],
    ["close ", "close another", "unload"],
  ],
});

stock("cc compiles with CC and CFLAGS, and lists the plugin's exports", {
  plugin: "cc",
  params: (folder) => [
    join(folder, "inline.c"),
    "CC=cc",
    "CFLAGS=-DSIZE=512 -fPIC -shared",
    "fill=-",
    `log=${join(folder, "log")}`,
  ],
  before: write,
  env: ownTmp,
  needs: ["gcc", "nbdinfo"],
  see: ({ server }) => listed(server, "export-name", "description", "export-size"),
  expected: [["inline", "compiled", 512]],
});

stockCommand("cc ends if its source does not compile", {
  options: captive,
  plugin: "cc",
  params: (folder) => [join(folder, "inline.c"), "EXTRA_CFLAGS=-DSIZE=none", "fill=x"],
  before: write,
  env: ownTmp,
  needs: ["gcc"],
  see: async ({ command, env }) => {
    const { code, stderr } = await run(command, { env });
    return [code, stderr.includes("'none' undeclared") || stderr.includes("‘none’ undeclared")];
  },
  expected: [1, true],
});

stockCommand("cc prints its own fields with --dump-plugin", {
  options: ["--dump-plugin"],
  plugin: "cc",
  params: (folder) => [join(folder, "inline.c"), "EXTRA_CFLAGS=-DSIZE=1"],
  before: write,
  env: ownTmp,
  needs: ["gcc"],
  see: async ({ command, env }) => {
    const { code, stdout } = await run(command, { env });
    const wanted = /^(name|version|api_version|thread_model|has_extents|has_cache|CC)=/;
    return { code, lines: stdout.split("\n").filter((line) => wanted.test(line)) };
  },
  expected: {
    code: 0,
    lines: [
      "name=cc",
      "version=1.32.5",
      "api_version=2",
      "thread_model=serialize_connections",
      "has_extents=1",
      "has_cache=1",
      "CC=gcc",
    ],
  },
});
