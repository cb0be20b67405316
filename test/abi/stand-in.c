/* The event loop in JavaScript's place: see stand-in.h. */
#define _GNU_SOURCE
#include "stand-in.h"

#include <errno.h>
#include <semaphore.h>
#include <string.h>
#include <time.h>

#include "connections.h"
#include "layers.h"

#define DEADLINE_SECONDS 60
#define MAX_DEPTH 64

bool answer_later;

/* ---- the calls of each thread */

/* ASK: a layer or the driver calls a layer. DOWN: C runs the callback for the ASK below it. */
struct frame {
  enum { ASK, DOWN } kind;
  bool root;       /* ASK: the driver is the caller */
  bool one_layer;  /* ASK: other layers are not called instead */
  int connection;
  int layer;       /* DOWN: the layer that runs. ASK: the first layer that may answer */
  arguments asked;
};

struct track {
  struct frame frames[MAX_DEPTH];
  int depth;
  bool finished;
  struct outcome outcome;
};

/* The last one is for queued calls whose slot is unknown. */
static struct track tracks[RT_MAX_SLOTS + 1];
#define UNKNOWN_SLOT RT_MAX_SLOTS
#define NO_SLOT UINT32_MAX

/* A call in a queue. */
struct queued {
  arguments arguments;
  int connection;
  int layer;     /* the layer that it calls */
  uint32_t slot; /* of its thread, known after its first upcall */
  bool finished;
  struct outcome outcome;
};
static struct queued queued[MAX_QUEUED];
static struct rt_slot *slots;
static sem_t awake;

static uint32_t kicks[RT_MAX_SLOTS], nr_kicks;
static uint32_t deferred[RT_MAX_SLOTS], nr_deferred;
static bool polls;

static uint32_t
some_number (void)
{
  static uint32_t state = 2463534242u;

  state ^= state << 13;
  state ^= state >> 17;
  return state ^= state << 5;
}

static void
wake (void)
{
  sem_post (&awake);
}

void
stand_in_start (uint32_t max_slots)
{
  CHECK (sem_init (&awake, 0, 0) == 0);
  CHECK (rt_start (max_slots, wake) == 0);
  slots = rt_slots ();
  disk_start ();
}

static struct frame *
push (uint32_t slot)
{
  struct track *track = &tracks[slot];

  CHECK (track->depth < MAX_DEPTH);
  memset (&track->frames[track->depth], 0, sizeof track->frames[0]);
  return &track->frames[track->depth++];
}

static void
post (uint32_t slot, struct rt_message message)
{
  slots[slot].in = message;
  kicks[nr_kicks++] = slot;
}

static void
post_downcall (uint32_t slot, struct rt_downcall downcall)
{
  post (slot, (struct rt_message) { .kind = RT_DOWNCALL, .body.downcall = downcall });
}

static void pass_on (uint32_t slot, int layer);

static struct asked
what_of (const struct frame *ask)
{
  return (struct asked) { ask->connection, ask->layer, &ask->asked };
}

/* Answer the ASK on top of the thread's frames. */
static void
answer (uint32_t slot, struct rt_answer a, int errno_after)
{
  struct track *track = &tracks[slot];
  struct frame *top = &track->frames[track->depth - 1];

  CHECK (track->depth > 0 && top->kind == ASK);
  track->depth--;
  if (top->asked.op == RT_OP_GET_SIZE && a.err == 0)
    connections[top->connection].size[top->layer] = a.ret;
  if (top->root) {
    track->finished = true;
    track->outcome = (struct outcome) { a.ret, a.err, errno_after, a.minimum, a.preferred, a.maximum };
  }
  else {
    a.remember = a.err == 0 && remembered (what_of (top));
    post (slot, (struct rt_message) { .kind = RT_ANSWER, .body.answer = a });
  }
}

static void
answer_number (uint32_t slot, int64_t ret, int err)
{
  answer (slot, (struct rt_answer) { .ret = ret, .err = err }, 0);
}

static void
answer_from_below (uint32_t slot)
{
  struct track *track = &tracks[slot];
  const struct frame *asked = &track->frames[track->depth - 1];
  struct rt_answer a = { .ret = 0 };

  if (below_does (&asked->asked, &a) && a.err == 0 && !asked->root)
    allow_shortcut (what_of (asked), nr_layers);
  answer (slot, a, 0);
}

/* ---- messages */

/* The downcall that makes a layer run `op` with the arguments. */
static struct rt_downcall
downcall_of (const arguments *a, int connection, int layer, uint32_t op)
{
  struct rt_downcall downcall = {
    .op = op,
    .module = layers[layer].module,
    .connection = layers[layer].connection,
    .nxdata = connections[connection].nxdata[layer],
    .handle = connections[connection].handle[layer],
    .export_name = op == RT_OP_CONFIG ? NULL : "",
    .arguments = a->with,
  };

  if (op == RT_OP_OPEN && a->with.open.export_name == NULL)
    downcall.arguments.open.export_name = ""; /* older filters pass none */
  return downcall;
}

static void
push_down (uint32_t slot, int layer, uint32_t op)
{
  const struct frame asked = tracks[slot].frames[tracks[slot].depth - 1];
  struct frame *down = push (slot);

  down->kind = DOWN;
  down->layer = layer;
  down->connection = asked.connection;
  down->asked = asked.asked;
  down->asked.op = op;
}

static void
call_down (uint32_t slot, int layer, uint32_t op)
{
  const struct frame *asked = &tracks[slot].frames[tracks[slot].depth - 1];
  struct rt_downcall downcall = downcall_of (&asked->asked, asked->connection, layer, op);

  push_down (slot, layer, op);
  post_downcall (slot, downcall);
}

/* Call the first layer from `layer` on that has the callback. */
static void
pass_on (uint32_t slot, int layer)
{
  struct frame *asked = &tracks[slot].frames[tracks[slot].depth - 1];
  struct connection *c = &connections[asked->connection];
  uint32_t op = 0;

  asked->layer = layer;
  for (; layer < nr_layers; layer++) {
    if (asked->asked.op == RT_OP_OPEN)
      c->opened[layer] = true;
    op = op_of (&layers[layer], asked->asked.op);
    if (op != 0 || asked->one_layer)
      break;
  }
  if (op != 0)
    call_down (slot, layer, op);
  else if (asked->one_layer)
    answer_number (slot, 0, 0);
  else {
    if (asked->asked.op == RT_OP_OPEN)
      c->opened[nr_layers] = true;
    if (answer_later)
      deferred[nr_deferred++] = slot;
    else
      answer_from_below (slot);
  }
}

static struct frame *
begin_root (uint32_t slot, int connection)
{
  struct frame *root;

  CHECK (tracks[slot].depth == 0);
  root = push (slot);
  root->kind = ASK;
  root->root = true;
  root->connection = connection;
  tracks[slot].finished = false;
  return root;
}

/* A C layer returned. JavaScript would send the message in `said` to the client, and owns it. */
static void
returned (uint32_t slot, const struct rt_result *result)
{
  struct track *track = &tracks[slot];
  struct frame *down = &track->frames[track->depth - 1];
  struct connection *c = &connections[down->connection];
  uint32_t op = down->asked.op;
  bool is_open = op == RT_OP_OPEN, failed = is_open ? result->ret == 0 : result->ret == -1;
  struct rt_answer a = {
    .ret = result->ret, .minimum = result->minimum, .preferred = result->preferred, .maximum = result->maximum
  };
  int layer = down->layer;

  rt_said_free (result->said);
  CHECK (track->depth > 1 && down->kind == DOWN);
  track->depth--;
  if (is_open && failed)
    c->opened[layer] = false;
  if (is_open && !failed) {
    c->handle[layer] = (void *) (uintptr_t) result->ret;
    /* In the original layout the server opens the next layer. */
    if (layers[layer].form != FORM_PLUGIN && !c->opened[layer + 1]) {
      CHECK (layers[layer].form == FORM_ORIGINAL);
      pass_on (slot, layer + 1);
      return;
    }
    a.ret = 0;
  }
  if (!failed && !track->frames[track->depth - 1].root)
    allow_shortcut (what_of (&track->frames[track->depth - 1]), layer);
  if (failed) {
    a.ret = -1;
    a.err = result->stored != 0 ? result->stored : result->errno_after != 0 ? result->errno_after : EIO;
  }
  else if (op == RT_OP_CAN_ZERO && is_plugin (&layers[layer]) && a.ret == 1)
    a.ret = 2; /* a plugin returns a boolean, a filter an NBDKIT_ZERO value */
  answer (slot, a, result->errno_after);
}

/* A queued call has made its first upcall or returned, so its thread is known. */
static void
call_parks (uint32_t call, uint32_t slot)
{
  struct queued *it = &queued[call];

  begin_root (slot, it->connection)->asked = it->arguments;
  push_down (slot, it->layer, op_of (&layers[it->layer], it->arguments.op));
  it->slot = slot;
}

static void
call_returned (uint32_t call)
{
  const struct rt_message *m = (struct rt_message *) rt_calls () + call;
  struct queued *it = &queued[call];

  /* The thread of a call without upcalls stays unknown. */
  if (it->slot == NO_SLOT)
    call_parks (call, UNKNOWN_SLOT);
  CHECK (m->kind == RT_RESULT);
  returned (it->slot, &m->body.result);
  CHECK (tracks[it->slot].finished);
  it->outcome = tracks[it->slot].outcome;
  it->finished = true;
}

static void
received (uint32_t found)
{
  uint32_t slot = found;
  const struct rt_message *m;
  const struct rt_upcall *upcall;
  struct frame *asked;

  if (found & RT_CALL_BIT) {
    call_returned (found & ~RT_CALL_BIT);
    return;
  }
  m = &slots[slot].out;
  if (m->kind == RT_RESULT) {
    returned (slot, &m->body.result);
    return;
  }
  upcall = &m->body.upcall;
  CHECK (m->kind == RT_UPCALL && upcall->target != 0);
  if (upcall->queued_call != 0 && tracks[slot].depth == 0)
    call_parks (upcall->queued_call - 1, slot);
  asked = push (slot);
  asked->kind = ASK;
  asked->connection = (int) (upcall->target - 1) / (MAX_LAYERS + 1);
  asked->asked = (arguments) { .op = upcall->op, .with = upcall->arguments };
  pass_on (slot, (int) (upcall->target - 1) % (MAX_LAYERS + 1));
}

/* Answer some of the waiting calls in random order, or all of them. */
static void
answer_some (bool all)
{
  uint32_t waiting[RT_MAX_SLOTS], n = nr_deferred;

  memcpy (waiting, deferred, n * sizeof deferred[0]);
  nr_deferred = 0;
  while (n > 0) {
    uint32_t i = some_number () % n, slot = waiting[i];

    waiting[i] = waiting[--n];
    if (all || some_number () % 4 != 0)
      answer_from_below (slot);
    else
      deferred[nr_deferred++] = slot;
  }
}

static void
kick (void)
{
  uint32_t n = nr_kicks;

  nr_kicks = 0;
  rt_kick (kicks, n);
}

void
serve (void)
{
  uint32_t found[16], n;
  struct timespec deadline;

  kick ();
  polls = !polls;
  n = polls ? rt_poll (found, 16, 20) : 0;
  if (n == 0)
    n = rt_reap (found, 16);
  for (uint32_t i = 0; i < n; i++)
    received (found[i]);
  if (nr_deferred > 0)
    answer_some (n == 0);
  else if (n == 0) {
    clock_gettime (CLOCK_REALTIME, &deadline);
    deadline.tv_sec += DEADLINE_SECONDS;
    while (sem_timedwait (&awake, &deadline) == -1)
      CHECK (errno == EINTR); /* otherwise the runtime hangs */
  }
  kick ();
}

/* ---- requests of the driver */

void
enqueue (void *queue, uint32_t call, int connection, arguments a)
{
  struct rt_message *message = (struct rt_message *) rt_calls () + call;
  int layer = 0;

  while (layer < nr_layers - 1 && op_of (&layers[layer], a.op) == 0)
    layer++;
  CHECK (call < MAX_QUEUED && op_of (&layers[layer], a.op) != 0);
  queued[call] = (struct queued) { .arguments = a, .connection = connection, .layer = layer, .slot = NO_SLOT };
  message->kind = RT_DOWNCALL;
  message->body.downcall = downcall_of (&a, connection, layer, op_of (&layers[layer], a.op));
  CHECK (rt_submit (queue, &call, 1) == 0);
}

struct outcome
outcome_of_call (uint32_t call)
{
  while (!queued[call].finished)
    serve ();
  return queued[call].outcome;
}

void
begin (uint32_t slot, int connection, arguments a)
{
  begin_root (slot, connection)->asked = a;
  pass_on (slot, 0);
}

bool
finished (uint32_t slot)
{
  return tracks[slot].finished;
}

struct outcome
outcome_of (uint32_t slot)
{
  while (!finished (slot))
    serve ();
  return tracks[slot].outcome;
}

struct outcome
ask (uint32_t slot, int connection, arguments a)
{
  begin (slot, connection, a);
  return outcome_of (slot);
}

struct outcome
ask_layer (uint32_t slot, int connection, int layer, uint32_t op)
{
  struct frame *root = begin_root (slot, connection);

  root->one_layer = true;
  root->asked.op = op;
  if (op == RT_OP_GET_READY)
    root->asked.with.model.thread_model = NBDKIT_THREAD_MODEL_PARALLEL;
  pass_on (slot, layer);
  return outcome_of (slot);
}

bool
layer_has (int layer, uint32_t op)
{
  return op_of (&layers[layer], op) != 0;
}

struct outcome
send_raw (uint32_t slot, struct rt_downcall downcall)
{
  struct frame *down;

  begin_root (slot, 0);
  down = push (slot);
  down->kind = DOWN;
  down->asked.op = downcall.op;
  post_downcall (slot, downcall);
  return outcome_of (slot);
}
