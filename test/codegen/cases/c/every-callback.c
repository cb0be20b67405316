/* A filter with every callback of its layout. Each callback calls the next layer with its arguments. Compiled as C90,
 * C11 and C++ by itself, and by adapter.c, which calls it. */
#include <nbdkit-filter.h>

#define SINCE(release) (NBDKIT_FILTER_RELEASE >= NBDKIT_FILTER_RELEASE_##release)

/* Told when a callback is called that has more to show than what it passes on. */
extern void seen (const char *what, const void *pointer, int number);

#if SINCE (1_25_4)
#define NEXT nbdkit_next *next
#define OPS next
#define DATA next
#else
#define NEXT struct nbdkit_next_ops *next_ops, void *nxdata
#define OPS next_ops
#define DATA nxdata
#endif
#if SINCE (1_4)
#define FLAGS , uint32_t flags, int *err
#define ZERO_FLAGS FLAGS
#define PASS , flags, err
#define ZERO_PASS PASS
#else
#define FLAGS
#define ZERO_FLAGS , int may_trim
#define PASS
#define ZERO_PASS , may_trim
#endif

static void load (void) { seen ("load", 0, 0); }
static void unload (void) { seen ("unload", 0, 0); }

static int config (nbdkit_next_config *next, nbdkit_backend *nxdata, const char *key, const char *value)
{ return next (nxdata, key, value); }
static int config_complete (nbdkit_next_config_complete *next, nbdkit_backend *nxdata)
{ return next (nxdata); }

#if SINCE (1_44)
static int thread_model (int next_thread_model)
{ seen ("thread_model", 0, next_thread_model); return NBDKIT_THREAD_MODEL_PARALLEL; }
#elif SINCE (1_14)
static int thread_model (void) { return NBDKIT_THREAD_MODEL_PARALLEL; }
#endif
#if SINCE (1_36)
static void dump_plugin (void) { seen ("dump_plugin", 0, 0); }
#endif
#if SINCE (1_26)
static int get_ready (int model) { seen ("get_ready", 0, model); return 0; }
static int after_fork (nbdkit_backend *backend) { seen ("after_fork", backend, 0); return 0; }
static void cleanup (nbdkit_backend *backend) { seen ("cleanup", backend, 0); }
#elif SINCE (1_22)
static int get_ready (nbdkit_next_get_ready *next, nbdkit_backend *nxdata, int model)
{ seen ("get_ready", nxdata, model); return next (nxdata); }
#elif SINCE (1_18)
static int get_ready (nbdkit_next_get_ready *next, nbdkit_backend *nxdata)
{ seen ("get_ready", nxdata, 0); return next (nxdata); }
#endif
#if SINCE (1_21_12) && !SINCE (1_26)
static int after_fork (nbdkit_next_after_fork *next, nbdkit_backend *nxdata)
{ seen ("after_fork", nxdata, 0); return next (nxdata); }
#endif
#if SINCE (1_17_1)
static int preconnect (nbdkit_next_preconnect *next, nbdkit_backend *nxdata, int readonly)
{ return next (nxdata, readonly); }
#endif
#if SINCE (1_24)
static int list_exports (nbdkit_next_list_exports *next, nbdkit_backend *nxdata, int readonly, int is_tls,
                         struct nbdkit_exports *exports)
{ seen ("is_tls", 0, is_tls); return next (nxdata, readonly, exports); }
static const char *default_export (nbdkit_next_default_export *next, nbdkit_backend *nxdata, int readonly, int is_tls)
{ seen ("is_tls", 0, is_tls); return next (nxdata, readonly); }
#elif SINCE (1_21_22)
static int list_exports (nbdkit_next_list_exports *next, nbdkit_backend *nxdata, int readonly, int default_only,
                         struct nbdkit_exports *exports)
{ return next (nxdata, readonly, default_only, exports); }
#endif

#if SINCE (1_22)
#if SINCE (1_25_4)
static void *open_ (nbdkit_next_open *next, nbdkit_context *context, int readonly, const char *exportname, int is_tls)
#else
static void *open_ (nbdkit_next_open *next, nbdkit_backend *context, int readonly, const char *exportname, int is_tls)
#endif
{
  seen ("is_tls", 0, is_tls);
  return next (context, readonly, exportname) == -1 ? 0 : NBDKIT_HANDLE_NOT_NEEDED;
}
#elif SINCE (1_21_20)
static void *open_ (nbdkit_next_open *next, nbdkit_backend *nxdata, int readonly, const char *exportname)
{ return next (nxdata, readonly, exportname) == -1 ? 0 : NBDKIT_HANDLE_NOT_NEEDED; }
#elif SINCE (1_2)
static void *open_ (nbdkit_next_open *next, void *nxdata, int readonly)
{ return next (nxdata, readonly) == -1 ? 0 : NBDKIT_HANDLE_NOT_NEEDED; }
#else
static void *open_ (int readonly) { seen ("open", 0, readonly); return NBDKIT_HANDLE_NOT_NEEDED; }
#endif
static void close_ (void *handle) { seen ("close", handle, 0); }

#if SINCE (1_25_4)
static int prepare (NEXT, void *handle, int readonly)
{ seen ("prepare", handle, readonly); return OPS->prepare (DATA); }
#elif SINCE (1_15_1)
static int prepare (NEXT, void *handle, int readonly)
{ seen ("prepare", handle, readonly); return (int) OPS->get_size (DATA); }
#else
static int prepare (NEXT, void *handle) { seen ("prepare", handle, 0); return (int) OPS->get_size (DATA); }
#endif
static int finalize (NEXT, void *handle)
{
  seen ("finalize", handle, 0);
#if SINCE (1_25_4)
  return OPS->finalize (DATA);
#elif SINCE (1_21_20)
  return OPS->reopen (DATA, 1, "again");
#elif SINCE (1_16)
  return OPS->reopen (DATA, 1);
#else
  return OPS->can_write (DATA) - 100;
#endif
}

static int64_t get_size (NEXT, void *handle) { seen ("get_size", handle, 0); return OPS->get_size (DATA); }
#if SINCE (1_24)
static const char *export_description (NEXT, void *handle)
{ seen ("export_description", handle, 0); return OPS->export_description (DATA); }
#endif
#if SINCE (1_30)
static int block_size (NEXT, void *handle, uint32_t *minimum, uint32_t *preferred, uint32_t *maximum)
{ seen ("block_size", handle, 0); return OPS->block_size (DATA, minimum, preferred, maximum); }
#endif

#define QUERY(name) \
  static int name (NEXT, void *handle) { seen (#name, handle, 0); return OPS->name (DATA); }
QUERY (can_write)
QUERY (can_flush)
QUERY (is_rotational)
QUERY (can_trim)
#if SINCE (1_4)
QUERY (can_zero)
QUERY (can_fua)
#endif
#if SINCE (1_15_1)
QUERY (can_fast_zero)
#endif
#if SINCE (1_10)
QUERY (can_multi_conn)
#endif
#if SINCE (1_12)
QUERY (can_extents)
#endif
#if SINCE (1_14)
QUERY (can_cache)
#endif

static int pread_ (NEXT, void *handle, void *buf, uint32_t count, uint64_t offset FLAGS)
{ seen ("pread", handle, 0); return OPS->pread (DATA, buf, count, offset PASS); }
static int pwrite_ (NEXT, void *handle, const void *buf, uint32_t count, uint64_t offset FLAGS)
{ seen ("pwrite", handle, 0); return OPS->pwrite (DATA, buf, count, offset PASS); }
static int flush (NEXT, void *handle FLAGS)
{ seen ("flush", handle, 0); return OPS->flush (DATA PASS); }
static int trim (NEXT, void *handle, uint32_t count, uint64_t offset FLAGS)
{
#if SINCE (1_4)
  /* A caller that does not want to know the errno. */
  (void) err;
  err = 0;
#endif
  seen ("trim", handle, 0);
  return OPS->trim (DATA, count, offset PASS);
}
static int zero (NEXT, void *handle, uint32_t count, uint64_t offset ZERO_FLAGS)
{
#if !SINCE (1_4)
  seen ("may_trim", 0, may_trim);
#endif
  seen ("zero", handle, 0);
  return OPS->zero (DATA, count, offset ZERO_PASS);
}
#if SINCE (1_12)
static int extents (NEXT, void *handle, uint32_t count, uint64_t offset, uint32_t flags,
                    struct nbdkit_extents *list, int *err)
{ seen ("extents", handle, 0); return OPS->extents (DATA, count, offset, flags, list, err); }
#endif
#if SINCE (1_14)
static int cache (NEXT, void *handle, uint32_t count, uint64_t offset FLAGS)
{ seen ("cache", handle, 0); return OPS->cache (DATA, count, offset PASS); }
#endif

static struct nbdkit_filter filter;

/* Neither C90 nor C++98 can name the fields of an initialiser. */
extern struct nbdkit_filter *filled (void);
struct nbdkit_filter *
filled (void)
{
  filter.name = "every";
  filter.longname = "a filter that passes all on";
#if !SINCE (1_15_1)
  filter.version = "1";
#endif
  filter.description = "for tests";
  filter.config_help = "none";
  filter.load = load;
  filter.unload = unload;
  filter.config = config;
  filter.config_complete = config_complete;
#if SINCE (1_14)
  filter.thread_model = thread_model;
  filter.can_cache = can_cache;
  filter.cache = cache;
#endif
#if SINCE (1_36)
  filter.dump_plugin = dump_plugin;
#endif
#if SINCE (1_18)
  filter.get_ready = get_ready;
#endif
#if SINCE (1_21_12)
  filter.after_fork = after_fork;
#endif
#if SINCE (1_26)
  filter.cleanup = cleanup;
#endif
#if SINCE (1_17_1)
  filter.preconnect = preconnect;
#endif
#if SINCE (1_21_22)
  filter.list_exports = list_exports;
#endif
#if SINCE (1_24)
  filter.default_export = default_export;
  filter.export_description = export_description;
#endif
#if SINCE (1_30)
  filter.block_size = block_size;
#endif
  filter.open = open_;
  filter.close = close_;
  filter.prepare = prepare;
  filter.finalize = finalize;
  filter.get_size = get_size;
  filter.can_write = can_write;
  filter.can_flush = can_flush;
  filter.is_rotational = is_rotational;
  filter.can_trim = can_trim;
#if SINCE (1_4)
  filter.can_zero = can_zero;
  filter.can_fua = can_fua;
#endif
#if SINCE (1_15_1)
  filter.can_fast_zero = can_fast_zero;
#endif
#if SINCE (1_12)
  filter.can_extents = can_extents;
  filter.extents = extents;
#endif
#if SINCE (1_10)
  filter.can_multi_conn = can_multi_conn;
#endif
  filter.pread = pread_;
  filter.pwrite = pwrite_;
  filter.flush = flush;
  filter.trim = trim;
  filter.zero = zero;
  return &filter;
}

#ifndef THREAD_MODEL
#define THREAD_MODEL NBDKIT_THREAD_MODEL_SERIALIZE_REQUESTS
#endif
NBDKIT_REGISTER_FILTER (filter)
