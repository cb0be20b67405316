/* The scenarios with errors and misuse. */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>

#include "scenarios.h"
#include "stand-in.h"

static void
set_parameter (uint32_t slot, const char *key, const char *value)
{
  CHECK (ask (slot, 0, setting (key, value)).err == 0);
}

/* failing.so, alone or below layers that pass errors on, fails in each callback and in each way. */
void
errors (void)
{
  static const char *const ways[] = { "errno", "set_error", "both", "nothing" };
  static const struct { uint32_t op; const char *name; } ops[] = {
    { RT_OP_GET_SIZE, "get_size" }, { RT_OP_CAN_WRITE, "can_write" }, { RT_OP_CAN_FLUSH, "can_flush" },
    { RT_OP_IS_ROTATIONAL, "is_rotational" }, { RT_OP_CAN_TRIM, "can_trim" }, { RT_OP_PREAD, "pread" },
    { RT_OP_PWRITE, "pwrite" }, { RT_OP_FLUSH, "flush" }, { RT_OP_TRIM, "trim" }, { RT_OP_ZERO, "zero" },
  };
  unsigned char buf[512] = { 0 };
  uint32_t slot = (uint32_t) rt_thread_new ();

  configure (slot);
  CHECK (open_connection (slot, 1, 0) == 0);
  set_parameter (slot, "fail-with", "ENOSPC");
  for (size_t i = 0; i < sizeof ops / sizeof ops[0]; i++) {
    arguments a = data (ops[i].op, buf, sizeof buf, 0);

    set_parameter (slot, "fail-in", ops[i].name);
    for (size_t way = 0; way < sizeof ways / sizeof ways[0]; way++) {
      set_parameter (slot, "fail-how", ways[way]);
      CHECK (ask (slot, 1, a).err == (way == 3 ? EIO : ENOSPC));
      CHECK (ask (slot, 1, a).ret == -1);
    }
    set_parameter (slot, "fail-in", "");
    CHECK (ask (slot, 1, a).err == 0);
  }
  set_parameter (slot, "fail-how", "errno");
  set_parameter (slot, "fail-in", "finalize");
  CHECK (close_connection (slot, 1) == ENOSPC);
  set_parameter (slot, "fail-in", "open");
  CHECK (open_connection (slot, 1, 0) == ENOSPC);
  CHECK (close_connection (slot, 1) == 0);
  set_parameter (slot, "fail-in", "prepare");
  CHECK (open_connection (slot, 1, 0) == ENOSPC);
  CHECK (close_connection (slot, 1) == 0);
  unload (slot);
}

/* second-try.so retries after errors of the layer below, or replaces them. */
void
recovery (void)
{
  unsigned char buf[600], got[600];
  uint32_t slot = (uint32_t) rt_thread_new ();
  struct outcome write;

  configure (slot);
  CHECK (open_connection (slot, 1, 0) == 0);
  fill (buf, sizeof buf, 1);
  CHECK (ask (slot, 1, data (RT_OP_PWRITE, buf, sizeof buf, 10)).err == 0);

  disk_error = EIO;
  disk_failures = 1;
  CHECK (ask (slot, 1, data (RT_OP_PREAD, got, sizeof got, 10)).err == 0);
  CHECK (memcmp (got, buf, sizeof buf) == 0);
  disk_failures = 2;
  CHECK (ask (slot, 1, data (RT_OP_PREAD, got, sizeof got, 10)).err == EIO);
  disk_error = EOPNOTSUPP;
  disk_failures = 1;
  CHECK (ask (slot, 1, data (RT_OP_ZERO, NULL, sizeof buf, 10)).err == 0);
  CHECK (ask (slot, 1, data (RT_OP_PREAD, got, sizeof got, 10)).err == 0);
  CHECK (got[0] == 0 && memcmp (got, got + 1, sizeof got - 1) == 0);
  disk_error = EIO;
  disk_failures = 1;
  write = ask (slot, 1, data (RT_OP_PWRITE, buf, sizeof buf, 10));
  CHECK (write.ret == -1 && write.errno_after == ENOSPC);
  CHECK (close_connection (slot, 1) == 0);
  unload (slot);
}

/* Calls through a freed nxdata and through NULL, and unknown ops. */
void
misuse (void)
{
  unsigned char buf[512];
  uint32_t slot = (uint32_t) rt_thread_new ();
  struct rt_downcall downcall = { .op = RT_OP_PREAD };
  void *nxdata;

  configure (slot);
  CHECK (open_connection (slot, 1, 0) == 0);
  downcall.arguments.data = (struct rt_data) { .buf = buf, .count = sizeof buf };
  downcall.module = module_of (0);
  downcall.handle = handle_of (1, 0);
  downcall.nxdata = nxdata_of (1, 0);
  CHECK (send_raw (slot, downcall).err == 0);
  nxdata = rt_nxdata_new (1, -1);
  rt_nxdata_free (nxdata);
  downcall.nxdata = nxdata;
  CHECK (send_raw (slot, downcall).err == EINVAL);
  downcall.nxdata = NULL;
  CHECK (send_raw (slot, downcall).err == EINVAL);
  downcall.op = 999;
  CHECK (send_raw (slot, downcall).err == EINVAL);

  /* A freed nxdata is not reused soon, and freed ones do not use up the space. */
  for (int i = 0; i < 3000; i++) {
    void *other = rt_nxdata_new (7, -1);
    CHECK (other != NULL && other != nxdata);
    rt_nxdata_free (other);
  }
  for (int i = 0; i < 3000; i++)
    rt_nxdata_free (rt_nxdata_new (7, -1));

  CHECK (rt_module_add (99, &downcall) == -EINVAL);
  while (rt_module_add (RT_ADAPTER_PLUGIN, &downcall) >= 0)
    ;
  CHECK (rt_module_add (RT_ADAPTER_PLUGIN, &downcall) == -ENOSPC);
  CHECK (rt_dlopen ("/nowhere.so", -1) == NULL && strstr (rt_dlerror (), "nowhere") != NULL);
  CHECK (close_connection (slot, 1) == 0);
  unload (slot);
}

/* foreign.so, an unmarked filter for nbdkit 1.2, opens the layer below once and gets the right `readonly`. */
void
unmarked (void)
{
  unsigned char buf[512];
  uint32_t slot = (uint32_t) rt_thread_new ();

  fill (disk, DISK_SIZE, 3);
  configure (slot);
  for (int round = 0; round < 2; round++)
    for (int readonly = 0; readonly <= 1; readonly++) {
      int opened = disk_calls[RT_OP_OPEN];

      CHECK (open_connection (slot, 1, readonly) == 0);
      CHECK (disk_calls[RT_OP_OPEN] == opened + 1);
      CHECK (*(int *) handle_of (1, 0) == readonly);
      CHECK (ask (slot, 1, (arguments) { .op = RT_OP_GET_SIZE }).ret == DISK_SIZE - 512);
      CHECK (ask (slot, 1, data (RT_OP_PREAD, buf, 512, 0)).err == 0);
      CHECK (memcmp (buf, disk + 512, 512) == 0);
      CHECK (ask (slot, 1, data (RT_OP_PWRITE, buf, 512, 0)).err == (readonly ? EROFS : 0));
      CHECK (close_connection (slot, 1) == 0);
    }
  unload (slot);
}

/* Only configures and unloads the modules. */
void
parameters_only (void)
{
  uint32_t slot = (uint32_t) rt_thread_new ();

  configure (slot);
  unload (slot);
}
