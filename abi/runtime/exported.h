/* The declarations in include/ of the functions that the runtime exports. */
#ifndef NBDKIT_BUN_EXPORTED_H
#define NBDKIT_BUN_EXPORTED_H

/* The newest layout without the functions whose parameters changed while their names stayed. */
#define NBDKIT_FILTER_RELEASE NBDKIT_FILTER_RELEASE_1_18
#include "nbdkit-filter.h"

#endif /* NBDKIT_BUN_EXPORTED_H */
