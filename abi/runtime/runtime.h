/* The native runtime: what JavaScript, the generated adapters and the exported nbdkit_* functions share.
 *
 * JavaScript and request threads talk through slots, one per thread, in memory that both can see. A thread
 * runs C layers; when such a layer calls the layer below, the thread parks in rt_upcall until JavaScript
 * has the answer, and meanwhile runs whatever downcalls JavaScript sends it. No policy lives here.
 *
 * The declarations in this header are read by codegen: fixed-width integers, bool and pointers only.
 */
#ifndef NBDKIT_BUN_RUNTIME_H
#define NBDKIT_BUN_RUNTIME_H

#include <stdbool.h>
#include <stdint.h>

/* Values of rt_message.kind. */
#define RT_DOWNCALL 1 /* JavaScript -> thread: run a callback */
#define RT_ANSWER 2   /* JavaScript -> thread: the parked upcall returns */
#define RT_UPCALL 3   /* thread -> JavaScript: the layer below is asked */
#define RT_RESULT 4   /* thread -> JavaScript: the callback returned */
#define RT_SERVE 5    /* to a request thread: serve a queue; it has no body */
#define RT_LEAVE 7    /* to a request thread: end; it has no body */

/* What rt_reap finds is a call of a queue. */
#define RT_CALL_BIT 0x80000000

/* The most slots, so the most native threads that may be in the chain at once. */
#define RT_MAX_SLOTS 4096

/* The most bytes of an error that clients get, as many as an NBD string may have. */
#define RT_MAX_SAID 4096

/* The most calls that may be in queues or under way at once. */
#define RT_MAX_CALLS 16384

/* Arguments of callbacks and of the functions that call the next layer. The table `messages` of codegen/semantics.ts
 * says which callback has which of these structs. */

/* config */
struct rt_setting {
  const char *key;
  const char *value;
};

/* thread_model and get_ready */
struct rt_model {
  int32_t thread_model; /* NBDKIT_THREAD_MODEL_* */
};

/* preconnect, default_export and prepare */
struct rt_visit {
  bool readonly;
  bool is_tls;
};

/* open and reopen */
struct rt_open {
  const char *export_name;
  bool readonly;
  bool is_tls;
};

/* list_exports */
struct rt_listing {
  void *exports; /* struct nbdkit_exports * */
  bool readonly;
  bool is_tls;
  bool default_only; /* before 1.23.6 */
};

/* pread and pwrite */
struct rt_data {
  void *buf;
  uint64_t offset;
  uint32_t count;
  uint32_t flags;
};

/* trim, zero and cache */
struct rt_range {
  uint64_t offset;
  uint32_t count;
  uint32_t flags;
};

/* flush */
struct rt_flush {
  uint32_t flags;
};

/* extents */
struct rt_mapping {
  void *extents; /* struct nbdkit_extents * */
  uint64_t offset;
  uint32_t count;
  uint32_t flags;
};

/* nbdkit_next_context_open */
struct rt_context_open {
  const char *export_name;
  bool readonly;
  bool shared;
};

/* nbdkit_context_set_next */
struct rt_set_next {
  void *next; /* from rt_nxdata_new, or NULL */
};

/* nbdkit_disconnect */
struct rt_disconnect {
  bool force;
};

/* The op says which. Callbacks without arguments have none. */
union rt_arguments {
  struct rt_setting setting;
  struct rt_model model;
  struct rt_visit visit;
  struct rt_open open;
  struct rt_listing listing;
  struct rt_data data;
  struct rt_range range;
  struct rt_flush flush;
  struct rt_mapping mapping;
  struct rt_context_open context_open;
  struct rt_set_next set_next;
  struct rt_disconnect disconnect;
};

/* RT_DOWNCALL: run a callback of a module. */
struct rt_downcall {
  uint32_t op;
  uint32_t module;         /* from rt_module_add */
  void *connection;        /* from rt_connection_new, or NULL */
  void *nxdata;            /* what the layer passes on when it calls the next one */
  void *handle;            /* what its open returned */
  const char *export_name; /* with which the layer was opened, or NULL */
  union rt_arguments arguments;
};

/* RT_RESULT: how the callback came back. */
struct rt_result {
  int64_t ret;         /* what it returned */
  void *said;          /* what it said with nbdkit_error, if it failed, or NULL; for rt_said_free */
  int32_t stored;      /* from nbdkit_set_error or through `err`, or 0 */
  int32_t errno_after; /* errno when it returned */
  uint32_t minimum;    /* what block_size stored */
  uint32_t preferred;
  uint32_t maximum;
};

/* RT_UPCALL: a layer asks the one below. */
struct rt_upcall {
  uint32_t op;
  uint32_t target;      /* from rt_nxdata_new */
  uint32_t queued_call; /* the number + 1 of the queued call that it is part of, or 0 */
  void *connection;     /* of the callback that asks, or NULL */
  union rt_arguments arguments;
};

/* RT_ANSWER: what the upcall returns. */
struct rt_answer {
  int64_t ret;
  int32_t err;        /* the errno of the failure, or 0 */
  bool remember;      /* the layer will answer the same as long as rt_next_forget is not called */
  uint32_t minimum;   /* for block_size */
  uint32_t preferred;
  uint32_t maximum;
};

/* The kind says which. */
union rt_body {
  struct rt_downcall downcall;
  struct rt_result result;
  struct rt_upcall upcall;
  struct rt_answer answer;
};

struct rt_message {
  uint32_t kind;
  union rt_body body;
};

/* How C does requests of one kind without JavaScript: by a callback of the layer below, or on its file. */
struct rt_direct {
  uint64_t size;           /* of the disk */
  int64_t shift;           /* what is added to offsets on the way down */
  int32_t descriptor;      /* of the file that the disk is, or -1: then there is a callback */
  uint32_t op;             /* the callback, and what it gets as in struct rt_downcall */
  uint32_t module;
  bool errno_counts;       /* a -1 means errno, and not EIO, where nothing better was said */
  void *nxdata;
  void *handle;
  const char *export_name;
};

/* A thread's slot as JavaScript sees it; its private part follows in C only. */
struct rt_slot {
  struct rt_message in;
  struct rt_message out;
};

#pragma GCC visibility push(default)

/* Begin. `wake` may be called from any thread and must make JavaScript call rt_reap soon.
 * Returns 0 or an errno. */
int32_t rt_start (uint32_t max_slots, void (*wake) (void));

/* The array of slots; element i starts at i * sizeof (struct rt_slot). */
void *rt_slots (void);

/* Start a request thread. Returns its slot or -errno. */
int32_t rt_thread_new (void);

/* End an idle one of these. Its slot may be another thread's then. */
void rt_thread_end (uint32_t slot);

/* Deliver the message in `in` of each of `n` slots. */
void rt_kick (const uint32_t *slots, uint32_t n);

/* The array of calls. JavaScript chooses which is used for what. A thread leaves the result where the call was. */
void *rt_calls (void);

/* A queue whose calls are run by at most `limit` threads at once; and its end, when no call of it is under way. */
void *rt_queue_new (uint32_t limit);
void rt_queue_free (void *queue);

/* Put `n` calls into a queue. Returns 0, or EAGAIN where there is no thread for them and none will come free. */
int32_t rt_submit (void *queue, const uint32_t *calls, uint32_t n);

/* Collect where messages are, at most `max`: for each the slot in whose `out` it is, or RT_CALL_BIT and the number of
 * a call that has returned. Returns how many. 0 means that there is none and that `wake` will be called for the next
 * one. */
uint32_t rt_reap (uint32_t *found, uint32_t max);

/* The same, but look for `microseconds` before giving up. `wake` is not called until rt_reap has returned 0 again. */
uint32_t rt_poll (uint32_t *found, uint32_t max, uint32_t microseconds);

/* Register a loaded module's struct (ours, already copied; it must stay). `adapter` is an RT_ADAPTER_*
 * of ops.gen.h. Returns the module number. */
int32_t rt_module_add (uint32_t adapter, const void *module);

/* What a layer gets as nxdata, or as next where its layout has but one pointer; `module` is the filter, or -1.
 * Never unmapped; after rt_nxdata_free calls through it fail with EINVAL. */
void *rt_nxdata_new (uint32_t target, int32_t module);
void rt_nxdata_free (void *nxdata);

/* What nbdkit_context_get_backend answers for the context whose nxdata this is. */
void rt_nxdata_set_backend (void *nxdata, void *backend);

/* Requests `op` through this nxdata that are within layer->size and have no flags go to the layer below without
 * JavaScript. Returns 0 or an errno. */
int32_t rt_next_direct (void *nxdata, uint32_t op, const struct rt_direct *layer);

/* Ask JavaScript again, for requests and for remembered answers. */
void rt_next_forget (void *nxdata);

/* A module was loaded at `address`, or has that in its code; its layout is that of this NBDKIT_FILTER_RELEASE_*. */
void rt_module_loaded (const void *address, uint32_t release);

/* What the module with this number, loaded at `address`, is called when it crashes: "filter NAME (PATH)". */
void rt_module_describe (uint32_t module, const void *address, const char *title);

/* The facts about a client's connection for C: log lines start with `log_name`. Freed when no callback runs for it. */
void *rt_connection_new (const char *log_name);
void rt_connection_free (void *connection);

/* It stands for the layers that a filter shares among clients: strings interned for it stay. */
void rt_connection_share (void *connection);

/* The client's struct sockaddr; its process, where it is known. */
void rt_connection_set_peer (void *connection, const void *peer, uint32_t size);
void rt_connection_set_process (void *connection, int32_t pid, uint32_t uid, uint32_t gid);

/* An nxdata: nbdkit_disconnect makes an upcall there. */
void rt_connection_set_control (void *connection, void *nxdata);

/* The export that the client opens, and whether it uses TLS. The former returns 0 or an errno. */
int32_t rt_connection_set_export_name (void *connection, const char *name);
void rt_connection_set_tls (void *connection, int32_t is_tls);

/* The names in the certificate that the client showed, its own and its issuer's. Returns 0 or an errno. */
int32_t rt_connection_set_tls_names (void *connection, const char *dn, const char *issuer_dn);

/* The client is gone, or the server stops: nbdkit_nanosleep ends. */
void rt_connection_end (void *connection);
void rt_server_ends (int32_t now);

/* Whether nbdkit_stdio_safe says yes, as it does until it is told otherwise. */
void rt_set_stdio_safe (int32_t safe);

/* A list of extents of a range (start and end), what of that it has no entries for yet, and its entries as (offset,
 * length, type). rt_extents_read returns how many it read, rt_extents_append 0 or the errno with
 * which nbdkit_add_extent refused one. */
void *rt_extents_new (const uint64_t *range);
void rt_extents_free (void *extents);
void rt_extents_range (const void *extents, uint64_t *range);
uint32_t rt_extents_read (const void *extents, uint32_t first, uint64_t *triples, uint32_t max);
int32_t rt_extents_append (void *extents, const uint64_t *triples, uint32_t n);

/* A list of exports. Texts may be NULL where they are not there. rt_exports_add returns 0 or an errno. */
void *rt_exports_new (void);
void rt_exports_free (void *exports);
uint32_t rt_exports_count (const void *exports);
void *rt_exports_name (const void *exports, uint32_t i);
void *rt_exports_description (const void *exports, uint32_t i);
int32_t rt_exports_add (void *exports, const char *name, const char *description);
int32_t rt_exports_wants_default (const void *exports);
void rt_exports_want_default (void *exports);

/* Debug lines are printed where `verbose` is not 0. */
void rt_set_verbose (int32_t verbose);

/* What --name says, or NULL. The runtime keeps a copy for good. Lines start with nbdkit[NAME] then. */
void rt_set_server_name (const char *name);

/* Lines of this thread start with this name, which must stay, where it runs no callback for a client; NULL: none. */
void rt_set_log_name (const void *name);

/* Print as debug lines what GnuTLS, the library of that name, logs up to this level. Returns 0, or -1 without it. */
int32_t rt_gnutls_log (const char *library, int32_t level);

/* Where their error lines go: to a descriptor, or there. Debug lines always go to stderr. */
#define RT_ERRORS_TO_SYSLOG 0x40000001
#define RT_ERRORS_TO_NOBODY 0x40000002
void rt_send_errors (int32_t fd);

/* Called, on any thread, when a module wants the server to stop. Without it nbdkit_shutdown sends SIGTERM. */
void rt_on_shutdown (void (*asked) (void));

/* How many error lines modules have printed. */
uint32_t rt_errors_printed (void);

/* Free what the result of a failed callback has as `said`. */
void rt_said_free (void *said);

/* Let modules that are loaded from now on see nothing of the program but libc's and nbdkit's functions. To be
 * called once JavaScript has the addresses of the functions of this header, which are hidden as
 * well. Returns 0 or an errno. */
int32_t rt_hide_symbols (void);

/* The program's first process, which modules of a daemon get from getpid until it has detached: nbdkit
 * forks there. 0: they get the number of this process. */
void rt_set_pid (int32_t pid);

/* The descriptor is the server's: modules that close it get EBADF, until there is something else. */
void rt_own_descriptor (int32_t fd);

/* dlopen (path, RTLD_NOW | RTLD_GLOBAL), dlsym, and the text of the last failure (or ""). dlopen is run by the
 * idle request thread of that slot, or by the caller if that is -1. */
void *rt_dlopen (const char *path, int32_t slot);
void *rt_dlsym (void *library, const char *name);
const char *rt_dlerror (void);

/* Have filter_init or plugin_init of what was loaded last called, on the same thread. */
void *rt_call_init (void *function, int32_t slot);

/* A copy of `text` from malloc, for C to keep. */
void *rt_strdup (const char *text);
void rt_free (void *memory);

/* Write out what C wrote to its stdout. */
void rt_flush_stdout (void);

#pragma GCC visibility pop

#endif /* NBDKIT_BUN_RUNTIME_H */
