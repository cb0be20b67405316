/* What the driver checks of the functions that modules call. */
#ifndef FUNCTIONS_H
#define FUNCTIONS_H

/* All of them, within callbacks and on threads of a module's own. */
void functions (void);

/* Those that take their parameters from the caller's generation: as test/fixtures/next-extents.c uses them. */
void check_generation (const char *path);

#endif /* FUNCTIONS_H */
