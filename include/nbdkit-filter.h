/* What a filter in C is compiled against, for every release of nbdkit that had filters.
 *
 * A layout is one form of struct nbdkit_filter and of its callbacks. It is called by the first release of
 * nbdkit that has it. The source chooses it before the include, by one of these macros:
 *
 *   NBDKIT_FILTER_API_VERSION 1   callbacks without flags and err. With THREAD_MODEL it is nbdkit 1.2's, where
 *                                 open calls the next layer; without it the original form, where open takes
 *                                 only `readonly`, the server itself opens the next layer, and the
 *                                 declarations of nbdkit-plugin.h come along.
 *   NBDKIT_FILTER_API_VERSION 2   nbdkit 1.10, and 1.4 to 1.8 without can_multi_conn
 *   NBDKIT_FILTER_API_VERSION 4   nbdkit 1.12
 *   NBDKIT_FILTER_API_VERSION 5   nbdkit 1.14
 *   NBDKIT_FILTER_API_VERSION 6   the newest layout
 *   NBDKIT_FILTER_RELEASE NBDKIT_FILTER_RELEASE_1_30
 *                                 that layout: here of nbdkit 1.30 to 1.34
 *
 * A source that defines none of them gets the layout that nbdkit.pc passes to the compiler. Without that
 * it gets 1.2 if it defines THREAD_MODEL, and otherwise the original form.
 *
 * Up to 1.12 they need THREAD_MODEL; later ones have the callback thread_model instead. From 1.15.1 on
 * NBDKIT_FILTER_VERSION is the release that the filter claims to be compiled for: genuine servers accept only
 * their own release, to the last digit.
 *
 * Usable from C90, C11 and C++.
 *
 * SPDX-License-Identifier: BSD-3-Clause
 */
#ifndef NBDKIT_FILTER_H
#define NBDKIT_FILTER_H

#include <nbdkit-filter-releases.h>

#if NBDKIT_FILTER_RELEASE >= NBDKIT_FILTER_RELEASE_1_16
#include <stdlib.h>
#endif

#include <nbdkit-common.h>
#if NBDKIT_FILTER_RELEASE == NBDKIT_FILTER_RELEASE_ORIGINAL
#include <nbdkit-plugin.h>
#endif

/* The original form has 4 bytes of padding after _api_version, where 1.2 has its thread model. The register
 * macro leaves this number there, so that a server can tell the two apart. */
#define NBDKIT_FILTER_MARKER_ORIGINAL 0x4e424453

#ifdef __cplusplus
extern "C" {
#endif

/* How the next layer is got at: first two pointers, then one. NXDATA is what functions of the next layer
 * take, NEXT what callbacks do. Pass them on as they came. */
struct nbdkit_next_ops;
#if NBDKIT_FILTER_RELEASE >= NBDKIT_FILTER_RELEASE_1_25_4
typedef struct nbdkit_backend nbdkit_backend;
typedef struct nbdkit_context nbdkit_context;
typedef struct nbdkit_next_ops nbdkit_next;
#define NBDKIT_NXDATA_ nbdkit_next *nxdata
#define NBDKIT_NEXT_ nbdkit_next *next
#else
/* Sources call it by either name. */
typedef void nbdkit_backend;
#define NBDKIT_NXDATA_ void *nxdata
#define NBDKIT_NEXT_ struct nbdkit_next_ops *next_ops, void *nxdata
#endif

/* What requests end in. *err is the errno of a failure; a caller may pass NULL. */
#if NBDKIT_FILTER_RELEASE >= NBDKIT_FILTER_RELEASE_1_4
#define NBDKIT_FLAGS_ , uint32_t flags, int *err
#define NBDKIT_FLAGS_OF_ZERO_ NBDKIT_FLAGS_
#else
#define NBDKIT_FLAGS_
#define NBDKIT_FLAGS_OF_ZERO_ , int may_trim
#endif

/* The next layer, before there is a connection. */
typedef int nbdkit_next_config (nbdkit_backend *nxdata, const char *key, const char *value);
typedef int nbdkit_next_config_complete (nbdkit_backend *nxdata);
#if NBDKIT_FILTER_RELEASE >= NBDKIT_FILTER_RELEASE_1_18                                            \
    && NBDKIT_FILTER_RELEASE < NBDKIT_FILTER_RELEASE_1_26
typedef int nbdkit_next_get_ready (nbdkit_backend *nxdata);
#endif
#if NBDKIT_FILTER_RELEASE >= NBDKIT_FILTER_RELEASE_1_21_12                                         \
    && NBDKIT_FILTER_RELEASE < NBDKIT_FILTER_RELEASE_1_26
typedef int nbdkit_next_after_fork (nbdkit_backend *nxdata);
#endif
#if NBDKIT_FILTER_RELEASE >= NBDKIT_FILTER_RELEASE_1_17_1
typedef int nbdkit_next_preconnect (nbdkit_backend *nxdata, int readonly);
#endif
#if NBDKIT_FILTER_RELEASE >= NBDKIT_FILTER_RELEASE_1_24
typedef int nbdkit_next_list_exports (nbdkit_backend *nxdata, int readonly,
                                      struct nbdkit_exports *exports);
typedef const char *nbdkit_next_default_export (nbdkit_backend *nxdata, int readonly);
#elif NBDKIT_FILTER_RELEASE >= NBDKIT_FILTER_RELEASE_1_21_22
typedef int nbdkit_next_list_exports (nbdkit_backend *nxdata, int readonly, int default_only,
                                      struct nbdkit_exports *exports);
#endif
#if NBDKIT_FILTER_RELEASE >= NBDKIT_FILTER_RELEASE_1_25_4
typedef int nbdkit_next_open (nbdkit_context *context, int readonly, const char *exportname);
#elif NBDKIT_FILTER_RELEASE >= NBDKIT_FILTER_RELEASE_1_21_20
typedef int nbdkit_next_open (nbdkit_backend *nxdata, int readonly, const char *exportname);
#elif NBDKIT_FILTER_RELEASE >= NBDKIT_FILTER_RELEASE_1_2
typedef int nbdkit_next_open (void *nxdata, int readonly);
#endif

/* The next layer, in a connection. */
struct nbdkit_next_ops {
#if NBDKIT_FILTER_RELEASE >= NBDKIT_FILTER_RELEASE_1_25_4
  /* Only for what nbdkit_next_context_open opened. */
  int (*prepare) (NBDKIT_NXDATA_);
  int (*finalize) (NBDKIT_NXDATA_);
#elif NBDKIT_FILTER_RELEASE >= NBDKIT_FILTER_RELEASE_1_21_20
  int (*reopen) (NBDKIT_NXDATA_, int readonly, const char *exportname);
#elif NBDKIT_FILTER_RELEASE >= NBDKIT_FILTER_RELEASE_1_16
  int (*reopen) (NBDKIT_NXDATA_, int readonly);
#endif
  int64_t (*get_size) (NBDKIT_NXDATA_);
#if NBDKIT_FILTER_RELEASE >= NBDKIT_FILTER_RELEASE_1_24
  const char *(*export_description) (NBDKIT_NXDATA_);
#endif
#if NBDKIT_FILTER_RELEASE >= NBDKIT_FILTER_RELEASE_1_30
  int (*block_size) (NBDKIT_NXDATA_, uint32_t *minimum, uint32_t *preferred, uint32_t *maximum);
#endif
  int (*can_write) (NBDKIT_NXDATA_);
  int (*can_flush) (NBDKIT_NXDATA_);
  int (*is_rotational) (NBDKIT_NXDATA_);
  int (*can_trim) (NBDKIT_NXDATA_);
#if NBDKIT_FILTER_RELEASE >= NBDKIT_FILTER_RELEASE_1_4
  int (*can_zero) (NBDKIT_NXDATA_);
#endif
#if NBDKIT_FILTER_RELEASE >= NBDKIT_FILTER_RELEASE_1_15_1
  int (*can_fast_zero) (NBDKIT_NXDATA_);
#endif
#if NBDKIT_FILTER_RELEASE >= NBDKIT_FILTER_RELEASE_1_12
  int (*can_extents) (NBDKIT_NXDATA_);
#endif
#if NBDKIT_FILTER_RELEASE >= NBDKIT_FILTER_RELEASE_1_4
  int (*can_fua) (NBDKIT_NXDATA_);
#endif
#if NBDKIT_FILTER_RELEASE >= NBDKIT_FILTER_RELEASE_1_10
  int (*can_multi_conn) (NBDKIT_NXDATA_);
#endif
#if NBDKIT_FILTER_RELEASE >= NBDKIT_FILTER_RELEASE_1_14
  int (*can_cache) (NBDKIT_NXDATA_);
#endif
  int (*pread) (NBDKIT_NXDATA_, void *buf, uint32_t count, uint64_t offset NBDKIT_FLAGS_);
  int (*pwrite) (NBDKIT_NXDATA_, const void *buf, uint32_t count, uint64_t offset NBDKIT_FLAGS_);
  int (*flush) (NBDKIT_NXDATA_ NBDKIT_FLAGS_);
  int (*trim) (NBDKIT_NXDATA_, uint32_t count, uint64_t offset NBDKIT_FLAGS_);
  int (*zero) (NBDKIT_NXDATA_, uint32_t count, uint64_t offset NBDKIT_FLAGS_OF_ZERO_);
#if NBDKIT_FILTER_RELEASE >= NBDKIT_FILTER_RELEASE_1_12
  int (*extents) (NBDKIT_NXDATA_, uint32_t count, uint64_t offset, uint32_t flags,
                  struct nbdkit_extents *extents, int *err);
#endif
#if NBDKIT_FILTER_RELEASE >= NBDKIT_FILTER_RELEASE_1_14
  int (*cache) (NBDKIT_NXDATA_, uint32_t count, uint64_t offset NBDKIT_FLAGS_);
#endif
};

/* Functions of the server that are not the same in all releases. The first two ask the next layer: for all
 * extents of a range, and for extents at multiples of `align`, a power of 2, of a list that begins at `offset`. Range
 * and disk may begin and end within a block. */
#if NBDKIT_FILTER_RELEASE >= NBDKIT_FILTER_RELEASE_1_24
extern struct nbdkit_extents *nbdkit_extents_full (NBDKIT_NEXT_, uint32_t count, uint64_t offset,
                                                   uint32_t flags, int *err);
#endif
#if NBDKIT_FILTER_RELEASE >= NBDKIT_FILTER_RELEASE_1_44
extern int nbdkit_extents_aligned (NBDKIT_NEXT_, uint64_t count, uint64_t offset, uint32_t flags,
                                   uint32_t align, struct nbdkit_extents *extents, int *err);
#elif NBDKIT_FILTER_RELEASE >= NBDKIT_FILTER_RELEASE_1_21_12
extern int nbdkit_extents_aligned (NBDKIT_NEXT_, uint32_t count, uint64_t offset, uint32_t flags,
                                   uint32_t align, struct nbdkit_extents *extents, int *err);
#endif
#if NBDKIT_FILTER_RELEASE >= NBDKIT_FILTER_RELEASE_1_24
extern struct nbdkit_exports *nbdkit_exports_new (void);
#elif NBDKIT_FILTER_RELEASE >= NBDKIT_FILTER_RELEASE_1_21_22
extern struct nbdkit_exports *nbdkit_exports_new (int default_only);
#endif
#if NBDKIT_FILTER_RELEASE >= NBDKIT_FILTER_RELEASE_1_25_4
/* Open the layers below once more, apart from any client; the caller prepares, finalizes and closes them.
 * Or have them serve as the next layer of a context: returns what did so before. */
extern nbdkit_backend *nbdkit_context_get_backend (nbdkit_context *context);
extern nbdkit_next *nbdkit_context_set_next (nbdkit_context *context, nbdkit_next *next);
#if NBDKIT_FILTER_RELEASE >= NBDKIT_FILTER_RELEASE_1_26
extern nbdkit_next *nbdkit_next_context_open (nbdkit_backend *backend, int readonly,
                                              const char *exportname, int shared);
#else
extern nbdkit_next *nbdkit_next_context_open (nbdkit_backend *backend, int readonly,
                                              const char *exportname);
#endif
extern void nbdkit_next_context_close (nbdkit_next *next);
#endif

/* A filter. Callbacks that are NULL pass through. */
struct nbdkit_filter {
  /* Set by NBDKIT_REGISTER_FILTER. */
#if NBDKIT_FILTER_RELEASE < NBDKIT_FILTER_RELEASE_1_4
  uint64_t _struct_size;
#endif
  int _api_version;
#if NBDKIT_FILTER_RELEASE >= NBDKIT_FILTER_RELEASE_1_15_1
  const char *_version;
#elif NBDKIT_FILTER_RELEASE >= NBDKIT_FILTER_RELEASE_1_2                                           \
    && NBDKIT_FILTER_RELEASE < NBDKIT_FILTER_RELEASE_1_14
  int _thread_model;
#endif

  /* Strings must stay valid; only name must be given. */
  const char *name;
  const char *longname;
#if NBDKIT_FILTER_RELEASE < NBDKIT_FILTER_RELEASE_1_15_1
  const char *version;
#endif
  const char *description;

  void (*load) (void);
  void (*unload) (void);

  int (*config) (nbdkit_next_config *next, nbdkit_backend *nxdata, const char *key,
                 const char *value);
  int (*config_complete) (nbdkit_next_config_complete *next, nbdkit_backend *nxdata);
  const char *config_help;
#if NBDKIT_FILTER_RELEASE >= NBDKIT_FILTER_RELEASE_1_44
  int (*thread_model) (int next_thread_model);
#elif NBDKIT_FILTER_RELEASE >= NBDKIT_FILTER_RELEASE_1_14
  int (*thread_model) (void);
#endif
#if NBDKIT_FILTER_RELEASE >= NBDKIT_FILTER_RELEASE_1_36
  void (*dump_plugin) (void);
#endif
#if NBDKIT_FILTER_RELEASE >= NBDKIT_FILTER_RELEASE_1_26
  int (*get_ready) (int thread_model);
  int (*after_fork) (nbdkit_backend *backend);
  void (*cleanup) (nbdkit_backend *backend);
#else
#if NBDKIT_FILTER_RELEASE >= NBDKIT_FILTER_RELEASE_1_22
  int (*get_ready) (nbdkit_next_get_ready *next, nbdkit_backend *nxdata, int thread_model);
#elif NBDKIT_FILTER_RELEASE >= NBDKIT_FILTER_RELEASE_1_18
  int (*get_ready) (nbdkit_next_get_ready *next, nbdkit_backend *nxdata);
#endif
#if NBDKIT_FILTER_RELEASE >= NBDKIT_FILTER_RELEASE_1_21_12
  int (*after_fork) (nbdkit_next_after_fork *next, nbdkit_backend *nxdata);
#endif
#endif
#if NBDKIT_FILTER_RELEASE >= NBDKIT_FILTER_RELEASE_1_17_1
  int (*preconnect) (nbdkit_next_preconnect *next, nbdkit_backend *nxdata, int readonly);
#endif
#if NBDKIT_FILTER_RELEASE >= NBDKIT_FILTER_RELEASE_1_24
  int (*list_exports) (nbdkit_next_list_exports *next, nbdkit_backend *nxdata, int readonly,
                       int is_tls, struct nbdkit_exports *exports);
  const char *(*default_export) (nbdkit_next_default_export *next, nbdkit_backend *nxdata,
                                 int readonly, int is_tls);
#elif NBDKIT_FILTER_RELEASE >= NBDKIT_FILTER_RELEASE_1_21_22
  int (*list_exports) (nbdkit_next_list_exports *next, nbdkit_backend *nxdata, int readonly,
                       int default_only, struct nbdkit_exports *exports);
#endif

  /* One handle a connection, never NULL. NULL is an error. */
#if NBDKIT_FILTER_RELEASE >= NBDKIT_FILTER_RELEASE_1_25_4
  void *(*open) (nbdkit_next_open *next, nbdkit_context *context, int readonly,
                 const char *exportname, int is_tls);
#elif NBDKIT_FILTER_RELEASE >= NBDKIT_FILTER_RELEASE_1_22
  void *(*open) (nbdkit_next_open *next, nbdkit_backend *nxdata, int readonly,
                 const char *exportname, int is_tls);
#elif NBDKIT_FILTER_RELEASE >= NBDKIT_FILTER_RELEASE_1_21_20
  void *(*open) (nbdkit_next_open *next, nbdkit_backend *nxdata, int readonly,
                 const char *exportname);
#elif NBDKIT_FILTER_RELEASE >= NBDKIT_FILTER_RELEASE_1_2
  void *(*open) (nbdkit_next_open *next, void *nxdata, int readonly);
#else
  void *(*open) (int readonly);
#endif
  void (*close) (void *handle);

#if NBDKIT_FILTER_RELEASE >= NBDKIT_FILTER_RELEASE_1_15_1
  int (*prepare) (NBDKIT_NEXT_, void *handle, int readonly);
#else
  int (*prepare) (NBDKIT_NEXT_, void *handle);
#endif
  int (*finalize) (NBDKIT_NEXT_, void *handle);

  int64_t (*get_size) (NBDKIT_NEXT_, void *handle);
#if NBDKIT_FILTER_RELEASE >= NBDKIT_FILTER_RELEASE_1_24
  const char *(*export_description) (NBDKIT_NEXT_, void *handle);
#endif
#if NBDKIT_FILTER_RELEASE >= NBDKIT_FILTER_RELEASE_1_30
  int (*block_size) (NBDKIT_NEXT_, void *handle, uint32_t *minimum, uint32_t *preferred,
                     uint32_t *maximum);
#endif
  int (*can_write) (NBDKIT_NEXT_, void *handle);
  int (*can_flush) (NBDKIT_NEXT_, void *handle);
  int (*is_rotational) (NBDKIT_NEXT_, void *handle);
  int (*can_trim) (NBDKIT_NEXT_, void *handle);
  /* Before 1.15.1 it is 0 or 1; from then on NBDKIT_ZERO_*. */
#if NBDKIT_FILTER_RELEASE >= NBDKIT_FILTER_RELEASE_1_4
  int (*can_zero) (NBDKIT_NEXT_, void *handle);
#endif
#if NBDKIT_FILTER_RELEASE >= NBDKIT_FILTER_RELEASE_1_15_1
  int (*can_fast_zero) (NBDKIT_NEXT_, void *handle);
#endif
#if NBDKIT_FILTER_RELEASE >= NBDKIT_FILTER_RELEASE_1_12
  int (*can_extents) (NBDKIT_NEXT_, void *handle);
#endif
#if NBDKIT_FILTER_RELEASE >= NBDKIT_FILTER_RELEASE_1_4
  int (*can_fua) (NBDKIT_NEXT_, void *handle);
#endif
#if NBDKIT_FILTER_RELEASE >= NBDKIT_FILTER_RELEASE_1_10
  int (*can_multi_conn) (NBDKIT_NEXT_, void *handle);
#endif
#if NBDKIT_FILTER_RELEASE >= NBDKIT_FILTER_RELEASE_1_14
  int (*can_cache) (NBDKIT_NEXT_, void *handle);
#endif

  /* They return 0, or -1 with errno set, or from 1.4 on with *err set. */
  int (*pread) (NBDKIT_NEXT_, void *handle, void *buf, uint32_t count,
                uint64_t offset NBDKIT_FLAGS_);
  int (*pwrite) (NBDKIT_NEXT_, void *handle, const void *buf, uint32_t count,
                 uint64_t offset NBDKIT_FLAGS_);
  int (*flush) (NBDKIT_NEXT_, void *handle NBDKIT_FLAGS_);
  int (*trim) (NBDKIT_NEXT_, void *handle, uint32_t count, uint64_t offset NBDKIT_FLAGS_);
  int (*zero) (NBDKIT_NEXT_, void *handle, uint32_t count, uint64_t offset NBDKIT_FLAGS_OF_ZERO_);
#if NBDKIT_FILTER_RELEASE >= NBDKIT_FILTER_RELEASE_1_12
  int (*extents) (NBDKIT_NEXT_, void *handle, uint32_t count, uint64_t offset, uint32_t flags,
                  struct nbdkit_extents *extents, int *err);
#endif
#if NBDKIT_FILTER_RELEASE >= NBDKIT_FILTER_RELEASE_1_14
  int (*cache) (NBDKIT_NEXT_, void *handle, uint32_t count, uint64_t offset NBDKIT_FLAGS_);
#endif
};

/* What the register macro of a layout sets beyond _api_version. */
#if NBDKIT_FILTER_RELEASE >= NBDKIT_FILTER_RELEASE_1_15_1
#define NBDKIT_FILTER_SET_ABI_(filter) (filter)._version = NBDKIT_FILTER_VERSION
#elif NBDKIT_FILTER_RELEASE >= NBDKIT_FILTER_RELEASE_1_14
#define NBDKIT_FILTER_SET_ABI_(filter) (void) 0
#elif NBDKIT_FILTER_RELEASE >= NBDKIT_FILTER_RELEASE_1_4
#define NBDKIT_FILTER_SET_ABI_(filter) (filter)._thread_model = THREAD_MODEL
#elif NBDKIT_FILTER_RELEASE >= NBDKIT_FILTER_RELEASE_1_2
#define NBDKIT_FILTER_SET_ABI_(filter)                                                             \
  (filter)._struct_size = sizeof (filter);                                                         \
  (filter)._thread_model = THREAD_MODEL
#else
/* Byte by byte, because padding has no name. Where the ABI has no padding, nothing is written. */
#define NBDKIT_FILTER_SET_ABI_(filter)                                                             \
  do {                                                                                             \
    const uint32_t nbdkit_marker_ = NBDKIT_FILTER_MARKER_ORIGINAL;                                 \
    const unsigned char *nbdkit_from_ = (const unsigned char *) &nbdkit_marker_;                   \
    const size_t nbdkit_at_ = offsetof (struct nbdkit_filter, _api_version) + sizeof (int);        \
    unsigned char *nbdkit_to_ = (unsigned char *) &(filter) + nbdkit_at_;                          \
    size_t nbdkit_i_;                                                                              \
    (filter)._struct_size = sizeof (filter);                                                       \
    if (nbdkit_at_ + sizeof nbdkit_marker_ > offsetof (struct nbdkit_filter, name))                \
      break;                                                                                       \
    for (nbdkit_i_ = 0; nbdkit_i_ < sizeof nbdkit_marker_; nbdkit_i_++)                            \
      nbdkit_to_[nbdkit_i_] = nbdkit_from_[nbdkit_i_];                                             \
  } while (0)
#endif

/* What the source defines after the include does not change the struct any more. The names of these arrays say
 * what to do, in the message of the compiler. */
#ifdef NBDKIT_FILTER_WITHOUT_THREAD_MODEL_
#define NBDKIT_FILTER_IN_TIME_                                                                     \
  NBDKIT_ASSERT_ (define_THREAD_MODEL_before_the_include,                                          \
                  sizeof NBDKIT_SHOWN_ (THREAD_MODEL) == sizeof "THREAD_MODEL");                   \
  NBDKIT_ASSERT_ (define_NBDKIT_FILTER_API_VERSION_before_the_include,                             \
                  NBDKIT_FILTER_API_VERSION == NBDKIT_FILTER_API_VERSION_)
#else
#define NBDKIT_FILTER_IN_TIME_                                                                     \
  NBDKIT_ASSERT_ (define_NBDKIT_FILTER_API_VERSION_before_the_include,                             \
                  NBDKIT_FILTER_API_VERSION == NBDKIT_FILTER_API_VERSION_)
#endif

/* Defines filter_init, which the server calls to get at the struct. */
#define NBDKIT_REGISTER_FILTER(filter)                                                             \
  NBDKIT_FILTER_IN_TIME_;                                                                          \
  NBDKIT_CXX_LANG_C struct nbdkit_filter *filter_init (void) NBDKIT_VISIBLE_;                      \
  NBDKIT_CXX_LANG_C struct nbdkit_filter *filter_init (void)                                       \
  {                                                                                                \
    (filter)._api_version = NBDKIT_FILTER_API_VERSION_;                                            \
    NBDKIT_FILTER_SET_ABI_ (filter);                                                               \
    return &(filter);                                                                              \
  }

#ifdef __cplusplus
}
#endif

#ifdef NBDKIT_FILTER_IS_OLD_
#define nbdkit_next_ops NBDKIT_FILTER_IS_OLD_ nbdkit_next_ops
#endif
#ifdef NBDKIT_FILTER_IS_NEW_
#define nbdkit_next NBDKIT_FILTER_IS_NEW_ nbdkit_next
#endif

#endif /* NBDKIT_FILTER_H */
