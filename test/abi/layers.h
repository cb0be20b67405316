/* The C modules that stand-in.c stacks, loaded as the server loads them. */
#ifndef LAYERS_H
#define LAYERS_H

#include <stdbool.h>
#include <stdint.h>

#include "callbacks.h"

#define NBDKIT_API_VERSION 2
#define NBDKIT_FILTER_RELEASE NBDKIT_FILTER_RELEASE_1_2
#include "nbdkit-filter.h"
#include "nbdkit-plugin.h"

#define MAX_LAYERS 12

/* 1.30 is the layout of nbdkit 1.30 to 1.34, whose stock filters are run. */
enum form { FORM_ORIGINAL, FORM_1_2, FORM_1_30, FORM_PLUGIN };

struct layer {
  uint32_t module;
  enum form form;
  void *connection; /* log lines of its callbacks start with its name */
  union {
    struct nbdkit_filter filter;
    struct nbdkit_plugin plugin;
    unsigned char bytes[CALLBACKS_MAX_SIZE];
  } copy;
};

extern struct layer layers[MAX_LAYERS];
extern int nr_layers;

/* Load a module as the last layer. */
void load_layer (const char *path);

/* The op by which a layer is asked for `op`, or 0: a plugin of version 1 has other names. */
uint32_t op_of (const struct layer *layer, uint32_t op);

/* The last layer is a plugin: what it answers to a question or a request for which it has no callback. */
bool is_plugin (const struct layer *layer);
int64_t plugin_default (const struct layer *plugin, uint32_t op);

#endif /* LAYERS_H */
