/* What include/ declares of the functions that the runtime exports. */
#ifndef NBDKIT_BUN_EXPORTED_H
#define NBDKIT_BUN_EXPORTED_H

/* A generation that has none of the functions whose parameters changed under one name. */
#define NBDKIT_FILTER_GENERATION NBDKIT_GENERATION_A
#include "nbdkit-filter.h"

#ifndef NBDKIT_GENERATION_M /* not declared yet */
#include <sys/socket.h>

#define NBDKIT_GENERATION_I 1500
#define NBDKIT_GENERATION_i1 1600
#define NBDKIT_GENERATION_J 1700
#define NBDKIT_GENERATION_K 1800

struct nbdkit_extent {
  uint64_t offset;
  uint64_t length;
  uint32_t type;
};
struct nbdkit_export {
  char *name;
  char *description;
};

extern struct nbdkit_extents *nbdkit_extents_new (uint64_t start, uint64_t end);
extern void nbdkit_extents_free (struct nbdkit_extents *extents);
extern size_t nbdkit_extents_count (const struct nbdkit_extents *extents);
extern struct nbdkit_extent nbdkit_get_extent (const struct nbdkit_extents *extents, size_t i);
extern int nbdkit_add_extent (struct nbdkit_extents *extents, uint64_t offset, uint64_t length, uint32_t type);

extern void nbdkit_exports_free (struct nbdkit_exports *exports);
extern size_t nbdkit_exports_count (const struct nbdkit_exports *exports);
extern struct nbdkit_export nbdkit_get_export (const struct nbdkit_exports *exports, size_t i);
extern int nbdkit_add_export (struct nbdkit_exports *exports, const char *name, const char *description);
extern int nbdkit_use_default_export (struct nbdkit_exports *exports);

extern const char *nbdkit_strdup_intern (const char *text);
extern const char *nbdkit_strndup_intern (const char *text, size_t n);
extern const char *nbdkit_printf_intern (const char *format, ...) NBDKIT_PRINTF_FORMAT_ (1, 2);
extern const char *nbdkit_vprintf_intern (const char *format, va_list args) NBDKIT_PRINTF_FORMAT_ (1, 0);

extern int nbdkit_parse_int (const char *what, const char *text, int *result);
extern int nbdkit_parse_unsigned (const char *what, const char *text, unsigned *result);
extern int nbdkit_parse_int8_t (const char *what, const char *text, int8_t *result);
extern int nbdkit_parse_uint8_t (const char *what, const char *text, uint8_t *result);
extern int nbdkit_parse_int16_t (const char *what, const char *text, int16_t *result);
extern int nbdkit_parse_uint16_t (const char *what, const char *text, uint16_t *result);
extern int nbdkit_parse_int32_t (const char *what, const char *text, int32_t *result);
extern int nbdkit_parse_uint32_t (const char *what, const char *text, uint32_t *result);
extern int nbdkit_parse_int64_t (const char *what, const char *text, int64_t *result);
extern int nbdkit_parse_uint64_t (const char *what, const char *text, uint64_t *result);
extern int nbdkit_parse_probability (const char *what, const char *text, double *result);
extern int nbdkit_parse_delay (const char *what, const char *text, unsigned *seconds, unsigned *nanoseconds);

extern const char *nbdkit_export_name (void);
extern int nbdkit_is_tls (void);
extern int nbdkit_peer_name (struct sockaddr *address, socklen_t *size);
extern int64_t nbdkit_peer_pid (void);
extern int64_t nbdkit_peer_uid (void);
extern int64_t nbdkit_peer_gid (void);
extern char *nbdkit_peer_security_context (void);
extern char *nbdkit_peer_tls_dn (void);
extern char *nbdkit_peer_tls_issuer_dn (void);
extern int nbdkit_nanosleep (unsigned seconds, unsigned nanoseconds);
extern void nbdkit_shutdown (void);
extern int nbdkit_disconnect (int force);
extern int nbdkit_stdio_safe (void);

#endif

#endif /* NBDKIT_BUN_EXPORTED_H */
