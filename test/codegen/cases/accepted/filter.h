/* The forms that nbdkit's headers use. */
#include <stdarg.h>
#include <stdint.h>

#define INDENTED_BY_MACRO int64_t

typedef int nbdkit_next_config (void *nxdata,
                                const char *key, const char *value);
struct opaque;

struct next_ops {
  INDENTED_BY_MACRO (*get_size) (void *nxdata);
};

struct filter {
  uint64_t _struct_size;
  int _api_version;
  const char *name; /* at 16, after padding */
  int (*config) (nbdkit_next_config *next, void *nxdata, const char *key, const char *value);
  void *(*open) (int readonly);
  const char *(*describe) (struct next_ops *next, struct opaque *other);
  uint32_t last;
};

extern void nbdkit_error (const char *fs, ...) __attribute__ ((__format__ (__printf__, 1, 2)));
extern void nbdkit_verror (const char *fs, va_list args);
char *nbdkit_realpath (const char *path);
