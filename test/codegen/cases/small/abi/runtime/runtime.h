#include <stdint.h>
#define RT_UPCALL 3
struct rt_message {
  uint32_t kind;
  uint64_t buf;
};
struct rt_slot {
  struct rt_message in;
};
int32_t rt_start (uint32_t slots, void (*wake) (void));
const char *rt_name (const char *path, uint64_t size);
int64_t rt_size (uint32_t *slots);
void rt_end (void);
