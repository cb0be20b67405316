/* What the files of the native runtime share among themselves; JavaScript does not see it. */
#ifndef NBDKIT_BUN_INTERNAL_H
#define NBDKIT_BUN_INTERNAL_H

#include <stdarg.h>
#include <stdint.h>

#include "runtime.h"

/* A layer calls the one below: hand the message to JavaScript and park until the answer is there.
 * On failure returns -1 with errno set. Called by the generated next_ops tables, on any thread. */
int64_t rt_upcall (void *nxdata, struct rt_message *message);

/* nbdkit_set_error for the callback that runs on this thread. */
void rt_store_error (int err);

/* A client's connection (connection.c). */
struct rt_connection {
  char *log_name;
};

/* The connection that this thread runs a callback for, or NULL. */
struct rt_connection *rt_this_connection (void);

/* The callback that runs on this thread, or NULL. Safe in a signal handler. */
const struct rt_message *rt_this_downcall (void);

/* Call the callback of a module that the message names. */
void rt_module_call (struct rt_message *message);

/* Call a filter's open whether it is of generation S or A (open-either.c). */
void rt_open_either (const void *module, struct rt_message *message);

#define RT_EXPORT __attribute__ ((visibility ("default")))

#endif /* NBDKIT_BUN_INTERNAL_H */
