/* What a plugin in C is compiled against: struct nbdkit_plugin, which only ever grows at its end.
 *
 * Before the include, define THREAD_MODEL as one of NBDKIT_THREAD_MODEL_*, and NBDKIT_API_VERSION as 2
 * for data callbacks that take flags (1, the default, has them without).
 *
 * Usable from C90, C11 and C++.
 *
 * SPDX-License-Identifier: BSD-3-Clause
 */
#ifndef NBDKIT_PLUGIN_H
#define NBDKIT_PLUGIN_H

#ifndef NBDKIT_API_VERSION
#define NBDKIT_API_VERSION 1
#endif
#if NBDKIT_API_VERSION == 1
#define NBDKIT_API_VERSION_ 1
#elif NBDKIT_API_VERSION == 2
#define NBDKIT_API_VERSION_ 2
#else
#error "NBDKIT_API_VERSION must be 1 or 2: 1 for data callbacks without flags, 2 for those with flags"
#endif

#include <nbdkit-common.h>

/* The release whose features these headers have; a filter has that of its layout. */
#ifndef NBDKIT_FILTER_H
#define NBDKIT_VERSION_MAJOR 1
#define NBDKIT_VERSION_MINOR 32
#define NBDKIT_VERSION_MICRO 5
#define NBDKIT_VERSION_STRING                                                                      \
  NBDKIT_DOTTED_ (NBDKIT_VERSION_MAJOR, NBDKIT_VERSION_MINOR, NBDKIT_VERSION_MICRO)
#endif

#ifdef __cplusplus
extern "C" {
#endif

struct nbdkit_plugin {
  /* Set by NBDKIT_REGISTER_PLUGIN. */
  uint64_t _struct_size;
  int _api_version;
  int _thread_model;

  /* Strings must stay valid; only name must be given. */
  const char *name;
  const char *longname;
  const char *version;
  const char *description;

  void (*load) (void);
  void (*unload) (void);

  int (*config) (const char *key, const char *value);
  int (*config_complete) (void);
  const char *config_help;

  /* One handle a connection, never NULL. NULL is an error. */
  void *(*open) (int readonly);
  void (*close) (void *handle);

  int64_t (*get_size) (void *handle);
  int (*can_write) (void *handle);
  int (*can_flush) (void *handle);
  int (*is_rotational) (void *handle);
  int (*can_trim) (void *handle);

  /* The data callbacks of API version 1. They return 0, or -1 with errno set. */
#if NBDKIT_API_VERSION == 1
  int (*pread) (void *handle, void *buf, uint32_t count, uint64_t offset);
  int (*pwrite) (void *handle, const void *buf, uint32_t count, uint64_t offset);
  int (*flush) (void *handle);
  int (*trim) (void *handle, uint32_t count, uint64_t offset);
  int (*zero) (void *handle, uint32_t count, uint64_t offset, int may_trim);
#else
  int (*_pread_v1) (void *handle, void *buf, uint32_t count, uint64_t offset);
  int (*_pwrite_v1) (void *handle, const void *buf, uint32_t count, uint64_t offset);
  int (*_flush_v1) (void *handle);
  int (*_trim_v1) (void *handle, uint32_t count, uint64_t offset);
  int (*_zero_v1) (void *handle, uint32_t count, uint64_t offset, int may_trim);
#endif

  /* Not 0: errno is right when a data callback returns -1. Otherwise only nbdkit_set_error counts. */
  int errno_is_preserved;

  void (*dump_plugin) (void);

  int (*can_zero) (void *handle);
  int (*can_fua) (void *handle);

  /* The data callbacks of API version 2. */
#if NBDKIT_API_VERSION == 1
  int (*_pread_v2) (void *handle, void *buf, uint32_t count, uint64_t offset, uint32_t flags);
  int (*_pwrite_v2) (void *handle, const void *buf, uint32_t count, uint64_t offset, uint32_t flags);
  int (*_flush_v2) (void *handle, uint32_t flags);
  int (*_trim_v2) (void *handle, uint32_t count, uint64_t offset, uint32_t flags);
  int (*_zero_v2) (void *handle, uint32_t count, uint64_t offset, uint32_t flags);
#else
  int (*pread) (void *handle, void *buf, uint32_t count, uint64_t offset, uint32_t flags);
  int (*pwrite) (void *handle, const void *buf, uint32_t count, uint64_t offset, uint32_t flags);
  int (*flush) (void *handle, uint32_t flags);
  int (*trim) (void *handle, uint32_t count, uint64_t offset, uint32_t flags);
  int (*zero) (void *handle, uint32_t count, uint64_t offset, uint32_t flags);
#endif

  /* The key that a bare word on the command line stands for. */
  const char *magic_config_key;

  int (*can_multi_conn) (void *handle);

  int (*can_extents) (void *handle);
  int (*extents) (void *handle, uint32_t count, uint64_t offset, uint32_t flags,
                  struct nbdkit_extents *extents);
  int (*can_cache) (void *handle);
  int (*cache) (void *handle, uint32_t count, uint64_t offset, uint32_t flags);

  int (*thread_model) (void);

  int (*can_fast_zero) (void *handle);

  int (*preconnect) (int readonly);

  int (*get_ready) (void);
  int (*after_fork) (void);

  int (*list_exports) (int readonly, int is_tls, struct nbdkit_exports *exports);
  const char *(*default_export) (int readonly, int is_tls);
  const char *(*export_description) (void *handle);

  void (*cleanup) (void);

  int (*block_size) (void *handle, uint32_t *minimum, uint32_t *preferred, uint32_t *maximum);
};

/* Defines plugin_init, which the server calls to get at the struct. */
#define NBDKIT_REGISTER_PLUGIN(plugin)                                                             \
  NBDKIT_ASSERT_ (define_NBDKIT_API_VERSION_before_the_include,                                    \
                  NBDKIT_API_VERSION == NBDKIT_API_VERSION_);                                      \
  NBDKIT_CXX_LANG_C struct nbdkit_plugin *plugin_init (void) NBDKIT_VISIBLE_;                      \
  NBDKIT_CXX_LANG_C struct nbdkit_plugin *plugin_init (void)                                       \
  {                                                                                                \
    (plugin)._struct_size = sizeof (plugin);                                                       \
    (plugin)._api_version = NBDKIT_API_VERSION_;                                                   \
    (plugin)._thread_model = THREAD_MODEL;                                                         \
    return &(plugin);                                                                              \
  }

#ifdef __cplusplus
}
#endif

#endif /* NBDKIT_PLUGIN_H */
