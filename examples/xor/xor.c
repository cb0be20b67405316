/* nbdkit-xor-filter: change every byte by exclusive or with a key. The manual is README.md, beside this file.
 *
 * A worked example of a filter written for the first version of nbdkit's filter API.
 *
 * SPDX-License-Identifier: BSD-3-Clause
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* The first version: callbacks have no flags, and the server opens the layer below. */
#define NBDKIT_FILTER_API_VERSION 1
#include <nbdkit-filter.h>

/* Written data is changed in a copy, piece by piece: a request may be as large as 64 MiB. */
#define PIECE (64 * 1024)

#define LARGEST_KEY 255

/* Set while the command line is read, before other threads start. Afterwards it does not change. */
static int key = -1;

/* Parses "0" to "255". strtoul alone would also accept "", " 1", "-1", "1x" and larger numbers. */
static int
parse_key (const char *text)
{
  int value = 0;

  if (*text == '\0')
    return -1;
  for (; *text != '\0'; text++) {
    if (*text < '0' || *text > '9')
      return -1;
    value = value * 10 + (*text - '0');
    if (value > LARGEST_KEY)
      return -1;
  }
  return value;
}

static int
xor_config (nbdkit_next_config *next, void *nxdata, const char *name, const char *value)
{
  /* All other parameters go to the layer below. */
  if (strcmp (name, "xor-key") != 0)
    return next (nxdata, name, value);

  key = parse_key (value);
  if (key == -1) {
    nbdkit_error ("xor-key=%s: expected a number from 0 to %d", value, LARGEST_KEY);
    return -1;
  }
  return 0;
}

static int
xor_config_complete (nbdkit_next_config_complete *next, void *nxdata)
{
  if (key == -1) {
    nbdkit_error ("xor-key is missing: expected xor-key=N, with N from 0 to %d", LARGEST_KEY);
    return -1;
  }
  return next (nxdata);
}

static int
xor_pread (struct nbdkit_next_ops *next_ops, void *nxdata, void *handle, void *buf, uint32_t count,
           uint64_t offset)
{
  unsigned char *bytes = buf;
  uint32_t i;

  (void) handle;
  /* The layer below has printed the error, and has set errno for the client. */
  if (next_ops->pread (nxdata, buf, count, offset) == -1)
    return -1;
  for (i = 0; i < count; i++)
    bytes[i] ^= (unsigned char) key;
  return 0;
}

/* Write `count` bytes: those at `data`, or zeroes if it is NULL. */
static int
write_changed (struct nbdkit_next_ops *next_ops, void *nxdata, const unsigned char *data, uint32_t count,
               uint64_t offset)
{
  const uint32_t size = count < PIECE ? count : PIECE;
  unsigned char *piece;
  int result = 0, err;

  if (count == 0)
    return 0;
  piece = malloc (size);
  if (piece == NULL) {
    err = errno;
    nbdkit_error ("no memory for a buffer of %lu bytes: %s", (unsigned long) size, strerror (err));
    errno = err;
    return -1;
  }
  memset (piece, key, size); /* zeroes XOR the key */
  while (count > 0 && result == 0) {
    const uint32_t n = count < size ? count : size;

    if (data != NULL) {
      uint32_t i;

      /* The caller's buffer must not change. */
      for (i = 0; i < n; i++)
        piece[i] = data[i] ^ (unsigned char) key;
      data += n;
    }
    result = next_ops->pwrite (nxdata, piece, n, offset);
    offset += n;
    count -= n;
  }
  err = errno;
  free (piece);
  if (result == -1)
    errno = err;
  return result;
}

static int
xor_pwrite (struct nbdkit_next_ops *next_ops, void *nxdata, void *handle, const void *buf, uint32_t count,
            uint64_t offset)
{
  (void) handle;
  return write_changed (next_ops, nxdata, buf, count, offset);
}

/* If the layer below stored zeroes, clients would read the key. So this writes the bytes that they read as zeroes. */
static int
xor_zero (struct nbdkit_next_ops *next_ops, void *nxdata, void *handle, uint32_t count, uint64_t offset,
          int may_trim)
{
  (void) handle;
  (void) may_trim; /* a hole would not read as zeroes either */
  return write_changed (next_ops, nxdata, NULL, count, offset);
}

static struct nbdkit_filter filter = {
  .name = "xor",
  .longname = "nbdkit xor filter",
  .version = "1.0",
  .description = "XOR every byte of the disk with a key.",
  .config = xor_config,
  .config_complete = xor_config_complete,
  .config_help = "xor-key=<N>              (required) The key, a number from 0 to 255.",
  .pread = xor_pread,
  .pwrite = xor_pwrite,
  .zero = xor_zero,
};

NBDKIT_REGISTER_FILTER (filter)
