/* Calls every callback of a filter through the generated adapter. The filter passes all on to the next
 * layer, whose trampolines end in rt_upcall: so what goes in must come out, value for value. */
#include <errno.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>

#include "adapters.gen.h"
#include "internal.h"
#include "nbdkit-filter.h"

int64_t
rt_upcall (void *nxdata, struct rt_message *m)
{
  printf ("  next: kind %" PRIu32 " op %" PRIu32 " nxdata %#" PRIxPTR " buf %#" PRIx64 " offset %#"
          PRIx64 " count %#" PRIx32 " flags %#" PRIx32 " readonly %" PRId32 " key %#" PRIx64
          " value %#" PRIx64 "\n",
          m->kind, m->op, (uintptr_t) nxdata, m->buf, m->offset, m->count, m->flags, m->readonly,
          m->key, m->value);
  if (m->op == RT_OP_FLUSH) {
    errno = ENOSPC;
    return -1;
  }
  return m->op == RT_OP_GET_SIZE ? INT64_C (0x7fffffffffffffff) : (int64_t) m->op;
}

#define OPS struct nbdkit_next_ops *next, void *nxdata, void *handle
#define HANDLE printf ("  handle %#" PRIxPTR "\n", (uintptr_t) handle)

static void load (void) { printf ("  load\n"); }
static void unload (void) { printf ("  unload\n"); }
static int config (nbdkit_next_config *next, void *nxdata, const char *key, const char *value)
{ return next (nxdata, key, value); }
static int config_complete (nbdkit_next_config_complete *next, void *nxdata) { return next (nxdata); }
#if NBDKIT_FILTER_GENERATION == NBDKIT_GENERATION_S
static void *open_ (int readonly) { printf ("  open %d\n", readonly); return (void *) 0x7fff0000beef; }
#else
static void *open_ (nbdkit_next_open *next, void *nxdata, int readonly)
{ printf ("  open %d, next %d\n", readonly, next == rt_next_open_a); next (nxdata, readonly); return NULL; }
#endif
static void close_ (void *handle) { HANDLE; }
static int prepare (OPS) { HANDLE; return (int) next->get_size (nxdata); }
static int finalize (OPS) { HANDLE; return next->can_write (nxdata) - 100; }
static int64_t get_size (OPS) { HANDLE; return next->get_size (nxdata); }
static int can_write (OPS) { HANDLE; return next->can_write (nxdata); }
static int can_flush (OPS) { HANDLE; return next->can_flush (nxdata); }
static int is_rotational (OPS) { HANDLE; return next->is_rotational (nxdata); }
static int can_trim (OPS) { HANDLE; return next->can_trim (nxdata); }
static int pread_ (OPS, void *buf, uint32_t count, uint64_t offset)
{ HANDLE; return next->pread (nxdata, buf, count, offset); }
static int pwrite_ (OPS, const void *buf, uint32_t count, uint64_t offset)
{ HANDLE; return next->pwrite (nxdata, buf, count, offset); }
static int flush (OPS) { HANDLE; return next->flush (nxdata); }
static int trim (OPS, uint32_t count, uint64_t offset)
{ HANDLE; return next->trim (nxdata, count, offset); }
static int zero (OPS, uint32_t count, uint64_t offset, int may_trim)
{ HANDLE; printf ("  may_trim %d\n", may_trim); return next->zero (nxdata, count, offset, may_trim); }

static struct nbdkit_filter filter = {
  .name = "all",
  .load = load,
  .unload = unload,
  .config = config,
  .config_complete = config_complete,
  .open = open_,
  .close = close_,
  .prepare = prepare,
  .finalize = finalize,
  .get_size = get_size,
  .can_write = can_write,
  .can_flush = can_flush,
  .is_rotational = is_rotational,
  .can_trim = can_trim,
  .pread = pread_,
  .pwrite = pwrite_,
  .flush = flush,
  .trim = trim,
  .zero = zero,
};

static void
call (const char *name, uint32_t op, uint32_t flags)
{
  struct rt_message m = {
    .kind = RT_DOWNCALL, .op = op, .nxdata = 0x1111, .handle = 0x2222, .buf = 0x7fff00003333,
    .offset = INT64_C (0x7fffffffffff0000), .count = 0xfffffffe, .flags = flags, .readonly = 1,
    .key = 0x4444, .value = 0x5555,
  };

  errno = 0;
  printf ("%s\n", name);
  ADAPTER (&filter, &m);
  printf ("  ret %" PRId64 " err %" PRId32 " errno %d\n", m.ret, m.err, errno);
}

int
main (void)
{
#define CALL(op) call (#op, RT_OP_##op, 0)
  CALL (LOAD); CALL (UNLOAD); CALL (CONFIG); CALL (CONFIG_COMPLETE); CALL (OPEN); CALL (CLOSE);
  CALL (PREPARE); CALL (FINALIZE); CALL (GET_SIZE); CALL (CAN_WRITE); CALL (CAN_FLUSH);
  CALL (IS_ROTATIONAL); CALL (CAN_TRIM); CALL (PREAD); CALL (PWRITE); CALL (FLUSH); CALL (TRIM);
  CALL (ZERO);
  call ("ZERO, may trim", RT_OP_ZERO, NBDKIT_FLAG_MAY_TRIM | NBDKIT_FLAG_FUA);
  call ("ZERO, may not trim", RT_OP_ZERO, NBDKIT_FLAG_FUA);
  call ("an op that filters do not have", RT_OP_CACHE, 0);
  call ("no op", 0, 0);
  return 0;
}
