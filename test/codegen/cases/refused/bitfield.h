struct file {
  int x;
  int one : 1;
};
