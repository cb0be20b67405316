// Written as the manual page of the first filter API says, with every field and callback that it describes.
#include <nbdkit-filter.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char *saved;

static void
my_load (void)
{
  nbdkit_debug ("load %s", "filter");
}

static void
my_unload (void)
{
}

static int
my_config (nbdkit_next_config *next, void *nxdata, const char *key, const char *value)
{
  if (strcmp (key, "myparameter") == 0) {
    saved = value;
    return nbdkit_parse_size (value) == -1 ? -1 : 0;
  }
  return next (nxdata, key, value);
}

static int
my_config_complete (nbdkit_next_config_complete *next, void *nxdata)
{
  if (saved == NULL) {
    nbdkit_error ("myparameter is missing");
    return -1;
  }
  return next (nxdata);
}

static void *
my_open (int readonly)
{
  int *handle = malloc (sizeof *handle);
  if (handle)
    *handle = readonly;
  return handle;
}

static void
my_close (void *handle)
{
  free (handle);
}

static int
my_prepare (struct nbdkit_next_ops *next_ops, void *nxdata, void *handle)
{
  char sector[512];
  (void) handle;
  return next_ops->pread (nxdata, sector, sizeof sector, 0);
}

static int
my_finalize (struct nbdkit_next_ops *next_ops, void *nxdata, void *handle)
{
  (void) handle;
  return next_ops->flush (nxdata);
}

static int64_t
my_get_size (struct nbdkit_next_ops *next_ops, void *nxdata, void *handle)
{
  (void) handle;
  return next_ops->get_size (nxdata) / 2;
}

#define ASK(name)                                                                \
  static int                                                                     \
  my_##name (struct nbdkit_next_ops *next_ops, void *nxdata, void *handle)       \
  {                                                                              \
    (void) handle;                                                               \
    return next_ops->name (nxdata);                                              \
  }
ASK (can_write)
ASK (can_flush)
ASK (is_rotational)
ASK (can_trim)
ASK (flush)

static int
my_pread (struct nbdkit_next_ops *next_ops, void *nxdata,
          void *handle, void *buf, uint32_t count, uint64_t offset)
{
  (void) handle;
  return next_ops->pread (nxdata, buf, count, offset);
}

static int
my_pwrite (struct nbdkit_next_ops *next_ops, void *nxdata,
           void *handle,
           const void *buf, uint32_t count, uint64_t offset)
{
  if (*(int *) handle) {
    nbdkit_error ("read-only");
    errno = EROFS;
    return -1;
  }
  return next_ops->pwrite (nxdata, buf, count, offset);
}

static int
my_trim (struct nbdkit_next_ops *next_ops, void *nxdata,
         void *handle, uint32_t count, uint64_t offset)
{
  (void) handle;
  return next_ops->trim (nxdata, count, offset);
}

static int
my_zero (struct nbdkit_next_ops *next_ops, void *nxdata,
         void *handle, uint32_t count, uint64_t offset, int may_trim)
{
  (void) handle;
  return next_ops->zero (nxdata, count, offset, may_trim);
}

static struct nbdkit_filter filter = {
  .name              = "filter",
  .longname          = "My Filter",
  .version           = "1.0",
  .description       = "This one describes itself",
  .load              = my_load,
  .unload            = my_unload,
  .config            = my_config,
  .config_complete   = my_config_complete,
  .config_help       = "myparameter=SIZE",
  .open              = my_open,
  .close             = my_close,
  .prepare           = my_prepare,
  .finalize          = my_finalize,
  .get_size          = my_get_size,
  .can_write         = my_can_write,
  .can_flush         = my_can_flush,
  .is_rotational     = my_is_rotational,
  .can_trim          = my_can_trim,
  .pread             = my_pread,
  .pwrite            = my_pwrite,
  .flush             = my_flush,
  .trim              = my_trim,
  .zero              = my_zero,
};

NBDKIT_REGISTER_FILTER(filter)
