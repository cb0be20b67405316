/* The object that a C filter gets for the layer below. Calls through it go to JavaScript, or take a shortcut.
 *
 * JavaScript permits shortcuts for each connection, layer and kind of request, after its own checks have accepted such
 * a request, and revokes them before anything changes. Requests that do not clearly fit a permission go to JavaScript,
 * which checks them, remembers answers, emulates and logs errors. A read or write of a file that fails here is not
 * repeated there.
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
#include "runtime-limits.h"

static struct rt_next *free_next, **last_free_next = &free_next;
static uint32_t nr_free_next;

void *
rt_nxdata_new (uint32_t target, int32_t module)
{
  struct rt_next *next = free_next;

  if (nr_free_next > MAX_FREED_NEXTS) {
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
  atomic_store (&next->misuse_logged, 0);
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
rt_next_log_misuse (struct rt_next *next)
{
  const char *title = next == NULL || next->module < 0 ? NULL : rt_module_title ((uint32_t) next->module);

  if (next == NULL || !atomic_exchange (&next->misuse_logged, 1))
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

/* The index of this kind of request in rt_next.direct, or -1. */
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
rt_next_direct (void *nxdata, uint32_t op, const struct rt_direct *layer)
{
  struct rt_next *next = nxdata;
  int at = direct_of (op);

  if (at == -1)
    return EINVAL;
  /* Several requests may come to JavaScript before the first permission. Other threads then read the entry already. */
  if (atomic_load (&next->direct_ops) & 1u << at)
    return 0;
  next->direct[at] = *layer;
  atomic_fetch_or (&next->direct_ops, 1u << at);
  return 0;
}

/* ---- requests */

/* Log the failure of a file as the plugin would. */
static void
log_failure (int fd, const struct rt_upcall *upcall, uint64_t offset, int err)
{
  char link[64], path[PATH_MAX + 1] = "a file";
  ssize_t length;

  snprintf (link, sizeof link, "/proc/self/fd/%d", fd);
  length = readlink (link, path, PATH_MAX);
  if (length > 0)
    path[length] = '\0';
  errno = err;
  nbdkit_error ("%s: %s %" PRIu32 " bytes at %" PRIu64 ": %m", path, upcall->op == RT_OP_PREAD ? "reading" : "writing",
                upcall->arguments.data.count, offset);
  /* Clients would get EINVAL for EAGAIN, which means an invalid request. */
  errno = err == EAGAIN ? EIO : err;
}

/* Returns 0, or -1 with errno. Never retries a failed call: after an error the disk has lost the written data. */
static int64_t
transfer (const struct rt_direct *layer, const struct rt_upcall *upcall)
{
  const struct rt_data *data = &upcall->arguments.data;
  unsigned char *buf = data->buf;
  uint64_t offset = data->offset + (uint64_t) layer->shift;
  int fd = layer->descriptor;
  uint32_t done = 0;

  while (done < data->count) {
    off_t at = (off_t) (offset + done);
    ssize_t n = upcall->op == RT_OP_PREAD ? pread (fd, buf + done, data->count - done, at)
                                          : pwrite (fd, buf + done, data->count - done, at);
    if (n == -1 && errno == EINTR)
      continue;
    if (n == 0) { /* the file became shorter: the plugin logs the details */
      errno = 0;
      return -1;
    }
    if (n == -1) {
      log_failure (fd, upcall, offset, errno);
      return -1;
    }
    done += (uint32_t) n;
  }
  return 0;
}

/* Add to the offset of the request. */
static void
shift (struct rt_downcall *downcall, uint64_t bytes)
{
  switch (downcall->op) {
  case RT_OP_PREAD:
  case RT_OP_PWRITE:
  case RT_OP__PREAD_V1:
  case RT_OP__PWRITE_V1:
    downcall->arguments.data.offset += bytes;
    break;
  case RT_OP_TRIM:
  case RT_OP_CACHE:
  case RT_OP__TRIM_V1:
    downcall->arguments.range.offset += bytes;
    break;
  default: /* flush */
    break;
  }
}

/* Run the C layer below on this thread. */
static int64_t
run_neighbour (const struct rt_direct *layer, const struct rt_upcall *upcall)
{
  struct rt_downcall downcall = {
    .op = layer->op,
    .module = layer->module,
    .nxdata = layer->nxdata,
    .handle = layer->handle,
    .export_name = layer->export_name,
    /* NULL on a module's own thread, where nbdkit_export_name fails. */
    .connection = rt_this_connection (),
    .arguments = upcall->arguments,
  };
  struct rt_result result;

  shift (&downcall, (uint64_t) layer->shift);
  rt_run_neighbour (&downcall, &result);
  /* The calling callback on this thread has the message as well. */
  rt_said_free (result.said);
  if (result.ret != -1)
    return result.ret;
  errno = result.stored != 0 ? result.stored
          : layer->errno_counts && result.errno_after != 0 ? result.errno_after : EIO;
  return -1;
}

static bool
is_within (uint64_t size, uint64_t offset, uint32_t count, uint32_t flags)
{
  return flags == 0 && count != 0 && offset <= size && count <= size - offset;
}

/* Whether the request is like those that JavaScript has permitted. */
static bool
is_plain (const struct rt_upcall *upcall, uint64_t size)
{
  const union rt_arguments *a = &upcall->arguments;

  switch (upcall->op) {
  case RT_OP_PREAD:
  case RT_OP_PWRITE:
    return is_within (size, a->data.offset, a->data.count, a->data.flags);
  case RT_OP_FLUSH:
    return a->flush.flags == 0;
  default:
    return is_within (size, a->range.offset, a->range.count, a->range.flags);
  }
}

bool
rt_next_knows (struct rt_next *next, const struct rt_upcall *upcall, int64_t *ret)
{
  const struct rt_direct *layer;
  int saved_errno = errno, at;

  if (upcall->op < RT_NEXT_ANSWERS && atomic_load (&next->answered) & UINT64_C (1) << upcall->op) {
    *ret = atomic_load (&next->answers[upcall->op]);
    return true;
  }
  at = direct_of (upcall->op);
  if (at == -1 || !(atomic_load (&next->direct_ops) & 1u << at))
    return false;
  layer = &next->direct[at];
  if (!is_plain (upcall, layer->size))
    return false;
  if (layer->descriptor != -1) {
    *ret = transfer (layer, upcall);
    if (*ret == -1)
      return errno != 0;
    errno = saved_errno;
    return true;
  }
  *ret = run_neighbour (layer, upcall);
  if (*ret != -1)
    errno = saved_errno;
  return true;
}
