/* What include/ declares of the functions that the runtime exports. */
#ifndef NBDKIT_BUN_EXPORTED_H
#define NBDKIT_BUN_EXPORTED_H

/* The newest generation that has none of the functions whose parameters changed under one name. */
#define NBDKIT_FILTER_GENERATION NBDKIT_GENERATION_G
#include "nbdkit-filter.h"

#endif /* NBDKIT_BUN_EXPORTED_H */
