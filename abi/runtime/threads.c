/* Slots, request threads, and the messages between them and JavaScript. */
#define _GNU_SOURCE
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "internal.h"

/* How long a thread looks for an answer before it sleeps. */
#define WATCH_MICROSECONDS 20

/* Values of line.signal. */
enum { NOTHING, MESSAGE, SLEEPING };

/* The private part of a slot, on cache lines of its own. */
struct line {
  _Alignas (64) _Atomic uint32_t signal;
  _Atomic uint32_t has_next;
  uint32_t turn; /* which out is next: only its thread uses it */
  uint32_t next_free;
};

/* What 32 neighbouring slots sleep on, each with a bit of its own, so that one system call wakes any of them. */
struct group {
  _Alignas (64) _Atomic uint32_t changes;
};
#define GROUP_SLOTS 32

/* A callback that runs on a thread. Frames nest when a C layer below another one runs on its thread. */
struct frame {
  int error; /* from nbdkit_set_error */
  const struct rt_message *downcall;
};

static struct rt_slot *slots;
static struct line *lines;
static struct group groups[RT_MAX_SLOTS / GROUP_SLOTS];
static uint32_t max_slots;

static pthread_mutex_t slots_lock = PTHREAD_MUTEX_INITIALIZER;
static uint32_t first_free = UINT32_MAX, never_used;
static pthread_key_t foreign_key;

static _Atomic uint32_t *ring;
static uint32_t ring_mask, ring_head;
static _Atomic uint32_t ring_tail;
static _Atomic uint32_t sleeping = 1;
/* JavaScript is in rt_poll, so it will take up what is posted at once. */
static _Atomic uint32_t polling;
static void (*wake_javascript) (void);

static __thread int64_t this_slot = -1;
/* A signal handler reads it, where a model that allocates at the first use will not do. */
static __thread struct frame *this_frame __attribute__ ((tls_model ("initial-exec")));

/* ---- slots */

static int64_t
slot_take (void)
{
  int64_t slot = -1;

  pthread_mutex_lock (&slots_lock);
  if (first_free != UINT32_MAX) {
    slot = first_free;
    first_free = lines[slot].next_free;
  }
  else if (never_used < max_slots)
    slot = never_used++;
  pthread_mutex_unlock (&slots_lock);
  return slot;
}

static void
slot_give_back (uint32_t slot)
{
  pthread_mutex_lock (&slots_lock);
  lines[slot].next_free = first_free;
  first_free = slot;
  pthread_mutex_unlock (&slots_lock);
}

/* A thread that a module made ends after it called into the chain. */
static void
foreign_thread_ends (void *value)
{
  slot_give_back ((uint32_t) (uintptr_t) value - 1);
  this_slot = -1;
}

int32_t
rt_start (uint32_t max, void *wake)
{
  uint32_t size = 1;

  if (max > RT_MAX_SLOTS)
    return EINVAL;
  while (size < 2 * max)
    size *= 2;
  slots = calloc (max, sizeof *slots);
  lines = aligned_alloc (64, max * sizeof *lines);
  ring = calloc (size, sizeof *ring);
  if (slots == NULL || lines == NULL || ring == NULL)
    return ENOMEM;
  memset (lines, 0, max * sizeof *lines);
  ring_mask = size - 1;
  max_slots = max;
  *(void **) &wake_javascript = wake;
  return pthread_key_create (&foreign_key, foreign_thread_ends);
}

void *
rt_slots (void)
{
  return slots;
}

/* ---- messages */

/* A thread says something to JavaScript. */
static void
post (uint32_t slot, const struct rt_message *m)
{
  uint32_t turn = lines[slot].turn++ & 1, at;

  *(turn == 0 ? &slots[slot].out_0 : &slots[slot].out_1) = *m;
  at = atomic_fetch_add (&ring_tail, 1);
  /* A slot has at most two messages under way, so the ring cannot be full. */
  atomic_store (&ring[at & ring_mask], 2 * slot + turn + 1);
  if (atomic_load (&sleeping) && atomic_exchange (&sleeping, 0))
    wake_javascript ();
}

static uint32_t
drain (uint32_t *found, uint32_t max)
{
  uint32_t n = 0;

  while (n < max) {
    uint32_t message = atomic_load (&ring[ring_head & ring_mask]);
    if (message == 0)
      break;
    atomic_store (&ring[ring_head & ring_mask], 0);
    ring_head++;
    found[n++] = message - 1;
  }
  return n;
}

uint32_t
rt_reap (uint32_t *found, uint32_t max)
{
  uint32_t n = drain (found, max);

  if (n > 0)
    return n;
  atomic_store (&sleeping, 1);
  /* A message that was posted before the store above woke nobody. */
  n = drain (found, max);
  if (n > 0)
    atomic_store (&sleeping, 0);
  return n;
}

static uint32_t
bit_of (uint32_t slot)
{
  return 1u << slot % GROUP_SLOTS;
}

static void
wake_group (struct group *group, uint32_t bits)
{
  atomic_fetch_add (&group->changes, 1);
  syscall (SYS_futex, &group->changes, FUTEX_WAKE_BITSET_PRIVATE, INT_MAX, NULL, NULL, bits);
}

static void
relax (void)
{
#ifdef __x86_64__
  __builtin_ia32_pause ();
#endif
}

static int64_t
microseconds_between (const struct timespec *start, const struct timespec *now)
{
  return (now->tv_sec - start->tv_sec) * INT64_C (1000000) + (now->tv_nsec - start->tv_nsec) / 1000;
}

uint32_t
rt_poll (uint32_t *found, uint32_t max, uint32_t microseconds)
{
  struct timespec start, now;
  uint32_t n;

  atomic_store (&sleeping, 0);
  atomic_store (&polling, 1);
  clock_gettime (CLOCK_MONOTONIC, &start);
  do {
    for (int i = 0; i < 20; i++) {
      n = drain (found, max);
      if (n > 0)
        break;
      relax ();
    }
    clock_gettime (CLOCK_MONOTONIC, &now);
  } while (n == 0 && microseconds_between (&start, &now) < microseconds);
  atomic_store (&polling, 0);
  return n;
}

void
rt_kick (const uint32_t *which, uint32_t n)
{
  uint32_t group = 0, bits = 0;

  /* Slots in use are mostly the first ones, so that there is seldom more than one group. */
  for (uint32_t i = 0; i < n; i++) {
    uint32_t slot = which[i];

    if (atomic_exchange (&lines[slot].signal, MESSAGE) != SLEEPING)
      continue;
    if (bits != 0 && slot / GROUP_SLOTS != group) {
      wake_group (&groups[group], bits);
      bits = 0;
    }
    group = slot / GROUP_SLOTS;
    bits |= bit_of (slot);
  }
  if (bits != 0)
    wake_group (&groups[group], bits);
}

/* Look for the answer of a JavaScript that is wide awake: it is there sooner than a sleep would be over. */
static void
watch (uint32_t slot)
{
  struct timespec start, now;

  clock_gettime (CLOCK_MONOTONIC, &start);
  do {
    for (int i = 0; i < 20 && atomic_load (&lines[slot].signal) != MESSAGE; i++)
      relax ();
    clock_gettime (CLOCK_MONOTONIC, &now);
  } while (atomic_load (&lines[slot].signal) != MESSAGE && microseconds_between (&start, &now) < WATCH_MICROSECONDS);
}

static void
wait_for_message (uint32_t slot)
{
  struct line *line = &lines[slot];
  struct group *group = &groups[slot / GROUP_SLOTS];

  for (;;) {
    uint32_t changes = atomic_load (&group->changes), expected = MESSAGE;

    if (atomic_compare_exchange_strong (&line->signal, &expected, NOTHING))
      return;
    if (expected == NOTHING &&
        !atomic_compare_exchange_strong (&line->signal, &expected, SLEEPING))
      continue;
    /* Returns at once where a message came since `changes` was read. */
    syscall (SYS_futex, &group->changes, FUTEX_WAIT_BITSET_PRIVATE, changes, NULL, NULL, bit_of (slot));
  }
}

/* ---- running callbacks */

static void
run_downcall (uint32_t slot, struct rt_message m)
{
  struct frame frame = { .downcall = &m }, *outer = this_frame;

  this_frame = &frame;
  errno = 0;
  rt_module_call (&m);
  m.flags = (uint32_t) errno;
  m.err = frame.error;
  this_frame = outer;
  m.kind = RT_DONE;
  post (slot, &m);
}

static void *
request_thread (void *value)
{
  uint32_t slot = (uint32_t) (uintptr_t) value;

  this_slot = slot;
  for (;;) {
    wait_for_message (slot);
    if (slots[slot].in.kind == RT_END)
      break;
    run_downcall (slot, slots[slot].in);
    while (atomic_exchange (&lines[slot].has_next, 0))
      run_downcall (slot, slots[slot].next);
  }
  slot_give_back (slot);
  return NULL;
}

void
rt_post_next (uint32_t slot)
{
  atomic_store (&lines[slot].has_next, 1);
}

int32_t
rt_take_back_next (uint32_t slot)
{
  return (int32_t) atomic_exchange (&lines[slot].has_next, 0);
}

void
rt_thread_end (uint32_t slot)
{
  slots[slot].in.kind = RT_END;
  rt_kick (&slot, 1);
}

int32_t
rt_thread_new (void)
{
  int64_t slot = slot_take ();
  pthread_t thread;
  char name[16];
  int err;

  if (slot == -1)
    return -EAGAIN;
  /* No signals are blocked: the kernel gives those of the process to its first thread, JavaScript's, and
   * programs that a module starts inherit the mask. */
  err = pthread_create (&thread, NULL, request_thread, (void *) (uintptr_t) slot);
  if (err != 0) {
    slot_give_back ((uint32_t) slot);
    return -err;
  }
  snprintf (name, sizeof name, "request %d", (int) slot);
  pthread_setname_np (thread, name);
  pthread_detach (thread);
  return (int32_t) slot;
}

/* ---- calls of the next layer */

struct nxdata {
  _Atomic uint32_t target; /* 0: freed */
  struct nxdata *next_free;
};
static struct nxdata *free_nxdata, **last_free_nxdata = &free_nxdata;
static uint32_t nr_free_nxdata;

/* Kept back this long, so that a late call through a freed one is refused and does not reach another client's layer. */
#define QUARANTINE 4096

void *
rt_nxdata_new (uint32_t target)
{
  struct nxdata *n = free_nxdata;

  if (nr_free_nxdata > QUARANTINE) {
    free_nxdata = n->next_free;
    nr_free_nxdata--;
  }
  else {
    n = calloc (1, sizeof *n);
    if (n == NULL)
      return NULL;
  }
  n->next_free = NULL;
  atomic_store (&n->target, target);
  return n;
}

void
rt_nxdata_free (void *nxdata)
{
  struct nxdata *n = nxdata;

  if (atomic_exchange (&n->target, 0) == 0)
    return;
  *last_free_nxdata = n;
  last_free_nxdata = &n->next_free;
  nr_free_nxdata++;
}

static int
become_foreign (void)
{
  int64_t slot = slot_take ();
  int err;

  if (slot == -1)
    return EAGAIN;
  err = pthread_setspecific (foreign_key, (void *) (uintptr_t) (slot + 1));
  if (err != 0) {
    slot_give_back ((uint32_t) slot);
    return err;
  }
  atomic_store (&lines[slot].signal, NOTHING);
  this_slot = slot;
  return 0;
}

int64_t
rt_upcall (void *nxdata, struct rt_message *m)
{
  struct nxdata *n = nxdata;
  int saved_errno = errno, err;
  uint32_t slot;

  m->kind = RT_UPCALL;
  m->target = n == NULL ? 0 : atomic_load (&n->target);
  err = m->target == 0 ? EINVAL : this_slot == -1 ? become_foreign () : 0;
  if (err != 0) {
    errno = err;
    return -1;
  }
  slot = (uint32_t) this_slot;
  if (atomic_load (&polling)) {
    post (slot, m);
    watch (slot);
  }
  else
    post (slot, m);
  for (;;) {
    wait_for_message (slot);
    if (slots[slot].in.kind == RT_ANSWER)
      break;
    run_downcall (slot, slots[slot].in);
  }
  err = slots[slot].in.err;
  if (err != 0) {
    /* As if the layer below had set it. What the filter makes of it counts: it may try again, or fail otherwise. */
    errno = err;
    return -1;
  }
  errno = saved_errno;
  return slots[slot].in.ret;
}

void
rt_store_error (int err)
{
  if (this_frame != NULL)
    this_frame->error = err;
  else
    errno = err;
}

struct rt_connection *
rt_this_connection (void)
{
  return this_frame == NULL ? NULL : (struct rt_connection *) (uintptr_t) this_frame->downcall->connection;
}

const struct rt_message *
rt_this_downcall (void)
{
  return this_frame == NULL ? NULL : this_frame->downcall;
}
