/* The offsets of callbacks in filters of the layout 1.30 and in plugins. They are apart from layers.c, which includes
 * the header for layout 1.2. */
#ifndef CALLBACKS_H
#define CALLBACKS_H

#include <stddef.h>
#include <stdint.h>

/* The offset of the callback for RT_OP_*, or 0. */
size_t filter_1_30_callback (uint32_t op);
size_t plugin_callback (uint32_t op);

#define CALLBACKS_MAX_SIZE 1024
size_t filter_1_30_size (void);
const char *filter_1_30_name (const void *filter);

#endif /* CALLBACKS_H */
