/* What filters and plugins share: constants, and the functions that the server exports to modules.
 *
 * Usable from C90, C11 and C++. Do not include it yourself: nbdkit-filter.h and nbdkit-plugin.h do.
 *
 * SPDX-License-Identifier: BSD-3-Clause
 */
#ifndef NBDKIT_COMMON_H
#define NBDKIT_COMMON_H

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#ifndef NBDKIT_CXX_LANG_C
#ifdef __cplusplus
#define NBDKIT_CXX_LANG_C extern "C"
#else
#define NBDKIT_CXX_LANG_C
#endif
#endif

/* Compilers that know printf formats check the arguments; the entry points of a module stay visible
 * where everything else is hidden. */
#if defined(__GNUC__)
#define NBDKIT_PRINTF_FORMAT_(format, first) __attribute__ ((__format__ (__printf__, format, first)))
#define NBDKIT_VISIBLE_ __attribute__ ((__visibility__ ("default")))
#else
#define NBDKIT_PRINTF_FORMAT_(format, first)
#define NBDKIT_VISIBLE_
#endif

/* How many requests may be in flight at once: one connection at a time; one request at a time; one
 * request at a time in each connection; no limit. */
#define NBDKIT_THREAD_MODEL_SERIALIZE_CONNECTIONS 0
#define NBDKIT_THREAD_MODEL_SERIALIZE_ALL_REQUESTS 1
#define NBDKIT_THREAD_MODEL_SERIALIZE_REQUESTS 2
#define NBDKIT_THREAD_MODEL_PARALLEL 3

/* The flags of a request. */
#define NBDKIT_FLAG_MAY_TRIM (1 << 0)
#define NBDKIT_FLAG_FUA (1 << 1)
#define NBDKIT_FLAG_REQ_ONE (1 << 2)
#define NBDKIT_FLAG_FAST_ZERO (1 << 3)

/* What can_fua, can_cache and can_zero answer: not at all; the server does it by other requests; the
 * module does it. */
#define NBDKIT_FUA_NONE 0
#define NBDKIT_FUA_EMULATE 1
#define NBDKIT_FUA_NATIVE 2

#define NBDKIT_CACHE_NONE 0
#define NBDKIT_CACHE_EMULATE 1
#define NBDKIT_CACHE_NATIVE 2

#define NBDKIT_ZERO_NONE 0
#define NBDKIT_ZERO_EMULATE 1
#define NBDKIT_ZERO_NATIVE 2

/* What an extent is, as bits. */
#define NBDKIT_EXTENT_HOLE (1 << 0)
#define NBDKIT_EXTENT_ZERO (1 << 1)

/* What open may return when no handle is needed: a pointer that is not NULL. */
#define NBDKIT_HANDLE_NOT_NEEDED ((void *) &errno)

#ifdef __cplusplus
extern "C" {
#endif

struct nbdkit_extents;
struct nbdkit_exports;

/* Print an error, or, with -v, a debug line. A newline is added; errno is left as it was. */
extern void nbdkit_error (const char *fs, ...) NBDKIT_PRINTF_FORMAT_ (1, 2);
extern void nbdkit_verror (const char *fs, va_list args) NBDKIT_PRINTF_FORMAT_ (1, 0);
extern void nbdkit_debug (const char *fs, ...) NBDKIT_PRINTF_FORMAT_ (1, 2);
extern void nbdkit_vdebug (const char *fs, va_list args) NBDKIT_PRINTF_FORMAT_ (1, 0);

/* The errno that the client sees when the running request fails. */
extern void nbdkit_set_error (int err);

/* Both return -1 after printing an error. Sizes take the suffixes b k m g t p e and s (512 bytes). */
extern int64_t nbdkit_parse_size (const char *str);
extern int nbdkit_parse_bool (const char *str);

/* Both return a string to be freed, or NULL after printing an error. */
extern char *nbdkit_absolute_path (const char *path);
extern char *nbdkit_realpath (const char *path);

/* "-" asks on the terminal, "-FD" and "+FILE" read, anything else is the password. 0, or -1 after
 * printing an error; on success *password is to be freed. */
extern int nbdkit_read_password (const char *value, char **password);

#ifdef __cplusplus
}
#endif

#endif /* NBDKIT_COMMON_H */
