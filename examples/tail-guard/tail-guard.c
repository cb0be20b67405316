/* nbdkit-tailguard-filter: refuse changes to the last bytes of the disk. The manual is README.md, beside this file.
 *
 * A worked example of a filter for nbdkit 1.2, where open calls the next layer and the filter states its
 * thread model.
 *
 * SPDX-License-Identifier: BSD-3-Clause
 */
#include <errno.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <nbdkit-common.h>

/* Both must come before the include. Version 1 with a thread model is the API of nbdkit 1.2. */
#define NBDKIT_FILTER_API_VERSION 1
#define THREAD_MODEL NBDKIT_THREAD_MODEL_PARALLEL
#include <nbdkit-filter.h>

/* Set while the command line is read. */
static int64_t guard = 512;

/* The state of a connection. */
struct handle {
  int readonly;
  uint64_t first_guarded; /* set by prepare, before the first request */
};

static int
tailguard_config (nbdkit_next_config *next, void *nxdata, const char *key, const char *value)
{
  if (strcmp (key, "guard") != 0)
    return next (nxdata, key, value);

  guard = nbdkit_parse_size (value); /* if this is -1, it has printed the reason */
  return guard == -1 ? -1 : 0;
}

static void *
tailguard_open (nbdkit_next_open *next, void *nxdata, int readonly)
{
  struct handle *h;

  /* The layer below comes first: if it fails, there is nothing to free. */
  if (next (nxdata, readonly) == -1)
    return NULL;
  h = calloc (1, sizeof *h);
  if (h == NULL) {
    nbdkit_error ("no memory for a connection: %s", strerror (errno));
    return NULL;
  }
  h->readonly = readonly;
  return h;
}

static void
tailguard_close (void *handle)
{
  free (handle);
}

/* All layers are open now, so the size is known. It does not change during a connection. */
static int
tailguard_prepare (struct nbdkit_next_ops *next_ops, void *nxdata, void *handle)
{
  struct handle *h = handle;
  int64_t size = next_ops->get_size (nxdata);

  if (size == -1)
    return -1;
  h->first_guarded = size > guard ? (uint64_t) (size - guard) : 0;
  nbdkit_debug ("tailguard: bytes from %" PRIu64 " on cannot be changed", h->first_guarded);
  return 0;
}

/* Returns 0, or -1 with errno set if the request reaches into the guarded bytes. */
static int
check (const struct handle *h, const char *what, uint32_t count, uint64_t offset)
{
  if (guard == 0 || count == 0 || offset + count <= h->first_guarded)
    return 0;
  nbdkit_error ("%s of %" PRIu32 " bytes at %" PRIu64 ": the last %" PRIi64 " bytes of the disk are guarded",
                what, count, offset, guard);
  errno = EPERM;
  return -1;
}

static int
tailguard_pwrite (struct nbdkit_next_ops *next_ops, void *nxdata, void *handle, const void *buf,
                  uint32_t count, uint64_t offset)
{
  if (check (handle, "write", count, offset) == -1)
    return -1;
  return next_ops->pwrite (nxdata, buf, count, offset);
}

static int
tailguard_trim (struct nbdkit_next_ops *next_ops, void *nxdata, void *handle, uint32_t count, uint64_t offset)
{
  if (check (handle, "trim", count, offset) == -1)
    return -1;
  return next_ops->trim (nxdata, count, offset);
}

static int
tailguard_zero (struct nbdkit_next_ops *next_ops, void *nxdata, void *handle, uint32_t count,
                uint64_t offset, int may_trim)
{
  if (check (handle, "zero", count, offset) == -1)
    return -1;
  return next_ops->zero (nxdata, count, offset, may_trim);
}

/* A disk that is guarded from its first byte on is read-only. */
static int
tailguard_can_write (struct nbdkit_next_ops *next_ops, void *nxdata, void *handle)
{
  const struct handle *h = handle;
  int64_t size;

  if (h->readonly)
    return 0;
  size = next_ops->get_size (nxdata);
  if (size == -1)
    return -1;
  if (size > 0 && size <= guard)
    return 0;
  return next_ops->can_write (nxdata);
}

static struct nbdkit_filter filter = {
  .name = "tailguard",
  .longname = "nbdkit tail-guard filter",
  .version = "1.0",
  .description = "Refuse changes to the last bytes of the disk.",
  .config = tailguard_config,
  .config_help = "guard=<SIZE>             The number of protected bytes at the end (default 512).",
  .open = tailguard_open,
  .close = tailguard_close,
  .prepare = tailguard_prepare,
  .can_write = tailguard_can_write,
  .pwrite = tailguard_pwrite,
  .trim = tailguard_trim,
  .zero = tailguard_zero,
};

NBDKIT_REGISTER_FILTER (filter)
