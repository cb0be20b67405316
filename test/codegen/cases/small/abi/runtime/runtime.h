#include <stdbool.h>
#include <stdint.h>
#define RT_UPCALL 3
struct rt_data {
  void *buf;
  uint64_t offset;
};
struct rt_open {
  const char *export_name;
  bool readonly;
};
union rt_arguments {
  struct rt_data data;
  struct rt_open open;
};
struct rt_downcall {
  uint32_t op;
  void *handle;
  union rt_arguments arguments;
};
struct rt_upcall {
  uint32_t op;
  union rt_arguments arguments;
};
struct rt_result {
  int64_t ret;
};
struct rt_answer {
  int64_t ret;
  int32_t err;
};
union rt_body {
  struct rt_downcall downcall;
  struct rt_upcall upcall;
  struct rt_result result;
  struct rt_answer answer;
};
struct rt_message {
  uint32_t kind;
  union rt_body body;
};
struct rt_direct {
  uint64_t size;
};
struct rt_slot {
  struct rt_message in;
};
int32_t rt_start (uint32_t slots, void (*wake) (void));
const char *rt_name (const char *path, uint64_t size);
int64_t rt_size (uint32_t *slots);
void rt_end (void);
