#include <stdint.h>
#define NBDKIT_FLAG_MAY_TRIM (1 << 0)
extern void nbdkit_error (const char *fs, ...);
