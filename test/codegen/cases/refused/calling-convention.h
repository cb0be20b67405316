struct plugin {
  int one;
};
extern int nbdkit_call (int one) __attribute__ ((__ms_abi__));
