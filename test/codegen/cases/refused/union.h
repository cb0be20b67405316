struct before {
  int x;
};
union value {
  int x;
};
