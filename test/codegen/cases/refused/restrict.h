struct plugin {
  int (*read) (char *restrict buf);
};
