/* The C modules of stand-in.c, loaded as the server loads them. */
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

/* 1.30 is the layout of the genuine filters. */
enum form { FORM_ORIGINAL, FORM_1_2, FORM_1_30, FORM_PLUGIN };

struct layer {
  uint32_t module;
  enum form form;
  void *connection; /* its name starts the log lines of the callbacks */
  union {
    struct nbdkit_filter filter;
    struct nbdkit_plugin plugin;
    unsigned char bytes[CALLBACKS_MAX_SIZE];
  } copy;
};

extern struct layer layers[MAX_LAYERS];
extern int nr_layers;

/* Load a module as the innermost layer. */
void load_layer (const char *path);

/* The op of the callback that the layer has for `op`, or 0: plugins of version 1 have other names. */
uint32_t op_of (const struct layer *layer, uint32_t op);

bool is_plugin (const struct layer *layer);

/* The server's answer to a question for which the plugin has no callback. */
int64_t plugin_default (const struct layer *plugin, uint32_t op);

#endif /* LAYERS_H */
