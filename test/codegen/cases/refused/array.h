struct file {
  int x[3];
};
