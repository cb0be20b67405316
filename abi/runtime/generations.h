/* Where the parameters of exported functions changed. */
#ifndef NBDKIT_BUN_GENERATIONS_H
#define NBDKIT_BUN_GENERATIONS_H

/* One that has none of the functions which have other parameters in other generations. */
#define NBDKIT_FILTER_GENERATION NBDKIT_GENERATION_A
#include "nbdkit-filter.h"

#ifndef NBDKIT_GENERATION_M
#define NBDKIT_GENERATION_I 1500
#define NBDKIT_GENERATION_i1 1600
#define NBDKIT_GENERATION_J 1700
#define NBDKIT_GENERATION_K 1800
#endif

#endif /* NBDKIT_BUN_GENERATIONS_H */
