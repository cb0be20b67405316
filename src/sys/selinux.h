/* What the server uses of libselinux, as its manual pages declare it: see libc.h. */
#ifndef NBDKIT_BUN_SELINUX_H
#define NBDKIT_BUN_SELINUX_H

int setsockcreatecon (const char *context);

#endif /* NBDKIT_BUN_SELINUX_H */
