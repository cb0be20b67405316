/* The functions that modules call, on several threads at once: see functions.h. */
#define _GNU_SOURCE
#include "functions.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/un.h>

#include "internal.h"
#include "stand-in.h"

/* The header for this layout lacks these. */
extern int nbdkit_peer_name (struct sockaddr *address, socklen_t *size);
extern void *nbdkit_context_get_backend (void *context);
extern void *nbdkit_next_context_open (void *backend, int readonly, const char *export_name, int shared);
extern void nbdkit_next_context_close (void *next);
extern void *nbdkit_context_set_next (void *context, void *next);

#define FUNCTION_THREADS 4
#define ROUNDS 200

/* ---- running a function within a callback */

struct task {
  void (*run) (void *data);
  void *data;
};

/* config runs the task, whose address is the key. */
static int
task_config (const char *key, const char *value)
{
  struct task task;

  (void) value;
  memcpy (&task, key, sizeof task);
  task.run (task.data);
  return 0;
}

static const struct nbdkit_plugin task_plugin = { .name = "task", .config = task_config };
static uint32_t task_module;

/* Run a function on this thread, in a callback for the connection (NULL: for none). */
static void
in_callback (void *connection, void (*run) (void *data), void *data)
{
  struct task task = { run, data };
  struct rt_downcall downcall = {
    .op = RT_OP_CONFIG,
    .module = task_module,
    .connection = connection,
    .arguments.setting.key = (const char *) &task,
  };
  struct rt_result result;

  rt_run (&downcall, 0, &result);
  CHECK (result.ret == 0);
}

/* The same on FUNCTION_THREADS threads at once. */
struct worker {
  pthread_t thread;
  void *connection;
  void (*run) (void *data);
  void *data;
};

static void *
work (void *address)
{
  const struct worker *worker = address;

  in_callback (worker->connection, worker->run, worker->data);
  return NULL;
}

static void
start (struct worker *workers, void *connection, void (*run) (void *data), void *data)
{
  for (int i = 0; i < FUNCTION_THREADS; i++) {
    workers[i] = (struct worker) { .connection = connection, .run = run, .data = data };
    CHECK (pthread_create (&workers[i].thread, NULL, work, &workers[i]) == 0);
  }
}

static void
join (struct worker *workers)
{
  for (int i = 0; i < FUNCTION_THREADS; i++)
    CHECK (pthread_join (workers[i].thread, NULL) == 0);
}

/* ---- strings */

static void
intern (void *data)
{
  const char *kept[ROUNDS];

  (void) data;
  for (int i = 0; i < ROUNDS; i++)
    kept[i] = i % 3 == 0   ? nbdkit_strdup_intern ("string 7")
              : i % 3 == 1 ? nbdkit_strndup_intern ("string 7 and more", 8)
                           : nbdkit_printf_intern ("string %d", 7);
  for (int i = 0; i < ROUNDS; i++)
    CHECK (strcmp (kept[i], "string 7") == 0);
  CHECK (nbdkit_strdup_intern (NULL) == NULL && errno == EINVAL);
  CHECK (nbdkit_strndup_intern (NULL, 3) == NULL);
}

static void
intern_one (void *data)
{
  *(const char **) data = nbdkit_strdup_intern ("kept");
}

static void
strings (void)
{
  struct worker workers[FUNCTION_THREADS];
  void *connection = rt_connection_new ("task[1]"), *shared = rt_connection_new ("task[0]");
  const char *kept = NULL;

  rt_connection_share (shared);
  start (workers, connection, intern, NULL);
  in_callback (NULL, intern, NULL);
  join (workers);
  start (workers, shared, intern, NULL);
  intern (NULL);
  join (workers);
  in_callback (shared, intern_one, &kept);
  rt_connection_free (connection);
  rt_connection_free (shared);
  rt_connection_free (NULL);
  /* Strings of shared connections are never freed. */
  CHECK (strcmp (kept, "kept") == 0);
}

/* ---- the client */

static void
is_unknown (void *data)
{
  char *texts[] = { nbdkit_peer_security_context (), nbdkit_peer_tls_dn (), nbdkit_peer_tls_issuer_dn () };
  struct sockaddr_un peer;
  socklen_t size = sizeof peer;
  int in_connection = data != NULL;

  CHECK (nbdkit_export_name () == NULL && errno == EINVAL);
  CHECK (nbdkit_is_tls () == (in_connection ? 0 : -1));
  CHECK (nbdkit_peer_name ((struct sockaddr *) &peer, &size) == -1);
  CHECK (nbdkit_peer_pid () == -1 && nbdkit_peer_uid () == -1 && nbdkit_peer_gid () == -1);
  CHECK (nbdkit_disconnect (1) == -1 && errno == EINVAL);
  CHECK (texts[0] == NULL);
  for (int i = 1; i <= 2; i++) {
    CHECK (in_connection ? strcmp (texts[i], "") == 0 : texts[i] == NULL);
    free (texts[i]);
  }
}

static void
is_known (void *data)
{
  struct sockaddr_un peer = { 0 };
  socklen_t size = 2;

  CHECK (strcmp (nbdkit_export_name (), data) == 0 && nbdkit_is_tls () == 1);
  CHECK (nbdkit_peer_name ((struct sockaddr *) &peer, &size) == 0 && size == 6);
  CHECK (peer.sun_family == AF_UNIX && peer.sun_path[0] == '\0');
  size = sizeof peer;
  CHECK (nbdkit_peer_name ((struct sockaddr *) &peer, &size) == 0 && strcmp (peer.sun_path, "abc") == 0);
  CHECK (nbdkit_peer_pid () == 123 && nbdkit_peer_uid () == 0xfffffffe && nbdkit_peer_gid () == 0);
  /* This calls the layer below, whose context is freed. */
  CHECK (nbdkit_disconnect (0) == -1 && errno == EINVAL);
}

/* The name changes while threads ask for it. */
static void
some_name (void *data)
{
  (void) data;
  for (int i = 0; i < ROUNDS; i++) {
    const char *name = nbdkit_export_name ();
    CHECK (name[0] == 'e' && nbdkit_is_tls () >= 0);
  }
}

static void
client (void)
{
  struct worker workers[FUNCTION_THREADS];
  struct sockaddr_un peer = { .sun_family = AF_UNIX, .sun_path = "abc" };
  void *connection = rt_connection_new ("task[2]"), *freed = rt_nxdata_new (99, -1);
  char name[32];

  is_unknown (NULL);
  in_callback (NULL, is_unknown, NULL);
  in_callback (connection, is_unknown, connection);
  CHECK (rt_connection_set_export_name (connection, "first") == 0);
  rt_connection_set_tls (connection, 1);
  rt_connection_set_peer (connection, &peer, 6);
  rt_connection_set_process (connection, 123, 0xfffffffe, 0);
  rt_nxdata_free (freed);
  rt_connection_set_control (connection, freed);
  in_callback (connection, is_known, "first");
  CHECK (rt_connection_set_export_name (connection, "e") == 0);
  start (workers, connection, some_name, NULL);
  for (int i = 0; i < ROUNDS; i++) {
    snprintf (name, sizeof name, "e%d", i);
    CHECK (rt_connection_set_export_name (connection, name) == 0);
    rt_connection_set_tls (connection, i % 2);
  }
  join (workers);
  rt_connection_free (connection);
}

/* ---- sleep */

static void
sleep_for_ever (void *data)
{
  (void) data;
  CHECK (nbdkit_nanosleep (1000000, 1999999999) == -1 && errno == ESHUTDOWN);
}

static void
sleep_a_moment (void *data)
{
  (void) data;
  errno = EDOM;
  CHECK (nbdkit_nanosleep (0, 999) == 0 && errno == EDOM);
  CHECK (nbdkit_nanosleep (INT32_MAX, 0) == -1 && errno == EINVAL);
}

static void
sleepers (void)
{
  struct worker workers[FUNCTION_THREADS];
  void *connection = rt_connection_new ("task[3]"), *other = rt_connection_new ("task[4]");

  start (workers, connection, sleep_for_ever, NULL);
  sleep_a_moment (NULL);
  rt_connection_end (other);
  in_callback (other, sleep_for_ever, NULL);
  rt_connection_end (connection);
  join (workers);
  rt_connection_free (connection);
  rt_connection_free (other);

  connection = rt_connection_new ("task[5]");
  start (workers, connection, sleep_for_ever, NULL);
  in_callback (NULL, sleep_a_moment, NULL);
  rt_server_ends (1);
  join (workers);
  sleep_for_ever (NULL);
  rt_server_ends (0);
  in_callback (connection, sleep_a_moment, NULL);
  rt_connection_free (connection);
}

/* ---- lists, as JavaScript makes and reads them */

static void
lists (void)
{
  const uint64_t range[2] = { 10, 100 }, bad_range[2] = { 10, 9 };
  const uint64_t given[] = { 0, 20, 1, 20, 30, 2, 50, 500, 1 }, gap[] = { 600, 1, 0 };
  uint64_t read[9], read_range[2];
  void *extents = rt_extents_new (range), *exports = rt_exports_new ();

  CHECK (rt_extents_new (bad_range) == NULL);
  rt_extents_range (extents, read_range);
  CHECK (read_range[0] == 10 && read_range[1] == 100);
  CHECK (rt_extents_append (extents, given, 3) == 0 && rt_extents_append (extents, gap, 1) == ERANGE);
  rt_extents_range (extents, read_range);
  CHECK (read_range[0] == 100 && read_range[1] == 100 && nbdkit_extents_count (extents) == 3);
  CHECK (rt_extents_read (extents, 0, read, 2) == 2 && read[0] == 10 && read[1] == 10 && read[2] == 1);
  CHECK (read[3] == 20 && read[4] == 30 && read[5] == 2);
  CHECK (rt_extents_read (extents, 2, read, 3) == 1 && read[0] == 50 && read[1] == 50 && read[2] == 1);
  CHECK (rt_extents_read (extents, 3, read, 3) == 0 && rt_extents_read (extents, 99, read, 3) == 0);
  CHECK (nbdkit_get_extent (extents, 3).length == 0);
  rt_extents_free (extents);
  rt_extents_free (NULL);

  CHECK (rt_exports_add (exports, "", NULL) == 0 && rt_exports_add (exports, "a", "b") == 0);
  CHECK (rt_exports_add (exports, NULL, NULL) == EINVAL && rt_exports_count (exports) == 2);
  CHECK (strcmp (rt_exports_name (exports, 1), "a") == 0 && strcmp (rt_exports_description (exports, 1), "b") == 0);
  CHECK (rt_exports_description (exports, 0) == NULL && rt_exports_name (exports, 2) == NULL);
  CHECK (!rt_exports_wants_default (exports));
  rt_exports_want_default (exports);
  CHECK (rt_exports_wants_default (exports));
  rt_exports_free (exports);
  rt_exports_free (NULL);
}

/* ---- lines for the log */

/* nbdkit_error does not change errno, even if its line is dropped. */
static void
lines (void)
{
  rt_send_errors (INT32_MAX / 4);
  errno = ENOSPC;
  nbdkit_error ("this line is dropped: %m");
  CHECK (errno == ENOSPC);
  rt_send_errors (2);
}

/* ---- contexts without a connection */

static void
contexts (void)
{
  void *backend = rt_nxdata_new (99, -1), *context = rt_nxdata_new (98, -1);

  CHECK (nbdkit_context_get_backend (context) == NULL);
  rt_nxdata_set_backend (context, backend);
  CHECK (nbdkit_context_get_backend (context) == backend);
  rt_nxdata_free (backend);
  rt_nxdata_free (context);
  CHECK (nbdkit_next_context_open (backend, 1, "name", 1) == NULL && errno == EINVAL);
  CHECK (nbdkit_context_set_next (context, NULL) == NULL);
  nbdkit_next_context_close (backend);
  nbdkit_next_context_close (NULL);
}

void
functions (void)
{
  int32_t module = rt_module_add (RT_ADAPTER_PLUGIN, &task_plugin);

  CHECK (module >= 0);
  task_module = (uint32_t) module;
  strings ();
  client ();
  sleepers ();
  lists ();
  lines ();
  contexts ();
  rt_set_stdio_safe (0);
  CHECK (!nbdkit_stdio_safe ());
  rt_set_stdio_safe (1);
  CHECK (nbdkit_stdio_safe ());
}

/* ---- functions that differ by layout */

static uint32_t
adapter_of (unsigned release)
{
  switch (release) {
  case NBDKIT_FILTER_RELEASE_1_25_4:
    return RT_ADAPTER_FILTER_1_25_4;
  case NBDKIT_FILTER_RELEASE_1_26:
    return RT_ADAPTER_FILTER_1_26;
  case NBDKIT_FILTER_RELEASE_1_30:
    return RT_ADAPTER_FILTER_1_30;
  case NBDKIT_FILTER_RELEASE_1_36:
    return RT_ADAPTER_FILTER_1_36;
  default:
    return RT_ADAPTER_FILTER_1_44;
  }
}

void
check_release (const char *path)
{
  const uint64_t range[2] = { 4096, 21480 };
  void *library = rt_dlopen (path, -1), *symbols[3], *extents;
  unsigned (*release) (void);
  void (*check) (void), *(*next_table) (void);
  struct rt_downcall downcall = { .op = RT_OP_EXTENTS, .arguments.mapping = { .count = 4096, .offset = 4096 } };
  struct rt_result result;

  CHECK (library != NULL);
  symbols[0] = rt_dlsym (library, "check");
  symbols[1] = rt_dlsym (library, "release");
  symbols[2] = rt_dlsym (library, "next_table");
  memcpy (&check, &symbols[0], sizeof check);
  memcpy (&release, &symbols[1], sizeof release);
  memcpy (&next_table, &symbols[2], sizeof next_table);
  rt_module_loaded (symbols[0], release ());
  check ();
  if (release () < NBDKIT_FILTER_RELEASE_1_25_4)
    return;

  /* In a callback, where the compiler makes the call a jump. */
  downcall.module = (uint32_t) rt_module_add (adapter_of (release ()),
                                              rt_call_init (rt_dlsym (library, "filter_init"), -1));
  rt_module_describe (downcall.module, symbols[0], "filter next-extents (somewhere)");
  downcall.nxdata = next_table ();
  extents = rt_extents_new (range);
  downcall.arguments.mapping.extents = extents;
  rt_run (&downcall, 0, &result);
  CHECK (result.ret == 0 && nbdkit_extents_count (extents) == 1);
  CHECK (nbdkit_get_extent (extents, 0).length == 4096 && nbdkit_get_extent (extents, 0).type == NBDKIT_EXTENT_ZERO);
  rt_extents_free (extents);
}
