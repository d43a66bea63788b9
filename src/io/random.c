/* getrandom, whole or not at all; see random.h. */
#define _POSIX_C_SOURCE 200809L

#include "io/random.h"

#include <errno.h>
#include <sys/random.h>

#include "core/alloc.h"

rlk_err rlk_random_bytes(void *out, size_t bytes) {
    unsigned char *at = out;
    size_t left = bytes;
    while (left > 0) {
        ssize_t got = getrandom(at, left, 0);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) {
            rlk_wipe(out, bytes);
            return RLK_E_NO_MEMORY;
        }
        at += got;
        left -= (size_t)got;
    }
    return RLK_OK;
}
