#include "nbdkit-filter-releases.h"
#include "nbdkit-plugin.h"
typedef int nbdkit_next_config (void *nxdata, const char *key, const char *value);
#if NBDKIT_FILTER_RELEASE == NBDKIT_FILTER_RELEASE_1_2
typedef int nbdkit_next_open (void *nxdata, int readonly);
#endif
struct nbdkit_next_ops {
  int (*zero) (void *nxdata, uint32_t count, uint64_t offset, int may_trim);
};
struct nbdkit_filter {
  const char *name;
  int (*config) (nbdkit_next_config *next, void *nxdata, const char *key, const char *value);
#if NBDKIT_FILTER_RELEASE == NBDKIT_FILTER_RELEASE_1_2
  int _thread_model;
  void *(*open) (nbdkit_next_open *next, void *nxdata, int readonly);
#else
  void *(*open) (int readonly);
#endif
  int (*zero) (struct nbdkit_next_ops *next_ops, void *nxdata, void *handle,
               uint32_t count, uint64_t offset, int may_trim);
};
