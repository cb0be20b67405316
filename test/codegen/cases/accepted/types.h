/* Other names of types, arrays, and pointers that are const. */
typedef uint32_t number_t;
typedef struct handle *handle_t;
struct holder {
  char name[5];
  number_t numbers[3];
  handle_t handle;
};
number_t run (handle_t handle, const char *const *words, char *const *more);
