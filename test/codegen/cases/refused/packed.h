#pragma pack(1)
struct plugin {
  char *one;
};
