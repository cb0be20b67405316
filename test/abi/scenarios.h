/* The driver's scenarios and their common parts. */
#ifndef SCENARIOS_H
#define SCENARIOS_H

#include "stand-in.h"

/* The arguments of the driver, as "KEY=VALUE". */
extern char *parameters[32];
extern int nr_parameters;

/* Call load to get_ready of all layers; and their end. */
void configure (uint32_t slot);
void unload (uint32_t slot);

/* Make a request, and fill a buffer with bytes for one. */
arguments setting (const char *key, const char *value);
arguments data (uint32_t op, void *buf, uint32_t count, uint64_t offset);
void fill (unsigned char *buf, uint32_t count, uint32_t seed);

/* life.c */
void life (void);

/* threads.c */
#define THREADS 8
#define FEW 40 /* slots, in `limits` */
void parallel (void);
void meeting (void);
void queues (void);
void together (void);
void starving (void);
void shortage (void);
void refused (void);
void limits (void);

/* wrong.c */
void errors (void);
void recovery (void);
void misuse (void);
void unmarked (void);
void parameters_only (void);

/* stock.c: genuine modules, above a disk that keeps written data, and above one that does not */
void stock (void);
void stock_reads (void);

#endif /* SCENARIOS_H */
