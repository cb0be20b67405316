#include "nbdkit-common.h"
struct nbdkit_plugin {
  uint64_t _struct_size;
  const char *name;
  void (*load) (void);
#if NBDKIT_API_VERSION == 1
  int (*flush) (void *handle);
  int (*_flush_v2) (void *handle, uint32_t flags);
#else
  int (*_flush_v1) (void *handle);
  int (*flush) (void *handle, uint32_t flags);
#endif
};
