/* The driver's checks of the functions that modules call. */
#ifndef FUNCTIONS_H
#define FUNCTIONS_H

/* All functions, in callbacks and on threads of the module's own. */
void functions (void);

/* The functions whose parameters depend on the caller's layout, called by test/fixtures/next-extents.c. */
void check_release (const char *path);

#endif /* FUNCTIONS_H */
