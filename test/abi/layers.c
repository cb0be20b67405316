/* The modules of the chain: see layers.h. */
#include "layers.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "ops.gen.h"
#include "runtime.h"
#include "stand-in.h"

struct layer layers[MAX_LAYERS];
int nr_layers;

/* The callbacks of the original layout and 1.2. */
#define FILTER(OP, name) [RT_OP_##OP] = offsetof (struct nbdkit_filter, name)
static const size_t first_filters[64] = {
  FILTER (LOAD, load), FILTER (UNLOAD, unload), FILTER (CONFIG, config), FILTER (CONFIG_COMPLETE, config_complete),
  FILTER (OPEN, open), FILTER (CLOSE, close), FILTER (PREPARE, prepare), FILTER (FINALIZE, finalize),
  FILTER (GET_SIZE, get_size), FILTER (CAN_WRITE, can_write), FILTER (CAN_FLUSH, can_flush),
  FILTER (IS_ROTATIONAL, is_rotational), FILTER (CAN_TRIM, can_trim), FILTER (PREAD, pread), FILTER (PWRITE, pwrite),
  FILTER (FLUSH, flush), FILTER (TRIM, trim), FILTER (ZERO, zero),
};

static bool
has (const struct layer *layer, uint32_t op)
{
  size_t at = layer->form == FORM_PLUGIN ? plugin_callback (op)
              : layer->form == FORM_1_30 ? filter_1_30_callback (op)
                                         : first_filters[op];
  void *callback;

  memcpy (&callback, layer->copy.bytes + at, sizeof callback);
  return at != 0 && callback != NULL;
}

uint32_t
op_of (const struct layer *layer, uint32_t op)
{
  if (has (layer, op))
    return op;
  if (op >= RT_OP_PREAD && op <= RT_OP_ZERO && has (layer, op - RT_OP_PREAD + RT_OP__PREAD_V1))
    return op - RT_OP_PREAD + RT_OP__PREAD_V1;
  return 0;
}

bool
is_plugin (const struct layer *layer)
{
  return layer->form == FORM_PLUGIN;
}

int64_t
plugin_default (const struct layer *plugin, uint32_t op)
{
  switch (op) {
  case RT_OP_CAN_WRITE:
    return op_of (plugin, RT_OP_PWRITE) != 0;
  case RT_OP_CAN_FLUSH:
    return op_of (plugin, RT_OP_FLUSH) != 0;
  case RT_OP_CAN_TRIM:
    return op_of (plugin, RT_OP_TRIM) != 0;
  case RT_OP_CAN_ZERO:
    return op_of (plugin, RT_OP_ZERO) != 0 ? 2 : 1; /* 1: write zeroes */
  case RT_OP_CAN_EXTENTS:
    return op_of (plugin, RT_OP_EXTENTS) != 0;
  case RT_OP_CAN_FUA:
    return op_of (plugin, RT_OP_FLUSH) != 0; /* 1: emulate it */
  default:
    return 0;
  }
}

/* ---- loading */

static enum form
form_of (const struct layer *layer, bool is_filter)
{
  uint32_t first, third;

  memcpy (&first, layer->copy.bytes, sizeof first);
  memcpy (&third, layer->copy.bytes + 12, sizeof third);
  if (!is_filter)
    return FORM_PLUGIN;
  if (first == 6)
    return FORM_1_30;
  return third == NBDKIT_FILTER_MARKER_ORIGINAL ? FORM_ORIGINAL : FORM_1_2;
}

static const struct { uint32_t adapter, release; } adapters[] = {
  [FORM_ORIGINAL] = { RT_ADAPTER_FILTER_ORIGINAL, NBDKIT_FILTER_RELEASE_ORIGINAL },
  [FORM_1_2] = { RT_ADAPTER_FILTER_1_2, NBDKIT_FILTER_RELEASE_1_2 },
  [FORM_1_30] = { RT_ADAPTER_FILTER_1_30, NBDKIT_FILTER_RELEASE_1_30 },
  [FORM_PLUGIN] = { RT_ADAPTER_PLUGIN, NBDKIT_FILTER_RELEASE_1_30 },
};

void
load_layer (const char *path)
{
  struct layer *layer = &layers[nr_layers];
  void *library = rt_dlopen (path, -1), *init, *theirs;
  bool is_filter;
  uint64_t size;
  const char *name;
  int32_t module;

  if (library == NULL)
    fprintf (stderr, "driver: %s\n", rt_dlerror ());
  CHECK (library != NULL && nr_layers < MAX_LAYERS);
  init = rt_dlsym (library, "filter_init");
  is_filter = init != NULL;
  if (init == NULL)
    init = rt_dlsym (library, "plugin_init");
  CHECK (init != NULL);
  theirs = rt_call_init (init, -1);
  CHECK (theirs != NULL);
  memcpy (layer->copy.bytes, theirs, 16);
  layer->form = form_of (layer, is_filter);
  memcpy (&size, theirs, sizeof size);
  if (layer->form == FORM_1_30)
    size = filter_1_30_size ();
  if (size > sizeof layer->copy)
    size = sizeof layer->copy;
  memcpy (layer->copy.bytes, theirs, size);
  module = rt_module_add (adapters[layer->form].adapter, &layer->copy);
  CHECK (module >= 0);
  layer->module = (uint32_t) module;
  rt_module_loaded (init, adapters[layer->form].release);
  name = layer->form == FORM_PLUGIN ? layer->copy.plugin.name
         : layer->form == FORM_1_30 ? filter_1_30_name (&layer->copy)
                                    : layer->copy.filter.name;
  layer->connection = rt_connection_new (name);
  CHECK (layer->connection != NULL);
  nr_layers++;
}
