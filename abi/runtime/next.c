/* What a C filter gets for the layer below: the way to JavaScript, and what can be done without going there.
 *
 * JavaScript decides what may be answered here: it says so for each connection, layer and kind of
 * request, after its own checks have let such a request through, and takes it back before anything
 * changes. What does not clearly fit into what it said goes to JavaScript, which checks,
 * remembers, falls back and complains. A read or write of a file that has failed here is not run
 * again there.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "adapters.gen.h"
#include "exported.h"
#include "internal.h"
#include "ops.gen.h"

static struct rt_next *free_next, **last_free_next = &free_next;
static uint32_t nr_free_next;

/* Kept back this long, so that a late call through a freed one is refused and does not reach another client's layer. */
#define QUARANTINE 4096

void *
rt_nxdata_new (uint32_t target, int32_t module)
{
  struct rt_next *next = free_next;

  if (nr_free_next > QUARANTINE) {
    free_next = next->next_free;
    nr_free_next--;
  }
  else {
    next = calloc (1, sizeof *next);
    if (next == NULL)
      return NULL;
  }
  next->next_free = NULL;
  memset (next->table, 0, sizeof next->table);
  rt_module_next_table (module, next->table, sizeof next->table);
  next->module = module;
  atomic_store (&next->complained, 0);
  atomic_store (&next->target, target);
  return next;
}

void
rt_nxdata_free (void *nxdata)
{
  struct rt_next *next = nxdata;

  if (next == NULL || atomic_exchange (&next->target, 0) == 0)
    return;
  rt_next_forget (next);
  *last_free_next = next;
  last_free_next = &next->next_free;
  nr_free_next++;
}

void
rt_next_forget (void *nxdata)
{
  struct rt_next *next = nxdata;

  if (next == NULL)
    return;
  atomic_store (&next->direct_ops, 0);
  atomic_store (&next->answered, 0);
}

void
rt_next_complain (struct rt_next *next)
{
  const char *title = next == NULL || next->module < 0 ? NULL : rt_module_title ((uint32_t) next->module);

  if (next == NULL || !atomic_exchange (&next->complained, 1))
    nbdkit_error ("%s called the layer below by a pointer that is %s", title == NULL ? "a filter" : title,
                  next == NULL ? "NULL" : "not valid any more");
}

void
rt_next_remember (struct rt_next *next, uint32_t op, int64_t answer)
{
  if (op >= RT_NEXT_ANSWERS)
    return;
  atomic_store (&next->answers[op], answer);
  atomic_fetch_or (&next->answered, UINT64_C (1) << op);
}

/* Where requests of this kind are in rt_next.direct, or -1. */
static int
direct_of (uint32_t op)
{
  switch (op) {
  case RT_OP_PREAD:
    return 0;
  case RT_OP_PWRITE:
    return 1;
  case RT_OP_FLUSH:
    return 2;
  case RT_OP_TRIM:
    return 3;
  case RT_OP_CACHE:
    return 4;
  default:
    return -1;
  }
}

int32_t
rt_next_direct (void *nxdata, uint32_t op, const struct rt_message *layer)
{
  struct rt_next *next = nxdata;
  int at = direct_of (op);

  if (at == -1)
    return EINVAL;
  /* Several requests were on their way before the first of them had been let through: others are reading it already. */
  if (atomic_load (&next->direct_ops) & 1u << at)
    return 0;
  next->direct[at] = *layer;
  atomic_fetch_or (&next->direct_ops, 1u << at);
  return 0;
}

/* ---- requests */

/* Say as the plugin would that its file has failed, and with what. */
static void
blame (int fd, const struct rt_message *m, uint64_t offset, int err)
{
  char link[64], path[PATH_MAX + 1] = "a file";
  ssize_t length;

  snprintf (link, sizeof link, "/proc/self/fd/%d", fd);
  length = readlink (link, path, PATH_MAX);
  if (length > 0)
    path[length] = '\0';
  errno = err;
  nbdkit_error ("%s: %s %" PRIu32 " bytes at %" PRIu64 ": %m", path, m->op == RT_OP_PREAD ? "reading" : "writing",
                m->count, offset);
  /* To a client EAGAIN would mean that the request was wrong. */
  errno = err == EAGAIN ? EIO : err;
}

/* 0, or -1 with errno. What has failed is not tried again: a disk that fails once has lost what was written. */
static int64_t
transfer (const struct rt_message *layer, const struct rt_message *m)
{
  unsigned char *buf = (unsigned char *) (uintptr_t) m->buf;
  uint64_t offset = m->offset + (uint64_t) layer->ret;
  int fd = layer->readonly;
  uint32_t done = 0;

  while (done < m->count) {
    off_t at = (off_t) (offset + done);
    ssize_t n = m->op == RT_OP_PREAD ? pread (fd, buf + done, m->count - done, at)
                                     : pwrite (fd, buf + done, m->count - done, at);
    if (n == -1 && errno == EINTR)
      continue;
    if (n == 0) { /* the file became shorter; the plugin logs the details */
      errno = 0;
      return -1;
    }
    if (n == -1) {
      blame (fd, m, offset, errno);
      return -1;
    }
    done += (uint32_t) n;
  }
  return 0;
}

/* Run the C layer below on this thread. */
static int64_t
run_neighbour (const struct rt_message *layer, const struct rt_message *m)
{
  struct rt_connection *connection = rt_this_connection ();
  struct rt_message call = *m;

  call.kind = RT_DOWNCALL;
  call.op = layer->op;
  call.offset += (uint64_t) layer->ret;
  call.module = layer->module;
  call.handle = layer->handle;
  call.nxdata = layer->nxdata;
  call.value = layer->value;
  /* On a thread of a module's own there is none: nbdkit_export_name fails there. */
  call.connection = (uint64_t) (uintptr_t) connection;
  rt_run_neighbour (&call);
  /* The callback on this thread that asked has it, too. */
  rt_said_free ((void *) (uintptr_t) call.key);
  if (call.ret != -1)
    return call.ret;
  errno = call.err != 0 ? call.err : layer->flags & RT_DIRECT_ERRNO && call.flags != 0 ? (int) call.flags : EIO;
  return -1;
}

bool
rt_next_knows (struct rt_next *next, struct rt_message *m, int64_t *ret)
{
  const struct rt_message *layer;
  int saved_errno = errno, at;

  if (m->op < RT_NEXT_ANSWERS && atomic_load (&next->answered) & UINT64_C (1) << m->op) {
    *ret = atomic_load (&next->answers[m->op]);
    return true;
  }
  at = direct_of (m->op);
  if (at == -1 || !(atomic_load (&next->direct_ops) & 1u << at))
    return false;
  layer = &next->direct[at];
  /* layer->offset is the size of the disk. */
  if (m->flags != 0 ||
      (m->op != RT_OP_FLUSH && (m->count == 0 || m->offset > layer->offset || m->count > layer->offset - m->offset)))
    return false;
  if (layer->flags & RT_DIRECT_DESCRIPTOR) {
    *ret = transfer (layer, m);
    if (*ret == -1)
      return errno != 0;
    errno = saved_errno;
    return true;
  }
  *ret = run_neighbour (layer, m);
  if (*ret != -1)
    errno = saved_errno;
  return true;
}
