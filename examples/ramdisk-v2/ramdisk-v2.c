/* nbdkit-ramdisk2-plugin: a disk in memory. The manual is README.md, beside this file.
 *
 * A worked example of a plugin for version 2 of the plugin API.
 *
 * SPDX-License-Identifier: BSD-3-Clause
 */
#define _GNU_SOURCE /* madvise, MAP_NORESERVE */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* The header reads both: the version decides the parameters of the callbacks, and the model goes into the struct. */
#define NBDKIT_API_VERSION 2
#define THREAD_MODEL NBDKIT_THREAD_MODEL_PARALLEL
#include <nbdkit-plugin.h>

static int64_t size = -1;

/* Any number of reads may hold the lock at once, or one change. */
static pthread_rwlock_t lock = PTHREAD_RWLOCK_INITIALIZER;
static unsigned char *disk;
static uint64_t page_size;

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
  return 0;
}

/* The last chance to fail before clients are served. */
static int
ramdisk_get_ready (void)
{
  const int protection = PROT_READ | PROT_WRITE, kind = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;

  page_size = (uint64_t) sysconf (_SC_PAGESIZE);
  disk = mmap (NULL, (size_t) size + 1, protection, kind, -1, 0); /* never 0 bytes */
  if (disk == MAP_FAILED) {
    disk = NULL;
    nbdkit_error ("size=%" PRIi64 ": not enough memory: %s", size, strerror (errno));
    return -1;
  }
  return 0;
}

static void
ramdisk_unload (void)
{
  if (disk != NULL)
    munmap (disk, (size_t) size + 1);
}

/* Prints an additional line for --dump-plugin. */
static void
ramdisk_dump_plugin (void)
{
  printf ("ramdisk2_page_size=%ld\n", sysconf (_SC_PAGESIZE));
}

static void *
ramdisk_open (int readonly)
{
  (void) readonly;
  return NBDKIT_HANDLE_NOT_NEEDED;
}

static int64_t
ramdisk_get_size (void *handle)
{
  (void) handle;
  return size;
}

/* A flush of one connection covers the writes of all, since they share the memory. */
static int
ramdisk_can_multi_conn (void *handle)
{
  (void) handle;
  return 1;
}

/* Memory is as stable as it gets once it is written, so FUA costs nothing. */
static int
ramdisk_can_fua (void *handle)
{
  (void) handle;
  return NBDKIT_FUA_NATIVE;
}

static int
ramdisk_can_cache (void *handle)
{
  (void) handle;
  return NBDKIT_CACHE_NATIVE;
}

static int
ramdisk_can_zero (void *handle)
{
  (void) handle;
  return 1;
}

/* Requests with NBDKIT_FLAG_FAST_ZERO are fast, or fail at once. */
static int
ramdisk_can_fast_zero (void *handle)
{
  (void) handle;
  return 1;
}

static int
ramdisk_pread (void *handle, void *buf, uint32_t count, uint64_t offset, uint32_t flags)
{
  (void) handle;
  (void) flags;
  pthread_rwlock_rdlock (&lock);
  memcpy (buf, disk + offset, count);
  pthread_rwlock_unlock (&lock);
  return 0;
}

static int
ramdisk_pwrite (void *handle, const void *buf, uint32_t count, uint64_t offset, uint32_t flags)
{
  (void) handle;
  (void) flags; /* FUA: see ramdisk_can_fua */
  pthread_rwlock_wrlock (&lock);
  memcpy (disk + offset, buf, count);
  pthread_rwlock_unlock (&lock);
  return 0;
}

static int
ramdisk_flush (void *handle, uint32_t flags)
{
  (void) handle;
  (void) flags;
  return 0;
}

/* The whole pages within the range, as [*start, *end). Returning them to the system is fast. */
static void
whole_pages (uint32_t count, uint64_t offset, uint64_t *start, uint64_t *end)
{
  *start = (offset + page_size - 1) / page_size * page_size;
  *end = (offset + count) / page_size * page_size;
  if (*end < *start)
    *end = *start;
}

/* Return the pages to the system, so that they read as zeroes. Returns 0, or -1 with errno set. */
static int
discard (uint64_t start, uint64_t end)
{
  return start < end ? madvise (disk + start, (size_t) (end - start), MADV_DONTNEED) : 0;
}

/* A trim is a hint, so parts of pages may keep their data. */
static int
ramdisk_trim (void *handle, uint32_t count, uint64_t offset, uint32_t flags)
{
  uint64_t start, end;
  int result;

  (void) handle;
  (void) flags;
  whole_pages (count, offset, &start, &end);
  pthread_rwlock_wrlock (&lock);
  result = discard (start, end);
  pthread_rwlock_unlock (&lock);
  if (result == -1)
    nbdkit_error ("trim of %" PRIu32 " bytes at %" PRIu64 ": %m", count, offset);
  return result;
}

static int
ramdisk_zero (void *handle, uint32_t count, uint64_t offset, uint32_t flags)
{
  uint64_t start, end;

  (void) handle;
  whole_pages (count, offset, &start, &end);
  if (!(flags & NBDKIT_FLAG_MAY_TRIM))
    end = start; /* the memory has to stay allocated: every byte is written */
  if ((flags & NBDKIT_FLAG_FAST_ZERO) && end - start != count) {
    /* This would be no faster than a write. Clients expect the failure, so nothing is printed. */
    errno = EOPNOTSUPP;
    return -1;
  }
  pthread_rwlock_wrlock (&lock);
  if (start == end || discard (start, end) == -1)
    memset (disk + offset, 0, count);
  else {
    memset (disk + offset, 0, (size_t) (start - offset));
    memset (disk + end, 0, (size_t) (offset + count - end));
  }
  pthread_rwlock_unlock (&lock);
  return 0;
}

/* The data is already in memory. */
static int
ramdisk_cache (void *handle, uint32_t count, uint64_t offset, uint32_t flags)
{
  (void) handle;
  (void) flags;
  nbdkit_debug ("%" PRIu32 " bytes at %" PRIu64 " are in memory", count, offset);
  return 0;
}

static struct nbdkit_plugin plugin = {
  .name = "ramdisk2",
  .longname = "nbdkit RAM disk plugin, API version 2",
  .version = "1.0",
  .description = "A disk in memory, empty at first and gone when the server ends.",
  .config = ramdisk_config,
  .config_complete = ramdisk_config_complete,
  .config_help = "[size=]<SIZE>            (required) The size of the disk.",
  .magic_config_key = "size",
  .get_ready = ramdisk_get_ready,
  .unload = ramdisk_unload,
  .dump_plugin = ramdisk_dump_plugin,
  .open = ramdisk_open,
  .get_size = ramdisk_get_size,
  .can_multi_conn = ramdisk_can_multi_conn,
  .can_fua = ramdisk_can_fua,
  .can_cache = ramdisk_can_cache,
  .can_zero = ramdisk_can_zero,
  .can_fast_zero = ramdisk_can_fast_zero,
  .pread = ramdisk_pread,
  .pwrite = ramdisk_pwrite,
  .flush = ramdisk_flush,
  .trim = ramdisk_trim,
  .zero = ramdisk_zero,
  .cache = ramdisk_cache,
  .errno_is_preserved = 1,
};

NBDKIT_REGISTER_PLUGIN (plugin)
