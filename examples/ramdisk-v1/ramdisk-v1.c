/* nbdkit-ramdisk1-plugin: a disk in memory. The manual is README.md, beside this file.
 *
 * A worked example of a plugin for version 1 of the plugin API, as every nbdkit since 1.0 runs it.
 *
 * SPDX-License-Identifier: BSD-3-Clause
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* One request at a time, so nothing needs a lock. The header puts the model into the struct. */
#define THREAD_MODEL NBDKIT_THREAD_MODEL_SERIALIZE_ALL_REQUESTS
#include <nbdkit-plugin.h>

static int64_t size = -1;
static unsigned char *disk;

static int
ramdisk_config (const char *key, const char *value)
{
  if (strcmp (key, "size") != 0) {
    nbdkit_error ("unknown parameter %s: expected size=SIZE", key);
    return -1;
  }
  size = nbdkit_parse_size (value);
  return size == -1 ? -1 : 0;
}

static int
ramdisk_config_complete (void)
{
  if (size == -1) {
    nbdkit_error ("size is missing: expected size=SIZE");
    return -1;
  }
  if ((uint64_t) size > SIZE_MAX - 1) {
    nbdkit_error ("size=%lld: too large for memory", (long long) size);
    return -1;
  }
  disk = calloc ((size_t) size + 1, 1); /* never 0 bytes, for which calloc may return NULL */
  if (disk == NULL) {
    nbdkit_error ("size=%lld: not enough memory: %s", (long long) size, strerror (errno));
    return -1;
  }
  return 0;
}

static void
ramdisk_unload (void)
{
  free (disk);
}

/* All connections share the disk, so they need no handle. */
static void *
ramdisk_open (int readonly)
{
  (void) readonly; /* the server refuses writes */
  return NBDKIT_HANDLE_NOT_NEEDED;
}

static int64_t
ramdisk_get_size (void *handle)
{
  (void) handle;
  return size;
}

/* The server keeps every request within the size. */

static int
ramdisk_pread (void *handle, void *buf, uint32_t count, uint64_t offset)
{
  (void) handle;
  memcpy (buf, disk + offset, count);
  return 0;
}

static int
ramdisk_pwrite (void *handle, const void *buf, uint32_t count, uint64_t offset)
{
  (void) handle;
  memcpy (disk + offset, buf, count);
  return 0;
}

static int
ramdisk_flush (void *handle)
{
  (void) handle;
  return 0;
}

static int
ramdisk_trim (void *handle, uint32_t count, uint64_t offset)
{
  (void) handle;
  memset (disk + offset, 0, count);
  return 0;
}

static int
ramdisk_zero (void *handle, uint32_t count, uint64_t offset, int may_trim)
{
  (void) handle;
  if (!may_trim) {
    /* The server then writes zeroes. Without nbdkit_set_error the failure would be EIO, since errno_is_preserved is
     * not set. */
    nbdkit_set_error (EOPNOTSUPP);
    return -1;
  }
  memset (disk + offset, 0, count);
  return 0;
}

static struct nbdkit_plugin plugin = {
  .name = "ramdisk1",
  .longname = "nbdkit RAM disk plugin, API version 1",
  .version = "1.0",
  .description = "A disk in memory, empty at first and gone when the server ends.",
  .config = ramdisk_config,
  .config_complete = ramdisk_config_complete,
  .config_help = "size=<SIZE>              (required) The size of the disk.",
  .unload = ramdisk_unload,
  .open = ramdisk_open,
  .get_size = ramdisk_get_size,
  .pread = ramdisk_pread,
  .pwrite = ramdisk_pwrite,
  .flush = ramdisk_flush,
  .trim = ramdisk_trim,
  .zero = ramdisk_zero,
};

NBDKIT_REGISTER_PLUGIN (plugin)
