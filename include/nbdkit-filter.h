/* What a filter in C is compiled against, in every generation of the interface.
 *
 * A generation is one layout of struct nbdkit_filter, or one set of signatures. The source chooses it before
 * the include, by one of these macros:
 *
 *   NBDKIT_FILTER_API_VERSION 1   callbacks without flags and err. With THREAD_MODEL it is generation A, nbdkit
 *                                 1.2, where open calls the next layer; without it S, where open takes only
 *                                 `readonly`, the server itself opens the next layer, and the declarations
 *                                 of nbdkit-plugin.h come along.
 *   NBDKIT_FILTER_API_VERSION 2   generation C, nbdkit 1.4 to 1.10
 *   NBDKIT_FILTER_API_VERSION 4   generation D, nbdkit 1.12
 *   NBDKIT_FILTER_API_VERSION 5   generation E, nbdkit 1.14
 *   NBDKIT_FILTER_API_VERSION 6   generation M, nbdkit 1.44 and later
 *   NBDKIT_FILTER_GENERATION NBDKIT_GENERATION_K
 *                                 that generation: here nbdkit 1.30 to 1.34
 *
 * A source that defines none of them gets the generation that nbdkit.pc passes to the compiler. Without that
 * it gets A if it defines THREAD_MODEL, and otherwise S.
 *
 * A to D need THREAD_MODEL; later ones have the callback thread_model instead. From F0 on
 * NBDKIT_FILTER_VERSION is the release that the filter claims to be compiled for: genuine servers accept only
 * their own release, to the last digit.
 *
 * Usable from C90, C11 and C++.
 *
 * SPDX-License-Identifier: BSD-3-Clause
 */
#ifndef NBDKIT_FILTER_H
#define NBDKIT_FILTER_H

#include <nbdkit-filter-generations.h>

#if NBDKIT_FILTER_GENERATION >= NBDKIT_GENERATION_F
#include <stdlib.h>
#endif

#include <nbdkit-common.h>
#if NBDKIT_FILTER_GENERATION == NBDKIT_GENERATION_S
#include <nbdkit-plugin.h>
#endif

/* Generation S has 4 bytes of padding after _api_version, where A has its thread model. The register
 * macro leaves this number there, so that a server can tell the two apart. */
#define NBDKIT_FILTER_MARKER_S 0x4e424453

#ifdef __cplusplus
extern "C" {
#endif

/* How the next layer is got at: first two pointers, then one. NXDATA is what functions of the next layer
 * take, NEXT what callbacks do. Pass them on as they came. */
struct nbdkit_next_ops;
#if NBDKIT_FILTER_GENERATION >= NBDKIT_GENERATION_i1
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
#if NBDKIT_FILTER_GENERATION >= NBDKIT_GENERATION_B
#define NBDKIT_FLAGS_ , uint32_t flags, int *err
#define NBDKIT_FLAGS_OF_ZERO_ NBDKIT_FLAGS_
#else
#define NBDKIT_FLAGS_
#define NBDKIT_FLAGS_OF_ZERO_ , int may_trim
#endif

/* The next layer, before there is a connection. */
typedef int nbdkit_next_config (nbdkit_backend *nxdata, const char *key, const char *value);
typedef int nbdkit_next_config_complete (nbdkit_backend *nxdata);
#if NBDKIT_FILTER_GENERATION >= NBDKIT_GENERATION_G                                                \
    && NBDKIT_FILTER_GENERATION < NBDKIT_GENERATION_J
typedef int nbdkit_next_get_ready (nbdkit_backend *nxdata);
#endif
#if NBDKIT_FILTER_GENERATION >= NBDKIT_GENERATION_g1                                               \
    && NBDKIT_FILTER_GENERATION < NBDKIT_GENERATION_J
typedef int nbdkit_next_after_fork (nbdkit_backend *nxdata);
#endif
#if NBDKIT_FILTER_GENERATION >= NBDKIT_GENERATION_f1
typedef int nbdkit_next_preconnect (nbdkit_backend *nxdata, int readonly);
#endif
#if NBDKIT_FILTER_GENERATION >= NBDKIT_GENERATION_I
typedef int nbdkit_next_list_exports (nbdkit_backend *nxdata, int readonly,
                                      struct nbdkit_exports *exports);
typedef const char *nbdkit_next_default_export (nbdkit_backend *nxdata, int readonly);
#elif NBDKIT_FILTER_GENERATION >= NBDKIT_GENERATION_g3
typedef int nbdkit_next_list_exports (nbdkit_backend *nxdata, int readonly, int default_only,
                                      struct nbdkit_exports *exports);
#endif
#if NBDKIT_FILTER_GENERATION >= NBDKIT_GENERATION_i1
typedef int nbdkit_next_open (nbdkit_context *context, int readonly, const char *exportname);
#elif NBDKIT_FILTER_GENERATION >= NBDKIT_GENERATION_g2
typedef int nbdkit_next_open (nbdkit_backend *nxdata, int readonly, const char *exportname);
#elif NBDKIT_FILTER_GENERATION >= NBDKIT_GENERATION_A
typedef int nbdkit_next_open (void *nxdata, int readonly);
#endif

/* The next layer, in a connection. */
struct nbdkit_next_ops {
#if NBDKIT_FILTER_GENERATION >= NBDKIT_GENERATION_i1
  /* Only for what nbdkit_next_context_open opened. */
  int (*prepare) (NBDKIT_NXDATA_);
  int (*finalize) (NBDKIT_NXDATA_);
#elif NBDKIT_FILTER_GENERATION >= NBDKIT_GENERATION_g2
  int (*reopen) (NBDKIT_NXDATA_, int readonly, const char *exportname);
#elif NBDKIT_FILTER_GENERATION >= NBDKIT_GENERATION_F
  int (*reopen) (NBDKIT_NXDATA_, int readonly);
#endif
  int64_t (*get_size) (NBDKIT_NXDATA_);
#if NBDKIT_FILTER_GENERATION >= NBDKIT_GENERATION_I
  const char *(*export_description) (NBDKIT_NXDATA_);
#endif
#if NBDKIT_FILTER_GENERATION >= NBDKIT_GENERATION_K
  int (*block_size) (NBDKIT_NXDATA_, uint32_t *minimum, uint32_t *preferred, uint32_t *maximum);
#endif
  int (*can_write) (NBDKIT_NXDATA_);
  int (*can_flush) (NBDKIT_NXDATA_);
  int (*is_rotational) (NBDKIT_NXDATA_);
  int (*can_trim) (NBDKIT_NXDATA_);
#if NBDKIT_FILTER_GENERATION >= NBDKIT_GENERATION_B
  int (*can_zero) (NBDKIT_NXDATA_);
#endif
#if NBDKIT_FILTER_GENERATION >= NBDKIT_GENERATION_F0
  int (*can_fast_zero) (NBDKIT_NXDATA_);
#endif
#if NBDKIT_FILTER_GENERATION >= NBDKIT_GENERATION_D
  int (*can_extents) (NBDKIT_NXDATA_);
#endif
#if NBDKIT_FILTER_GENERATION >= NBDKIT_GENERATION_B
  int (*can_fua) (NBDKIT_NXDATA_);
#endif
#if NBDKIT_FILTER_GENERATION >= NBDKIT_GENERATION_C
  int (*can_multi_conn) (NBDKIT_NXDATA_);
#endif
#if NBDKIT_FILTER_GENERATION >= NBDKIT_GENERATION_E
  int (*can_cache) (NBDKIT_NXDATA_);
#endif
  int (*pread) (NBDKIT_NXDATA_, void *buf, uint32_t count, uint64_t offset NBDKIT_FLAGS_);
  int (*pwrite) (NBDKIT_NXDATA_, const void *buf, uint32_t count, uint64_t offset NBDKIT_FLAGS_);
  int (*flush) (NBDKIT_NXDATA_ NBDKIT_FLAGS_);
  int (*trim) (NBDKIT_NXDATA_, uint32_t count, uint64_t offset NBDKIT_FLAGS_);
  int (*zero) (NBDKIT_NXDATA_, uint32_t count, uint64_t offset NBDKIT_FLAGS_OF_ZERO_);
#if NBDKIT_FILTER_GENERATION >= NBDKIT_GENERATION_D
  int (*extents) (NBDKIT_NXDATA_, uint32_t count, uint64_t offset, uint32_t flags,
                  struct nbdkit_extents *extents, int *err);
#endif
#if NBDKIT_FILTER_GENERATION >= NBDKIT_GENERATION_E
  int (*cache) (NBDKIT_NXDATA_, uint32_t count, uint64_t offset NBDKIT_FLAGS_);
#endif
};

/* Functions of the server that are not the same in all generations. The first two ask the next layer: for all
 * extents of a range, and for extents at multiples of `align`, a power of 2, of a list that begins at `offset`. Range
 * and disk may begin and end within a block. */
#if NBDKIT_FILTER_GENERATION >= NBDKIT_GENERATION_I
extern struct nbdkit_extents *nbdkit_extents_full (NBDKIT_NEXT_, uint32_t count, uint64_t offset,
                                                   uint32_t flags, int *err);
#endif
#if NBDKIT_FILTER_GENERATION >= NBDKIT_GENERATION_M
extern int nbdkit_extents_aligned (NBDKIT_NEXT_, uint64_t count, uint64_t offset, uint32_t flags,
                                   uint32_t align, struct nbdkit_extents *extents, int *err);
#elif NBDKIT_FILTER_GENERATION >= NBDKIT_GENERATION_g1
extern int nbdkit_extents_aligned (NBDKIT_NEXT_, uint32_t count, uint64_t offset, uint32_t flags,
                                   uint32_t align, struct nbdkit_extents *extents, int *err);
#endif
#if NBDKIT_FILTER_GENERATION >= NBDKIT_GENERATION_I
extern struct nbdkit_exports *nbdkit_exports_new (void);
#elif NBDKIT_FILTER_GENERATION >= NBDKIT_GENERATION_g3
extern struct nbdkit_exports *nbdkit_exports_new (int default_only);
#endif
#if NBDKIT_FILTER_GENERATION >= NBDKIT_GENERATION_i1
/* Open the layers below once more, apart from any client; the caller prepares, finalizes and closes them.
 * Or have them serve as the next layer of a context: returns what did so before. */
extern nbdkit_backend *nbdkit_context_get_backend (nbdkit_context *context);
extern nbdkit_next *nbdkit_context_set_next (nbdkit_context *context, nbdkit_next *next);
#if NBDKIT_FILTER_GENERATION >= NBDKIT_GENERATION_J
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
#if NBDKIT_FILTER_GENERATION < NBDKIT_GENERATION_B
  uint64_t _struct_size;
#endif
  int _api_version;
#if NBDKIT_FILTER_GENERATION >= NBDKIT_GENERATION_F0
  const char *_version;
#elif NBDKIT_FILTER_GENERATION >= NBDKIT_GENERATION_A                                              \
    && NBDKIT_FILTER_GENERATION < NBDKIT_GENERATION_E
  int _thread_model;
#endif

  /* Strings must stay valid; only name must be given. */
  const char *name;
  const char *longname;
#if NBDKIT_FILTER_GENERATION < NBDKIT_GENERATION_F0
  const char *version;
#endif
  const char *description;

  void (*load) (void);
  void (*unload) (void);

  int (*config) (nbdkit_next_config *next, nbdkit_backend *nxdata, const char *key,
                 const char *value);
  int (*config_complete) (nbdkit_next_config_complete *next, nbdkit_backend *nxdata);
  const char *config_help;
#if NBDKIT_FILTER_GENERATION >= NBDKIT_GENERATION_M
  int (*thread_model) (int next_thread_model);
#elif NBDKIT_FILTER_GENERATION >= NBDKIT_GENERATION_E
  int (*thread_model) (void);
#endif
#if NBDKIT_FILTER_GENERATION >= NBDKIT_GENERATION_L
  void (*dump_plugin) (void);
#endif
#if NBDKIT_FILTER_GENERATION >= NBDKIT_GENERATION_J
  int (*get_ready) (int thread_model);
  int (*after_fork) (nbdkit_backend *backend);
  void (*cleanup) (nbdkit_backend *backend);
#else
#if NBDKIT_FILTER_GENERATION >= NBDKIT_GENERATION_H
  int (*get_ready) (nbdkit_next_get_ready *next, nbdkit_backend *nxdata, int thread_model);
#elif NBDKIT_FILTER_GENERATION >= NBDKIT_GENERATION_G
  int (*get_ready) (nbdkit_next_get_ready *next, nbdkit_backend *nxdata);
#endif
#if NBDKIT_FILTER_GENERATION >= NBDKIT_GENERATION_g1
  int (*after_fork) (nbdkit_next_after_fork *next, nbdkit_backend *nxdata);
#endif
#endif
#if NBDKIT_FILTER_GENERATION >= NBDKIT_GENERATION_f1
  int (*preconnect) (nbdkit_next_preconnect *next, nbdkit_backend *nxdata, int readonly);
#endif
#if NBDKIT_FILTER_GENERATION >= NBDKIT_GENERATION_I
  int (*list_exports) (nbdkit_next_list_exports *next, nbdkit_backend *nxdata, int readonly,
                       int is_tls, struct nbdkit_exports *exports);
  const char *(*default_export) (nbdkit_next_default_export *next, nbdkit_backend *nxdata,
                                 int readonly, int is_tls);
#elif NBDKIT_FILTER_GENERATION >= NBDKIT_GENERATION_g3
  int (*list_exports) (nbdkit_next_list_exports *next, nbdkit_backend *nxdata, int readonly,
                       int default_only, struct nbdkit_exports *exports);
#endif

  /* One handle a connection, never NULL. NULL is an error. */
#if NBDKIT_FILTER_GENERATION >= NBDKIT_GENERATION_i1
  void *(*open) (nbdkit_next_open *next, nbdkit_context *context, int readonly,
                 const char *exportname, int is_tls);
#elif NBDKIT_FILTER_GENERATION >= NBDKIT_GENERATION_H
  void *(*open) (nbdkit_next_open *next, nbdkit_backend *nxdata, int readonly,
                 const char *exportname, int is_tls);
#elif NBDKIT_FILTER_GENERATION >= NBDKIT_GENERATION_g2
  void *(*open) (nbdkit_next_open *next, nbdkit_backend *nxdata, int readonly,
                 const char *exportname);
#elif NBDKIT_FILTER_GENERATION >= NBDKIT_GENERATION_A
  void *(*open) (nbdkit_next_open *next, void *nxdata, int readonly);
#else
  void *(*open) (int readonly);
#endif
  void (*close) (void *handle);

#if NBDKIT_FILTER_GENERATION >= NBDKIT_GENERATION_F0
  int (*prepare) (NBDKIT_NEXT_, void *handle, int readonly);
#else
  int (*prepare) (NBDKIT_NEXT_, void *handle);
#endif
  int (*finalize) (NBDKIT_NEXT_, void *handle);

  int64_t (*get_size) (NBDKIT_NEXT_, void *handle);
#if NBDKIT_FILTER_GENERATION >= NBDKIT_GENERATION_I
  const char *(*export_description) (NBDKIT_NEXT_, void *handle);
#endif
#if NBDKIT_FILTER_GENERATION >= NBDKIT_GENERATION_K
  int (*block_size) (NBDKIT_NEXT_, void *handle, uint32_t *minimum, uint32_t *preferred,
                     uint32_t *maximum);
#endif
  int (*can_write) (NBDKIT_NEXT_, void *handle);
  int (*can_flush) (NBDKIT_NEXT_, void *handle);
  int (*is_rotational) (NBDKIT_NEXT_, void *handle);
  int (*can_trim) (NBDKIT_NEXT_, void *handle);
  /* Before F0 it is 0 or 1; from then on NBDKIT_ZERO_*. */
#if NBDKIT_FILTER_GENERATION >= NBDKIT_GENERATION_B
  int (*can_zero) (NBDKIT_NEXT_, void *handle);
#endif
#if NBDKIT_FILTER_GENERATION >= NBDKIT_GENERATION_F0
  int (*can_fast_zero) (NBDKIT_NEXT_, void *handle);
#endif
#if NBDKIT_FILTER_GENERATION >= NBDKIT_GENERATION_D
  int (*can_extents) (NBDKIT_NEXT_, void *handle);
#endif
#if NBDKIT_FILTER_GENERATION >= NBDKIT_GENERATION_B
  int (*can_fua) (NBDKIT_NEXT_, void *handle);
#endif
#if NBDKIT_FILTER_GENERATION >= NBDKIT_GENERATION_C
  int (*can_multi_conn) (NBDKIT_NEXT_, void *handle);
#endif
#if NBDKIT_FILTER_GENERATION >= NBDKIT_GENERATION_E
  int (*can_cache) (NBDKIT_NEXT_, void *handle);
#endif

  /* They return 0, or -1 with errno set, or from B on with *err set. */
  int (*pread) (NBDKIT_NEXT_, void *handle, void *buf, uint32_t count,
                uint64_t offset NBDKIT_FLAGS_);
  int (*pwrite) (NBDKIT_NEXT_, void *handle, const void *buf, uint32_t count,
                 uint64_t offset NBDKIT_FLAGS_);
  int (*flush) (NBDKIT_NEXT_, void *handle NBDKIT_FLAGS_);
  int (*trim) (NBDKIT_NEXT_, void *handle, uint32_t count, uint64_t offset NBDKIT_FLAGS_);
  int (*zero) (NBDKIT_NEXT_, void *handle, uint32_t count, uint64_t offset NBDKIT_FLAGS_OF_ZERO_);
#if NBDKIT_FILTER_GENERATION >= NBDKIT_GENERATION_D
  int (*extents) (NBDKIT_NEXT_, void *handle, uint32_t count, uint64_t offset, uint32_t flags,
                  struct nbdkit_extents *extents, int *err);
#endif
#if NBDKIT_FILTER_GENERATION >= NBDKIT_GENERATION_E
  int (*cache) (NBDKIT_NEXT_, void *handle, uint32_t count, uint64_t offset NBDKIT_FLAGS_);
#endif
};

/* What a generation's register macro sets beyond _api_version. */
#if NBDKIT_FILTER_GENERATION >= NBDKIT_GENERATION_F0
#define NBDKIT_FILTER_SET_ABI_(filter) (filter)._version = NBDKIT_FILTER_VERSION
#elif NBDKIT_FILTER_GENERATION >= NBDKIT_GENERATION_E
#define NBDKIT_FILTER_SET_ABI_(filter) (void) 0
#elif NBDKIT_FILTER_GENERATION >= NBDKIT_GENERATION_B
#define NBDKIT_FILTER_SET_ABI_(filter) (filter)._thread_model = THREAD_MODEL
#elif NBDKIT_FILTER_GENERATION >= NBDKIT_GENERATION_A
#define NBDKIT_FILTER_SET_ABI_(filter)                                                             \
  (filter)._struct_size = sizeof (filter);                                                         \
  (filter)._thread_model = THREAD_MODEL
#else
/* Byte by byte, because padding has no name. Where the ABI has no padding, nothing is written. */
#define NBDKIT_FILTER_SET_ABI_(filter)                                                             \
  do {                                                                                             \
    const uint32_t nbdkit_marker_ = NBDKIT_FILTER_MARKER_S;                                        \
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
