/* The bottom of the chain: a memfd as disk, or the server's answers for callbacks that a plugin lacks. */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "stand-in.h"

unsigned char *disk;
int disk_fd = -1;
int disk_failures, disk_error;
int disk_calls[64];

void
disk_start (void)
{
  disk_fd = memfd_create ("disk", MFD_CLOEXEC);
  CHECK (disk_fd >= 0 && ftruncate (disk_fd, DISK_SIZE) == 0);
  disk = mmap (NULL, DISK_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, disk_fd, 0);
  CHECK (disk != MAP_FAILED);
}

/* The first half is data and the second half a hole, whatever was written. */
static int
add_extents (void *extents)
{
  const uint64_t triples[] = { 0, DISK_SIZE / 2, 0, DISK_SIZE / 2, DISK_SIZE / 2, 3 };

  return rt_extents_append (extents, triples, 2);
}

/* The range of a request. Other ops have an empty one. */
static struct rt_range
range_of (const arguments *a)
{
  const union rt_arguments *with = &a->with;

  switch (a->op) {
  case RT_OP_PREAD:
  case RT_OP_PWRITE:
    return (struct rt_range) { .offset = with->data.offset, .count = with->data.count };
  case RT_OP_EXTENTS:
    return (struct rt_range) { .offset = with->mapping.offset, .count = with->mapping.count };
  case RT_OP_TRIM:
  case RT_OP_ZERO:
  case RT_OP_CACHE:
    return with->range;
  default:
    return (struct rt_range) { .count = 0 };
  }
}

static int
fails (uint32_t op, struct rt_range range)
{
  if (op >= RT_OP_PREAD && op <= RT_OP_ZERO && disk_failures > 0) {
    disk_failures--;
    return disk_error;
  }
  return range.offset > DISK_SIZE || range.count > DISK_SIZE - range.offset ? EINVAL : 0;
}

static void
disk_does (const arguments *a, struct rt_answer *answer)
{
  const struct rt_range range = range_of (a);

  disk_calls[a->op]++;
  answer->err = fails (a->op, range);
  if (answer->err != 0) {
    answer->ret = -1;
    return;
  }
  switch (a->op) {
  case RT_OP_GET_SIZE:
    answer->ret = DISK_SIZE;
    break;
  case RT_OP_CAN_WRITE:
  case RT_OP_CAN_FLUSH:
  case RT_OP_CAN_TRIM:
  case RT_OP_CAN_FAST_ZERO:
  case RT_OP_CAN_EXTENTS:
  case RT_OP_CAN_MULTI_CONN:
    answer->ret = 1;
    break;
  case RT_OP_CAN_ZERO:
  case RT_OP_CAN_FUA:
  case RT_OP_CAN_CACHE:
    answer->ret = 2; /* native */
    break;
  case RT_OP_BLOCK_SIZE:
    answer->minimum = 1;
    answer->preferred = 4096;
    answer->maximum = 0xffffffff;
    break;
  case RT_OP_PREAD:
    memcpy (a->with.data.buf, disk + range.offset, range.count);
    break;
  case RT_OP_PWRITE:
    memcpy (disk + range.offset, a->with.data.buf, range.count);
    break;
  case RT_OP_TRIM:
  case RT_OP_ZERO:
    memset (disk + range.offset, 0, range.count);
    break;
  case RT_OP_EXTENTS:
    CHECK (add_extents (a->with.mapping.extents) == 0);
    break;
  }
}

/* The server's answers, as far as the scenarios need them. */
static void
plugin_lacks (const arguments *a, struct rt_answer *answer)
{
  const uint64_t all[] = { 0, INT64_MAX, 0 };

  answer->ret = plugin_default (&layers[nr_layers - 1], a->op);
  if (a->op == RT_OP_ZERO) {
    answer->ret = -1;
    answer->err = EOPNOTSUPP;
  }
  else if (a->op == RT_OP_EXTENTS)
    CHECK (rt_extents_append (a->with.mapping.extents, all, 1) == 0);
}

bool
below_does (const arguments *a, struct rt_answer *answer)
{
  bool on_disk = nr_layers == 0 || !is_plugin (&layers[nr_layers - 1]);

  *answer = (struct rt_answer) { .ret = 0 };
  if (on_disk)
    disk_does (a, answer);
  else
    plugin_lacks (a, answer);
  return on_disk;
}
