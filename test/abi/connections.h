/* The connections of stand-in.c: the state of each layer in them, and the shortcuts. */
#ifndef CONNECTIONS_H
#define CONNECTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "layers.h"
#include "stand-in.h"

struct connection {
  void *nxdata[MAX_LAYERS]; /* with which layer i calls layer i + 1 */
  void *handle[MAX_LAYERS];
  bool opened[MAX_LAYERS + 1];
  int64_t size[MAX_LAYERS + 1]; /* which layer i returned to the layer above, or 0 */
};
extern struct connection connections[MAX_CONNECTIONS];

/* A call of a layer in a connection, from the layer above it. */
struct asked {
  int connection;
  int layer;
  const arguments *with;
};

/* Whether C may keep the answer. */
bool remembered (struct asked asked);

/* Allow C a shortcut for requests like this one to the layer that has answered it (nr_layers is the disk). */
void allow_shortcut (struct asked asked, int layer);

#endif /* CONNECTIONS_H */
