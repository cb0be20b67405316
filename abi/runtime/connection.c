/* What modules may ask about the client's connection: nbdkit-plugin(3), "EXPORT NAME" and "PEER NAME". */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>

#include "internal.h"

void *
rt_connection_new (const char *log_name)
{
  struct rt_connection *connection = calloc (1, sizeof *connection);

  if (connection == NULL)
    return NULL;
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
  free (connection->log_name);
  free (connection);
}
