/* The machine's clocks, read only here.
 *
 * The core takes times as arguments; whoever calls it reads them here, or from a test's clock.
 * All functions may be called from any thread and keep no state. */
#ifndef RLK_CLOCK_H
#define RLK_CLOCK_H

#include <stdint.h>

#include "core/err.h"

/* Milliseconds since 1970. Steps with the machine's clock: never for intervals. */
int64_t rlk_clock_wall_ms(void);

/* Milliseconds since some moment in the past; never goes back. For intervals and time-outs. */
int64_t rlk_clock_monotonic_ms(void);

/* Sleeps for ms (0 and less: not at all). A signal ends it early, with RLK_OK, so that the
 * caller's handler can act at once. */
rlk_err rlk_clock_sleep_ms(int64_t ms);

#endif
