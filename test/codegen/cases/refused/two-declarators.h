struct plugin {
  int one, two;
};
