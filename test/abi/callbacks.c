/* The structs of filters for nbdkit 1.30, and of plugins: see callbacks.h. */
#include "callbacks.h"

#include <stddef.h>

#define NBDKIT_API_VERSION 2
#define NBDKIT_FILTER_RELEASE NBDKIT_FILTER_RELEASE_1_30
#include "nbdkit-filter.h"
#include "nbdkit-plugin.h"
#include "ops.gen.h"

_Static_assert (sizeof (struct nbdkit_filter) <= CALLBACKS_MAX_SIZE, "room for a filter");
_Static_assert (sizeof (struct nbdkit_plugin) <= CALLBACKS_MAX_SIZE, "room for a plugin");

#define F(OP, name) [RT_OP_##OP] = { offsetof (struct nbdkit_filter, name), 0 }
#define P(OP, name) [RT_OP_##OP] = { 0, offsetof (struct nbdkit_plugin, name) }
#define B(OP, name) [RT_OP_##OP] = { offsetof (struct nbdkit_filter, name), offsetof (struct nbdkit_plugin, name) }

/* A plugin's callback that has two versions is listed by version 2. */
static const struct { size_t filter, plugin; } offsets[64] = {
  B (LOAD, load), B (UNLOAD, unload), B (CONFIG, config), B (CONFIG_COMPLETE, config_complete),
  B (GET_READY, get_ready), B (AFTER_FORK, after_fork), B (CLEANUP, cleanup), B (THREAD_MODEL, thread_model),
  B (PRECONNECT, preconnect), B (OPEN, open), B (CLOSE, close), F (PREPARE, prepare), F (FINALIZE, finalize),
  B (GET_SIZE, get_size), B (EXPORT_DESCRIPTION, export_description), B (BLOCK_SIZE, block_size),
  B (CAN_WRITE, can_write), B (CAN_FLUSH, can_flush), B (IS_ROTATIONAL, is_rotational), B (CAN_TRIM, can_trim),
  B (CAN_ZERO, can_zero), B (CAN_FAST_ZERO, can_fast_zero), B (CAN_EXTENTS, can_extents), B (CAN_FUA, can_fua),
  B (CAN_MULTI_CONN, can_multi_conn), B (CAN_CACHE, can_cache), B (PREAD, pread), B (PWRITE, pwrite),
  B (FLUSH, flush), B (TRIM, trim), B (ZERO, zero), B (EXTENTS, extents), B (CACHE, cache),
  P (_PREAD_V1, _pread_v1), P (_PWRITE_V1, _pwrite_v1), P (_FLUSH_V1, _flush_v1), P (_TRIM_V1, _trim_v1),
  P (_ZERO_V1, _zero_v1),
};

size_t
filter_1_30_callback (uint32_t op)
{
  return offsets[op].filter;
}

size_t
plugin_callback (uint32_t op)
{
  return offsets[op].plugin;
}

size_t
filter_1_30_size (void)
{
  return sizeof (struct nbdkit_filter);
}

const char *
filter_1_30_name (const void *filter)
{
  return ((const struct nbdkit_filter *) filter)->name;
}
