/* nbdkit_nanosleep, which ends early when the connection or the server ends, and nbdkit_shutdown: nbdkit-plugin(3),
 * "SLEEPING" and "SHUTDOWN". */
#define _GNU_SOURCE
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "exported.h"
#include "internal.h"

#define NANOSECONDS 1000000000

/* The server stops. */
static _Atomic int32_t server_ends;

/* The futex of all sleepers. It counts the ends of connections and of the server. */
static _Atomic uint32_t ends;

static void
wake_sleepers (void)
{
  atomic_fetch_add (&ends, 1);
  syscall (SYS_futex, &ends, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

void
rt_connection_end (void *connection)
{
  atomic_store (&((struct rt_connection *) connection)->has_ended, 1);
  wake_sleepers ();
}

void
rt_server_ends (int32_t now)
{
  atomic_store (&server_ends, now);
  wake_sleepers ();
}

static bool
has_ended (const struct rt_connection *connection)
{
  return atomic_load (&server_ends) || (connection != NULL && atomic_load (&connection->has_ended));
}

RT_EXPORT int
nbdkit_nanosleep (unsigned seconds, unsigned nanoseconds)
{
  const struct rt_connection *connection = rt_this_connection ();
  int saved_errno = errno;
  struct timespec until;

  if (seconds >= INT_MAX - nanoseconds / NANOSECONDS) {
    nbdkit_error ("nbdkit_nanosleep: %u seconds: expected less than %d", seconds, INT_MAX);
    errno = EINVAL;
    return -1;
  }
  clock_gettime (CLOCK_MONOTONIC, &until);
  until.tv_sec += seconds + nanoseconds / NANOSECONDS;
  until.tv_nsec += nanoseconds % NANOSECONDS;
  if (until.tv_nsec >= NANOSECONDS) {
    until.tv_nsec -= NANOSECONDS;
    until.tv_sec++;
  }
  for (;;) {
    uint32_t seen = atomic_load (&ends);

    if (has_ended (connection)) {
      nbdkit_error ("nbdkit_nanosleep: interrupted: the %s", connection == NULL || atomic_load (&server_ends)
                                                               ? "server stops"
                                                               : "client is gone or the server stops");
      errno = ESHUTDOWN;
      return -1;
    }
    if (syscall (SYS_futex, &ends, FUTEX_WAIT_BITSET_PRIVATE, seen, &until, NULL, FUTEX_BITSET_MATCH_ANY) == -1 &&
        errno == ETIMEDOUT)
      break;
  }
  errno = saved_errno;
  return 0;
}

static void (*_Atomic on_shutdown) (void);

void
rt_on_shutdown (void (*asked) (void))
{
  atomic_store (&on_shutdown, asked);
}

/* Notify JavaScript rather than send a signal if possible: a signal of the user would then count as the second one,
 * which ends the process at once. */
RT_EXPORT void
nbdkit_shutdown (void)
{
  static _Atomic int32_t asked;
  void (*notify) (void) = atomic_load (&on_shutdown);

  if (atomic_load (&server_ends) || atomic_exchange (&asked, 1))
    return;
  if (notify != NULL)
    notify ();
  else
    kill (getpid (), SIGTERM);
}
