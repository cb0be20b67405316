#define HANDLE void *handle, void *other, void *more
struct plugin {
  int (*read) (HANDLE, double count);
};
