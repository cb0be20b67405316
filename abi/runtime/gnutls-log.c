/* Prints GnuTLS's log as debug lines. GnuTLS logs on the thread that uses it, which may be a C module's. Only C can run
 * there, and the text is valid only during the call. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <string.h>

#include "internal.h"
#include "nbdkit-plugin.h"

static void
print (int level, const char *text)
{
  size_t length = strlen (text);

  while (length > 0 && text[length - 1] == '\n')
    length--;
  nbdkit_debug ("gnutls: %d: %.*s", level, (int) length, text);
}

int32_t
rt_gnutls_log (const char *library, int32_t level)
{
  void *gnutls = dlopen (library, RTLD_NOW);
  void (*set_level) (int);
  void (*set_function) (void (*) (int, const char *));

  if (gnutls == NULL)
    return -1;
  *(void **) &set_level = dlsym (gnutls, "gnutls_global_set_log_level");
  *(void **) &set_function = dlsym (gnutls, "gnutls_global_set_log_function");
  if (set_level == NULL || set_function == NULL)
    return -1;
  set_function (print);
  set_level (level);
  return 0;
}
