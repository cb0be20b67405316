/* Request threads: which slots are theirs, what they run, and how they park for an answer. */
#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "exported.h"
#include "internal.h"
#include "ops.gen.h"

/* Memory of JavaScript that does not lie as C may count on, and the copy that the callback has instead. */
struct lent {
  uint64_t original; /* 0: the callback has what JavaScript gave */
  uint64_t copy;
  uint32_t count;
};

/* A callback that runs on a thread. Frames nest when a C layer below another one runs on its thread. */
struct frame {
  struct lent lent;
  int error; /* from nbdkit_set_error */
  char *said; /* the last text of nbdkit_error, or NULL */
  const struct rt_downcall *downcall;
};

static uint32_t max_slots, next_free[RT_MAX_SLOTS];

static pthread_mutex_t slots_lock = PTHREAD_MUTEX_INITIALIZER;
static uint32_t first_free = UINT32_MAX, never_used;
static pthread_key_t foreign_key;

static __thread int64_t this_slot = -1;
/* A signal handler reads it, where a model that allocates at the first use will not do. */
static __thread struct frame *this_frame __attribute__ ((tls_model ("initial-exec")));
/* The call of a queue that this thread runs, + 1, or 0. */
static __thread uint32_t this_call;

/* ---- slots */

static int64_t
slot_take (void)
{
  int64_t slot = -1;

  pthread_mutex_lock (&slots_lock);
  if (first_free != UINT32_MAX) {
    slot = first_free;
    first_free = next_free[slot];
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
  next_free[slot] = first_free;
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
rt_start (uint32_t max, void (*wake) (void))
{
  int err;

  if (max > RT_MAX_SLOTS)
    return EINVAL;
  err = rt_messages_start (max, RT_MAX_CALLS, wake);
  if (err != 0)
    return err;
  max_slots = max;
  rt_process_start ();
  return pthread_key_create (&foreign_key, foreign_thread_ends);
}

/* ---- running callbacks */

static const char *const op_names[] = RT_OP_NAMES;

/* Whether the callback answers by what it does, and returns 0 or -1. */
static bool
is_request (uint32_t op)
{
  switch (op) {
  case RT_OP_PREAD:
  case RT_OP_PWRITE:
  case RT_OP_FLUSH:
  case RT_OP_TRIM:
  case RT_OP_ZERO:
  case RT_OP_EXTENTS:
  case RT_OP_CACHE:
  case RT_OP__PREAD_V1:
  case RT_OP__PWRITE_V1:
  case RT_OP__FLUSH_V1:
  case RT_OP__TRIM_V1:
  case RT_OP__ZERO_V1:
    return true;
  default:
    return false;
  }
}

/* The module may have failed, or have done a part of it: what it meant is not known. */
static void
refuse_result (const struct rt_downcall *downcall, struct rt_result *result)
{
  const char *title = rt_module_title (downcall->module), *name = op_names[downcall->op];
  int length = (int) strlen (name);

  if (*name == '_') { /* "_pread_v1" */
    name++;
    length -= 4;
  }
  nbdkit_error ("%s: %.*s returned %" PRIi64 ": expected 0 or -1", title == NULL ? "a module" : title, length, name,
                result->ret);
  result->ret = -1;
  result->stored = EIO;
}

/* What a callback that has failed said last, for JavaScript to free. The layer above may fail for the same reason. */
static char *
said_of (struct frame *frame, const struct rt_result *result)
{
  bool failed = result->ret == -1 || (result->ret == 0 && frame->downcall->op == RT_OP_OPEN);
  char *said = frame->said, *copy = NULL;

  if (said == NULL)
    return NULL;
  if (this_frame == NULL) {
    if (failed)
      return said;
    free (said);
    return NULL;
  }
  free (this_frame->said);
  this_frame->said = said;
  if (failed)
    copy = strdup (said);
  return copy;
}

static void
run (const struct rt_downcall *downcall, uint32_t call, struct lent lent, struct rt_result *result)
{
  struct frame frame = { .downcall = downcall, .lent = lent }, *outer = this_frame;
  uint32_t outer_call = this_call;

  this_frame = &frame;
  this_call = call;
  *result = (struct rt_result) { 0 };
  errno = 0;
  rt_module_call (downcall, result);
  result->errno_after = errno;
  if (result->stored == 0)
    result->stored = frame.error;
  if (result->ret != 0 && result->ret != -1 && is_request (downcall->op))
    refuse_result (downcall, result);
  this_frame = outer;
  this_call = outer_call;
  result->said = said_of (&frame, result);
}

void
rt_run_neighbour (const struct rt_downcall *downcall, struct rt_result *result)
{
  struct lent none = { 0 };

  /* Calls of the layers below may be about the same memory. */
  run (downcall, 0, this_frame == NULL ? none : this_frame->lent, result);
}

/* That of malloc (3). Compilers count on it for __int128, vectors and the like. */
#define ALIGNMENT 16

/* Run a pread or pwrite whose memory does not lie as C may count on: the callback gets a copy. */
static void
run_with_copy (struct rt_downcall *downcall, uint32_t call, bool reads, struct rt_result *result)
{
  struct rt_data *data = &downcall->arguments.data;
  void *original = data->buf, *copy = malloc (data->count);
  struct lent lent = { .original = (uintptr_t) original, .copy = (uintptr_t) copy, .count = data->count };

  if (copy == NULL) {
    *result = (struct rt_result) { .ret = -1, .stored = ENOMEM, .errno_after = ENOMEM };
    return;
  }
  if (reads)
    memset (copy, 0, data->count);
  else
    memcpy (copy, original, data->count);
  data->buf = copy;
  run (downcall, call, lent, result);
  if (reads)
    memcpy (original, copy, data->count);
  free (copy);
}

void
rt_run (struct rt_downcall *downcall, uint32_t call, struct rt_result *result)
{
  bool reads = downcall->op == RT_OP_PREAD || downcall->op == RT_OP__PREAD_V1;
  bool writes = downcall->op == RT_OP_PWRITE || downcall->op == RT_OP__PWRITE_V1;
  struct rt_data *data = &downcall->arguments.data;
  struct lent none = { 0 };

  if ((reads || writes) && (uintptr_t) data->buf % ALIGNMENT != 0) {
    run_with_copy (downcall, call, reads, result);
    return;
  }
  /* The reply must not have what was there before where the callback does not fill it. */
  if (reads && !data->is_clear)
    memset (data->buf, 0, data->count);
  run (downcall, call, none, result);
}

/* What a callback writes from its copy JavaScript has as well, and need not look at the copy. */
static void
name_original (struct rt_upcall *upcall)
{
  const struct lent *lent = this_frame == NULL ? NULL : &this_frame->lent;
  struct rt_data *data = &upcall->arguments.data;
  uint64_t buf;

  if (lent == NULL || lent->original == 0 || upcall->op != RT_OP_PWRITE || data->count > lent->count)
    return;
  buf = (uintptr_t) data->buf;
  if (buf >= lent->copy && buf - lent->copy <= lent->count - data->count)
    data->buf = (void *) (uintptr_t) (lent->original + (buf - lent->copy));
}

/* The downcall that was sent to this thread in particular. */
static void
run_downcall (uint32_t slot)
{
  struct rt_downcall downcall = rt_slot_array[slot].in.body.downcall;
  struct rt_message *out = &rt_slot_array[slot].out;
  struct rt_result result;

  rt_run (&downcall, 0, &result);
  out->kind = RT_RESULT;
  out->body.result = result;
  rt_post (slot);
}

/* There is one at a time, since JavaScript waits for it. */
static struct {
  void (*run) (void *);
  void *data;
  sem_t done;
} errand;

void
rt_run_errand (int32_t slot, void (*run) (void *), void *data)
{
  uint32_t to = (uint32_t) slot;

  if (slot < 0) {
    run (data);
    return;
  }
  sem_init (&errand.done, 0, 0);
  errand.run = run;
  errand.data = data;
  rt_slot_array[to].in.kind = RT_ERRAND;
  rt_kick (&to, 1);
  while (sem_wait (&errand.done) == -1 && errno == EINTR)
    ;
}

static void
run_errand (void)
{
  errand.run (errand.data);
  sem_post (&errand.done);
}

static void *
request_thread (void *value)
{
  uint32_t slot = (uint32_t) (uintptr_t) value;
  bool stays = true;
  void *crash_stack = rt_crash_stack_new ();

  this_slot = slot;
  while (stays) {
    rt_wait_for_message (slot);
    if (rt_slot_array[slot].in.kind == RT_SERVE)
      stays = rt_serve (slot);
    else if (rt_slot_array[slot].in.kind == RT_ERRAND)
      run_errand ();
    else if (rt_slot_array[slot].in.kind == RT_LEAVE)
      stays = false;
    else
      run_downcall (slot);
  }
  rt_crash_stack_free (crash_stack);
  slot_give_back (slot);
  return NULL;
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

void
rt_thread_end (uint32_t slot)
{
  rt_slot_array[slot].in.kind = RT_LEAVE;
  rt_kick (&slot, 1);
}

/* ---- calls of the next layer */

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
  rt_slot_reset (slot);
  this_slot = slot;
  return 0;
}

int64_t
rt_upcall (void *nxdata, struct rt_upcall *upcall, struct rt_answer *answer)
{
  struct rt_next *next = nxdata;
  int saved_errno = errno, err;
  const struct rt_message *in;
  const struct rt_answer *answered;
  int64_t ret;

  upcall->target = next == NULL ? 0 : atomic_load (&next->target);
  if (upcall->target != 0 && rt_next_knows (next, upcall, &ret))
    return ret;
  err = upcall->target == 0 ? EINVAL : this_slot == -1 ? become_foreign () : 0;
  if (err != 0) {
    if (upcall->target == 0)
      rt_next_log_misuse (next);
    errno = err;
    return -1;
  }
  upcall->queued_call = this_call;
  upcall->connection = rt_this_connection ();
  name_original (upcall);
  in = &rt_slot_array[this_slot].in;
  rt_ask ((uint32_t) this_slot, upcall);
  while (in->kind == RT_DOWNCALL) {
    run_downcall ((uint32_t) this_slot);
    rt_wait_for_message ((uint32_t) this_slot);
  }
  answered = &in->body.answer;
  if (answered->err != 0) {
    /* As if the layer below had set it. What the filter makes of it counts: it may try again, or fail otherwise. */
    errno = answered->err;
    return -1;
  }
  if (answered->remember)
    rt_next_remember (next, upcall->op, answered->ret);
  if (answer != NULL)
    *answer = *answered;
  errno = saved_errno;
  return answered->ret;
}

void
rt_store_said (const char *message)
{
  if (this_frame == NULL)
    return;
  free (this_frame->said);
  this_frame->said = strndup (message, RT_MAX_SAID);
}

void
rt_said_free (void *said)
{
  free (said);
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
  return this_frame == NULL ? NULL : this_frame->downcall->connection;
}

const struct rt_downcall *
rt_this_downcall (void)
{
  return this_frame == NULL ? NULL : this_frame->downcall;
}
