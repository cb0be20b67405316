/* A filter as its author wrote it for nbdkit 1.32: it knows nothing of layouts. */
#include <stdio.h>
#include <string.h>

#include <nbdkit-filter.h>

#define THREAD_LIMIT NBDKIT_THREAD_MODEL_SERIALIZE_REQUESTS

struct mine {
  nbdkit_backend *backend;
  nbdkit_next *second;
  char *exportname;
};

NBDKIT_DLL_PUBLIC int sample_debug_calls = 0;

static int delay;
static unsigned size;

static void
sample_load (void)
{
  nbdkit_debug ("loaded for %s", NBDKIT_VERSION_STRING);
}

static int
sample_config (nbdkit_next_config *next, nbdkit_backend *nxdata, const char *key, const char *value)
{
  if (strcmp (key, "sample-delay") == 0)
    return nbdkit_parse_int (key, value, &delay);
  if (strcmp (key, "sample-size") == 0)
    return nbdkit_parse_unsigned (key, value, &size);
  return next (nxdata, key, value);
}

static int
sample_config_complete (nbdkit_next_config_complete *next, nbdkit_backend *nxdata)
{
  return next (nxdata);
}

static int
sample_thread_model (void)
{
  return THREAD_LIMIT;
}

static int
sample_get_ready (int thread_model)
{
  return thread_model > THREAD_LIMIT ? -1 : 0;
}

static int
sample_after_fork (nbdkit_backend *backend)
{
  nbdkit_next *next = nbdkit_next_context_open (backend, 1, "", 1);

  if (next == NULL)
    return -1;
  if (next->prepare (next) == -1) {
    nbdkit_next_context_close (next);
    return -1;
  }
  next->finalize (next);
  nbdkit_next_context_close (next);
  return 0;
}

static void
sample_cleanup (nbdkit_backend *backend)
{
  (void) backend;
}

static int
sample_preconnect (nbdkit_next_preconnect *next, nbdkit_backend *nxdata, int readonly)
{
  if (nbdkit_nanosleep (0, 1000) == -1)
    return -1;
  return next (nxdata, readonly);
}

static int
sample_list_exports (nbdkit_next_list_exports *next, nbdkit_backend *nxdata, int readonly, int is_tls,
                     struct nbdkit_exports *exports)
{
  struct nbdkit_exports *below = nbdkit_exports_new ();
  size_t i;
  int r;

  (void) is_tls;
  if (below == NULL)
    return -1;
  r = next (nxdata, readonly, below);
  for (i = 0; r == 0 && i < nbdkit_exports_count (below); i++) {
    const struct nbdkit_export e = nbdkit_get_export (below, i);

    r = nbdkit_add_export (exports, e.name, e.description);
  }
  nbdkit_exports_free (below);
  return r == 0 ? nbdkit_use_default_export (exports) : r;
}

static const char *
sample_default_export (nbdkit_next_default_export *next, nbdkit_backend *nxdata, int readonly, int is_tls)
{
  const char *name = next (nxdata, readonly);

  return name == NULL ? NULL : nbdkit_printf_intern ("%s%d", name, is_tls);
}

static void *
sample_open (nbdkit_next_open *next, nbdkit_context *context, int readonly, const char *exportname, int is_tls)
{
  struct mine *h = calloc (1, sizeof *h);

  (void) is_tls;
  if (h == NULL) {
    nbdkit_error ("calloc: %m");
    return NULL;
  }
  if (next (context, readonly, exportname) == -1) {
    free (h);
    return NULL;
  }
  h->backend = nbdkit_context_get_backend (context);
  h->second = nbdkit_context_set_next (context, NULL);
  return h;
}

static void
sample_close (void *handle)
{
  free (handle);
}

static int
sample_prepare (nbdkit_next *next, void *handle, int readonly)
{
  (void) handle;
  return readonly ? 0 : next->can_write (next) == -1 ? -1 : 0;
}

static int
sample_finalize (nbdkit_next *next, void *handle)
{
  (void) handle;
  return next->flush (next, 0, NULL);
}

static int64_t
sample_get_size (nbdkit_next *next, void *handle)
{
  (void) handle;
  return next->get_size (next);
}

static const char *
sample_export_description (nbdkit_next *next, void *handle)
{
  (void) handle;
  return next->export_description (next);
}

static int
sample_block_size (nbdkit_next *next, void *handle, uint32_t *minimum, uint32_t *preferred, uint32_t *maximum)
{
  (void) handle;
  return next->block_size (next, minimum, preferred, maximum);
}

static int
sample_can_zero (nbdkit_next *next, void *handle)
{
  (void) handle;
  return next->can_zero (next) == NBDKIT_ZERO_NATIVE ? NBDKIT_ZERO_NATIVE : NBDKIT_ZERO_EMULATE;
}

static int
sample_pread (nbdkit_next *next, void *handle, void *buf, uint32_t count, uint64_t offset, uint32_t flags, int *err)
{
  (void) handle;
  return next->pread (next, buf, count, offset, flags, err);
}

static int
sample_pwrite (nbdkit_next *next, void *handle, const void *buf, uint32_t count, uint64_t offset, uint32_t flags,
               int *err)
{
  (void) handle;
  (void) next;
  (void) buf;
  (void) count;
  (void) offset;
  (void) flags;
  *err = EPERM;
  return -1;
}

static int
sample_extents (nbdkit_next *next, void *handle, uint32_t count, uint64_t offset, uint32_t flags,
                struct nbdkit_extents *extents, int *err)
{
  struct nbdkit_extents *full = nbdkit_extents_full (next, count, offset, flags, err);
  size_t i;

  (void) handle;
  if (full == NULL)
    return -1;
  for (i = 0; i < nbdkit_extents_count (full); i++) {
    const struct nbdkit_extent e = nbdkit_get_extent (full, i);

    if (nbdkit_add_extent (extents, e.offset, e.length, e.type & ~NBDKIT_EXTENT_HOLE) == -1) {
      *err = errno;
      nbdkit_extents_free (full);
      return -1;
    }
  }
  nbdkit_extents_free (full);
  return nbdkit_extents_aligned (next, count, offset, flags, 512, extents, err);
}

static struct nbdkit_filter filter = {
  .name = "sample",
  .longname = "a sample",
  .description = "for tests",
  .load = sample_load,
  .config = sample_config,
  .config_complete = sample_config_complete,
  .config_help = "sample-delay=N sample-size=N",
  .thread_model = sample_thread_model,
  .get_ready = sample_get_ready,
  .after_fork = sample_after_fork,
  .cleanup = sample_cleanup,
  .preconnect = sample_preconnect,
  .list_exports = sample_list_exports,
  .default_export = sample_default_export,
  .open = sample_open,
  .close = sample_close,
  .prepare = sample_prepare,
  .finalize = sample_finalize,
  .get_size = sample_get_size,
  .export_description = sample_export_description,
  .block_size = sample_block_size,
  .can_zero = sample_can_zero,
  .pread = sample_pread,
  .pwrite = sample_pwrite,
  .extents = sample_extents,
};

NBDKIT_REGISTER_FILTER (filter)
