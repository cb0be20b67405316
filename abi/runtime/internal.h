/* What the files of the native runtime share among themselves; JavaScript does not see it. */
#ifndef NBDKIT_BUN_INTERNAL_H
#define NBDKIT_BUN_INTERNAL_H

#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "runtime.h"

/* Copy what the module's layout calls struct nbdkit_next_ops. Returns its size, 0 where there is none. */
uint32_t rt_module_next_table (int32_t module, void *table, uint32_t size);

/* A layer calls the one below: hand the upcall to JavaScript and park until the answer is there. Fills in the fields of
 * the upcall that are no arguments, except for the op. `answer`, unless it is NULL, gets what a callback may store.
 * On failure returns -1 with errno set. Called by the generated next_ops tables, on any thread. */
int64_t rt_upcall (void *nxdata, struct rt_upcall *upcall, struct rt_answer *answer);

/* ---- log.c */

/* Whether debug lines are printed. (log.c) */
bool rt_verbose (void);

/* What lines start with: "nbdkit" or "nbdkit[NAME]". */
const char *rt_program (void);

/* ---- messages.c */

extern struct rt_slot *rt_slot_array;

/* Begin, for so many slots and calls. Returns 0 or an errno. */
int rt_messages_start (uint32_t slots, uint32_t calls, void (*wake) (void));

/* Tell JavaScript that there is a message in the slot's `out`, or that a call is done: RT_CALL_BIT | call. */
void rt_post (uint32_t what);

/* Send JavaScript the upcall and wait for its next message. */
void rt_ask (uint32_t slot, const struct rt_upcall *upcall);

void rt_wait_for_message (uint32_t slot);

/* A slot that was another thread's has no message. */
void rt_slot_reset (uint32_t slot);

/* ---- queues.c */

/* Serve the queue that the thread was told to serve, and those that starve. Whether the thread is kept. */
bool rt_serve (uint32_t slot);

/* ---- next.c */

/* Enough for the function table of any layout, and for the number of any op with an answer. */
#define RT_NEXT_TABLE 256
#define RT_NEXT_ANSWERS 64
#define RT_NEXT_DIRECT 5

/* What a filter's nxdata points at. */
struct rt_next {
  /* First, because filters of 1.26 and later find the functions of the next layer where it begins. */
  unsigned char table[RT_NEXT_TABLE];
  _Atomic uint32_t target; /* 0: freed */
  _Atomic uint32_t direct_ops;
  _Atomic uint64_t answered;
  struct rt_direct direct[RT_NEXT_DIRECT];
  _Atomic int64_t answers[RT_NEXT_ANSWERS];
  struct rt_next *next_free;
  int32_t module; /* whose it is, or -1 */
  _Atomic int32_t complained;
  void *backend; /* the nxdata of the layer below as such, which no connection has to do with (contexts.c) */
};

/* Do what can be done without JavaScript; false where it cannot. Sets errno with a *ret of -1. */
bool rt_next_knows (struct rt_next *next, const struct rt_upcall *upcall, int64_t *ret);

/* Log which module uses a pointer without a layer behind it: once for each. */
void rt_next_complain (struct rt_next *next);

/* Answer the same question by yourself from now on. */
void rt_next_remember (struct rt_next *next, uint32_t op, int64_t answer);

/* ---- threads.c */

/* Run the callback that the downcall names; `call` is the number + 1 of the queued call that it is, or 0. The memory of
 * a pread or pwrite may be replaced in the downcall. */
void rt_run (struct rt_downcall *downcall, uint32_t call, struct rt_result *result);

/* The same for a callback that another one calls, with what that has as buffer. */
void rt_run_neighbour (const struct rt_downcall *downcall, struct rt_result *result);

/* Have a function called by the request thread of a slot, which must be idle, and wait for that. -1: call it. */
#define RT_ERRAND 6 /* rt_message.kind */
void rt_run_errand (int32_t slot, void (*run) (void *), void *data);

/* nbdkit_set_error for the callback that runs on this thread. */
void rt_store_error (int err);

/* The text of nbdkit_error, for the callback that runs on this thread: clients get it if the callback fails. */
void rt_store_said (const char *message);

/* A client's connection (connection.c). */
struct rt_connection {
  char *log_name;
  struct rt_interned *interned;      /* of modules, intern.c */
  struct rt_interned *export_names;  /* all that it ever had: modules may hold on to an older one */
  struct rt_interned *tls_names;
  const char *_Atomic tls_dn;        /* of the client's certificate, or NULL */
  const char *_Atomic tls_issuer_dn;
  const char *_Atomic export_name;   /* the last of them, or NULL */
  _Atomic int32_t is_tls;
  _Atomic int32_t has_ended;         /* sleep.c */
  int32_t is_shared;                 /* no client's own, but a layer's for several of them */
  void *control;                     /* nxdata by which nbdkit_disconnect reaches JavaScript, or NULL */
  int64_t peer_pid, peer_uid, peer_gid; /* -1: not known */
  socklen_t peer_size;               /* 0: not known */
  struct sockaddr_storage peer;
};

/* The connection that this thread runs a callback for, or NULL. */
struct rt_connection *rt_this_connection (void);

/* The callback that runs on this thread, or NULL. Safe in a signal handler. */
const struct rt_downcall *rt_this_downcall (void);

/* Keep a copy of a text until the list is freed. NULL with errno where there is no memory. (intern.c) */
struct rt_interned;
const char *rt_intern (struct rt_interned **list, const char *text, size_t length);
void rt_interned_free (struct rt_interned *list);

/* NBDKIT_FILTER_RELEASE_* of the module whose code called an exported function, by the address that it returns to.
 * The newest one where that is unknown. (module-table.c) */
uint32_t rt_caller_release (const void *return_address);

/* The module that a number of rt_module_add or an address in its code stands for: "filter NAME (PATH)"; NULL where
 * it is none. Safe in a signal handler. */
const char *rt_module_title (uint32_t module);
const char *rt_module_title_at (uintptr_t address);

/* Name the module when the process dies of a signal in one. Modules that are loaded later may install handlers of their
 * own, which stay in force and may call this one. (crash.c) */
void rt_crash_install (void);

/* Who does what a thread does (accuse.c). */
struct rt_accused {
  const char *title; /* "filter NAME (PATH)", or the path of a module that is being loaded */
  const char *op;    /* the callback, or NULL */
  bool is_loading;
};

/* JavaScript's thread is the calling one. */
void rt_accuse_start (void);

/* The module of that path is loaded on this thread from now on; NULL: no more. */
void rt_accuse_loading (const char *path);

/* Whether this thread runs the code of a module that it loads, or a callback. Safe in a signal handler. */
bool rt_in_module (void);

/* Find out by what the thread runs, by an address in its code, or by addresses on its stack unless that is NULL. False
 * where it is no module. Safe in a signal handler. */
bool rt_accuse (struct rt_accused *accused, uintptr_t address, const void *stack);

/*
 * Print the title, what it did (" crashed"), in which callback, and what there is to say of it.
 * Safe in a signal handler.
 */
void rt_accuse_say (const struct rt_accused *accused, const char *deed, const char *words);

/* Stand between modules and the process. (process.c) */
void rt_process_start (void);

/* Let what is loaded from now on find `ours` in place of the function `theirs` of the same name in a library. Returns 0
 * or an errno. (symbols.c) */
int rt_replace_symbol (const char *name, void *theirs, void *ours);

/* Room for the handler where the thread's own stack is exhausted; to be freed at the thread's end. */
void *rt_crash_stack_new (void);
void rt_crash_stack_free (void *stack);

/* Call the callback of a module that the downcall names. Sets what it returned and stored; the rest is rt_run's. */
void rt_module_call (const struct rt_downcall *downcall, struct rt_result *result);

#define RT_EXPORT __attribute__ ((visibility ("default")))

#endif /* NBDKIT_BUN_INTERNAL_H */
