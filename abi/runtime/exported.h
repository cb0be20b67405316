/* What include/ declares of the functions that the runtime exports. */
#ifndef NBDKIT_BUN_EXPORTED_H
#define NBDKIT_BUN_EXPORTED_H

/* The newest layout that has none of the functions whose parameters changed under one name. */
#define NBDKIT_FILTER_RELEASE NBDKIT_FILTER_RELEASE_1_18
#include "nbdkit-filter.h"

#endif /* NBDKIT_BUN_EXPORTED_H */
