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

/* What log lines of this thread start with, or NULL. */
const char *rt_log_name (void);

/* Call the callback of a module that the message names. */
void rt_module_call (struct rt_message *message);

/* Call a filter's open whether it is of generation S or A (open-either.c). */
void rt_open_either (const void *module, struct rt_message *message);

#define RT_EXPORT __attribute__ ((visibility ("default")))

#endif /* NBDKIT_BUN_INTERNAL_H */
