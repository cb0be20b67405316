/* Calls every callback of a filter through the generated adapter. The filter passes all on to the next
 * layer, whose trampolines end in rt_upcall: so what goes in must come out, value for value. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "every-callback.c"

#include "adapters.gen.h"
#include "internal.h"

/* What nxdata is: in layouts with one pointer for the next layer its first bytes are the table. */
static union {
  char bytes[256];
  uint64_t aligned;
} below;

static uint32_t called;

static void
field (const char *name, uint64_t value)
{
  if (value != 0)
    printf (" %s %#" PRIx64, name, value);
}

void
seen (const char *what, const void *pointer, int number)
{
  printf ("  %s", what);
  if (pointer == below.bytes)
    printf (" nxdata");
  else
    field ("pointer", (uintptr_t) pointer);
  field ("number", (unsigned) number);
  printf ("\n");
}

int64_t
rt_upcall (void *nxdata, struct rt_message *m)
{
  printf ("  next%s:", m->op == called ? "" : ", another op");
  if (m->kind != RT_UPCALL || nxdata != below.bytes)
    printf (" kind %" PRIu32 " nxdata %d", m->kind, nxdata == below.bytes);
  field ("buf", m->buf);
  field ("offset", m->offset);
  field ("count", m->count);
  field ("flags", m->flags);
  field ("readonly", (uint32_t) m->readonly);
  if (m->key != 0x4444 && m->key != 0)
    printf (" key %s", (const char *) (uintptr_t) m->key);
  else
    field ("key", m->key);
  field ("value", m->value);
  field ("extents", m->extents);
  field ("exports", m->exports);
  field ("is_tls", (uint32_t) m->is_tls);
  printf ("\n");
  switch (m->op) {
  case RT_OP_FLUSH:
  case RT_OP_TRIM:
  case RT_OP_DEFAULT_EXPORT:
    errno = ENOSPC;
    return -1;
  case RT_OP_GET_SIZE:
    return INT64_C (0x7fffffffffffffff);
  case RT_OP_EXPORT_DESCRIPTION:
    return (intptr_t) 0x7fff00006666;
  case RT_OP_BLOCK_SIZE:
    m->minimum = 1;
    m->preferred = 0x1000;
    m->maximum = 0xffffffff;
    return 0;
  default:
    return 0x77;
  }
}

static void
call (const char *name, uint32_t op, uint32_t flags)
{
  struct rt_message m = {
    .kind = RT_DOWNCALL, .op = op, .nxdata = (uintptr_t) below.bytes, .handle = 0x2222, .buf = 0x7fff00003333,
    .offset = INT64_C (0x7fffffffffff0000), .count = 0xfffffffe, .flags = flags, .readonly = 1,
    .key = 0x4444, .value = 0x5555, .extents = 0x7fff00007777, .exports = 0x7fff00008888, .is_tls = 0x99,
  };

  errno = 0;
  called = op;
  printf ("%s\n", name);
  ADAPTER (&filter, &m);
  printf ("  ret %s err %" PRId32 " errno %d",
          m.ret == (intptr_t) NBDKIT_HANDLE_NOT_NEEDED ? "handle" : m.ret == -1 ? "-1" : m.ret == 0 ? "0" : "other",
          m.err, errno);
  if (m.ret != (intptr_t) NBDKIT_HANDLE_NOT_NEEDED && m.ret != -1)
    field ("ret", (uint64_t) m.ret);
  field ("minimum", m.minimum);
  field ("preferred", m.preferred);
  field ("maximum", m.maximum);
  printf ("\n");
}

int
main (void)
{
  const struct rt_next_table *table = rt_next_tables[NUMBER];

  if (table->size != sizeof (struct nbdkit_next_ops))
    printf ("the table has %zu bytes\n", table->size);
  memcpy (below.bytes, table->functions, table->size);
  if (filled () != filter_init () || rt_adapters[NUMBER] != ADAPTER)
    printf ("this is another adapter\n");
#define CALL(op) call (#op, RT_OP_##op, NBDKIT_FLAG_FUA)
  CALL (LOAD); CALL (UNLOAD); CALL (CONFIG); CALL (CONFIG_COMPLETE);
#if SINCE (1_14)
  CALL (THREAD_MODEL);
#endif
#if SINCE (1_36)
  CALL (DUMP_PLUGIN);
#endif
#if SINCE (1_18)
  CALL (GET_READY);
#endif
#if SINCE (1_21_12)
  CALL (AFTER_FORK);
#endif
#if SINCE (1_26)
  CALL (CLEANUP);
#endif
#if SINCE (1_17_1)
  CALL (PRECONNECT);
#endif
#if SINCE (1_21_22)
  CALL (LIST_EXPORTS);
#endif
#if SINCE (1_24)
  CALL (DEFAULT_EXPORT); CALL (EXPORT_DESCRIPTION);
#endif
#if SINCE (1_30)
  CALL (BLOCK_SIZE);
#endif
  CALL (OPEN); CALL (CLOSE); CALL (PREPARE); CALL (FINALIZE); CALL (GET_SIZE);
  CALL (CAN_WRITE); CALL (CAN_FLUSH); CALL (IS_ROTATIONAL); CALL (CAN_TRIM);
#if SINCE (1_4)
  CALL (CAN_ZERO); CALL (CAN_FUA);
#endif
#if SINCE (1_15_1)
  CALL (CAN_FAST_ZERO);
#endif
#if SINCE (1_12)
  CALL (CAN_EXTENTS); CALL (EXTENTS);
#endif
#if SINCE (1_10)
  CALL (CAN_MULTI_CONN);
#endif
#if SINCE (1_14)
  CALL (CAN_CACHE); CALL (CACHE);
#endif
  CALL (PREAD); CALL (PWRITE); CALL (FLUSH); CALL (TRIM); CALL (ZERO);
  call ("ZERO, may trim", RT_OP_ZERO, NBDKIT_FLAG_MAY_TRIM | NBDKIT_FLAG_FUA);
  call ("an op that filters do not have", RT_OP__PREAD_V1, 0);
  call ("no op", 0, 0);
  return 0;
}
