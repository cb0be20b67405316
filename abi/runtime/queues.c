/* Queues of calls, one for each connection, and the request threads that serve them.
 *
 * JavaScript puts calls into a queue; threads take them out, run them one after the other, and sleep when there are
 * none left. One thread serves a queue whose calls are short: waking another costs more than the calls. If calls take
 * long on average, or the thread is stuck in one, another thread is woken while calls wait, and that one wakes the
 * next, so that they run side by side.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

#include "internal.h"
#include "runtime-limits.h"

struct rt_queue {
  uint32_t first, last; /* a call's number + 1; 0 is none */
  uint32_t waiting;     /* calls that no thread has begun with */
  uint32_t active;      /* threads that serve it */
  uint32_t stuck;       /* those of them that the watcher found stuck in calls */
  uint32_t stuck_until; /* the number of the last of these calls */
  uint32_t limit;       /* as many as there may be */
  uint32_t begun;       /* calls that a thread has begun with, ever: each call's number when it begins */
  int32_t average_ns;   /* how long a call takes */
  uint32_t long_calls;  /* since the average has been long */
  uint32_t seen_begun;  /* `begun` when the watcher looked last */
  bool waking;          /* a thread is on its way */
  bool starving;        /* there was no thread for it */
  bool watched;
  bool closed;
  struct rt_queue *next_starving, *next_watched;
};

static struct rt_message calls[RT_MAX_CALLS];
static uint32_t next_call[RT_MAX_CALLS];

/* Guards all that follows, and the queues. It is held for a few instructions only, but while a thread is started. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uint32_t idle[RT_MAX_SLOTS], nr_idle, nr_serving;
static struct rt_queue *serves[RT_MAX_SLOTS];
static struct rt_queue *starving, **last_starving = &starving;
static struct rt_queue *watched;
static pthread_cond_t watch_begins = PTHREAD_COND_INITIALIZER;
static enum { NO_WATCHER, WATCHING, WATCHER_FAILED } watcher;

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

static bool
has_long_calls (const struct rt_queue *queue)
{
  return queue->average_ns > LONG_CALL_NS || watcher == WATCHER_FAILED;
}

/* Whether `threads` that are not stuck are enough for the queue. */
static bool
enough (const struct rt_queue *queue, uint32_t threads)
{
  return queue->active - queue->stuck >= threads && !has_long_calls (queue);
}

/* Whether one more thread should serve the queue: then it is `*slot`, to be kicked when the lock is given back. */
static bool
engage (struct rt_queue *queue, uint32_t *slot)
{
  int32_t started;

  if (queue->waiting == 0 || queue->waking || queue->active >= queue->limit || enough (queue, 1))
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

/* A call of the queue took so long. */
static void
add_to_average (struct rt_queue *queue, int64_t ns)
{
  int32_t took = ns < MAX_COUNTED_NS ? (int32_t) ns : MAX_COUNTED_NS;

  queue->average_ns += (took - queue->average_ns) / AVERAGED_CALLS;
  if (!has_long_calls (queue))
    queue->long_calls = 0;
  else if (++queue->long_calls == LONG_CALLS_BEFORE_RETRY) {
    queue->long_calls = 0;
    queue->average_ns = LONG_CALL_NS / 2;
  }
}

/* Whether nothing refers to the queue, which has no calls any more. */
static bool
is_unused (const struct rt_queue *queue)
{
  return queue->active == 0 && !queue->starving && !queue->watched;
}

/* Look at a watched queue: if none of its threads has begun a call since the last look, wake another one. Returns
 * whether to look again. */
static bool
look_at (struct rt_queue *queue, uint32_t *slot, bool *woken)
{
  bool same = queue->begun == queue->seen_begun;

  queue->seen_begun = queue->begun;
  if (queue->waiting == 0)
    return false;
  if (!same || queue->waking)
    return true;
  queue->stuck = queue->active;
  queue->stuck_until = queue->begun;
  add_to_average (queue, MAX_COUNTED_NS);
  *woken = engage (queue, slot);
  return true;
}

static void *
watch (void *unused)
{
  const struct timespec pause = { .tv_nsec = WATCH_NS };

  (void) unused;
  pthread_mutex_lock (&lock);
  for (;;) {
    while (watched == NULL)
      pthread_cond_wait (&watch_begins, &lock);
    pthread_mutex_unlock (&lock);
    clock_nanosleep (CLOCK_MONOTONIC, 0, &pause, NULL);
    pthread_mutex_lock (&lock);
    for (struct rt_queue **link = &watched, *queue; (queue = *link) != NULL;) {
      uint32_t slot;
      bool woken = false;

      if (look_at (queue, &slot, &woken))
        link = &queue->next_watched;
      else {
        *link = queue->next_watched;
        queue->watched = false;
        if (queue->closed && is_unused (queue))
          free (queue);
      }
      if (woken)
        rt_kick (&slot, 1);
    }
  }
  return NULL;
}

static bool
start_watcher (void)
{
  pthread_t thread;

  if (pthread_create (&thread, NULL, watch, NULL) != 0)
    return false;
  pthread_setname_np (thread, "watch queues");
  pthread_detach (thread);
  return true;
}

/* If calls wait and no thread was woken for them, since calls are short or no thread could be started: have the watcher
 * see to it that the queue's threads are not stuck, in a disk or in a lock. */
static void
watch_if_alone (struct rt_queue *queue)
{
  if (queue->waiting == 0 || queue->waking || queue->active >= queue->limit)
    return;
  if (watcher == NO_WATCHER)
    watcher = start_watcher () ? WATCHING : WATCHER_FAILED;
  if (queue->watched || watcher == WATCHER_FAILED)
    return;
  queue->seen_begun = queue->begun - 1;
  queue->watched = true;
  queue->next_watched = watched;
  watched = queue;
  if (queue->next_watched == NULL)
    pthread_cond_signal (&watch_begins);
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
  watch_if_alone (queue);
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

static int64_t
nanoseconds (void)
{
  struct timespec now;

  clock_gettime (CLOCK_MONOTONIC, &now);
  return now.tv_sec * INT64_C (1000000000) + now.tv_nsec;
}

/* A thread that took call number `number` is back from it. */
static void
end_call (struct rt_queue *queue, uint32_t number, int64_t ns)
{
  add_to_average (queue, ns);
  if (queue->stuck > 0 && (int32_t) (queue->stuck_until - number) >= 0)
    queue->stuck--;
}

/* Serve the queue until nothing waits in it, or another thread is enough for it. */
static void
serve (struct rt_queue *queue)
{
  int64_t began = nanoseconds (), ended;

  while (queue->waiting > 0 && !enough (queue, 2)) {
    uint32_t call = queue->first - 1, number = ++queue->begun, other;
    bool woken;

    queue->first = next_call[call];
    queue->waiting--;
    woken = engage (queue, &other);
    watch_if_alone (queue);
    pthread_mutex_unlock (&lock);
    if (woken)
      rt_kick (&other, 1);
    run_call (call);
    ended = nanoseconds ();
    pthread_mutex_lock (&lock);
    end_call (queue, number, ended - began);
    began = ended;
  }
  queue->active--;
  /* The thread that is left may be stuck, though the watcher has not found it yet. */
  watch_if_alone (queue);
  if (queue->closed && is_unused (queue))
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
  stays = nr_idle < MAX_IDLE_THREADS;
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
  if (is_unused (queue))
    free (queue);
  else
    queue->closed = true;
  pthread_mutex_unlock (&lock);
}
