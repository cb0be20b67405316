/* A filter for bench/leaks.ts. Whenever a client opens the disk, it appends the number of used bytes of the C heap to
 * the file heap-file=FILE.
 *
 * SPDX-License-Identifier: BSD-3-Clause
 */
#define NBDKIT_FILTER_RELEASE NBDKIT_FILTER_RELEASE_1_30
#include <malloc.h>
#include <stdio.h>
#include <string.h>

#include <nbdkit-filter.h>

static char *heap_file;

static int
heap_config (nbdkit_next_config *next, nbdkit_backend *nxdata, const char *key, const char *value)
{
  if (strcmp (key, "heap-file") != 0)
    return next (nxdata, key, value);
  free (heap_file);
  heap_file = nbdkit_absolute_path (value);
  return heap_file == NULL ? -1 : 0;
}

static int
heap_config_complete (nbdkit_next_config_complete *next, nbdkit_backend *nxdata)
{
  if (heap_file == NULL) {
    nbdkit_error ("heap-file=FILE is required");
    return -1;
  }
  return next (nxdata);
}

static void *
heap_open (nbdkit_next_open *next, nbdkit_context *nxdata, int readonly, const char *exportname, int is_tls)
{
  /* Measure first, since opening the file allocates memory. */
  const struct mallinfo2 heap = mallinfo2 ();
  FILE *file;

  (void) is_tls;
  if (next (nxdata, readonly, exportname) == -1)
    return NULL;
  file = fopen (heap_file, "a");
  if (file == NULL || fprintf (file, "%zu\n", heap.uordblks + heap.hblkhd) < 0) {
    nbdkit_error ("%s: %m", heap_file);
    if (file != NULL)
      fclose (file);
    return NULL;
  }
  if (fclose (file) == EOF) {
    nbdkit_error ("%s: %m", heap_file);
    return NULL;
  }
  return NBDKIT_HANDLE_NOT_NEEDED;
}

static void
heap_unload (void)
{
  free (heap_file);
}

static struct nbdkit_filter filter = {
  .name = "heap",
  .longname = "nbdkit heap filter",
  .unload = heap_unload,
  .config = heap_config,
  .config_complete = heap_config_complete,
  .config_help = "heap-file=FILE   Append the bytes in use here, for each client.",
  .open = heap_open,
};

NBDKIT_REGISTER_FILTER (filter)
