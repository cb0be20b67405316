/* A program that runs C modules in the native runtime without JavaScript, so that sanitizers see everything:
 *
 *     driver SCENARIO [KEY=VALUE...] MODULE.so...
 *
 * The first module is the outermost. They are stacked above a disk in memory, or the last one is a plugin. Modules of
 * the scenario "functions" check themselves. The exit status is 0 if all checks hold.
 */
#define _GNU_SOURCE
#include <limits.h>
#include <pthread.h>
#include <string.h>

#include "functions.h"
#include "scenarios.h"
#include "stand-in.h"

/* ---- faults that the sanitizers must find */

static int shared_by_accident;

static void *
count_up (void *unused)
{
  shared_by_accident++;
  return unused;
}

static void
race (void)
{
  pthread_t thread;

  CHECK (pthread_create (&thread, NULL, count_up, NULL) == 0);
  shared_by_accident++;
  CHECK (pthread_join (thread, NULL) == 0);
}

static void
leak (void)
{
  void *volatile lost = malloc (1234);

  CHECK (lost != NULL);
  lost = NULL;
}

static void
overrun (void)
{
  volatile char *volatile small = calloc (4, 1);

  CHECK (small != NULL);
  small[3] = small[4];
  free ((void *) small);
}

static void
overflow (void)
{
  volatile int largest = INT_MAX;

  largest = largest + 1;
}

static const struct { const char *name; void (*run) (void); uint32_t slots; } scenarios[] = {
  { "life", life, RT_MAX_SLOTS },     { "parallel", parallel, RT_MAX_SLOTS }, { "meeting", meeting, THREADS },
  { "limits", limits, FEW },          { "errors", errors, 2 },                { "recovery", recovery, 1 },
  { "misuse", misuse, 1 },            { "unmarked", unmarked, 1 },            { "parameters", parameters_only, 1 },
  { "race", race, 1 },                { "leak", leak, 1 },                    { "overrun", overrun, 1 },
  { "overflow", overflow, 1 },        { "queues", queues, RT_MAX_SLOTS },
  { "together", together, RT_MAX_SLOTS }, { "starving", starving, 2 },          { "refused", refused, 1 },
  { "shortage", shortage, 3 },
  { "functions", functions, 1 },        { "stock", stock, RT_MAX_SLOTS },           { "stock-reads", stock_reads, RT_MAX_SLOTS },
};

int
main (int argc, char *argv[])
{
  for (size_t i = 0; argc > 1 && i < sizeof scenarios / sizeof scenarios[0]; i++) {
    if (strcmp (argv[1], scenarios[i].name) != 0)
      continue;
    rt_set_verbose (1);
    stand_in_start (scenarios[i].slots);
    for (int arg = 2; arg < argc; arg++) {
      if (strchr (argv[arg], '=') != NULL)
        parameters[nr_parameters++] = argv[arg];
      else if (scenarios[i].run == functions)
        check_release (argv[arg]);
      else
        stand_in_load (argv[arg]);
    }
    scenarios[i].run ();
    return 0;
  }
  fprintf (stderr, "usage: driver SCENARIO [KEY=VALUE...] MODULE.so...\n");
  return 1;
}
