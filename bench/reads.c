/* A client for benchmarks: random reads of SIZE bytes, DEPTH at a time, for SECONDS.
 *
 * usage: reads URI SIZE DEPTH SECONDS
 *
 * Prints the number of reads in a second, and the median latency in microseconds.
 * Compile with: cc -O2 -o reads reads.c -lnbd
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <libnbd.h>

#define MAX_DEPTH 256
#define MAX_TIMES (1 << 22)

static struct request {
  char *data;
  double began;
} requests[MAX_DEPTH];
static double *times;
static size_t answered;

static double
now (void)
{
  struct timespec t;

  clock_gettime (CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1e6 + t.tv_nsec / 1e3;
}

static void
die (const char *what)
{
  fprintf (stderr, "%s: %s\n", what, nbd_get_error ());
  exit (EXIT_FAILURE);
}

/* libnbd calls this when the answer has arrived. 1: libnbd retires the command. */
static int
done (void *user, int *error)
{
  struct request *request = user;

  if (*error != 0) {
    fprintf (stderr, "a read failed with error %d\n", *error);
    exit (EXIT_FAILURE);
  }
  if (answered < MAX_TIMES)
    times[answered] = now () - request->began;
  answered++;
  request->began = 0;
  return 1;
}

static int
compare (const void *a, const void *b)
{
  double x = *(const double *) a, y = *(const double *) b;

  return (x > y) - (x < y);
}

int
main (int argc, char *argv[])
{
  if (argc != 5) {
    fprintf (stderr, "usage: %s URI SIZE DEPTH SECONDS\n", argv[0]);
    return EXIT_FAILURE;
  }
  size_t size = strtoul (argv[2], NULL, 10), depth = strtoul (argv[3], NULL, 10);
  struct nbd_handle *nbd = nbd_create ();

  times = malloc (MAX_TIMES * sizeof times[0]);
  if (nbd == NULL || times == NULL || depth < 1 || depth > MAX_DEPTH)
    die ("cannot begin");
  if (nbd_set_uri_allow_local_file (nbd, true) == -1 || nbd_connect_uri (nbd, argv[1]) == -1)
    die (argv[1]);
  int64_t disk = nbd_get_size (nbd);
  if (size < 1 || disk < (int64_t) size)
    die ("the disk is too small");
  for (size_t i = 0; i < depth; i++)
    if ((requests[i].data = malloc (size)) == NULL)
      die ("malloc");

  double start = now (), end = start + atof (argv[4]) * 1e6;
  while (now () < end) {
    for (size_t i = 0; i < depth; i++) {
      if (requests[i].began != 0)
        continue;
      requests[i].began = now ();
      uint64_t offset = (uint64_t) random () % (disk / size) * size;
      nbd_completion_callback callback = { .callback = done, .user_data = &requests[i] };
      if (nbd_aio_pread (nbd, requests[i].data, size, offset, callback, 0) == -1)
        die ("pread");
    }
    if (nbd_poll (nbd, -1) == -1)
      die ("poll");
  }
  double seconds = (now () - start) / 1e6;
  size_t known = answered < MAX_TIMES ? answered : MAX_TIMES;
  qsort (times, known, sizeof times[0], compare);
  printf ("%.0f %.1f\n", answered / seconds, known > 0 ? times[known / 2] : 0.);
  return EXIT_SUCCESS;
}
