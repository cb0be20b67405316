struct __attribute__ ((packed)) plugin {
  char *one;
};
