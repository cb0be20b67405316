struct file {
  int x[];
};
