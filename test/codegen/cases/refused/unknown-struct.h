struct plugin {
  struct unknown inner;
};
