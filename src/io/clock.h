/* The machine's clocks, read only here.
 *
 * The core takes times as arguments; whoever calls it reads them here, or from a test's clock.
 * All functions may be called from any thread and keep no state. */
#ifndef RLK_CLOCK_H
#define RLK_CLOCK_H

#include <stdint.h>

#include "core/err.h"

enum { RLK_BOOT_ID_BYTES = 36 };

/* Milliseconds since 1970. Steps with the machine's clock: never for intervals. */
int64_t rlk_clock_wall_ms(void);

/* Milliseconds since some moment in the past; never goes back. For intervals and time-outs. */
int64_t rlk_clock_monotonic_ms(void);

/* Milliseconds since the machine started, time asleep included; the same for every process, so that
 * they can share it. It starts anew with every boot: keep it beside the boot's id. */
int64_t rlk_clock_boottime_ms(void);

/* The id of the machine's present boot as NUL-terminated text. RLK_E_NOT_FOUND where the system has
 * none to tell; out is then empty. */
rlk_err rlk_clock_boot_id(char out[RLK_BOOT_ID_BYTES + 1]);

/* Sleeps for ms (0 and less: not at all). A signal ends it early, with RLK_OK, so that the
 * caller's handler can act at once. */
rlk_err rlk_clock_sleep_ms(int64_t ms);

#endif
