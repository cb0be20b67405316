/* Lists of exports: nbdkit-plugin(3) and nbdkit-filter(3), ".list_exports". */
#define _GNU_SOURCE
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "exported.h"
#include "internal.h"

/* nbdkit's limit for one list. */
#define MOST_EXPORTS 10000

/* The longest string of the NBD protocol. */
#define MOST_BYTES 4096

struct nbdkit_exports {
  bool first_only;
  bool wants_default;
  size_t count, room;
  struct nbdkit_export *list;
};

static struct nbdkit_exports *
new_exports (bool first_only)
{
  struct nbdkit_exports *exports = calloc (1, sizeof *exports);

  if (exports == NULL)
    nbdkit_error ("no memory for a list of exports: %m");
  else
    exports->first_only = first_only;
  return exports;
}

/* Up to 1.22 the parameter requests only the default export, which is the first. Later releases have no parameter, so
 * its register may hold anything. */
RT_EXPORT struct nbdkit_exports *
nbdkit_exports_new (int default_only)
{
  bool has_parameter = rt_caller_release (__builtin_return_address (0)) < NBDKIT_FILTER_RELEASE_1_24;

  return new_exports (has_parameter && default_only != 0);
}

RT_EXPORT void
nbdkit_exports_free (struct nbdkit_exports *exports)
{
  if (exports == NULL)
    return;
  for (size_t i = 0; i < exports->count; i++) {
    free (exports->list[i].name);
    free (exports->list[i].description);
  }
  free (exports->list);
  free (exports);
}

RT_EXPORT size_t
nbdkit_exports_count (const struct nbdkit_exports *exports)
{
  return exports->count;
}

RT_EXPORT struct nbdkit_export
nbdkit_get_export (const struct nbdkit_exports *exports, size_t i)
{
  if (i >= exports->count) {
    nbdkit_error ("export %zu of a list of %zu was asked for", i, exports->count);
    return (struct nbdkit_export) { 0 };
  }
  return exports->list[i];
}

/* Whether NBD can carry the text. Logs an error if not. */
static bool
fits (const char *what, const char *text)
{
  size_t length = strnlen (text, MOST_BYTES + 1);

  if (length <= MOST_BYTES)
    return true;
  nbdkit_error ("the %s of an export, \"%.40s...\", is longer than %d bytes", what, text, MOST_BYTES);
  errno = EINVAL;
  return false;
}

static int
make_room (struct nbdkit_exports *exports)
{
  size_t room = exports->room == 0 ? 16 : 2 * exports->room;
  struct nbdkit_export *list;

  if (exports->count < exports->room)
    return 0;
  list = realloc (exports->list, room * sizeof *list);
  if (list == NULL)
    return -1;
  exports->list = list;
  exports->room = room;
  return 0;
}

RT_EXPORT int
nbdkit_add_export (struct nbdkit_exports *exports, const char *name, const char *description)
{
  struct nbdkit_export copy = { 0 };

  if (exports->first_only && exports->count > 0)
    return 0;
  if (name == NULL) {
    nbdkit_error ("the name of an export is NULL: expected a string, which may be empty");
    errno = EINVAL;
    return -1;
  }
  if (exports->count == MOST_EXPORTS) {
    nbdkit_error ("export \"%.100s\": a list holds at most %d", name, MOST_EXPORTS);
    errno = EINVAL;
    return -1;
  }
  if (!fits ("name", name) || (description != NULL && !fits ("description", description)))
    return -1;
  copy.name = strdup (name);
  copy.description = description == NULL ? NULL : strdup (description);
  if (copy.name == NULL || (description != NULL && copy.description == NULL) || make_room (exports) == -1) {
    nbdkit_error ("no memory for an export: %m");
    free (copy.name);
    free (copy.description);
    return -1;
  }
  exports->list[exports->count++] = copy;
  return 0;
}

RT_EXPORT int
nbdkit_use_default_export (struct nbdkit_exports *exports)
{
  exports->wants_default = true;
  return 0;
}

/* ---- for JavaScript */

void *
rt_exports_new (void)
{
  return new_exports (false);
}

void
rt_exports_free (void *exports)
{
  nbdkit_exports_free (exports);
}

uint32_t
rt_exports_count (const void *exports)
{
  return (uint32_t) nbdkit_exports_count (exports);
}

void *
rt_exports_name (const void *exports, uint32_t i)
{
  return nbdkit_get_export (exports, i).name;
}

void *
rt_exports_description (const void *exports, uint32_t i)
{
  return nbdkit_get_export (exports, i).description;
}

int32_t
rt_exports_add (void *exports, const char *name, const char *description)
{
  return nbdkit_add_export (exports, name, description) == -1 ? errno : 0;
}

int32_t
rt_exports_wants_default (const void *exports)
{
  return ((const struct nbdkit_exports *) exports)->wants_default;
}

void
rt_exports_want_default (void *exports)
{
  nbdkit_use_default_export (exports);
}
