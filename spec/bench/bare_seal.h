/* One AES-256-GCM opening by libcrypto alone: what reading a token costs beside reading its row. */
#ifndef BENCH_BARE_SEAL_H
#define BENCH_BARE_SEAL_H

#include <stddef.h>

typedef struct bare_seal bare_seal;

/* Seals a text of so many bytes under a random key. */
bare_seal *bare_seal_new(size_t bytes);

/* Opens it. */
void bare_seal_open(bare_seal *s);

void bare_seal_free(bare_seal *s);

#endif
