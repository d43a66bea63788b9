/* What lies on disk is sealed: AES-256-GCM with the store keys in rotation.
 *
 * A sealed field is
 *
 *     'R'  version 1  key id (4)  nonce (12)  ciphertext  tag (16)
 *
 * The key id is the beginning of SHA-256 over a prefix of its own and the key, so it gives nothing
 * away. The nonce is random, from the kernel at each sealing (a fork repeats none). Associated data
 * are the first six bytes and what the caller names: the place the field belongs to. Moved to
 * another place, altered or cut, a field cannot be opened; not a byte of it is given out then.
 *
 * A vault owns its keys, 1 to RLK_KEY_COUNT_MAX, newest first, and libcrypto's context; all are
 * wiped on release. It seals with the newest and opens with all. Not thread-safe: one at a time.
 * Whatever libcrypto refuses but a tag is RLK_E_NO_MEMORY, the only reason it has here, and its
 * thread-wide error queue is left as it was. */
#ifndef RLK_VAULT_H
#define RLK_VAULT_H

#include "core/alloc.h"
#include "core/err.h"
#include "core/limits.h"
#include "core/span.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    RLK_VAULT_KEY_BYTES = 32,
    RLK_VAULT_KEY_ID_BYTES = 4,
    RLK_VAULT_NONCE_BYTES = 12,
    RLK_VAULT_TAG_BYTES = 16,
    RLK_VAULT_LABEL_BYTES = 2 + RLK_VAULT_KEY_ID_BYTES, /* 'R', version, key id */
    RLK_VAULT_OVERHEAD_BYTES = RLK_VAULT_LABEL_BYTES + RLK_VAULT_NONCE_BYTES + RLK_VAULT_TAG_BYTES,
    RLK_VAULT_PLAIN_BYTES_MAX = RLK_SECRET_BYTES_MAX,
    RLK_VAULT_PLACE_BYTES_MAX = 65536
};

typedef struct rlk_vault rlk_vault;

/* RLK_E_INVALID_OPTION unless there are 1 to RLK_KEY_COUNT_MAX keys of RLK_VAULT_KEY_BYTES that all
 * differ, RLK_E_NO_MEMORY; on failure *out is NULL. */
rlk_err rlk_vault_new(rlk_vault **out, const rlk_alloc *a, const rlk_span *keys, size_t count);

/* v may be NULL. */
void rlk_vault_free(rlk_vault *v);

/* How many keys; and a key's id, RLK_VAULT_KEY_ID_BYTES long, of key 0 (the newest) and so on. */
size_t rlk_vault_key_count(const rlk_vault *v);
rlk_span rlk_vault_key_id(const rlk_vault *v, size_t index);

/* Writes plain.len + RLK_VAULT_OVERHEAD_BYTES to out. RLK_E_INVALID_REQUEST when the text or the
 * place is longer than allowed, RLK_E_NO_MEMORY; out is wiped on failure. */
rlk_err rlk_vault_seal(rlk_vault *v, rlk_span plain, rlk_span place, char *out);

/* How long the text of a sealed field is; 0 also for what is too short to be one. */
size_t rlk_vault_plain_bytes(rlk_span sealed);

/* Writes rlk_vault_plain_bytes(sealed) to out, all or nothing: out is wiped on failure.
 * RLK_E_STORE_KEY: it was sealed by a key that is not here. RLK_E_STORE_CORRUPT: it is no sealed
 * field, was cut or altered, or belongs to another place. RLK_E_NO_MEMORY. */
rlk_err rlk_vault_open(rlk_vault *v, rlk_span sealed, rlk_span place, char *out);

/* The id of the key that sealed it; ptr is NULL for what is no sealed field of this version. */
rlk_span rlk_vault_sealer(rlk_span sealed);

/* Whether the newest key sealed it; false for what is no sealed field. */
bool rlk_vault_is_newest(const rlk_vault *v, rlk_span sealed);

/* Which libcrypto, as it says itself. */
const char *rlk_vault_library(void);

#endif
