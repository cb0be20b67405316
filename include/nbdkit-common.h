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

/* As nbdkit's headers since 1.16: what filters for earlier releases define may have the names of what is in there. */
#if !defined(NBDKIT_FILTER_RELEASE) || NBDKIT_FILTER_RELEASE >= NBDKIT_FILTER_RELEASE_1_16
#define NBDKIT_HAVE_SOCKETS_
#include <sys/socket.h>
#endif

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

/* For a variable that -D sets from the command line: NBDKIT_DLL_PUBLIC int NAME_debug_FLAG = 0; */
#define NBDKIT_DLL_PUBLIC NBDKIT_VISIBLE_

#define NBDKIT_TEXT_(number) #number
#define NBDKIT_DOTTED_(major, minor, micro)                                                        \
  NBDKIT_TEXT_ (major) "." NBDKIT_TEXT_ (minor) "." NBDKIT_TEXT_ (micro)

/* A macro's value as text, or its name where it is not defined. */
#define NBDKIT_SHOWN_(macro) NBDKIT_TEXT_ (macro)

/* A compile error that shows this name if the condition is false, in C90 and C++98 as well. */
#define NBDKIT_ASSERT_(name, condition) extern const char nbdkit_##name##_[(condition) ? 1 : -1]

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

/* Print an error, or, with -v, a debug line. A newline is added; errno is left as it was. */
extern void nbdkit_error (const char *fs, ...) NBDKIT_PRINTF_FORMAT_ (1, 2);
extern void nbdkit_verror (const char *fs, va_list args) NBDKIT_PRINTF_FORMAT_ (1, 0);
extern void nbdkit_debug (const char *fs, ...) NBDKIT_PRINTF_FORMAT_ (1, 2);
extern void nbdkit_vdebug (const char *fs, va_list args) NBDKIT_PRINTF_FORMAT_ (1, 0);

/* Print `len` bytes as debug lines, 16 in each. The first byte is numbered `start`; `prefix` may be NULL. The second
 * function compares two buffers: where they differ, it prints lines with "-" and "+", and in the latter only the bytes
 * that differ. */
extern void nbdkit_debug_hexdump (const void *buf, size_t len, const char *prefix, uint64_t start);
extern void nbdkit_debug_hexdiff (const void *buf1, const void *buf2, size_t len, const char *prefix,
                                  uint64_t start);

/* The time in UTC, such as "2026-03-14 07:45:09.653589", or "!". The next call of the thread overwrites it. */
extern const char *nbdkit_timestamp (void);

/* What --name has called the server, or NULL. */
extern const char *nbdkit_name (void);

/* The errno that the client sees when the running request fails. Filters have `err` for that from nbdkit 1.4 on. */
extern void nbdkit_set_error (int err);

/* Parameters' values. All return -1 after printing an error. Sizes take the suffixes b k m g t p e and s
 * (512 bytes). */
extern int64_t nbdkit_parse_size (const char *str);
extern int nbdkit_parse_bool (const char *str);

/* These store the number in *r and return 0. `what` names the parameter in messages. A probability is
 * a number, a percentage or N:M; a delay is seconds or has a unit, and is stored as two numbers. */
extern int nbdkit_parse_int (const char *what, const char *str, int *r);
extern int nbdkit_parse_unsigned (const char *what, const char *str, unsigned *r);
extern int nbdkit_parse_int8_t (const char *what, const char *str, int8_t *r);
extern int nbdkit_parse_uint8_t (const char *what, const char *str, uint8_t *r);
extern int nbdkit_parse_int16_t (const char *what, const char *str, int16_t *r);
extern int nbdkit_parse_uint16_t (const char *what, const char *str, uint16_t *r);
extern int nbdkit_parse_int32_t (const char *what, const char *str, int32_t *r);
extern int nbdkit_parse_uint32_t (const char *what, const char *str, uint32_t *r);
extern int nbdkit_parse_int64_t (const char *what, const char *str, int64_t *r);
extern int nbdkit_parse_uint64_t (const char *what, const char *str, uint64_t *r);
extern int nbdkit_parse_probability (const char *what, const char *str, double *r);
extern int nbdkit_parse_delay (const char *what, const char *str, unsigned *sec, unsigned *nsec);

/* Both return a string to be freed, or NULL after printing an error. */
extern char *nbdkit_absolute_path (const char *path);
extern char *nbdkit_realpath (const char *path);

/* "-" asks on the terminal, "-FD" and "+FILE" read, anything else is the password. 0, or -1 after
 * printing an error; on success *password is to be freed. */
extern int nbdkit_read_password (const char *value, char **password);

/* Whether stdin and stdout may be used: only while parameters are read, and not where a client has them. */
extern int nbdkit_stdio_safe (void);

/* Strings that the server keeps until it ends: a copy, the first bytes of a copy, a formatted one. NULL
 * after printing an error. */
extern const char *nbdkit_strdup_intern (const char *str);
extern const char *nbdkit_strndup_intern (const char *str, size_t n);
extern const char *nbdkit_printf_intern (const char *fs, ...) NBDKIT_PRINTF_FORMAT_ (1, 2);
extern const char *nbdkit_vprintf_intern (const char *fs, va_list args) NBDKIT_PRINTF_FORMAT_ (1, 0);

/* Sleep, but not longer than the client stays and the server runs: then -1 with ESHUTDOWN. */
extern int nbdkit_nanosleep (unsigned sec, unsigned nsec);

/* Stop the server; hang up on the client of the running callback, at once or after its requests. */
extern void nbdkit_shutdown (void);
extern int nbdkit_disconnect (int force);

/* About the client of the running callback. On failure NULL or -1 after printing an error. The strings of
 * the last three are to be freed. */
extern const char *nbdkit_export_name (void);
extern int nbdkit_is_tls (void);
#ifdef NBDKIT_HAVE_SOCKETS_
extern int nbdkit_peer_name (struct sockaddr *addr, socklen_t *addrlen);
#endif
extern int64_t nbdkit_peer_pid (void);
extern int64_t nbdkit_peer_uid (void);
extern int64_t nbdkit_peer_gid (void);
extern char *nbdkit_peer_security_context (void);
extern char *nbdkit_peer_tls_dn (void);
extern char *nbdkit_peer_tls_issuer_dn (void);

/* A list of extents, which an extents callback gets to fill. Type is NBDKIT_EXTENT_* bits. 0, or -1 with
 * errno set. */
struct nbdkit_extents;
extern int nbdkit_add_extent (struct nbdkit_extents *extents, uint64_t offset, uint64_t length,
                              uint32_t type);

/* For filters: lists of their own, for the range from start to before end. */
struct nbdkit_extent {
  uint64_t offset;
  uint64_t length;
  uint32_t type;
};
extern struct nbdkit_extents *nbdkit_extents_new (uint64_t start, uint64_t end);
extern void nbdkit_extents_free (struct nbdkit_extents *extents);
extern size_t nbdkit_extents_count (const struct nbdkit_extents *extents);
extern struct nbdkit_extent nbdkit_get_extent (const struct nbdkit_extents *extents, size_t i);

/* A list of exports, which list_exports gets to fill; the strings are copied, description may be NULL.
 * The second one stands for what default_export answers. 0, or -1 after printing an error. */
struct nbdkit_exports;
extern int nbdkit_add_export (struct nbdkit_exports *exports, const char *name,
                              const char *description);
extern int nbdkit_use_default_export (struct nbdkit_exports *exports);

/* For filters: what is in such a list, or in one of their own. */
struct nbdkit_export {
  char *name;
  char *description;
};
extern void nbdkit_exports_free (struct nbdkit_exports *exports);
extern size_t nbdkit_exports_count (const struct nbdkit_exports *exports);
extern struct nbdkit_export nbdkit_get_export (const struct nbdkit_exports *exports, size_t i);

/* nbdkit-filter.h has what differs between releases: nbdkit_extents_full, nbdkit_extents_aligned,
 * nbdkit_exports_new, nbdkit_context_get_backend, nbdkit_context_set_next, nbdkit_next_context_open and
 * nbdkit_next_context_close. */

#ifdef __cplusplus
}
#endif

#endif /* NBDKIT_COMMON_H */
