/* The loop that JavaScript would run: see stand-in.h. */
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

/* ---- what is under way on each thread */

/* Either a layer (or the driver itself) asks, or C runs for the ask below it. */
struct frame {
  enum { ASK, DOWN } kind;
  bool root;       /* ask: of the driver itself */
  bool one_layer;  /* ask: is not passed on */
  int connection;
  int layer;       /* down: that runs. ask: that is asked first */
  struct rt_message m;
};

struct track {
  struct frame frames[MAX_DEPTH];
  int depth;
  bool finished;
  struct outcome outcome;
};

/* The last one is no slot's. */
static struct track tracks[RT_MAX_SLOTS + 1];
#define UNKNOWN_SLOT RT_MAX_SLOTS
#define NO_SLOT UINT32_MAX

/* Calls of queues. */
struct queued {
  arguments arguments;
  int connection;
  int layer;     /* that it is sent to */
  uint32_t slot; /* of the thread that it was seen on */
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
post (uint32_t slot, const struct rt_message *m)
{
  slots[slot].in = *m;
  kicks[nr_kicks++] = slot;
}

static void pass_on (uint32_t slot, int layer);

static struct asked
what_of (const struct frame *ask)
{
  return (struct asked) { ask->connection, ask->layer, &ask->m };
}

/* The ask on top of the thread's frames has its answer. */
static void
answer (uint32_t slot, const struct rt_message *result, int errno_after)
{
  struct track *track = &tracks[slot];
  struct frame *top = &track->frames[track->depth - 1];
  struct rt_message m = { .kind = RT_ANSWER, .ret = result->ret, .err = result->err };

  CHECK (track->depth > 0 && top->kind == ASK);
  track->depth--;
  m.minimum = result->minimum;
  m.preferred = result->preferred;
  m.maximum = result->maximum;
  if (top->m.op == RT_OP_GET_SIZE && m.err == 0)
    connections[top->connection].size[top->layer] = m.ret;
  if (top->root) {
    track->finished = true;
    track->outcome = (struct outcome) { m.ret, m.err, errno_after, m.minimum, m.preferred, m.maximum };
  }
  else {
    m.flags = m.err == 0 ? remembered (what_of (top)) : 0;
    post (slot, &m);
  }
}

static void
answer_number (uint32_t slot, int64_t ret, int err)
{
  const struct rt_message m = { .ret = ret, .err = err };

  answer (slot, &m, 0);
}

static void
answer_from_below (uint32_t slot)
{
  struct track *track = &tracks[slot];
  const struct frame *asked = &track->frames[track->depth - 1];
  struct rt_message m = asked->m;

  if (below_does (&m) && m.err == 0 && !asked->root)
    allow_shortcut (what_of (asked), nr_layers);
  answer (slot, &m, 0);
}

/* ---- messages */

/* The message that makes a layer run `op` for what is asked. */
static struct rt_message
downcall_of (struct rt_message m, int connection, int layer, uint32_t op)
{
  m.kind = RT_DOWNCALL;
  m.op = op;
  m.module = layers[layer].module;
  m.nxdata = (uintptr_t) connections[connection].nxdata[layer];
  m.handle = (uintptr_t) connections[connection].handle[layer];
  m.connection = (uintptr_t) layers[layer].connection;
  m.value = op == RT_OP_CONFIG ? m.value : (uintptr_t) "";
  if (op == RT_OP_OPEN && m.key == 0)
    m.key = (uintptr_t) ""; /* of an older filter */
  return m;
}

static struct frame *
push_down (uint32_t slot, int layer, uint32_t op)
{
  const struct frame asked = tracks[slot].frames[tracks[slot].depth - 1];
  struct frame *down = push (slot);

  down->kind = DOWN;
  down->layer = layer;
  down->connection = asked.connection;
  down->m = downcall_of (asked.m, asked.connection, layer, op);
  return down;
}

static void
call_down (uint32_t slot, int layer, uint32_t op)
{
  post (slot, &push_down (slot, layer, op)->m);
}

/* Ask the first layer from `layer` on that has the callback. */
static void
pass_on (uint32_t slot, int layer)
{
  struct frame *asked = &tracks[slot].frames[tracks[slot].depth - 1];
  struct connection *c = &connections[asked->connection];
  uint32_t op = 0;

  asked->layer = layer;
  for (; layer < nr_layers; layer++) {
    if (asked->m.op == RT_OP_OPEN)
      c->opened[layer] = true;
    op = op_of (&layers[layer], asked->m.op);
    if (op != 0 || asked->one_layer)
      break;
  }
  if (op != 0)
    call_down (slot, layer, op);
  else if (asked->one_layer)
    answer_number (slot, 0, 0);
  else {
    if (asked->m.op == RT_OP_OPEN)
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

/* A C layer returned. */
static void
returned (uint32_t slot, struct rt_message m)
{
  struct track *track = &tracks[slot];
  struct frame *down = &track->frames[track->depth - 1];
  struct connection *c = &connections[down->connection];
  bool is_open = m.op == RT_OP_OPEN, failed = is_open ? m.ret == 0 : m.ret == -1;
  int err = !failed ? 0 : m.err != 0 ? m.err : m.flags != 0 ? (int) m.flags : EIO;
  int layer = down->layer;

  CHECK (track->depth > 1 && down->kind == DOWN && m.op == down->m.op);
  track->depth--;
  if (is_open && failed)
    c->opened[layer] = false;
  if (is_open && !failed) {
    c->handle[layer] = (void *) (uintptr_t) m.ret;
    /* In the original form the server opens the next layer. */
    if (layers[layer].form != FORM_PLUGIN && !c->opened[layer + 1]) {
      CHECK (layers[layer].form == FORM_ORIGINAL);
      pass_on (slot, layer + 1);
      return;
    }
    m.ret = 0;
  }
  if (!failed && !track->frames[track->depth - 1].root)
    allow_shortcut (what_of (&track->frames[track->depth - 1]), layer);
  if (failed)
    m.ret = -1;
  else if (m.op == RT_OP_CAN_ZERO && is_plugin (&layers[layer]) && m.ret == 1)
    m.ret = 2; /* a plugin says yes or no, a filter which way */
  m.err = err;
  answer (slot, &m, (int) m.flags);
}

/* A call of a queue is under way on a thread, as is seen now. */
static void
call_parks (uint32_t call, uint32_t slot)
{
  struct queued *it = &queued[call];

  begin_root (slot, it->connection)->m = it->arguments;
  push_down (slot, it->layer, op_of (&layers[it->layer], it->arguments.op));
  it->slot = slot;
}

/* What the callback said belongs to JavaScript, which tells the client. */
static struct rt_message
without_said (struct rt_message m)
{
  rt_said_free ((void *) (uintptr_t) m.key);
  m.key = 0;
  return m;
}

static void
call_returned (uint32_t call)
{
  const struct rt_message *m = (struct rt_message *) rt_calls () + call;
  struct queued *it = &queued[call];

  /* One that asked for nothing has no thread that is known. */
  if (it->slot == NO_SLOT)
    call_parks (call, UNKNOWN_SLOT);
  returned (it->slot, without_said (*m));
  CHECK (tracks[it->slot].finished);
  it->outcome = tracks[it->slot].outcome;
  it->finished = true;
}

static void
received (uint32_t found)
{
  uint32_t slot = found;
  const struct rt_message *m;
  struct frame *asked;

  if (found & RT_CALL_BIT) {
    call_returned (found & ~RT_CALL_BIT);
    return;
  }
  m = &slots[slot].out;
  if (m->kind == RT_DONE) {
    returned (slot, without_said (*m));
    return;
  }
  CHECK (m->kind == RT_UPCALL && m->target != 0);
  if (m->module != 0 && tracks[slot].depth == 0)
    call_parks (m->module - 1, slot);
  asked = push (slot);
  asked->kind = ASK;
  asked->connection = (int) (m->target - 1) / (MAX_LAYERS + 1);
  asked->m = *m;
  pass_on (slot, (int) (m->target - 1) % (MAX_LAYERS + 1));
}

/* Answer some of those that wait, in another order, or all where nothing else is under way. */
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
      CHECK (errno == EINTR); /* else the runtime hangs */
  }
  kick ();
}

/* ---- requests of the driver's own */

void
enqueue (void *queue, uint32_t call, int connection, arguments a)
{
  int layer = 0;

  while (layer < nr_layers - 1 && op_of (&layers[layer], a.op) == 0)
    layer++;
  CHECK (call < MAX_QUEUED && op_of (&layers[layer], a.op) != 0);
  queued[call] = (struct queued) { .arguments = a, .connection = connection, .layer = layer, .slot = NO_SLOT };
  ((struct rt_message *) rt_calls ())[call] = downcall_of (a, connection, layer, op_of (&layers[layer], a.op));
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
  begin_root (slot, connection)->m = a;
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
  root->m.op = op;
  if (op == RT_OP_GET_READY)
    root->m.readonly = NBDKIT_THREAD_MODEL_PARALLEL;
  pass_on (slot, layer);
  return outcome_of (slot);
}

bool
layer_has (int layer, uint32_t op)
{
  return op_of (&layers[layer], op) != 0;
}

struct outcome
send_raw (uint32_t slot, struct rt_message message)
{
  struct frame *down;

  begin_root (slot, 0);
  down = push (slot);
  down->kind = DOWN;
  down->m = message;
  post (slot, &message);
  return outcome_of (slot);
}
