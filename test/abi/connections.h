/* The connections of stand-in.c: what each layer has in them, and what C may do there by itself. */
#ifndef CONNECTIONS_H
#define CONNECTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "layers.h"
#include "stand-in.h"

struct connection {
  void *nxdata[MAX_LAYERS]; /* of layer i: calls layer i + 1 */
  void *handle[MAX_LAYERS];
  bool opened[MAX_LAYERS + 1];
  int64_t size[MAX_LAYERS + 1]; /* of layer i, as the one above was told, or 0 */
};
extern struct connection connections[MAX_CONNECTIONS];

/* What a layer was asked in a connection. */
struct asked {
  int connection;
  int layer; /* that is asked first; the one above it asks */
  const arguments *with;
};

/* Whether C may keep the answer. */
bool remembered (struct asked asked);

/* Let C take requests like this one to the layer that has answered it (nr_layers is the disk) by itself. */
void allow_shortcut (struct asked asked, int layer);

#endif /* CONNECTIONS_H */
