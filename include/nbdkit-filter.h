/* What a filter in C is compiled against, in every generation of the interface.
 *
 * A generation is one layout of struct nbdkit_filter. Without further ado it is S: open takes only
 * `readonly`, the server itself opens the next layer, and the declarations of nbdkit-plugin.h come along.
 * A source that defines THREAD_MODEL before the include, as nbdkit 1.2 wants it, gets A, where open calls
 * the next layer. Or choose by `#define NBDKIT_FILTER_GENERATION NBDKIT_GENERATION_S` before the include.
 *
 * Usable from C90, C11 and C++.
 *
 * SPDX-License-Identifier: BSD-3-Clause
 */
#ifndef NBDKIT_FILTER_H
#define NBDKIT_FILTER_H

/* In order of time, with room for those between. */
#define NBDKIT_GENERATION_S 100
#define NBDKIT_GENERATION_A 200

#ifndef NBDKIT_FILTER_GENERATION
#ifdef THREAD_MODEL
#define NBDKIT_FILTER_GENERATION NBDKIT_GENERATION_A
#else
#define NBDKIT_FILTER_GENERATION NBDKIT_GENERATION_S
#endif
#endif
#if NBDKIT_FILTER_GENERATION != NBDKIT_GENERATION_S                                                \
    && NBDKIT_FILTER_GENERATION != NBDKIT_GENERATION_A
#error "NBDKIT_FILTER_GENERATION must be NBDKIT_GENERATION_S or NBDKIT_GENERATION_A"
#endif

#include <nbdkit-common.h>
#if NBDKIT_FILTER_GENERATION == NBDKIT_GENERATION_S
#include <nbdkit-plugin.h>
#endif

#define NBDKIT_FILTER_API_VERSION 1

/* Generation S has 4 bytes of padding after _api_version, where A has its thread model. The register
 * macro leaves this number there, so that a server can tell the two apart. */
#define NBDKIT_FILTER_MARKER_S 0x4e424453

#ifdef __cplusplus
extern "C" {
#endif

/* The next layer, before there is a connection. Pass nxdata on as it came. */
typedef int nbdkit_next_config (void *nxdata, const char *key, const char *value);
typedef int nbdkit_next_config_complete (void *nxdata);
#if NBDKIT_FILTER_GENERATION >= NBDKIT_GENERATION_A
typedef int nbdkit_next_open (void *nxdata, int readonly);
#endif

/* The next layer, in a connection. */
struct nbdkit_next_ops {
  int64_t (*get_size) (void *nxdata);
  int (*can_write) (void *nxdata);
  int (*can_flush) (void *nxdata);
  int (*is_rotational) (void *nxdata);
  int (*can_trim) (void *nxdata);
  int (*pread) (void *nxdata, void *buf, uint32_t count, uint64_t offset);
  int (*pwrite) (void *nxdata, const void *buf, uint32_t count, uint64_t offset);
  int (*flush) (void *nxdata);
  int (*trim) (void *nxdata, uint32_t count, uint64_t offset);
  int (*zero) (void *nxdata, uint32_t count, uint64_t offset, int may_trim);
};

/* A filter. Callbacks that are NULL pass through. */
struct nbdkit_filter {
  /* Set by NBDKIT_REGISTER_FILTER. */
  uint64_t _struct_size;
  int _api_version;
#if NBDKIT_FILTER_GENERATION >= NBDKIT_GENERATION_A
  int _thread_model;
#endif

  /* Strings must stay valid; only name must be given. */
  const char *name;
  const char *longname;
  const char *version;
  const char *description;

  void (*load) (void);
  void (*unload) (void);

  int (*config) (nbdkit_next_config *next, void *nxdata, const char *key, const char *value);
  int (*config_complete) (nbdkit_next_config_complete *next, void *nxdata);
  const char *config_help;

  /* One handle a connection, never NULL. NULL is an error. */
#if NBDKIT_FILTER_GENERATION >= NBDKIT_GENERATION_A
  void *(*open) (nbdkit_next_open *next, void *nxdata, int readonly);
#else
  void *(*open) (int readonly);
#endif
  void (*close) (void *handle);

  int (*prepare) (struct nbdkit_next_ops *next_ops, void *nxdata, void *handle);
  int (*finalize) (struct nbdkit_next_ops *next_ops, void *nxdata, void *handle);

  int64_t (*get_size) (struct nbdkit_next_ops *next_ops, void *nxdata, void *handle);
  int (*can_write) (struct nbdkit_next_ops *next_ops, void *nxdata, void *handle);
  int (*can_flush) (struct nbdkit_next_ops *next_ops, void *nxdata, void *handle);
  int (*is_rotational) (struct nbdkit_next_ops *next_ops, void *nxdata, void *handle);
  int (*can_trim) (struct nbdkit_next_ops *next_ops, void *nxdata, void *handle);

  /* They return 0, or -1 with errno set. */
  int (*pread) (struct nbdkit_next_ops *next_ops, void *nxdata, void *handle, void *buf,
                uint32_t count, uint64_t offset);
  int (*pwrite) (struct nbdkit_next_ops *next_ops, void *nxdata, void *handle, const void *buf,
                 uint32_t count, uint64_t offset);
  int (*flush) (struct nbdkit_next_ops *next_ops, void *nxdata, void *handle);
  int (*trim) (struct nbdkit_next_ops *next_ops, void *nxdata, void *handle, uint32_t count,
               uint64_t offset);
  int (*zero) (struct nbdkit_next_ops *next_ops, void *nxdata, void *handle, uint32_t count,
               uint64_t offset, int may_trim);
};

/* What a generation's register macro sets beyond what all set. */
#if NBDKIT_FILTER_GENERATION >= NBDKIT_GENERATION_A
#define NBDKIT_FILTER_SET_ABI_(filter) (filter)._thread_model = THREAD_MODEL
#else
/* Byte by byte, because padding has no name. Where the ABI has no padding, nothing is written. */
#define NBDKIT_FILTER_SET_ABI_(filter)                                                             \
  do {                                                                                             \
    const uint32_t nbdkit_marker_ = NBDKIT_FILTER_MARKER_S;                                        \
    const unsigned char *nbdkit_from_ = (const unsigned char *) &nbdkit_marker_;                   \
    const size_t nbdkit_at_ = offsetof (struct nbdkit_filter, _api_version) + sizeof (int);        \
    unsigned char *nbdkit_to_ = (unsigned char *) &(filter) + nbdkit_at_;                          \
    size_t nbdkit_i_;                                                                              \
    if (nbdkit_at_ + sizeof nbdkit_marker_ > offsetof (struct nbdkit_filter, name))                \
      break;                                                                                       \
    for (nbdkit_i_ = 0; nbdkit_i_ < sizeof nbdkit_marker_; nbdkit_i_++)                            \
      nbdkit_to_[nbdkit_i_] = nbdkit_from_[nbdkit_i_];                                             \
  } while (0)
#endif

/* Defines filter_init, which the server calls to get at the struct. */
#define NBDKIT_REGISTER_FILTER(filter)                                                             \
  NBDKIT_CXX_LANG_C struct nbdkit_filter *filter_init (void) NBDKIT_VISIBLE_;                      \
  NBDKIT_CXX_LANG_C struct nbdkit_filter *filter_init (void)                                       \
  {                                                                                                \
    (filter)._struct_size = sizeof (filter);                                                       \
    (filter)._api_version = NBDKIT_FILTER_API_VERSION;                                             \
    NBDKIT_FILTER_SET_ABI_ (filter);                                                               \
    return &(filter);                                                                              \
  }

#ifdef __cplusplus
}
#endif

#endif /* NBDKIT_FILTER_H */
