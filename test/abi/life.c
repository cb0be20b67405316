/* The scenario "life", a chain from load to unload, and its parts that all scenarios use. */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>

#include "scenarios.h"
#include "stand-in.h"

char *parameters[32];
int nr_parameters;

void
configure (uint32_t slot)
{
  for (int i = 0; i < nr_layers; i++)
    ask_layer (slot, 0, i, RT_OP_LOAD);
  for (int i = 0; i < nr_parameters; i++) {
    /* nbdkit guarantees that parameters stay in memory, as argv does. */
    char *key = parameters[i], *value = strchr (key, '=');

    *value++ = '\0';
    CHECK (ask (slot, 0, setting (key, value)).err == 0);
  }
  CHECK (ask (slot, 0, (arguments) { .op = RT_OP_CONFIG_COMPLETE }).err == 0);
  for (int i = 0; i < nr_layers; i++)
    ask_layer (slot, 0, i, RT_OP_GET_READY);
}

void
unload (uint32_t slot)
{
  for (int i = 0; i < nr_layers; i++) {
    ask_layer (slot, 0, i, RT_OP_UNLOAD);
    rt_nxdata_free (nxdata_of (0, i));
  }
  rt_flush_stdout ();
}

arguments
setting (const char *key, const char *value)
{
  return (arguments) { .op = RT_OP_CONFIG, .with.setting = { .key = key, .value = value } };
}

arguments
data (uint32_t op, void *buf, uint32_t count, uint64_t offset)
{
  arguments a = { .op = op };

  if (op == RT_OP_PREAD || op == RT_OP_PWRITE)
    a.with.data = (struct rt_data) { .buf = buf, .offset = offset, .count = count };
  else
    a.with.range = (struct rt_range) { .offset = offset, .count = count };
  return a;
}

void
fill (unsigned char *buf, uint32_t count, uint32_t seed)
{
  for (uint32_t i = 0; i < count; i++)
    buf[i] = (unsigned char) (seed + i * 7 + i / 256);
}

/* Writes, reads back and zeroes a range. Layers that change data undo it in reads. */
static void
check_round_trip (uint32_t slot, int connection, uint32_t count, uint64_t offset)
{
  unsigned char *written = malloc (count), *kept = malloc (count), *got = malloc (count);

  fill (written, count, (uint32_t) offset);
  memcpy (kept, written, count);
  CHECK (ask (slot, connection, data (RT_OP_PWRITE, written, count, offset)).err == 0);
  CHECK (memcmp (written, kept, count) == 0);
  CHECK (ask (slot, connection, data (RT_OP_PREAD, got, count, offset)).err == 0);
  CHECK (memcmp (got, kept, count) == 0);
  /* After EOPNOTSUPP the server would write zeroes. */
  int err = ask (slot, connection, data (RT_OP_ZERO, NULL, count, offset)).err;
  CHECK (err == 0 || err == EOPNOTSUPP);
  if (err == 0) {
    CHECK (ask (slot, connection, data (RT_OP_PREAD, got, count, offset)).err == 0);
    for (uint32_t i = 0; i < count; i++)
      CHECK (got[i] == 0);
  }
  free (written);
  free (kept);
  free (got);
}

void
life (void)
{
  uint32_t slot = (uint32_t) rt_thread_new ();
  struct outcome size;

  configure (slot);
  for (int readonly = 0; readonly <= 1; readonly++) {
    CHECK (open_connection (slot, 1, readonly) == 0);
    size = ask (slot, 1, (arguments) { .op = RT_OP_GET_SIZE });
    CHECK (size.err == 0 && size.ret > 0 && size.ret <= DISK_SIZE);
    for (uint32_t op = RT_OP_CAN_WRITE; op <= RT_OP_CAN_TRIM; op++)
      CHECK (ask (slot, 1, (arguments) { .op = op }).err == 0);
    for (int i = 0; i < 6 && !readonly; i++) {
      answer_later = i % 2 == 1;
      check_round_trip (slot, 1, 4096, 8192 * (uint64_t) i);
      check_round_trip (slot, 1, 1, 511);
      check_round_trip (slot, 1, 100001, 77);
    }
    CHECK (ask (slot, 1, (arguments) { .op = RT_OP_FLUSH }).err == 0);
    CHECK (ask (slot, 1, data (RT_OP_TRIM, NULL, 512, 1024)).err == 0);
    CHECK (close_connection (slot, 1) == 0);
  }
  unload (slot);
}
