struct plugin {
  int one;
  int two
};
