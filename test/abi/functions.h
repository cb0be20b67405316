/* What the driver checks of the functions that modules call. */
#ifndef FUNCTIONS_H
#define FUNCTIONS_H

/* All of them, within callbacks and on threads of a module's own. */
void functions (void);

/* Those that take their parameters from the layout of the caller: as test/fixtures/next-extents.c uses them. */
void check_release (const char *path);

#endif /* FUNCTIONS_H */
