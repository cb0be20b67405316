enum flags { ONE = 1 };
