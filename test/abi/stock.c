/* The scenarios with genuine modules of Debian: many threads, queues, shortcuts, and filters with their own threads. */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>

#include "scenarios.h"
#include "stand-in.h"

#define MAX_REGION 32768u
#define STEPS 7
#define STOCK_ROUNDS 6
#define CALLS 96

/* A thread, and the part of the disk that only it uses. */
struct worker {
  uint32_t slot;
  int connection;
  uint64_t start;
  uint32_t count;
  int step;
  void *extents;
  unsigned char written[MAX_REGION], got[MAX_REGION];
};
static struct worker workers[THREADS];

static bool keeps_data, zeroes;

static void
start_threads (void)
{
  for (int i = 0; i < THREADS; i++) {
    workers[i].slot = (uint32_t) rt_thread_new ();
    workers[i].connection = 1 + i % 2;
    CHECK (workers[i].slot < RT_MAX_SLOTS);
  }
}

/* All modules must have the thread model PARALLEL, since JavaScript would enforce others. */
static void
start_chain (uint32_t slot)
{
  for (int i = 0; i < nr_layers; i++)
    if (layer_has (i, RT_OP_THREAD_MODEL))
      CHECK (ask_layer (slot, 0, i, RT_OP_THREAD_MODEL).ret == NBDKIT_THREAD_MODEL_PARALLEL);
  configure (slot);
  for (int i = 0; i < nr_layers; i++)
    ask_layer (slot, 0, i, RT_OP_AFTER_FORK);
  shortcuts = true;
  for (int connection = 1; connection <= 2; connection++)
    CHECK (open_connection (slot, connection, 0) == 0);
}

static void
end_chain (uint32_t slot)
{
  CHECK (close_connection (workers[1].slot, 2) == 0);
  CHECK (close_connection (slot, 1) == 0);
  for (int i = 0; i < nr_layers; i++)
    ask_layer (slot, 0, i, RT_OP_CLEANUP);
  unload (slot);
}

/* Ask what the server asks during the handshake. Returns the size. */
static uint64_t
ask_questions (uint32_t slot, int connection)
{
  static const uint32_t ops[] = {
    RT_OP_EXPORT_DESCRIPTION, RT_OP_CAN_WRITE,      RT_OP_CAN_FLUSH,   RT_OP_IS_ROTATIONAL, RT_OP_CAN_TRIM, RT_OP_CAN_ZERO,
    RT_OP_CAN_FAST_ZERO,      RT_OP_CAN_MULTI_CONN, RT_OP_CAN_EXTENTS, RT_OP_CAN_FUA,       RT_OP_CAN_CACHE,
  };
  struct outcome blocks, size;

  for (size_t i = 0; i < sizeof ops / sizeof ops[0]; i++)
    CHECK (ask (slot, connection, (arguments) { .op = ops[i] }).err == 0);
  zeroes = ask (slot, connection, (arguments) { .op = RT_OP_CAN_ZERO }).ret == 2;
  blocks = ask (slot, connection, (arguments) { .op = RT_OP_BLOCK_SIZE });
  CHECK (blocks.err == 0 && blocks.minimum <= blocks.preferred);
  size = ask (slot, connection, (arguments) { .op = RT_OP_GET_SIZE });
  CHECK (size.err == 0 && size.ret >= 8192);
  return (uint64_t) size.ret;
}

/* ---- many threads */

static arguments
extents_of (struct worker *worker)
{
  const uint64_t range[2] = { worker->start, worker->start + worker->count };
  struct rt_mapping mapping = { .offset = worker->start, .count = worker->count };

  worker->extents = rt_extents_new (range);
  mapping.extents = worker->extents;
  return (arguments) { .op = RT_OP_EXTENTS, .with.mapping = mapping };
}

/* The request of a worker in this step. Its op is 0 if the worker skips the step. */
static arguments
next_request (struct worker *worker)
{
  switch (worker->step % STEPS) {
  case 0:
    if (!keeps_data)
      return (arguments) { .op = 0 };
    fill (worker->written, worker->count, (uint32_t) worker->step * 31 + worker->slot);
    return data (RT_OP_PWRITE, worker->written, worker->count, worker->start);
  case 1:
    return data (RT_OP_PREAD, worker->got, worker->count, worker->start);
  case 2:
    return data (RT_OP_CACHE, NULL, worker->count, worker->start);
  case 3:
    return extents_of (worker);
  case 4:
    return data (keeps_data && zeroes ? RT_OP_ZERO : 0, NULL, worker->count, worker->start);
  case 5:
    return data (RT_OP_PREAD, worker->got, worker->count, worker->start);
  default:
    return (arguments) { .op = keeps_data ? RT_OP_FLUSH : 0 };
  }
}

/* Check the answer. A disk that keeps no written data must read the same each time. */
static void
check_answer (struct worker *worker)
{
  const int step = worker->step % STEPS;

  if (step == 3) {
    CHECK (nbdkit_extents_count (worker->extents) > 0);
    rt_extents_free (worker->extents);
  }
  if (step == 4)
    memset (worker->written, 0, worker->count);
  if ((step != 1 && step != 5) || (!keeps_data && worker->step == 1)) {
    if (step == 1)
      memcpy (worker->written, worker->got, worker->count);
    return;
  }
  CHECK (memcmp (worker->written, worker->got, worker->count) == 0);
}

/* Begin the worker's next request. Returns false after the last one. */
static bool
go_on (struct worker *worker)
{
  arguments a = { .op = 0 };

  for (; a.op == 0; worker->step++) {
    if (worker->step == STEPS * STOCK_ROUNDS)
      return false;
    a = next_request (worker);
  }
  worker->step--;
  begin (worker->slot, worker->connection, a);
  return true;
}

/* Check the worker's answers and begin its next requests until one has to wait. Returns false after the last one. */
static bool
work (struct worker *worker)
{
  while (finished (worker->slot)) {
    CHECK (outcome_of (worker->slot).err == 0);
    check_answer (worker);
    worker->step++;
    if (!go_on (worker))
      return false;
  }
  return true;
}

static void
run_workers (void)
{
  bool running[THREADS];
  int n = THREADS;

  for (int i = 0; i < THREADS; i++) {
    workers[i].step = 0;
    running[i] = go_on (&workers[i]);
  }
  for (;;) {
    for (int i = 0; i < THREADS; i++)
      if (running[i] && !work (&workers[i])) {
        running[i] = false;
        n--;
      }
    if (n == 0)
      return;
    serve ();
  }
}

/* ---- queues */

static void
read_by_queues (uint64_t size)
{
  static unsigned char got[CALLS][512], expected[512];
  void *queue[2] = { rt_queue_new (THREADS), rt_queue_new (2) };

  CHECK (ask (workers[0].slot, 1, data (RT_OP_PREAD, expected, 512, 0)).err == 0);
  for (int round = 0; round < STOCK_ROUNDS; round++) {
    answer_later = round % 2 == 0;
    for (uint32_t i = 0; i < CALLS; i++) {
      /* A third of the reads have the same offset, so filters that cache or copy blocks meet there. */
      const uint64_t offset = i % 3 == 0 ? 0 : i * 700 % (size - 512);

      enqueue (queue[i % 2], i, 1 + (int) i % 2, data (RT_OP_PREAD, got[i], 512, offset));
      if (i % 32 == 0)
        serve ();
    }
    for (uint32_t i = 0; i < CALLS; i++) {
      CHECK (outcome_of_call (i).err == 0);
      CHECK (i % 3 != 0 || memcmp (got[i], expected, 512) == 0);
    }
  }
  rt_queue_free (queue[0]);
  rt_queue_free (queue[1]);
}

static void
run_all (void)
{
  uint64_t size;

  fill (disk, DISK_SIZE, 5);
  start_threads ();
  start_chain (workers[0].slot);
  size = ask_questions (workers[0].slot, 1);
  CHECK (ask_questions (workers[0].slot, 2) == size);
  for (int i = 0; i < THREADS; i++) {
    uint64_t each = size / THREADS;

    /* The parts are not aligned, so that neighbours share blocks. */
    workers[i].start = each * (uint64_t) i + 1;
    workers[i].count = (uint32_t) (each - 3 < MAX_REGION ? each - 3 : MAX_REGION);
  }
  for (int round = 0; round < 2; round++) {
    answer_later = round % 2 == 1;
    run_workers ();
  }
  read_by_queues (size);
  end_chain (workers[0].slot);
}

void
stock (void)
{
  keeps_data = true;
  run_all ();
}

void
stock_reads (void)
{
  run_all ();
}
