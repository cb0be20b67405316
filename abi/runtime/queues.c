/* Queues of calls, one for each connection, and the request threads that serve them.
 *
 * JavaScript puts calls into a queue; threads take them out, run them one after the other, and sleep when there are
 * none left. As long as calls wait, one more thread is woken at a time, and that thread wakes the next: calls that
 * take long run side by side soon, and calls that take a moment are all run by a thread or two.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#include "internal.h"

/* Threads that are kept for later. */
#define MAX_IDLE 64

struct rt_queue {
  uint32_t first, last; /* a call's number + 1; 0 is none */
  uint32_t waiting;     /* calls that no thread has begun with */
  uint32_t active;      /* threads that serve it */
  uint32_t limit;       /* as many as there may be */
  bool waking;          /* a thread is on its way */
  bool starving;        /* there was no thread for it */
  bool closed;
  struct rt_queue *next_starving;
};

static struct rt_message calls[RT_MAX_CALLS];
static uint32_t next_call[RT_MAX_CALLS];

/* Guards all that follows, and the queues. It is held for a few instructions only, but while a thread is started. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uint32_t idle[RT_MAX_SLOTS], nr_idle, nr_serving;
static struct rt_queue *serves[RT_MAX_SLOTS];
static struct rt_queue *starving, **last_starving = &starving;

void *
rt_calls (void)
{
  return calls;
}

void *
rt_queue_new (uint32_t limit)
{
  struct rt_queue *queue = calloc (1, sizeof *queue);

  if (queue != NULL)
    queue->limit = limit;
  return queue;
}

static void
starve (struct rt_queue *queue)
{
  if (queue->starving)
    return;
  queue->starving = true;
  queue->next_starving = NULL;
  *last_starving = queue;
  last_starving = &queue->next_starving;
}

static struct rt_queue *
first_starving (void)
{
  struct rt_queue *queue = starving;

  if (queue == NULL)
    return NULL;
  starving = queue->next_starving;
  if (starving == NULL)
    last_starving = &starving;
  queue->starving = false;
  return queue;
}

/* Whether one more thread should serve the queue: then it is `*slot`, to be kicked when the lock is given back. */
static bool
engage (struct rt_queue *queue, uint32_t *slot)
{
  int32_t started;

  if (queue->waiting == 0 || queue->waking || queue->active >= queue->limit)
    return false;
  if (nr_idle > 0)
    *slot = idle[--nr_idle];
  else {
    started = rt_thread_new ();
    if (started < 0) {
      if (queue->active == 0 && nr_serving > 0)
        starve (queue);
      return false;
    }
    *slot = (uint32_t) started;
  }
  nr_serving++;
  queue->active++;
  queue->waking = true;
  serves[*slot] = queue;
  rt_slot_array[*slot].in.kind = RT_SERVE;
  return true;
}

int32_t
rt_submit (void *where, const uint32_t *which, uint32_t n)
{
  struct rt_queue *queue = where;
  uint32_t slot;
  bool woken;

  pthread_mutex_lock (&lock);
  queue->waiting += n;
  woken = engage (queue, &slot);
  if (nr_serving == 0) {
    /* Nothing is under way after which there would be a thread for it. */
    queue->waiting -= n;
    pthread_mutex_unlock (&lock);
    return EAGAIN;
  }
  for (uint32_t i = 0; i < n; i++) {
    next_call[which[i]] = 0;
    *(queue->first == 0 ? &queue->first : &next_call[queue->last - 1]) = which[i] + 1;
    queue->last = which[i] + 1;
  }
  pthread_mutex_unlock (&lock);
  if (woken)
    rt_kick (&slot, 1);
  return 0;
}

static void
run_call (uint32_t call)
{
  struct rt_downcall downcall = calls[call].body.downcall;
  struct rt_result result;

  rt_run (&downcall, call + 1, &result);
  calls[call].kind = RT_RESULT;
  calls[call].body.result = result;
  rt_post (RT_CALL_BIT | call);
}

/* Serve the queue until nothing waits in it. */
static void
serve (struct rt_queue *queue)
{
  while (queue->waiting > 0) {
    uint32_t call = queue->first - 1, other;
    bool woken;

    queue->first = next_call[call];
    queue->waiting--;
    woken = engage (queue, &other);
    pthread_mutex_unlock (&lock);
    if (woken)
      rt_kick (&other, 1);
    run_call (call);
    pthread_mutex_lock (&lock);
  }
  queue->active--;
  if (queue->closed && queue->active == 0 && !queue->starving)
    free (queue);
}

bool
rt_serve (uint32_t slot)
{
  struct rt_queue *queue;
  bool stays;

  pthread_mutex_lock (&lock);
  queue = serves[slot];
  queue->waking = false;
  serve (queue);
  while ((queue = first_starving ()) != NULL) {
    queue->active++;
    serve (queue);
  }
  nr_serving--;
  stays = nr_idle < MAX_IDLE;
  if (stays)
    idle[nr_idle++] = slot;
  pthread_mutex_unlock (&lock);
  return stays;
}

void
rt_queue_free (void *where)
{
  struct rt_queue *queue = where;

  pthread_mutex_lock (&lock);
  /* A thread may not have seen yet that it is empty. */
  if (queue->active == 0 && !queue->starving)
    free (queue);
  else
    queue->closed = true;
  pthread_mutex_unlock (&lock);
}
