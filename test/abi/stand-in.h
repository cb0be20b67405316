/* Takes the place of JavaScript: runs a chain of C modules above a disk in memory through the native runtime. Only
 * the main thread calls these functions, as only one thread runs JavaScript. */
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

/* Ends the program if the condition does not hold. */
#define CHECK(condition)                                                                                    \
  do {                                                                                                      \
    if (!(condition)) {                                                                                     \
      fprintf (stderr, "driver: %s:%d: failed: %s\n", __FILE__, __LINE__, #condition);                      \
      exit (2);                                                                                             \
    }                                                                                                       \
  } while (0)

/* The disk below the modules (disk.c). */
extern unsigned char *disk;
extern int disk_fd;
/* The next disk_failures requests that reach the disk fail with disk_error. */
extern int disk_failures, disk_error;
/* How many requests of an op reached the disk. */
extern int disk_calls[64];

void disk_start (void);

/* An op and its arguments. */
typedef struct {
  uint32_t op;
  union rt_arguments with;
} arguments;

/* Answer a call for which no layer has a callback. Returns whether it reached the disk. */
bool below_does (const arguments *a, struct rt_answer *answer);

/* Whether the disk answers at once, or later and in random order. */
extern bool answer_later;

/* Whether C may remember answers to questions, and take requests directly to the next layer or the disk. */
extern bool shortcuts;

void stand_in_start (uint32_t max_slots);

/* Load a module as the innermost layer. */
void stand_in_load (const char *path);

/* The result of a request. */
struct outcome {
  int64_t ret;
  int err;         /* 0, or the errno for the client */
  int errno_after; /* of the C layer, if one answered */
  uint32_t minimum, preferred, maximum; /* of block_size */
};

/* Call the first layer that has the callback, on thread `slot`, and wait for the answer. Other threads are served
 * meanwhile. Connection 0 is for the life cycle. */
struct outcome ask (uint32_t slot, int connection, arguments a);

/* The same in parts: begin it, look whether it has finished, and wait for the answer. */
void begin (uint32_t slot, int connection, arguments a);
bool finished (uint32_t slot);
struct outcome outcome_of (uint32_t slot);

/* The same as a call in a queue, on any thread. */
#define MAX_QUEUED 256
void enqueue (void *queue, uint32_t call, int connection, arguments a);
struct outcome outcome_of_call (uint32_t call);

/* Serve the messages of all threads; wait for one if there are none. */
void serve (void);

/* Call a callback of one layer if it has it: load, prepare, finalize, close, unload. */
struct outcome ask_layer (uint32_t slot, int connection, int layer, uint32_t op);

bool layer_has (int layer, uint32_t op);

/* For connections from 1 on. Both return 0 or the first error. Closing continues after errors. */
int open_connection (uint32_t slot, int connection, int readonly);
int close_connection (uint32_t slot, int connection);

/* The nxdata of the layer. open_connection makes it, or stand_in_load for connection 0. */
void *nxdata_of (int connection, int layer);

/* Send a downcall unchanged, and wait for the answer. */
struct outcome send_raw (uint32_t slot, struct rt_downcall downcall);
uint32_t module_of (int layer);
void *handle_of (int connection, int layer);

#endif /* STAND_IN_H */
