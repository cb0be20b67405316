struct plugin {
  int (*config) (const char *, const char *value);
};
