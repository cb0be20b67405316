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

static void
text_field (const char *name, const char *text)
{
  if (text == (const char *) 0x4444 || text == NULL)
    field (name, (uintptr_t) text);
  else
    printf (" %s %s", name, text);
}

static void
print_arguments (uint32_t op, const union rt_arguments *a)
{
  switch (op) {
  case RT_OP_CONFIG:
    text_field ("key", a->setting.key);
    field ("value", (uintptr_t) a->setting.value);
    break;
  case RT_OP_OPEN:
  case RT_OP_REOPEN:
    field ("readonly", a->open.readonly);
    text_field ("export_name", a->open.export_name);
    field ("is_tls", a->open.is_tls);
    break;
  case RT_OP_PRECONNECT:
  case RT_OP_DEFAULT_EXPORT:
  case RT_OP_PREPARE:
    field ("readonly", a->access.readonly);
    field ("is_tls", a->access.is_tls);
    break;
  case RT_OP_LIST_EXPORTS:
    field ("readonly", a->listing.readonly);
    field ("exports", (uintptr_t) a->listing.exports);
    field ("is_tls", a->listing.is_tls);
    field ("default_only", a->listing.default_only);
    break;
  case RT_OP_PREAD:
  case RT_OP_PWRITE:
    field ("buf", (uintptr_t) a->data.buf);
    field ("offset", a->data.offset);
    field ("count", a->data.count);
    field ("flags", a->data.flags);
    break;
  case RT_OP_FLUSH:
    field ("flags", a->flush.flags);
    break;
  case RT_OP_TRIM:
  case RT_OP_ZERO:
  case RT_OP_CACHE:
    field ("offset", a->range.offset);
    field ("count", a->range.count);
    field ("flags", a->range.flags);
    break;
  case RT_OP_EXTENTS:
    field ("offset", a->mapping.offset);
    field ("count", a->mapping.count);
    field ("flags", a->mapping.flags);
    field ("extents", (uintptr_t) a->mapping.extents);
    break;
  }
}

int64_t
rt_upcall (void *nxdata, struct rt_upcall *upcall, struct rt_answer *answer)
{
  printf ("  next%s:", upcall->op == called ? "" : ", another op");
  if (nxdata != below.bytes)
    printf (" another nxdata");
  print_arguments (upcall->op, &upcall->arguments);
  printf ("\n");
  switch (upcall->op) {
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
    answer->minimum = 1;
    answer->preferred = 0x1000;
    answer->maximum = 0xffffffff;
    return 0;
  default:
    return 0x77;
  }
}

#define OFFSET UINT64_C (0x7fffffffffff0000)
#define COUNT 0xfffffffe

/* Every argument of the op, each with a value of its own. */
static union rt_arguments
arguments_of (uint32_t op, uint32_t flags)
{
  union rt_arguments a = { .setting = { .key = NULL } };

  switch (op) {
  case RT_OP_CONFIG:
    a.setting = (struct rt_setting) { .key = (const char *) 0x4444, .value = (const char *) 0x5555 };
    break;
  case RT_OP_THREAD_MODEL:
  case RT_OP_GET_READY:
    a.model.thread_model = 1;
    break;
  case RT_OP_OPEN:
    a.open = (struct rt_open) { .export_name = (const char *) 0x4444, .readonly = true, .is_tls = true };
    break;
  case RT_OP_PRECONNECT:
  case RT_OP_DEFAULT_EXPORT:
  case RT_OP_PREPARE:
    a.access = (struct rt_access) { .readonly = true, .is_tls = true };
    break;
  case RT_OP_LIST_EXPORTS:
    a.listing = (struct rt_listing) {
      .exports = (void *) 0x7fff00008888, .readonly = true, .is_tls = true, .default_only = true
    };
    break;
  case RT_OP_PREAD:
  case RT_OP_PWRITE:
    a.data = (struct rt_data) { .buf = (void *) 0x7fff00003333, .offset = OFFSET, .count = COUNT, .flags = flags };
    break;
  case RT_OP_FLUSH:
    a.flush.flags = flags;
    break;
  case RT_OP_TRIM:
  case RT_OP_ZERO:
  case RT_OP_CACHE:
    a.range = (struct rt_range) { .offset = OFFSET, .count = COUNT, .flags = flags };
    break;
  case RT_OP_EXTENTS:
    a.mapping = (struct rt_mapping) {
      .extents = (void *) 0x7fff00007777, .offset = OFFSET, .count = COUNT, .flags = flags
    };
    break;
  }
  return a;
}

static void
call (const char *name, uint32_t op, uint32_t flags)
{
  const struct rt_downcall downcall = {
    .op = op, .nxdata = below.bytes, .handle = (void *) 0x2222, .arguments = arguments_of (op, flags)
  };
  struct rt_result result = { .ret = 0 };

  errno = 0;
  called = op;
  printf ("%s\n", name);
  ADAPTER (&filter, &downcall, &result);
  printf ("  ret %s err %" PRId32 " errno %d",
          result.ret == (intptr_t) NBDKIT_HANDLE_NOT_NEEDED ? "handle"
          : result.ret == -1 ? "-1" : result.ret == 0 ? "0" : "other",
          result.stored, errno);
  if (result.ret != (intptr_t) NBDKIT_HANDLE_NOT_NEEDED && result.ret != -1)
    field ("ret", (uint64_t) result.ret);
  field ("minimum", result.minimum);
  field ("preferred", result.preferred);
  field ("maximum", result.maximum);
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
