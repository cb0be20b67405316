/* Messages between threads and JavaScript: the ring that JavaScript reads, and the slots that threads wait on. */
#define _GNU_SOURCE
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "internal.h"
#include "runtime-limits.h"

/* Values of line.signal. */
enum { NOTHING, MESSAGE, SLEEPING };

/* The private part of a slot, on cache lines of its own. */
struct line {
  _Alignas (64) _Atomic uint32_t signal;
};

/* The futex of 32 adjacent slots. Each slot has a bit of its own, so that one system call can wake any of them. */
struct group {
  _Alignas (64) _Atomic uint32_t changes;
};
#define GROUP_SLOTS 32

struct rt_slot *rt_slot_array;
static struct line *lines;
static struct group groups[RT_MAX_SLOTS / GROUP_SLOTS];

static _Atomic uint32_t *ring;
static uint32_t ring_mask, ring_head;
static _Atomic uint32_t ring_tail;
static _Atomic uint32_t sleeping = 1;
/* JavaScript is in rt_poll, so it will receive a message at once. */
static _Atomic uint32_t polling;
static void (*wake_javascript) (void);

int
rt_messages_start (uint32_t slots, uint32_t calls, void (*wake) (void))
{
  uint32_t size = 1;

  /* Each slot and each call has at most one message in the ring, so the ring cannot be full. */
  while (size < slots + calls)
    size *= 2;
  rt_slot_array = calloc (slots, sizeof *rt_slot_array);
  lines = aligned_alloc (64, slots * sizeof *lines);
  ring = calloc (size, sizeof *ring);
  if (rt_slot_array == NULL || lines == NULL || ring == NULL)
    return ENOMEM;
  memset (lines, 0, slots * sizeof *lines);
  ring_mask = size - 1;
  wake_javascript = wake;
  return 0;
}

void *
rt_slots (void)
{
  return rt_slot_array;
}

void
rt_slot_reset (uint32_t slot)
{
  atomic_store (&lines[slot].signal, NOTHING);
}

/* ---- to JavaScript */

void
rt_post (uint32_t what)
{
  uint32_t at = atomic_fetch_add (&ring_tail, 1);

  atomic_store (&ring[at & ring_mask], what + 1);
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
  /* Posting a message before the store above did not wake JavaScript. */
  n = drain (found, max);
  if (n > 0)
    atomic_store (&sleeping, 0);
  return n;
}

static void
relax (void)
{
#ifdef __x86_64__
  __builtin_ia32_pause ();
#endif
}

static int64_t
microseconds_since (const struct timespec *start)
{
  struct timespec now;

  clock_gettime (CLOCK_MONOTONIC, &now);
  return (now.tv_sec - start->tv_sec) * INT64_C (1000000) + (now.tv_nsec - start->tv_nsec) / 1000;
}

uint32_t
rt_poll (uint32_t *found, uint32_t max, uint32_t microseconds)
{
  struct timespec start;
  uint32_t n;

  atomic_store (&sleeping, 0);
  atomic_store (&polling, 1);
  clock_gettime (CLOCK_MONOTONIC, &start);
  while ((n = drain (found, max)) == 0 && microseconds_since (&start) < microseconds)
    relax ();
  atomic_store (&polling, 0);
  return n;
}

/* ---- to threads */

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

void
rt_kick (const uint32_t *which, uint32_t n)
{
  uint32_t group = 0, bits = 0;

  /* The slots in use are mostly the first ones, so there is rarely more than one group. */
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

/* Poll for the answer while JavaScript is awake: it arrives sooner than a sleep and a wake-up would take. */
static void
poll_for_answer (uint32_t slot)
{
  struct timespec start;

  clock_gettime (CLOCK_MONOTONIC, &start);
  while (atomic_load (&lines[slot].signal) != MESSAGE && microseconds_since (&start) < ANSWER_POLL_MICROSECONDS)
    relax ();
}

void
rt_wait_for_message (uint32_t slot)
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
    /* Returns at once if a message has arrived since `changes` was read. */
    syscall (SYS_futex, &group->changes, FUTEX_WAIT_BITSET_PRIVATE, changes, NULL, NULL, bit_of (slot));
  }
}

void
rt_ask (uint32_t slot, const struct rt_upcall *upcall)
{
  struct rt_message *out = &rt_slot_array[slot].out;
  bool awake = atomic_load (&polling);

  out->kind = RT_UPCALL;
  out->body.upcall = *upcall;
  rt_post (slot);
  if (awake)
    poll_for_answer (slot);
  rt_wait_for_message (slot);
}
