/* What a filter in C is compiled against, in every generation of the interface.
 *
 * A generation is one layout of struct nbdkit_filter, or one set of signatures. Without further ado it is S:
 * open takes only `readonly`, the server itself opens the next layer, and the declarations of nbdkit-plugin.h
 * come along. A source that defines THREAD_MODEL before the include, as nbdkit 1.2 wants it, gets A, where
 * open calls the next layer. All others are chosen before the include, in the source or by -D, such as
 *
 *   #define NBDKIT_FILTER_GENERATION NBDKIT_GENERATION_K
 *
 * for a filter written for nbdkit 1.30, 1.32 or 1.34. A to D need THREAD_MODEL; later ones have the callback
 * thread_model instead. From F0 on NBDKIT_FILTER_VERSION is the release that the filter claims to be
 * compiled for: genuine servers take only their own, to the last digit.
 *
 * Usable from C90, C11 and C++.
 *
 * SPDX-License-Identifier: BSD-3-Clause
 */
#ifndef NBDKIT_FILTER_H
#define NBDKIT_FILTER_H

/* In order of time, with room for those between: the releases from, and what is new. Small letters were
 * never in a stable release. */
#define NBDKIT_GENERATION_S 100   /* proposed before the first release */
#define NBDKIT_GENERATION_A 200   /* 1.1.27, 1.2: open calls the next layer; _thread_model */
#define NBDKIT_GENERATION_B 300   /* 1.3.0, 1.4 to 1.8: flags and err; can_zero, can_fua; no _struct_size */
#define NBDKIT_GENERATION_C 400   /* 1.9.9, 1.10: can_multi_conn */
#define NBDKIT_GENERATION_D 500   /* 1.11.10, 1.12: can_extents, extents */
#define NBDKIT_GENERATION_E 600   /* 1.13.4, 1.14: can_cache, cache; thread_model for _thread_model */
#define NBDKIT_GENERATION_F0 700  /* 1.15.1: _version for version; can_fast_zero; readonly for prepare */
#define NBDKIT_GENERATION_F 800   /* 1.15.2, 1.16: reopen of the next layer */
#define NBDKIT_GENERATION_f1 900  /* 1.17.1: preconnect */
#define NBDKIT_GENERATION_G 1000  /* 1.18.0, 1.20: get_ready */
#define NBDKIT_GENERATION_g1 1100 /* 1.21.12: after_fork */
#define NBDKIT_GENERATION_g2 1200 /* 1.21.20: exportname for open */
#define NBDKIT_GENERATION_g3 1300 /* 1.21.22: list_exports */
#define NBDKIT_GENERATION_H 1400  /* 1.21.24, 1.22: is_tls for open, thread_model for get_ready */
#define NBDKIT_GENERATION_I 1500  /* 1.23.6, 1.24: default_export, export_description; is_tls for list_exports */
#define NBDKIT_GENERATION_i1 1600 /* 1.25.4: one nbdkit_next for two pointers; prepare and finalize for reopen */
#define NBDKIT_GENERATION_J 1700  /* 1.25.8, 1.26, 1.28: cleanup; get_ready, after_fork without next */
#define NBDKIT_GENERATION_K 1800  /* 1.29.16, 1.30 to 1.34: block_size */
#define NBDKIT_GENERATION_L 1900  /* 1.35.9, 1.36 to 1.42: dump_plugin */
#define NBDKIT_GENERATION_M 2000  /* 1.43.9, 1.44: thread_model is told the next layer's */

#ifndef NBDKIT_FILTER_GENERATION
#ifdef THREAD_MODEL
#define NBDKIT_FILTER_GENERATION NBDKIT_GENERATION_A
#else
#define NBDKIT_FILTER_GENERATION NBDKIT_GENERATION_S
#endif
#endif
#if NBDKIT_FILTER_GENERATION % 100 != 0 || NBDKIT_FILTER_GENERATION < NBDKIT_GENERATION_S          \
    || NBDKIT_FILTER_GENERATION > NBDKIT_GENERATION_M
#error "NBDKIT_FILTER_GENERATION must be NBDKIT_GENERATION_S or another one of nbdkit-filter.h"
#endif

#if NBDKIT_FILTER_GENERATION >= NBDKIT_GENERATION_F
#include <stdlib.h>
#endif

#include <nbdkit-common.h>
#if NBDKIT_FILTER_GENERATION == NBDKIT_GENERATION_S
#include <nbdkit-plugin.h>
#endif

/* What _api_version becomes. It was raised for the first releases of a new layout only until 1.16. */
#if NBDKIT_FILTER_GENERATION >= NBDKIT_GENERATION_F0
#define NBDKIT_FILTER_API_VERSION 6
#elif NBDKIT_FILTER_GENERATION >= NBDKIT_GENERATION_E
#define NBDKIT_FILTER_API_VERSION 5
#elif NBDKIT_FILTER_GENERATION >= NBDKIT_GENERATION_D
#define NBDKIT_FILTER_API_VERSION 4
#elif NBDKIT_FILTER_GENERATION >= NBDKIT_GENERATION_B
#define NBDKIT_FILTER_API_VERSION 2
#else
#define NBDKIT_FILTER_API_VERSION 1
#endif

/* The release that the filter is for: the last one of the generation, but the one that is most widely
 * installed for K. */
#if NBDKIT_FILTER_GENERATION >= NBDKIT_GENERATION_F0
#define NBDKIT_VERSION_MAJOR 1
#if NBDKIT_FILTER_GENERATION == NBDKIT_GENERATION_F0
#define NBDKIT_VERSION_MINOR 15
#define NBDKIT_VERSION_MICRO 1
#elif NBDKIT_FILTER_GENERATION == NBDKIT_GENERATION_F
#define NBDKIT_VERSION_MINOR 16
#define NBDKIT_VERSION_MICRO 6
#elif NBDKIT_FILTER_GENERATION == NBDKIT_GENERATION_f1
#define NBDKIT_VERSION_MINOR 17
#define NBDKIT_VERSION_MICRO 11
#elif NBDKIT_FILTER_GENERATION == NBDKIT_GENERATION_G
#define NBDKIT_VERSION_MINOR 21
#define NBDKIT_VERSION_MICRO 11
#elif NBDKIT_FILTER_GENERATION == NBDKIT_GENERATION_g1
#define NBDKIT_VERSION_MINOR 21
#define NBDKIT_VERSION_MICRO 19
#elif NBDKIT_FILTER_GENERATION == NBDKIT_GENERATION_g2
#define NBDKIT_VERSION_MINOR 21
#define NBDKIT_VERSION_MICRO 21
#elif NBDKIT_FILTER_GENERATION == NBDKIT_GENERATION_g3
#define NBDKIT_VERSION_MINOR 21
#define NBDKIT_VERSION_MICRO 23
#elif NBDKIT_FILTER_GENERATION == NBDKIT_GENERATION_H
#define NBDKIT_VERSION_MINOR 23
#define NBDKIT_VERSION_MICRO 5
#elif NBDKIT_FILTER_GENERATION == NBDKIT_GENERATION_I
#define NBDKIT_VERSION_MINOR 25
#define NBDKIT_VERSION_MICRO 3
#elif NBDKIT_FILTER_GENERATION == NBDKIT_GENERATION_i1
#define NBDKIT_VERSION_MINOR 25
#define NBDKIT_VERSION_MICRO 7
#elif NBDKIT_FILTER_GENERATION == NBDKIT_GENERATION_J
#define NBDKIT_VERSION_MINOR 29
#define NBDKIT_VERSION_MICRO 15
#elif NBDKIT_FILTER_GENERATION == NBDKIT_GENERATION_K
#define NBDKIT_VERSION_MINOR 32
#define NBDKIT_VERSION_MICRO 5
#elif NBDKIT_FILTER_GENERATION == NBDKIT_GENERATION_L
#define NBDKIT_VERSION_MINOR 43
#define NBDKIT_VERSION_MICRO 8
#elif NBDKIT_FILTER_GENERATION == NBDKIT_GENERATION_M
#define NBDKIT_VERSION_MINOR 45
#define NBDKIT_VERSION_MICRO 2
#endif
#ifndef NBDKIT_FILTER_VERSION
#define NBDKIT_FILTER_VERSION                                                                      \
  NBDKIT_DOTTED_ (NBDKIT_VERSION_MAJOR, NBDKIT_VERSION_MINOR, NBDKIT_VERSION_MICRO)
#endif
#define NBDKIT_VERSION_STRING NBDKIT_FILTER_VERSION
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

/* What nbdkit_get_extent and nbdkit_get_export return. */
struct nbdkit_extent {
  uint64_t offset;
  uint64_t length;
  uint32_t type;
};
struct nbdkit_export {
  char *name;
  char *description;
};

/* Functions of the server that are not the same in all generations. The first two ask the next layer: for all
 * extents of a range, and for extents at multiples of `align`. */
#if NBDKIT_FILTER_GENERATION >= NBDKIT_GENERATION_I
extern struct nbdkit_extents *nbdkit_extents_full (NBDKIT_NEXT_, uint32_t count, uint64_t offset,
                                                   uint32_t flags, int *err);
#endif
#if NBDKIT_FILTER_GENERATION >= NBDKIT_GENERATION_g1
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

/* Defines filter_init, which the server calls to get at the struct. */
#define NBDKIT_REGISTER_FILTER(filter)                                                             \
  NBDKIT_CXX_LANG_C struct nbdkit_filter *filter_init (void) NBDKIT_VISIBLE_;                      \
  NBDKIT_CXX_LANG_C struct nbdkit_filter *filter_init (void)                                       \
  {                                                                                                \
    (filter)._api_version = NBDKIT_FILTER_API_VERSION;                                             \
    NBDKIT_FILTER_SET_ABI_ (filter);                                                               \
    return &(filter);                                                                              \
  }

#ifdef __cplusplus
}
#endif

#endif /* NBDKIT_FILTER_H */
