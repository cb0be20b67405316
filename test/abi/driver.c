/* A program that runs C modules in the native runtime without JavaScript, so that sanitizers see all of it:
 *
 *     driver SCENARIO [KEY=VALUE...] MODULE.so...
 *
 * The modules are stacked as they are given, over a disk in memory; a plugin may be the last. Those of the scenario
 * "functions" check themselves. Exits with 0 where all was as it should be.
 */
#define _GNU_SOURCE
#include "stand-in.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <string.h>

#include "functions.h"
#include "nbdkit-common.h"

static char *parameters[32];
static int nr_parameters;

/* ---- the life of a chain */

static void
configure (uint32_t slot)
{
  for (int i = 0; i < nr_layers; i++)
    ask_layer (slot, 0, i, RT_OP_LOAD);
  for (int i = 0; i < nr_parameters; i++) {
    /* They stay, as nbdkit promises. */
    char *key = parameters[i], *value = strchr (key, '=');

    *value++ = '\0';
    CHECK (ask (slot, 0, (arguments) { .op = RT_OP_CONFIG, .key = (uintptr_t) key, .value = (uintptr_t) value }).err
           == 0);
  }
  CHECK (ask (slot, 0, (arguments) { .op = RT_OP_CONFIG_COMPLETE }).err == 0);
  for (int i = 0; i < nr_layers; i++)
    ask_layer (slot, 0, i, RT_OP_GET_READY);
}

static void
unload (uint32_t slot)
{
  for (int i = 0; i < nr_layers; i++) {
    ask_layer (slot, 0, i, RT_OP_UNLOAD);
    rt_nxdata_free (nxdata_of (0, i));
  }
  rt_flush_stdout ();
}

static arguments
data (uint32_t op, void *buf, uint32_t count, uint64_t offset)
{
  return (arguments) { .op = op, .buf = (uintptr_t) buf, .count = count, .offset = offset };
}

static void
fill (unsigned char *buf, uint32_t count, uint32_t seed)
{
  for (uint32_t i = 0; i < count; i++)
    buf[i] = (unsigned char) (seed + i * 7 + i / 256);
}

/* Whatever the layers do to data on its way down, they undo on its way up. */
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
  /* Zero: done, or EOPNOTSUPP, upon which a server writes zeroes. */
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

static void
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

/* ---- many threads */

#define THREADS 8
#define REGION 16384u
#define ROUNDS 60

/* Each thread writes to a region of its own, then reads it back, and so on, all at the same time. */
static void
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
  CHECK (close_connection (slots[2], 1) == 0); /* on another thread than it was opened on */
  unload (slots[3]);
}

/* The filter slow.so with meet=N holds reads back until as many are there as threads. */
static void
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

/* More calls than threads, in queues of different connections and with different limits, and queues that come and go. */
static void
queues (void)
{
  static unsigned char got[CALLS][512];
  static const uint32_t limits[QUEUES] = { 1, 4, THREADS };
  uint32_t slot = (uint32_t) rt_thread_new ();
  void *queue[QUEUES];

  configure (slot);
  CHECK (open_connection (slot, 1, 0) == 0);
  CHECK (open_connection (slot, 2, 0) == 0);
  for (int round = 0; round < ROUNDS; round++) {
    answer_later = round % 2 == 0;
    memset (got, 0xee, sizeof got);
    for (int i = 0; i < QUEUES; i++)
      CHECK ((queue[i] = rt_queue_new (limits[i])) != NULL);
    for (uint32_t i = 0; i < CALLS; i++) {
      enqueue (queue[i % QUEUES], i, 1 + (int) i % 2, data (RT_OP_PREAD, got[i], 512, 512 * (uint64_t) i));
      if (i % 32 == 0)
        serve ();
    }
    for (uint32_t i = 0; i < CALLS; i++) {
      CHECK (outcome_of_call (i).err == 0);
      CHECK (memcmp (got[i], disk + 512 * i, 512) == 0);
    }
    for (int i = 0; i < QUEUES; i++)
      rt_queue_free (queue[i]);
  }
  CHECK (close_connection (slot, 1) == 0);
  CHECK (close_connection (slot, 2) == 0);
  unload (slot);
}

/* Calls that wait for one another in C: with slow.so meet=N as many threads come as there are calls. */
static void
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

/* One slot is left for all queues: its thread serves one after the other. With none left calls are refused. */
static void
starving (void)
{
  static unsigned char got[CALLS][512];
  uint32_t slot = (uint32_t) rt_thread_new ();
  void *queue[QUEUES];

  configure (slot);
  CHECK (open_connection (slot, 1, 0) == 0);
  for (int i = 0; i < QUEUES; i++)
    CHECK ((queue[i] = rt_queue_new (THREADS)) != NULL);
  for (int round = 0; round < ROUNDS; round++) {
    answer_later = round % 2 == 0;
    for (uint32_t i = 0; i < CALLS; i++)
      enqueue (queue[i % QUEUES], i, 1, data (RT_OP_PREAD, got[i], 512, 512 * (uint64_t) i));
    for (uint32_t i = 0; i < CALLS; i++) {
      CHECK (outcome_of_call (i).err == 0);
      CHECK (memcmp (got[i], disk + 512 * i, 512) == 0);
    }
  }
  for (int i = 0; i < QUEUES; i++)
    rt_queue_free (queue[i]);
  CHECK (close_connection (slot, 1) == 0);
  unload (slot);
}

static void
refused (void)
{
  uint32_t slot = (uint32_t) rt_thread_new (), call = 0;
  void *queue = rt_queue_new (THREADS);

  CHECK (slot == 0);
  CHECK (rt_submit (queue, &call, 1) == EAGAIN);
  CHECK (rt_submit (queue, &call, 1) == EAGAIN);
  rt_queue_free (queue);
}

#define FEW 40

/* As many threads as there are slots, all in use, and a filter's own thread that finds none left. */
static void
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

/* ---- what goes wrong */

static void
set_parameter (uint32_t slot, const char *key, const char *value)
{
  arguments a = { .op = RT_OP_CONFIG, .key = (uintptr_t) key, .value = (uintptr_t) value };
  CHECK (ask (slot, 0, a).err == 0);
}

/* failing.so, alone or below others that pass errors on: each callback with each way of telling an error. */
static void
errors (void)
{
  static const char *const ways[] = { "errno", "set_error", "both", "nothing" };
  static const struct { uint32_t op; const char *name; } ops[] = {
    { RT_OP_GET_SIZE, "get_size" }, { RT_OP_CAN_WRITE, "can_write" }, { RT_OP_CAN_FLUSH, "can_flush" },
    { RT_OP_IS_ROTATIONAL, "is_rotational" }, { RT_OP_CAN_TRIM, "can_trim" }, { RT_OP_PREAD, "pread" },
    { RT_OP_PWRITE, "pwrite" }, { RT_OP_FLUSH, "flush" }, { RT_OP_TRIM, "trim" }, { RT_OP_ZERO, "zero" },
  };
  unsigned char buf[512] = { 0 };
  uint32_t slot = (uint32_t) rt_thread_new ();

  configure (slot);
  CHECK (open_connection (slot, 1, 0) == 0);
  set_parameter (slot, "fail-with", "ENOSPC");
  for (size_t i = 0; i < sizeof ops / sizeof ops[0]; i++) {
    arguments a = data (ops[i].op, buf, sizeof buf, 0);

    set_parameter (slot, "fail-in", ops[i].name);
    for (size_t way = 0; way < sizeof ways / sizeof ways[0]; way++) {
      set_parameter (slot, "fail-how", ways[way]);
      CHECK (ask (slot, 1, a).err == (way == 3 ? EIO : ENOSPC));
      CHECK (ask (slot, 1, a).ret == -1);
    }
    set_parameter (slot, "fail-in", "");
    CHECK (ask (slot, 1, a).err == 0);
  }
  set_parameter (slot, "fail-how", "errno");
  set_parameter (slot, "fail-in", "finalize");
  CHECK (close_connection (slot, 1) == ENOSPC);
  set_parameter (slot, "fail-in", "open");
  CHECK (open_connection (slot, 1, 0) == ENOSPC);
  CHECK (close_connection (slot, 1) == 0);
  set_parameter (slot, "fail-in", "prepare");
  CHECK (open_connection (slot, 1, 0) == ENOSPC);
  CHECK (close_connection (slot, 1) == 0);
  unload (slot);
}

/* second-try.so: an error below that a filter deals with, or puts another in the place of. */
static void
recovery (void)
{
  unsigned char buf[600], got[600];
  uint32_t slot = (uint32_t) rt_thread_new ();
  struct outcome write;

  configure (slot);
  CHECK (open_connection (slot, 1, 0) == 0);
  fill (buf, sizeof buf, 1);
  CHECK (ask (slot, 1, data (RT_OP_PWRITE, buf, sizeof buf, 10)).err == 0);

  disk_error = EIO;
  disk_failures = 1;
  CHECK (ask (slot, 1, data (RT_OP_PREAD, got, sizeof got, 10)).err == 0);
  CHECK (memcmp (got, buf, sizeof buf) == 0);
  disk_failures = 2;
  CHECK (ask (slot, 1, data (RT_OP_PREAD, got, sizeof got, 10)).err == EIO);
  disk_error = EOPNOTSUPP;
  disk_failures = 1;
  CHECK (ask (slot, 1, data (RT_OP_ZERO, NULL, sizeof buf, 10)).err == 0);
  CHECK (ask (slot, 1, data (RT_OP_PREAD, got, sizeof got, 10)).err == 0);
  CHECK (got[0] == 0 && memcmp (got, got + 1, sizeof got - 1) == 0);
  disk_error = EIO;
  disk_failures = 1;
  write = ask (slot, 1, data (RT_OP_PWRITE, buf, sizeof buf, 10));
  CHECK (write.ret == -1 && write.errno_after == ENOSPC);
  CHECK (close_connection (slot, 1) == 0);
  unload (slot);
}

/* Calls through an nxdata that is freed, or that never was, and ops that there are not. */
static void
misuse (void)
{
  unsigned char buf[512];
  uint32_t slot = (uint32_t) rt_thread_new ();
  struct rt_message m;
  void *nxdata;

  configure (slot);
  CHECK (open_connection (slot, 1, 0) == 0);
  m = data (RT_OP_PREAD, buf, sizeof buf, 0);
  m.kind = RT_DOWNCALL;
  m.module = module_of (0);
  m.handle = (uintptr_t) handle_of (1, 0);
  m.nxdata = (uintptr_t) nxdata_of (1, 0);
  CHECK (send_raw (slot, m).err == 0);
  nxdata = rt_nxdata_new (1, -1);
  rt_nxdata_free (nxdata);
  m.nxdata = (uintptr_t) nxdata;
  CHECK (send_raw (slot, m).err == EINVAL);
  m.nxdata = 0;
  CHECK (send_raw (slot, m).err == EINVAL);
  m.op = 999;
  CHECK (send_raw (slot, m).err == EINVAL);

  /* A freed one is not handed out again soon, and all of them can be freed and made. */
  for (int i = 0; i < 3000; i++) {
    void *other = rt_nxdata_new (7, -1);
    CHECK (other != NULL && other != nxdata);
    rt_nxdata_free (other);
  }
  for (int i = 0; i < 3000; i++)
    rt_nxdata_free (rt_nxdata_new (7, -1));

  CHECK (rt_module_add (99, &m) == -EINVAL);
  while (rt_module_add (RT_ADAPTER_PLUGIN, &m) >= 0)
    ;
  CHECK (rt_module_add (RT_ADAPTER_PLUGIN, &m) == -ENOSPC);
  CHECK (rt_dlopen ("/nowhere.so") == NULL && strstr (rt_dlerror (), "nowhere") != NULL);
  CHECK (close_connection (slot, 1) == 0);
  unload (slot);
}

/* foreign.so, whose form is not known: it opens the layer below once, or the server does, and `readonly` is right. */
static void
either (void)
{
  unsigned char buf[512];
  uint32_t slot = (uint32_t) rt_thread_new ();

  fill (disk, DISK_SIZE, 3);
  configure (slot);
  for (int round = 0; round < 2; round++)
    for (int readonly = 0; readonly <= 1; readonly++) {
      int opened = disk_calls[RT_OP_OPEN];

      CHECK (open_connection (slot, 1, readonly) == 0);
      CHECK (disk_calls[RT_OP_OPEN] == opened + 1);
      CHECK (*(int *) handle_of (1, 0) == readonly);
      CHECK (ask (slot, 1, (arguments) { .op = RT_OP_GET_SIZE }).ret == DISK_SIZE - 512);
      CHECK (ask (slot, 1, data (RT_OP_PREAD, buf, 512, 0)).err == 0);
      CHECK (memcmp (buf, disk + 512, 512) == 0);
      CHECK (ask (slot, 1, data (RT_OP_PWRITE, buf, 512, 0)).err == (readonly ? EROFS : 0));
      CHECK (close_connection (slot, 1) == 0);
    }
  unload (slot);
}

/* Configure and unload only: what modules do with their parameters. */
static void
parameters_only (void)
{
  uint32_t slot = (uint32_t) rt_thread_new ();

  configure (slot);
  unload (slot);
}

/* ---- what sanitizers must find, or else their silence says nothing */

static int shared_by_accident;

static void *
count_up (void *unused)
{
  shared_by_accident++;
  return unused;
}

static void
race (void)
{
  pthread_t thread;

  CHECK (pthread_create (&thread, NULL, count_up, NULL) == 0);
  shared_by_accident++;
  CHECK (pthread_join (thread, NULL) == 0);
}

static void
leak (void)
{
  void *volatile lost = malloc (1234);

  CHECK (lost != NULL);
  lost = NULL;
}

static void
overrun (void)
{
  volatile char *volatile small = calloc (4, 1);

  CHECK (small != NULL);
  small[3] = small[4];
  free ((void *) small);
}

static void
overflow (void)
{
  volatile int largest = INT_MAX;

  largest = largest + 1;
}

static const struct { const char *name; void (*run) (void); uint32_t slots; } scenarios[] = {
  { "life", life, RT_MAX_SLOTS },     { "parallel", parallel, RT_MAX_SLOTS }, { "meeting", meeting, THREADS },
  { "limits", limits, FEW },          { "errors", errors, 2 },                { "recovery", recovery, 1 },
  { "misuse", misuse, 1 },            { "either", either, 1 },                { "parameters", parameters_only, 1 },
  { "race", race, 1 },                { "leak", leak, 1 },                    { "overrun", overrun, 1 },
  { "overflow", overflow, 1 },        { "queues", queues, RT_MAX_SLOTS },
  { "together", together, RT_MAX_SLOTS }, { "starving", starving, 2 },          { "refused", refused, 1 },
  { "functions", functions, 1 },
};

int
main (int argc, char *argv[])
{
  for (size_t i = 0; argc > 1 && i < sizeof scenarios / sizeof scenarios[0]; i++) {
    if (strcmp (argv[1], scenarios[i].name) != 0)
      continue;
    rt_set_verbose (1);
    stand_in_start (scenarios[i].slots);
    for (int arg = 2; arg < argc; arg++) {
      if (strchr (argv[arg], '=') != NULL)
        parameters[nr_parameters++] = argv[arg];
      else if (scenarios[i].run == functions)
        check_generation (argv[arg]);
      else
        stand_in_load (argv[arg]);
    }
    scenarios[i].run ();
    return 0;
  }
  fprintf (stderr, "usage: driver SCENARIO [KEY=VALUE...] MODULE.so...\n");
  return 1;
}
