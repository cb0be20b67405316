typedef struct handle *handle_t;
