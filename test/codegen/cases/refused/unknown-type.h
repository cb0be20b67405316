struct plugin {
  int (*read) (void *handle, size_t   count);
};
