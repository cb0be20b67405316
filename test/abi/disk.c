/* What is below all layers: a disk in memory, which is a file too, or what a plugin leaves to the server. */
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

/* The first half is data, the other one a hole, whatever was written. */
static int
add_extents (void *extents)
{
  const uint64_t triples[] = { 0, DISK_SIZE / 2, 0, DISK_SIZE / 2, DISK_SIZE / 2, 3 };

  return rt_extents_append (extents, triples, 2);
}

static int
fails (const struct rt_message *m)
{
  if (m->op >= RT_OP_PREAD && m->op <= RT_OP_ZERO && disk_failures > 0) {
    disk_failures--;
    return disk_error;
  }
  return m->offset > DISK_SIZE || m->count > DISK_SIZE - m->offset ? EINVAL : 0;
}

static void
disk_does (struct rt_message *m)
{
  void *buf = (void *) (uintptr_t) m->buf;

  disk_calls[m->op]++;
  m->ret = 0;
  m->err = fails (m);
  if (m->err != 0) {
    m->ret = -1;
    return;
  }
  switch (m->op) {
  case RT_OP_GET_SIZE:
    m->ret = DISK_SIZE;
    break;
  case RT_OP_CAN_WRITE:
  case RT_OP_CAN_FLUSH:
  case RT_OP_CAN_TRIM:
  case RT_OP_CAN_FAST_ZERO:
  case RT_OP_CAN_EXTENTS:
  case RT_OP_CAN_MULTI_CONN:
    m->ret = 1;
    break;
  case RT_OP_CAN_ZERO:
  case RT_OP_CAN_FUA:
  case RT_OP_CAN_CACHE:
    m->ret = 2; /* native */
    break;
  case RT_OP_BLOCK_SIZE:
    m->minimum = 1;
    m->preferred = 4096;
    m->maximum = 0xffffffff;
    break;
  case RT_OP_PREAD:
    memcpy (buf, disk + m->offset, m->count);
    break;
  case RT_OP_PWRITE:
    memcpy (disk + m->offset, buf, m->count);
    break;
  case RT_OP_TRIM:
  case RT_OP_ZERO:
    memset (disk + m->offset, 0, m->count);
    break;
  case RT_OP_EXTENTS:
    CHECK (add_extents ((void *) (uintptr_t) m->extents) == 0);
    break;
  }
}

/* As far as it is needed here. */
static void
plugin_leaves (struct rt_message *m)
{
  const uint64_t all[] = { 0, INT64_MAX, 0 };

  m->ret = plugin_default (&layers[nr_layers - 1], m->op);
  m->err = 0;
  if (m->op == RT_OP_ZERO) {
    m->ret = -1;
    m->err = EOPNOTSUPP;
  }
  else if (m->op == RT_OP_EXTENTS)
    CHECK (rt_extents_append ((void *) (uintptr_t) m->extents, all, 1) == 0);
}

bool
below_does (struct rt_message *m)
{
  bool on_disk = nr_layers == 0 || !is_plugin (&layers[nr_layers - 1]);

  m->minimum = m->preferred = m->maximum = 0;
  if (on_disk)
    disk_does (m);
  else
    plugin_leaves (m);
  return on_disk;
}
