/* The scenarios with many threads in the same layers, or with too few threads. */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>

#include "scenarios.h"
#include "stand-in.h"

#define REGION 16384u
#define ROUNDS 60

/* All threads write to their own regions and read them back, again and again. */
void
parallel (void)
{
  static unsigned char written[THREADS][REGION], got[THREADS][REGION];
  uint32_t slots[THREADS], round[THREADS] = { 0 }, running = THREADS;

  for (int i = 0; i < THREADS; i++) {
    slots[i] = (uint32_t) rt_thread_new ();
    CHECK (slots[i] < RT_MAX_SLOTS);
  }
  configure (slots[0]);
  CHECK (open_connection (slots[0], 1, 0) == 0);
  CHECK (open_connection (slots[1], 2, 0) == 0);
  answer_later = true;
  for (int i = 0; i < THREADS; i++) {
    fill (written[i], REGION, (uint32_t) i);
    begin (slots[i], 1 + i % 2, data (RT_OP_PWRITE, written[i], REGION - 3, REGION * (uint64_t) i + 1));
  }
  while (running > 0) {
    serve ();
    for (int i = 0; i < THREADS; i++) {
      const uint64_t offset = REGION * (uint64_t) i + 1;

      if (round[i] == 2 * ROUNDS || !finished (slots[i]))
        continue;
      CHECK (outcome_of (slots[i]).err == 0);
      round[i]++;
      if (round[i] % 2 == 1) {
        begin (slots[i], 1 + i % 2, data (RT_OP_PREAD, got[i], REGION - 3, offset));
        continue;
      }
      CHECK (memcmp (written[i], got[i], REGION - 3) == 0);
      fill (written[i], REGION, round[i] * 31 + (uint32_t) i);
      if (round[i] == 2 * ROUNDS)
        running--;
      else
        begin (slots[i], 1 + i % 2, data (RT_OP_PWRITE, written[i], REGION - 3, offset));
    }
  }
  CHECK (close_connection (slots[1], 2) == 0);
  CHECK (close_connection (slots[2], 1) == 0); /* on another thread than open */
  unload (slots[3]);
}

/* The filter slow.so with meet=N holds reads back until N of them run at once. */
void
meeting (void)
{
  static unsigned char got[THREADS][512];
  uint32_t slots[THREADS];

  for (int i = 0; i < THREADS; i++)
    slots[i] = (uint32_t) rt_thread_new ();
  configure (slots[0]);
  CHECK (open_connection (slots[0], 1, 0) == 0);
  for (int i = 0; i < THREADS; i++)
    begin (slots[i], 1, data (RT_OP_PREAD, got[i], 512, 512 * (uint64_t) i));
  for (int i = 0; i < THREADS; i++)
    CHECK (outcome_of (slots[i]).err == 0);
  CHECK (close_connection (slots[0], 1) == 0);
  unload (slots[0]);
}

#define QUEUES 3
#define CALLS 120

/* Reads by all queues, which take turns; so do the connections from 1 to `connections`. */
static void
read_by_queues (void *const queue[QUEUES], int connections)
{
  static unsigned char got[CALLS][512];

  memset (got, 0xee, sizeof got);
  for (uint32_t i = 0; i < CALLS; i++) {
    enqueue (queue[i % QUEUES], i, 1 + (int) i % connections, data (RT_OP_PREAD, got[i], 512, 512 * (uint64_t) i));
    if (connections > 1 && i % 32 == 0)
      serve ();
  }
  for (uint32_t i = 0; i < CALLS; i++) {
    CHECK (outcome_of_call (i).err == 0);
    CHECK (memcmp (got[i], disk + 512 * i, 512) == 0);
  }
}

/* More calls than threads, in queues with different limits that are made and freed in each round. */
void
queues (void)
{
  static const uint32_t limits[QUEUES] = { 1, 4, THREADS };
  uint32_t slot = (uint32_t) rt_thread_new ();
  void *queue[QUEUES];

  configure (slot);
  CHECK (open_connection (slot, 1, 0) == 0);
  CHECK (open_connection (slot, 2, 0) == 0);
  for (int round = 0; round < ROUNDS; round++) {
    answer_later = round % 2 == 0;
    for (int i = 0; i < QUEUES; i++)
      CHECK ((queue[i] = rt_queue_new (limits[i])) != NULL);
    read_by_queues (queue, 2);
    for (int i = 0; i < QUEUES; i++)
      rt_queue_free (queue[i]);
  }
  CHECK (close_connection (slot, 1) == 0);
  CHECK (close_connection (slot, 2) == 0);
  unload (slot);
}

/* Calls that wait for one another in slow.so with meet=N, so each of them needs a thread. */
void
together (void)
{
  static unsigned char got[THREADS][512];
  uint32_t slot = (uint32_t) rt_thread_new ();
  void *queue = rt_queue_new (THREADS);

  configure (slot);
  CHECK (open_connection (slot, 1, 0) == 0);
  for (int round = 0; round < 10; round++) {
    for (uint32_t i = 0; i < THREADS; i++)
      enqueue (queue, i, 1, data (RT_OP_PREAD, got[i], 512, 512 * (uint64_t) i));
    for (uint32_t i = 0; i < THREADS; i++)
      CHECK (outcome_of_call (i).err == 0);
  }
  rt_queue_free (queue);
  CHECK (close_connection (slot, 1) == 0);
  unload (slot);
}

/* One slot is left for all queues, whose calls its thread runs one after the other. */
void
starving (void)
{
  uint32_t slot = (uint32_t) rt_thread_new ();
  void *queue[QUEUES];

  configure (slot);
  CHECK (open_connection (slot, 1, 0) == 0);
  for (int i = 0; i < QUEUES; i++)
    CHECK ((queue[i] = rt_queue_new (THREADS)) != NULL);
  for (int round = 0; round < ROUNDS; round++) {
    answer_later = round % 2 == 0;
    read_by_queues (queue, 1);
  }
  for (int i = 0; i < QUEUES; i++)
    rt_queue_free (queue[i]);
  CHECK (close_connection (slot, 1) == 0);
  unload (slot);
}

/* A queue gets its second thread only after the first one is stuck. In slow.so, sleep-ms=2 makes calls long on average,
 * and others=1 makes the read at 0 wait for the next one. */
void
shortage (void)
{
  static unsigned char got[2][512];
  uint32_t slot = (uint32_t) rt_thread_new (), spare = (uint32_t) rt_thread_new ();
  void *queue = rt_queue_new (THREADS);

  configure (slot);
  CHECK (open_connection (slot, 1, 0) == 0);
  for (int i = 0; i < 10; i++) {
    enqueue (queue, 0, 1, data (RT_OP_PREAD, got[0], 512, 512));
    CHECK (outcome_of_call (0).err == 0);
  }
  enqueue (queue, 0, 1, data (RT_OP_PREAD, got[0], 512, 0));
  enqueue (queue, 1, 1, data (RT_OP_PREAD, got[1], 512, 512));
  rt_thread_end (spare);
  for (uint32_t i = 0; i < 2; i++) {
    CHECK (outcome_of_call (i).err == 0);
    CHECK (memcmp (got[i], disk + 512 * i, 512) == 0);
  }
  rt_queue_free (queue);
  CHECK (close_connection (slot, 1) == 0);
  unload (slot);
}

/* No slot is left, so calls are refused. */
void
refused (void)
{
  uint32_t slot = (uint32_t) rt_thread_new (), call = 0;
  void *queue = rt_queue_new (THREADS);

  CHECK (slot == 0);
  CHECK (rt_submit (queue, &call, 1) == EAGAIN);
  CHECK (rt_submit (queue, &call, 1) == EAGAIN);
  rt_queue_free (queue);
}

/* All slots are in use, and a filter's own thread finds none. */
void
limits (void)
{
  static unsigned char got[FEW][512];
  uint32_t slots[FEW];

  for (int i = 0; i < FEW; i++) {
    int32_t slot = rt_thread_new ();
    CHECK (slot >= 0 && slot < FEW);
    slots[i] = (uint32_t) slot;
  }
  CHECK (rt_thread_new () == -EAGAIN);
  CHECK (rt_thread_new () == -EAGAIN);
  configure (slots[0]);
  CHECK (open_connection (slots[0], 1, 0) == 0);
  for (int round = 0; round < 3; round++) {
    for (int i = 0; i < FEW; i++)
      begin (slots[i], 1, data (RT_OP_PREAD, got[i], 512, 512 * (uint64_t) i));
    for (int i = 0; i < FEW; i++) {
      CHECK (outcome_of (slots[i]).err == 0);
      CHECK (memcmp (got[i], disk + 512 * i, 512) == 0);
    }
  }
  CHECK (close_connection (slots[0], 1) == EAGAIN);
  unload (slots[0]);
}
