/* Plays JavaScript's part against the native runtime: a chain of C modules over a disk in memory. One thread, the
 * main one, does all that is declared here, as JavaScript would. */
#ifndef STAND_IN_H
#define STAND_IN_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "layers.h"
#include "ops.gen.h"
#include "runtime.h"

#define DISK_SIZE (1 << 20)
#define MAX_CONNECTIONS 8

/* Fails the whole run: what is checked holds in a right runtime. */
#define CHECK(condition)                                                                                    \
  do {                                                                                                      \
    if (!(condition)) {                                                                                     \
      fprintf (stderr, "driver: %s:%d: not so: %s\n", __FILE__, __LINE__, #condition);                      \
      exit (2);                                                                                             \
    }                                                                                                       \
  } while (0)

/* What the modules are stacked on (disk.c). */
extern unsigned char *disk;
extern int disk_fd;
/* The next this many requests that reach the disk fail with disk_error. */
extern int disk_failures, disk_error;
/* How many requests of an op reached the disk. */
extern int disk_calls[64];

void disk_start (void);

/* A request, and its arguments. */
typedef struct {
  uint32_t op;
  union rt_arguments with;
} arguments;

/* Do what is asked where no layer has a callback for it. Whether it reached the disk. */
bool below_does (const arguments *a, struct rt_answer *answer);

/* How the chain below answers: at once, or in another order than it was asked. */
extern bool answer_later;

/* Whether C may answer questions by itself that were asked before, and take requests to the next layer or to the disk
 * by itself. */
extern bool shortcuts;

/* Start the runtime with so many slots at most. */
void stand_in_start (uint32_t max_slots);

/* Put a module at the end of the chain. A filter whose form is not known is called in the way that suits both. */
void stand_in_load (const char *path);

/* How a request came back: err is 0, or what the client would see. */
struct outcome {
  int64_t ret;
  int err;
  int errno_after; /* of the C layer, if it was one */
  uint32_t minimum, preferred, maximum; /* of block_size */
};

/* Ask the chain from its first layer on, on thread `slot`, and wait for the answer. Other threads are served
 * meanwhile. Connection 0 is that of the life cycle. */
struct outcome ask (uint32_t slot, int connection, arguments a);

/* Only begin it; finished() tells when it is over, and outcome_of() how. */
void begin (uint32_t slot, int connection, arguments a);
bool finished (uint32_t slot);

/* The same as a call of a queue, on whatever thread takes it. */
#define MAX_QUEUED 256
void enqueue (void *queue, uint32_t call, int connection, arguments a);
struct outcome outcome_of_call (uint32_t call);
struct outcome outcome_of (uint32_t slot);

/* Serve until something happened on some thread. */
void serve (void);

/* Call one layer's own callback, where it has it: load, prepare, finalize, close, unload. */
struct outcome ask_layer (uint32_t slot, int connection, int layer, uint32_t op);

/* Whether the layer has that callback. */
bool layer_has (int layer, uint32_t op);

/* Connections 1 and up. Both give 0 or the first error; what is open is closed in any case. */
int open_connection (uint32_t slot, int connection, int readonly);
int close_connection (uint32_t slot, int connection);

/* What the layer gets to call the one below by. Made by open_connection, for connection 0 by the start. */
void *nxdata_of (int connection, int layer);

/* Send a downcall as it is, and wait for the answer. */
struct outcome send_raw (uint32_t slot, struct rt_downcall downcall);
uint32_t module_of (int layer);
void *handle_of (int connection, int layer);

#endif /* STAND_IN_H */
