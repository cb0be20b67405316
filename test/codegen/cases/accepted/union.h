struct before {
  int x;
};
union value {
  int x;
  struct before before;
};
struct after {
  int kind;
  union value value;
};
