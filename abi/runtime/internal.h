/* Declarations that the files of the native runtime share, and that JavaScript does not see. */
#ifndef NBDKIT_BUN_INTERNAL_H
#define NBDKIT_BUN_INTERNAL_H

#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "runtime.h"

/* Copy the module's struct nbdkit_next_ops, in its layout. Returns the size, or 0 if there is none. */
uint32_t rt_module_next_table (int32_t module, void *table, uint32_t size);

/* A layer calls the one below: pass the upcall to JavaScript, and park until the answer arrives. Fills in the fields of
 * the upcall other than its op and arguments. `answer`, unless it is NULL, gets the values that the callback stores.
 * Returns -1 with errno on failure. The generated next_ops tables call this, on any thread. */
int64_t rt_upcall (void *nxdata, struct rt_upcall *upcall, struct rt_answer *answer);

/* ---- log.c */

/* Whether debug lines are printed. */
bool rt_verbose (void);

/* The start of each line: "nbdkit" or "nbdkit[NAME]". */
const char *rt_program (void);

/* ---- messages.c */

extern struct rt_slot *rt_slot_array;

/* Allocate memory for this many slots and calls. Returns 0 or an errno. */
int rt_messages_start (uint32_t slots, uint32_t calls, void (*wake) (void));

/* Notify JavaScript of a message in the `out` of a slot, or of the end of a call: RT_CALL_BIT | call. */
void rt_post (uint32_t what);

/* Send JavaScript the upcall and wait for its next message. */
void rt_ask (uint32_t slot, const struct rt_upcall *upcall);

void rt_wait_for_message (uint32_t slot);

/* Forget a message for the thread that had the slot before. */
void rt_slot_reset (uint32_t slot);

/* ---- queues.c */

/* Serve the thread's queue, and queues that starve. Returns whether to keep the thread. */
bool rt_serve (uint32_t slot);

/* ---- next.c */

/* Enough for the function table of every layout, and for the number of every op with an answer. */
#define RT_NEXT_TABLE 256
#define RT_NEXT_ANSWERS 64
#define RT_NEXT_DIRECT 5

/* A filter's nxdata points to this. */
struct rt_next {
  /* The first field, since filters of 1.26 and later find the functions of the next layer at the start. */
  unsigned char table[RT_NEXT_TABLE];
  _Atomic uint32_t target; /* 0: freed */
  _Atomic uint32_t direct_ops;
  _Atomic uint64_t answered;
  struct rt_direct direct[RT_NEXT_DIRECT];
  _Atomic int64_t answers[RT_NEXT_ANSWERS];
  struct rt_next *next_free;
  int32_t module; /* the filter, or -1 */
  _Atomic int32_t misuse_logged;
  void *backend; /* the nxdata of the layer below outside connections (contexts.c) */
};

/* Run the upcall without JavaScript, if that is possible. Sets errno if *ret is -1. */
bool rt_next_knows (struct rt_next *next, const struct rt_upcall *upcall, int64_t *ret);

/* Log that a module calls through a pointer without a layer behind it, once for each pointer. */
void rt_next_log_misuse (struct rt_next *next);

/* Answer later calls of this op without JavaScript. */
void rt_next_remember (struct rt_next *next, uint32_t op, int64_t answer);

/* ---- threads.c */

/* Run the callback that the downcall names; `call` is the number + 1 of its queued call, or 0. May replace the buffer
 * of a pread or pwrite in the downcall. */
void rt_run (struct rt_downcall *downcall, uint32_t call, struct rt_result *result);

/* The same for a callback that another callback calls, with the other one's buffer. */
void rt_run_neighbour (const struct rt_downcall *downcall, struct rt_result *result);

/* Let the idle request thread of a slot call a function, and wait for its end. With slot -1, call it on this thread. */
#define RT_ERRAND 6 /* rt_message.kind */
void rt_run_errand (int32_t slot, void (*run) (void *), void *data);

/* nbdkit_set_error for the callback that runs on this thread. */
void rt_store_error (int err);

/* Keep the message of nbdkit_error for the callback that runs on this thread: clients get it if the callback fails. */
void rt_store_said (const char *message);

/* A client's connection (connection.c). */
struct rt_connection {
  char *log_name;
  struct rt_interned *interned;      /* strings of modules, intern.c */
  struct rt_interned *export_names;  /* all names so far, since modules may use older ones */
  struct rt_interned *tls_names;
  const char *_Atomic tls_dn;        /* of the client's certificate, or NULL */
  const char *_Atomic tls_issuer_dn;
  const char *_Atomic export_name;   /* the last one, or NULL */
  _Atomic int32_t is_tls;
  _Atomic int32_t has_ended;         /* sleep.c */
  int32_t is_shared;                 /* stands for layers that several clients share */
  void *control;                     /* the nxdata for upcalls of nbdkit_disconnect, or NULL */
  int64_t peer_pid, peer_uid, peer_gid; /* -1: not known */
  socklen_t peer_size;               /* 0: not known */
  struct sockaddr_storage peer;
};

/* The connection of the callback that runs on this thread, or NULL. */
struct rt_connection *rt_this_connection (void);

/* The callback that runs on this thread, or NULL. Safe in a signal handler. */
const struct rt_downcall *rt_this_downcall (void);

/* Keep a copy of a text until the list is freed. NULL with errno if there is no memory. (intern.c) */
struct rt_interned;
const char *rt_intern (struct rt_interned **list, const char *text, size_t length);
void rt_interned_free (struct rt_interned *list);

/* The NBDKIT_FILTER_RELEASE_* of the module that called an exported function, by the return address; the newest one if
 * that is unknown. (module-table.c) */
uint32_t rt_caller_release (const void *return_address);

/* The title of a module, "filter NAME (PATH)", by its number from rt_module_add or by an address in its code; NULL if
 * there is none. Safe in a signal handler. */
const char *rt_module_title (uint32_t module);
const char *rt_module_title_at (uintptr_t address);

/* Log the module when a signal ends the process in one. Modules that are loaded later may install handlers of their
 * own, which run first and may call this one. (crash.c) */
void rt_crash_install (void);

/* The module that a thread works for (culprit.c). */
struct rt_culprit {
  const char *title; /* "filter NAME (PATH)", or the path of a module that is being loaded */
  const char *op;    /* the callback, or NULL */
  bool is_loading;
};

/* Call this on JavaScript's thread. */
void rt_culprit_start (void);

/* From now on this thread loads the module at this path; NULL: loading has ended. */
void rt_set_loading (const char *path);

/* Whether this thread loads a module or runs a callback. Safe in a signal handler. */
bool rt_in_module (void);

/* Find the module by the thread's callback, by an address in its code, or by return addresses on its stack, unless that
 * is NULL. False if there is none. Safe in a signal handler. */
bool rt_find_culprit (struct rt_culprit *culprit, uintptr_t address, const void *stack);

/* Log the module's title, its deed (such as " crashed"), the callback, and further words. Safe in a signal handler. */
void rt_log_culprit (const struct rt_culprit *culprit, const char *deed, const char *words);

/* Stand between modules and the process. (process.c) */
void rt_process_start (void);

/* Let libraries that are loaded later find `ours` in place of a library's function `theirs` of the same name. Returns 0
 * or an errno. (symbols.c) */
int rt_replace_symbol (const char *name, void *theirs, void *ours);

/* A stack for the handler, in case the thread's own is exhausted. The thread frees it when it ends. */
void *rt_crash_stack_new (void);
void rt_crash_stack_free (void *stack);

/* Call the callback that the downcall names, and set its return value and what it stored. rt_run sets the rest. */
void rt_module_call (const struct rt_downcall *downcall, struct rt_result *result);

#define RT_EXPORT __attribute__ ((visibility ("default")))

#endif /* NBDKIT_BUN_INTERNAL_H */
