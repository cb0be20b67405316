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

/* Where a callback stands in either struct. Where a plugin has one twice, the one of version 2. */
#define BOTH(OP, name) [RT_OP_##OP] = { offsetof (struct nbdkit_filter, name), offsetof (struct nbdkit_plugin, name) }
#define PLUGIN(OP, name) [RT_OP_##OP] = { 0, offsetof (struct nbdkit_plugin, name) }
static const struct { size_t filter, plugin; } offsets[64] = {
  BOTH (LOAD, load), BOTH (UNLOAD, unload), BOTH (CONFIG, config), BOTH (CONFIG_COMPLETE, config_complete),
  BOTH (OPEN, open), BOTH (CLOSE, close), BOTH (GET_SIZE, get_size), BOTH (CAN_WRITE, can_write),
  BOTH (CAN_FLUSH, can_flush), BOTH (IS_ROTATIONAL, is_rotational), BOTH (CAN_TRIM, can_trim),
  BOTH (PREAD, pread), BOTH (PWRITE, pwrite), BOTH (FLUSH, flush), BOTH (TRIM, trim), BOTH (ZERO, zero),
  PLUGIN (_PREAD_V1, _pread_v1), PLUGIN (_PWRITE_V1, _pwrite_v1), PLUGIN (_FLUSH_V1, _flush_v1),
  PLUGIN (_TRIM_V1, _trim_v1), PLUGIN (_ZERO_V1, _zero_v1), PLUGIN (GET_READY, get_ready),
  [RT_OP_PREPARE] = { offsetof (struct nbdkit_filter, prepare), 0 },
  [RT_OP_FINALIZE] = { offsetof (struct nbdkit_filter, finalize), 0 },
};

static bool
has (const struct layer *layer, uint32_t op)
{
  size_t at = layer->form == FORM_PLUGIN ? offsets[op].plugin : offsets[op].filter;
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

void
load_layer (const char *path)
{
  struct layer *layer = &layers[nr_layers];
  void *library = rt_dlopen (path), *init, *theirs;
  uint64_t size;
  uint32_t word;
  int32_t module;

  if (library == NULL)
    fprintf (stderr, "driver: %s\n", rt_dlerror ());
  CHECK (library != NULL && nr_layers < MAX_LAYERS);
  init = rt_dlsym (library, "filter_init");
  layer->form = init == NULL ? FORM_PLUGIN : FORM_A;
  if (init == NULL)
    init = rt_dlsym (library, "plugin_init");
  CHECK (init != NULL);
  theirs = rt_call_init (init);
  CHECK (theirs != NULL);
  memcpy (&size, theirs, sizeof size);
  if (size > sizeof layer->copy)
    size = sizeof layer->copy;
  memcpy (layer->copy.bytes, theirs, size);
  memcpy (&word, layer->copy.bytes + 12, sizeof word);
  if (layer->form != FORM_PLUGIN && word == NBDKIT_FILTER_MARKER_S)
    layer->form = FORM_S;
  else if (layer->form != FORM_PLUGIN && word == 0)
    layer->form = FORM_EITHER;
  module = rt_module_add (layer->form == FORM_PLUGIN ? RT_ADAPTER_PLUGIN
                          : layer->form == FORM_S    ? RT_ADAPTER_FILTER_S
                                                     : RT_ADAPTER_FILTER_A,
                          &layer->copy);
  CHECK (module >= 0);
  layer->module = (uint32_t) module;
  layer->connection = rt_connection_new (layer->form == FORM_PLUGIN ? layer->copy.plugin.name : layer->copy.filter.name);
  CHECK (layer->connection != NULL);
  nr_layers++;
}
