/* A filter of the original form that serves the disk from `shift=OFFSET` on. It does almost nothing with a request, so
 * benchmarks measure the way through C and back.
 *
 * SPDX-License-Identifier: BSD-3-Clause
 */
#include <stdint.h>
#include <string.h>

#include <nbdkit-filter.h>

static int64_t shift;

static int
shift_config (nbdkit_next_config *next, void *nxdata, const char *key, const char *value)
{
  if (strcmp (key, "shift") != 0)
    return next (nxdata, key, value);
  shift = nbdkit_parse_size (value);
  return shift == -1 ? -1 : 0;
}

static int64_t
shift_get_size (struct nbdkit_next_ops *next_ops, void *nxdata, void *handle)
{
  int64_t size = next_ops->get_size (nxdata);

  (void) handle;
  if (size != -1 && size < shift) {
    nbdkit_error ("shift=%lld is beyond the end of the disk (%lld)", (long long) shift, (long long) size);
    return -1;
  }
  return size == -1 ? -1 : size - shift;
}

static int
shift_pread (struct nbdkit_next_ops *next_ops, void *nxdata, void *handle, void *buf, uint32_t count,
             uint64_t offset)
{
  (void) handle;
  return next_ops->pread (nxdata, buf, count, offset + (uint64_t) shift);
}

static int
shift_pwrite (struct nbdkit_next_ops *next_ops, void *nxdata, void *handle, const void *buf,
              uint32_t count, uint64_t offset)
{
  (void) handle;
  return next_ops->pwrite (nxdata, buf, count, offset + (uint64_t) shift);
}

static struct nbdkit_filter filter = {
  .name = "shift",
  .longname = "shift by an offset",
  .config = shift_config,
  .config_help = "shift=OFFSET   Where the disk starts.",
  .get_size = shift_get_size,
  .pread = shift_pread,
  .pwrite = shift_pwrite,
};

NBDKIT_REGISTER_FILTER (filter)
