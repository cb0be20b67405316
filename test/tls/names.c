/* A filter of nbdkit 1.30. Its open prints on stderr what it learns about the client, "names TLS [DN] [ISSUER]", and
 * its after_fork opens the layers below once for all clients. It runs in nbdkit too. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define NBDKIT_FILTER_RELEASE NBDKIT_FILTER_RELEASE_1_30
#include <nbdkit-filter.h>

/* nbdkit 1.32 lacks these. */
extern char *nbdkit_peer_tls_dn (void);
extern char *nbdkit_peer_tls_issuer_dn (void);
#pragma weak nbdkit_peer_tls_dn
#pragma weak nbdkit_peer_tls_issuer_dn

static int
names_after_fork (nbdkit_backend *backend)
{
  nbdkit_next *all = nbdkit_next_context_open (backend, 0, "", 1);

  if (all == NULL)
    return -1;
  nbdkit_next_context_close (all);
  return 0;
}

static void *
names_open (nbdkit_next_open *next, nbdkit_context *context, int readonly, const char *name, int is_tls)
{
  char *dn = NULL, *issuer = NULL;

  if (next (context, readonly, name) == -1)
    return NULL;
  if (nbdkit_peer_tls_dn != NULL) {
    dn = nbdkit_peer_tls_dn ();
    issuer = nbdkit_peer_tls_issuer_dn ();
  }
  fprintf (stderr, "names %d%d [%s] [%s]\n", is_tls, nbdkit_is_tls (), dn == NULL ? "NULL" : dn,
           issuer == NULL ? "NULL" : issuer);
  free (dn);
  free (issuer);
  return NBDKIT_HANDLE_NOT_NEEDED;
}

static struct nbdkit_filter filter = {
  .name = "names",
  .after_fork = names_after_fork,
  .open = names_open,
};

NBDKIT_REGISTER_FILTER (filter)
