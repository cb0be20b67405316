/* The state of each layer in each connection: see connections.h. */
#define _GNU_SOURCE
#include "connections.h"

#include <string.h>

#include "ops.gen.h"
#include "runtime.h"

struct connection connections[MAX_CONNECTIONS];
bool shortcuts;

void
stand_in_load (const char *path)
{
  load_layer (path);
  connections[0].nxdata[nr_layers - 1] = rt_nxdata_new ((uint32_t) nr_layers + 1, -1);
}

uint32_t
module_of (int layer)
{
  return layers[layer].module;
}

void *
nxdata_of (int connection, int layer)
{
  return connections[connection].nxdata[layer];
}

void *
handle_of (int connection, int layer)
{
  return connections[connection].handle[layer];
}

bool
remembered (struct asked asked)
{
  const uint32_t op = asked.with->op;
  bool question = op == RT_OP_GET_SIZE || op == RT_OP_IS_ROTATIONAL || (op >= RT_OP_CAN_WRITE && op <= RT_OP_CAN_TRIM)
                  || (op >= RT_OP_CAN_ZERO && op <= RT_OP_CAN_EXTENTS) || op == RT_OP_CAN_CACHE
                  || op == RT_OP_CAN_FAST_ZERO;

  /* JavaScript also remembers answers in open connections only. */
  return shortcuts && question && asked.connection > 0;
}

static uint32_t
flags_of (const arguments *a)
{
  switch (a->op) {
  case RT_OP_PREAD:
  case RT_OP_PWRITE:
    return a->with.data.flags;
  case RT_OP_FLUSH:
    return a->with.flush.flags;
  case RT_OP_TRIM:
  case RT_OP_CACHE:
    return a->with.range.flags;
  default:
    return 0;
  }
}

void
allow_shortcut (struct asked asked, int layer)
{
  struct connection *c = &connections[asked.connection];
  int64_t size = c->size[asked.layer];
  struct rt_direct direct = { .size = (uint64_t) size, .descriptor = -1 };
  uint32_t op = asked.with->op;

  if (!shortcuts || asked.connection == 0 || flags_of (asked.with) != 0 || size == 0)
    return;
  if (layer < nr_layers) {
    direct.op = op_of (&layers[layer], op);
    direct.module = layers[layer].module;
    direct.handle = c->handle[layer];
    direct.nxdata = c->nxdata[layer];
    direct.export_name = "";
  }
  else if (op == RT_OP_PREAD || op == RT_OP_PWRITE)
    direct.descriptor = disk_fd;
  else
    return;
  /* This refuses ops that have no shortcuts. */
  rt_next_direct (c->nxdata[asked.layer - 1], op, &direct);
}

int
open_connection (uint32_t slot, int connection, int readonly)
{
  struct connection *c = &connections[connection];
  int err;

  memset (c, 0, sizeof *c);
  for (int i = 0; i < nr_layers; i++) {
    c->nxdata[i] = rt_nxdata_new ((uint32_t) (connection * (MAX_LAYERS + 1) + i + 2), (int32_t) layers[i].module);
    CHECK (c->nxdata[i] != NULL);
    rt_nxdata_set_backend (c->nxdata[i], connections[0].nxdata[i]);
  }
  err = ask (slot, connection, (arguments) { .op = RT_OP_OPEN, .with.open.readonly = readonly }).err;
  for (int i = nr_layers - 1; i >= 0 && err == 0; i--)
    err = ask_layer (slot, connection, i, RT_OP_PREPARE).err;
  return err;
}

int
close_connection (uint32_t slot, int connection)
{
  struct connection *c = &connections[connection];
  int err = 0;

  for (int i = 0; i < nr_layers; i++) {
    int failure = c->opened[i] ? ask_layer (slot, connection, i, RT_OP_FINALIZE).err : 0;
    if (err == 0)
      err = failure;
    rt_next_forget (c->nxdata[i]);
  }
  for (int i = 0; i < nr_layers; i++) {
    if (c->opened[i])
      ask_layer (slot, connection, i, RT_OP_CLOSE);
    c->opened[i] = false;
    rt_nxdata_free (c->nxdata[i]);
  }
  return err;
}
