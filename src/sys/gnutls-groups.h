/* What the server uses of GnuTLS 3.6.0 (2017) where it is there, as its manual declares it: see libc.h. */
#ifndef NBDKIT_BUN_GNUTLS_GROUPS_H
#define NBDKIT_BUN_GNUTLS_GROUPS_H

#include "gnutls.h"

typedef unsigned gnutls_group_t;

gnutls_group_t gnutls_group_get (gnutls_session_t session);
const char *gnutls_group_get_name (gnutls_group_t group);
const gnutls_group_t *gnutls_group_list (void);
int gnutls_priority_group_list (gnutls_priority_t priority_cache, const unsigned **list);

#endif /* NBDKIT_BUN_GNUTLS_GROUPS_H */
