typedef struct { int x; } handle_t;
