/* A struct inside a struct, and visibility that changes no layout. */
#include <stdint.h>

#pragma GCC visibility push(default)
struct message {
  uint32_t kind;
  uint64_t offset;
  uint32_t count;
};
struct slot {
  uint32_t first;
  struct message in;
  struct message out;
};
void *slots (void);
void reap (uint32_t *slots, char **texts);
#pragma GCC visibility pop
