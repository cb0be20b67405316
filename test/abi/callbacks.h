/*
 * Where the callbacks are in the structs of modules: what layers.c knows of one layout, for
 * those of 1.30 and later.
 */
#ifndef CALLBACKS_H
#define CALLBACKS_H

#include <stddef.h>
#include <stdint.h>

/* The offset of the callback for RT_OP_*, or 0. */
size_t filter_1_30_callback (uint32_t op);
size_t plugin_callback (uint32_t op);

/* In the same structs. */
#define CALLBACKS_MAX_SIZE 1024
size_t filter_1_30_size (void);
const char *filter_1_30_name (const void *filter);

#endif /* CALLBACKS_H */
