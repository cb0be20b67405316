/* The facts about a client's connection, which JavaScript sets and modules query: nbdkit-plugin(3), "EXPORT NAME",
 * "AUTHENTICATION" and "PEER NAME". */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "exported.h"
#include "internal.h"
#include "ops.gen.h"

/* ---- for JavaScript */

void *
rt_connection_new (const char *log_name)
{
  struct rt_connection *connection = calloc (1, sizeof *connection);

  if (connection == NULL)
    return NULL;
  connection->peer_pid = connection->peer_uid = connection->peer_gid = -1;
  connection->log_name = strdup (log_name);
  if (connection->log_name == NULL) {
    free (connection);
    return NULL;
  }
  return connection;
}

void
rt_connection_free (void *address)
{
  struct rt_connection *connection = address;

  if (connection == NULL)
    return;
  rt_interned_free (connection->interned);
  rt_interned_free (connection->export_names);
  rt_interned_free (connection->tls_names);
  free (connection->log_name);
  free (connection);
}

void
rt_connection_share (void *address)
{
  ((struct rt_connection *) address)->is_shared = 1;
}

void
rt_connection_set_peer (void *address, const void *peer, uint32_t size)
{
  struct rt_connection *connection = address;

  if (size > sizeof connection->peer)
    size = sizeof connection->peer;
  memcpy (&connection->peer, peer, size);
  connection->peer_size = size;
}

void
rt_connection_set_process (void *address, int32_t pid, uint32_t uid, uint32_t gid)
{
  struct rt_connection *connection = address;

  connection->peer_pid = pid;
  connection->peer_uid = uid;
  connection->peer_gid = gid;
}

void
rt_connection_set_control (void *address, void *nxdata)
{
  ((struct rt_connection *) address)->control = nxdata;
}

void
rt_connection_set_tls (void *address, int32_t is_tls)
{
  atomic_store (&((struct rt_connection *) address)->is_tls, is_tls != 0);
}

int32_t
rt_connection_set_tls_names (void *address, const char *dn, const char *issuer_dn)
{
  struct rt_connection *connection = address;
  const char *own = rt_intern (&connection->tls_names, dn, strlen (dn));
  const char *issuer = rt_intern (&connection->tls_names, issuer_dn, strlen (issuer_dn));

  if (own == NULL || issuer == NULL)
    return ENOMEM;
  atomic_store (&connection->tls_dn, own);
  atomic_store (&connection->tls_issuer_dn, issuer);
  return 0;
}

/* Keeps all older names, since modules may use them until they are closed. */
int32_t
rt_connection_set_export_name (void *address, const char *name)
{
  struct rt_connection *connection = address;
  const char *copy = rt_intern (&connection->export_names, name, strlen (name));

  if (copy == NULL)
    return ENOMEM;
  atomic_store (&connection->export_name, copy);
  return 0;
}

/* ---- for modules */

/* The connection that this thread works for, or NULL after an error message that names the function `what`. */
static struct rt_connection *
connection_for (const char *what)
{
  struct rt_connection *connection = rt_this_connection ();

  if (connection == NULL) {
    nbdkit_error ("%s: no client's request runs on this thread", what);
    errno = EINVAL;
  }
  return connection;
}

RT_EXPORT const char *
nbdkit_export_name (void)
{
  const struct rt_connection *connection = connection_for ("nbdkit_export_name");
  const char *name;

  if (connection == NULL)
    return NULL;
  /* The layer's name may differ from the client's: if that is "", layers are opened with their own defaults. */
  name = rt_this_downcall ()->export_name;
  if (name == NULL)
    name = atomic_load (&connection->export_name);
  if (name == NULL) {
    nbdkit_error ("nbdkit_export_name: the client has not chosen an export");
    errno = EINVAL;
  }
  return name;
}

RT_EXPORT int
nbdkit_is_tls (void)
{
  const struct rt_connection *connection = connection_for ("nbdkit_is_tls");

  return connection == NULL ? -1 : atomic_load (&connection->is_tls);
}

RT_EXPORT int
nbdkit_peer_name (struct sockaddr *address, socklen_t *size)
{
  const struct rt_connection *connection = connection_for ("nbdkit_peer_name");

  if (connection == NULL)
    return -1;
  if (connection->peer_size == 0) {
    nbdkit_error ("nbdkit_peer_name: the address of the client is not known");
    errno = ENOTCONN;
    return -1;
  }
  memcpy (address, &connection->peer, *size < connection->peer_size ? *size : connection->peer_size);
  *size = connection->peer_size;
  return 0;
}

static int64_t
peer_number (const char *function, size_t field)
{
  const struct rt_connection *connection = connection_for (function);
  int64_t number;

  if (connection == NULL)
    return -1;
  memcpy (&number, (const char *) connection + field, sizeof number);
  if (number == -1) {
    nbdkit_error ("%s: known only of clients that come through a Unix socket", function);
    errno = ENOTSUP;
  }
  return number;
}

RT_EXPORT int64_t
nbdkit_peer_pid (void)
{
  return peer_number ("nbdkit_peer_pid", offsetof (struct rt_connection, peer_pid));
}

RT_EXPORT int64_t
nbdkit_peer_uid (void)
{
  return peer_number ("nbdkit_peer_uid", offsetof (struct rt_connection, peer_uid));
}

RT_EXPORT int64_t
nbdkit_peer_gid (void)
{
  return peer_number ("nbdkit_peer_gid", offsetof (struct rt_connection, peer_gid));
}

RT_EXPORT char *
nbdkit_peer_security_context (void)
{
  if (connection_for ("nbdkit_peer_security_context") != NULL) {
    nbdkit_error ("nbdkit_peer_security_context: this server does not ask for security contexts");
    errno = ENOTSUP;
  }
  return NULL;
}

/* A copy of a name in the client's certificate, which the caller frees; "" if the client presented none. */
static char *
certificate_name (const char *function, size_t field)
{
  struct rt_connection *connection = connection_for (function);
  const char *name;
  char *copy;

  if (connection == NULL)
    return NULL;
  name = atomic_load ((const char *_Atomic *) ((char *) connection + field));
  copy = strdup (name == NULL ? "" : name);
  if (copy == NULL)
    nbdkit_error ("strdup: %m");
  return copy;
}

RT_EXPORT char *
nbdkit_peer_tls_dn (void)
{
  return certificate_name ("nbdkit_peer_tls_dn", offsetof (struct rt_connection, tls_dn));
}

RT_EXPORT char *
nbdkit_peer_tls_issuer_dn (void)
{
  return certificate_name ("nbdkit_peer_tls_issuer_dn", offsetof (struct rt_connection, tls_issuer_dn));
}

/* Only JavaScript can close the socket. */
RT_EXPORT int
nbdkit_disconnect (int force)
{
  const struct rt_connection *connection = connection_for ("nbdkit_disconnect");
  struct rt_upcall upcall = { .op = RT_OP_DISCONNECT, .arguments.disconnect.force = force != 0 };

  if (connection == NULL)
    return -1;
  if (connection->control == NULL) {
    nbdkit_error ("nbdkit_disconnect: this connection belongs to no single client");
    errno = EINVAL;
    return -1;
  }
  return rt_upcall (connection->control, &upcall, NULL) == -1 ? -1 : 0;
}
