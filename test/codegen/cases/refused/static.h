static int nbdkit_call (int one);
