/* Stacks of lower layers that a filter opens by itself: nbdkit-filter(3), "nbdkit_next". Only JavaScript knows the
 * layers and connections, so each function makes an upcall through the pointer that the filter passes. */
#define _GNU_SOURCE
#include <stdint.h>
#include <string.h>

#include "exported.h"
#include "internal.h"
#include "ops.gen.h"

/* Returns an address, or NULL after a failure, which JavaScript has reported. */
static void *
ask (void *nxdata, struct rt_upcall *upcall)
{
  int64_t answer = rt_upcall (nxdata, upcall, NULL);

  return answer == -1 ? NULL : (void *) (uintptr_t) answer;
}

void
rt_nxdata_set_backend (void *nxdata, void *backend)
{
  ((struct rt_next *) nxdata)->backend = backend;
}

RT_EXPORT void *
nbdkit_context_get_backend (void *context)
{
  return ((const struct rt_next *) context)->backend;
}

/* nbdkit 1.26 added the fourth parameter. */
RT_EXPORT void *
nbdkit_next_context_open (void *backend, int readonly, const char *export_name, int shared)
{
  struct rt_upcall upcall = {
    .op = RT_OP_CONTEXT_OPEN,
    .arguments.context_open = { .export_name = export_name, .readonly = readonly != 0 },
  };

  upcall.arguments.context_open.shared =
    rt_caller_release (__builtin_return_address (0)) >= NBDKIT_FILTER_RELEASE_1_26 && shared != 0;
  return ask (backend, &upcall);
}

RT_EXPORT void
nbdkit_next_context_close (void *next)
{
  struct rt_upcall upcall = { .op = RT_OP_CONTEXT_CLOSE };

  if (next != NULL)
    ask (next, &upcall);
}

RT_EXPORT void *
nbdkit_context_set_next (void *context, void *next)
{
  struct rt_upcall upcall = { .op = RT_OP_CONTEXT_SET_NEXT, .arguments.set_next.next = next };

  return ask (context, &upcall);
}
