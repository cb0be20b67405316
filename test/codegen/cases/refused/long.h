struct file {
  int before;
  unsigned long size;
};
