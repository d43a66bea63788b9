/* Text that must not outlive its use; the contract is in secret.h. */
#include "core/secret.h"
#include "core/digest.h"
#include "core/limits.h"

#include <string.h>

/* One byte more than the text, so that an empty secret has a block too and differs from closed. */
static size_t block_bytes(size_t len) {
    return len + 1;
}

rlk_err rlk_secret_init(rlk_secret *s, const rlk_alloc *a, rlk_span text) {
    *s = (rlk_secret){.alloc = *a};
    if (text.len > RLK_SECRET_BYTES_MAX) return RLK_E_INVALID_REQUEST;
    s->data = rlk_alloc_zeroed(a, block_bytes(text.len));
    if (s->data == NULL) return RLK_E_NO_MEMORY;
    if (text.len > 0) memcpy(s->data, text.ptr, text.len);
    s->len = text.len;
    return RLK_OK;
}

void rlk_secret_deinit(rlk_secret *s) {
    if (s->data == NULL) return;
    rlk_wipe(s->data, s->len);
    rlk_alloc_free(&s->alloc, s->data, block_bytes(s->len));
    s->data = NULL;
    s->len = 0;
}

bool rlk_secret_is_open(const rlk_secret *s) {
    return s->data != NULL;
}

rlk_span rlk_secret_text(const rlk_secret *s) {
    return (rlk_span){s->data, s->len};
}

bool rlk_secret_equals(const rlk_secret *s, rlk_span text) {
    return rlk_secret_is_open(s) && s->len == text.len && rlk_same(s->data, text.ptr, text.len);
}
