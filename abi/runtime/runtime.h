/* The native runtime: declarations for JavaScript, the generated adapters and the exported nbdkit_* functions.
 *
 * JavaScript and request threads exchange messages through slots, one for each thread, in memory that both can access.
 * A thread runs C layers. When a C layer calls the layer below, the thread parks in rt_upcall until JavaScript has the
 * answer, and meanwhile runs the downcalls that JavaScript sends it. The runtime has no policy.
 *
 * Codegen reads this header, so it declares only fixed-width integers, bool and pointers.
 */
#ifndef NBDKIT_BUN_RUNTIME_H
#define NBDKIT_BUN_RUNTIME_H

#include <stdbool.h>
#include <stdint.h>

/* Values of rt_message.kind. */
#define RT_DOWNCALL 1 /* JavaScript -> thread: run a callback */
#define RT_ANSWER 2   /* JavaScript -> thread: the parked upcall returns */
#define RT_UPCALL 3   /* thread -> JavaScript: call the layer below */
#define RT_RESULT 4   /* thread -> JavaScript: the callback returned */
#define RT_SERVE 5    /* to a request thread: serve a queue; it has no body */
#define RT_LEAVE 7    /* to a request thread: end; it has no body */

/* Marks a result of rt_reap that is the number of a queued call. */
#define RT_CALL_BIT 0x80000000

/* The most slots, so the most native threads in the chain at once: 256 connections of 16 threads, all busy. */
#define RT_MAX_SLOTS 4096

/* The most bytes of an error message for clients: the limit of NBD's strings. */
#define RT_MAX_SAID 4096

/* The most calls in queues or outstanding at once: four for each thread. */
#define RT_MAX_CALLS 16384

/* The arguments of callbacks and of the functions that call the next layer. The table `messages` in
 * codegen/semantics.ts maps callbacks to these structs. */

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
struct rt_access {
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
  uint32_t is_clear; /* pread: `buf` holds only zeroes */
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

/* The op determines the member. Callbacks without arguments have none. */
union rt_arguments {
  struct rt_setting setting;
  struct rt_model model;
  struct rt_access access;
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
  void *nxdata;            /* for the layer's calls of the next one */
  void *handle;            /* from the layer's open */
  const char *export_name; /* of the layer's open, or NULL */
  union rt_arguments arguments;
};

/* RT_RESULT: the result of a callback. */
struct rt_result {
  int64_t ret;         /* the return value */
  void *said;          /* the message of nbdkit_error if the callback failed, or NULL; for rt_said_free */
  int32_t stored;      /* from nbdkit_set_error or through `err`, or 0 */
  int32_t errno_after; /* errno after the call */
  uint32_t minimum;    /* stored by block_size */
  uint32_t preferred;
  uint32_t maximum;
};

/* RT_UPCALL: a layer calls the one below. */
struct rt_upcall {
  uint32_t op;
  uint32_t target;      /* from rt_nxdata_new */
  uint32_t queued_call; /* the number + 1 of the queued call that makes it, or 0 */
  void *connection;     /* of the calling callback, or NULL */
  union rt_arguments arguments;
};

/* RT_ANSWER: the result of an upcall. */
struct rt_answer {
  int64_t ret;
  int32_t err;        /* the errno of a failure, or 0 */
  bool remember;      /* the answer is valid until rt_next_forget is called */
  uint32_t minimum;   /* for block_size */
  uint32_t preferred;
  uint32_t maximum;
};

/* The kind determines the member. */
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

/* A shortcut for requests of one kind without JavaScript: to a callback of a C layer, or to a file. */
struct rt_direct {
  uint64_t size;           /* of the disk */
  int64_t shift;           /* is added to offsets */
  int32_t descriptor;      /* of the disk's file, or -1 if there is a callback */
  uint32_t op;             /* the callback; it and the fields below are as in struct rt_downcall */
  uint32_t module;
  bool errno_counts;       /* after -1 without nbdkit_set_error the error is errno, else EIO */
  void *nxdata;
  void *handle;
  const char *export_name;
};

/* A thread's slot: the message to the thread, and the one from it. */
struct rt_slot {
  struct rt_message in;
  struct rt_message out;
};

#pragma GCC visibility push(default)

/* Start the runtime. `wake` may be called on any thread, and must make JavaScript call rt_reap soon. Returns 0 or an
 * errno. */
int32_t rt_start (uint32_t max_slots, void (*wake) (void));

/* The array of slots; element i starts at i * sizeof (struct rt_slot). */
void *rt_slots (void);

/* Start a request thread. Returns its slot or -errno. */
int32_t rt_thread_new (void);

/* End an idle request thread. Another thread may get its slot. */
void rt_thread_end (uint32_t slot);

/* Deliver the messages in `in` of `n` slots. */
void rt_kick (const uint32_t *slots, uint32_t n);

/* The array of calls, which JavaScript allocates. A thread writes the result over the call. */
void *rt_calls (void);

/* A queue, whose calls at most `limit` threads run at once. It must have no outstanding call when it is freed. */
void *rt_queue_new (uint32_t limit);
void rt_queue_free (void *queue);

/* Put `n` calls into a queue. Returns 0, or EAGAIN if there is no thread for them and none will become free. */
int32_t rt_submit (void *queue, const uint32_t *calls, uint32_t n);

/* Collect at most `max` messages: for each the slot with the message in its `out`, or RT_CALL_BIT | the number of a
 * call that has returned. Returns the number of messages. 0 means that there is none, and `wake` will be called for the
 * next one. */
uint32_t rt_reap (uint32_t *found, uint32_t max);

/* The same, but poll for up to `microseconds`. `wake` is not called until rt_reap has returned 0 again. */
uint32_t rt_poll (uint32_t *found, uint32_t max, uint32_t microseconds);

/* Register a module's struct, which is our copy and must stay. `adapter` is an RT_ADAPTER_* of ops.gen.h. Returns the
 * module's number, or a negated errno. */
int32_t rt_module_add (uint32_t adapter, const void *module);

/* The nxdata of a layer, or its next in layouts with one pointer; `module` is the filter, or -1. It is never unmapped;
 * after rt_nxdata_free calls through it fail with EINVAL. */
void *rt_nxdata_new (uint32_t target, int32_t module);
void rt_nxdata_free (void *nxdata);

/* Set the result of nbdkit_context_get_backend for the context with this nxdata. */
void rt_nxdata_set_backend (void *nxdata, void *backend);

/* Let requests `op` through this nxdata skip JavaScript if they are within layer->size and have no flags. Returns 0 or
 * an errno. */
int32_t rt_next_direct (void *nxdata, uint32_t op, const struct rt_direct *layer);

/* Let all calls go to JavaScript again: revoke shortcuts and remembered answers. */
void rt_next_forget (void *nxdata);

/* Register the layout, an NBDKIT_FILTER_RELEASE_*, of the module that is loaded at `address` or has code there. */
void rt_module_loaded (const void *address, uint32_t release);

/* Set the title, "filter NAME (PATH)", that crash messages use for the module with this number, loaded at `address`. */
void rt_module_describe (uint32_t module, const void *address, const char *title);

/* The facts about a client's connection for C. Log lines start with `log_name`. Free it when none of its callbacks
 * runs. */
void *rt_connection_new (const char *log_name);
void rt_connection_free (void *connection);

/* The connection stands for layers that a filter shares among clients, so strings interned for it are kept. */
void rt_connection_share (void *connection);

/* Set the client's struct sockaddr, and its process if that is known. */
void rt_connection_set_peer (void *connection, const void *peer, uint32_t size);
void rt_connection_set_process (void *connection, int32_t pid, uint32_t uid, uint32_t gid);

/* Set the nxdata for upcalls of nbdkit_disconnect. */
void rt_connection_set_control (void *connection, void *nxdata);

/* Set the export that the client opens, and whether it uses TLS. The former returns 0 or an errno. */
int32_t rt_connection_set_export_name (void *connection, const char *name);
void rt_connection_set_tls (void *connection, int32_t is_tls);

/* Set the subject and the issuer of the client's certificate. Returns 0 or an errno. */
int32_t rt_connection_set_tls_names (void *connection, const char *dn, const char *issuer_dn);

/* The client has left, or the server stops: nbdkit_nanosleep ends early. */
void rt_connection_end (void *connection);
void rt_server_ends (int32_t now);

/* Set the result of nbdkit_stdio_safe, which is 1 at the start. */
void rt_set_stdio_safe (int32_t safe);

/* A list of extents for a range (start and end); the part of the range without entries so far; and entries as (offset,
 * length, type). rt_extents_read returns the number of entries that it read, rt_extents_append 0 or the errno of
 * nbdkit_add_extent. */
void *rt_extents_new (const uint64_t *range);
void rt_extents_free (void *extents);
void rt_extents_range (const void *extents, uint64_t *range);
uint32_t rt_extents_read (const void *extents, uint32_t first, uint64_t *triples, uint32_t max);
int32_t rt_extents_append (void *extents, const uint64_t *triples, uint32_t n);

/* A list of exports. Missing texts are NULL. rt_exports_add returns 0 or an errno. */
void *rt_exports_new (void);
void rt_exports_free (void *exports);
uint32_t rt_exports_count (const void *exports);
void *rt_exports_name (const void *exports, uint32_t i);
void *rt_exports_description (const void *exports, uint32_t i);
int32_t rt_exports_add (void *exports, const char *name, const char *description);
int32_t rt_exports_wants_default (const void *exports);
void rt_exports_want_default (void *exports);

/* Print debug lines if `verbose` is not 0. */
void rt_set_verbose (int32_t verbose);

/* Set the value of --name, which the runtime copies. Lines then start with nbdkit[NAME]. */
void rt_set_server_name (const char *name);

/* Lines of this thread outside callbacks for a client start with this name, which must stay; NULL: no name. */
void rt_set_log_name (const void *name);

/* Print GnuTLS's log up to this level as debug lines. `library` is GnuTLS's name. Returns -1 if it is missing. */
int32_t rt_gnutls_log (const char *library, int32_t level);

/* The destination of error lines: a descriptor, or one of these. Debug lines always go to stderr. */
#define RT_ERRORS_TO_SYSLOG 0x40000001
#define RT_ERRORS_NOWHERE 0x40000002
void rt_send_errors (int32_t fd);

/* Call `asked`, on any thread, when a module wants the server to stop. Without it nbdkit_shutdown sends SIGTERM. */
void rt_on_shutdown (void (*asked) (void));

/* The number of error lines that modules have printed. */
uint32_t rt_errors_printed (void);

/* Free the `said` of a result. */
void rt_said_free (void *said);

/* Let modules that are loaded later see only libc's and nbdkit's functions of the program. Call it once JavaScript has
 * the addresses of the functions in this header, which are hidden as well. Returns 0 or an errno. */
int32_t rt_hide_symbols (void);

/* Let getpid return this pid to modules: that of a daemon's first process until the daemon has detached, since nbdkit
 * forks only then. 0: the pid of this process. */
void rt_set_pid (int32_t pid);

/* Protect a descriptor of the server until it stands for another file: modules that close it get EBADF. */
void rt_protect_descriptor (int32_t fd);

/* dlopen (path, RTLD_NOW | RTLD_GLOBAL), dlsym, and the text of the last failure (or ""). The idle request thread of
 * the slot runs dlopen, or the caller if `slot` is -1. */
void *rt_dlopen (const char *path, int32_t slot);
void *rt_dlsym (void *library, const char *name);
const char *rt_dlerror (void);

/* Call filter_init or plugin_init of the last loaded module, on the same thread. */
void *rt_call_init (void *function, int32_t slot);

/* A copy of `text` from malloc, for C to keep. */
void *rt_strdup (const char *text);
void rt_free (void *memory);

/* Flush C's stdout. */
void rt_flush_stdout (void);

#pragma GCC visibility pop

#endif /* NBDKIT_BUN_RUNTIME_H */
