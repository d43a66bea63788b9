/* Holding SIGINT and SIGTERM back while something must not be cut short, and waiting for them.
 *
 * A signal that arrives meanwhile stays pending and is delivered by the release. Only the calling
 * thread's mask changes; hold and release must come from the same thread. Not counted: whoever
 * nests sections counts them. */
#ifndef RLK_SIGNALS_H
#define RLK_SIGNALS_H

#include <stdbool.h>
#include <stdint.h>

#include "core/err.h"

/* What the mask said before; owned by the caller, zeroed before the first use. */
typedef struct rlk_signals {
    bool held;
    bool int_was_blocked;
    bool term_was_blocked;
} rlk_signals;

/* Blocks both. Does nothing when they are held already. */
rlk_err rlk_signals_hold(rlk_signals *s);

/* Puts the former mask back, for these two signals. Does nothing when they are not held. */
rlk_err rlk_signals_release(rlk_signals *s);

/* Waits for SIGINT, SIGTERM or SIGHUP: "INT", "TERM" or "HUP"; NULL when none came in time. From
 * the first call on they have no other effect, so that one that comes between two calls is told by
 * the second; a first one with 0 ms begins that. For a program that waits for its end. */
const char *rlk_signals_await(int64_t ms);

#endif
