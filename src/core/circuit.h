/* A circuit breaker for refreshes: many refusals in a row point at our own credentials, and must
 * not mark every account as lost.
 *
 *            threshold refusals                 open_ms over, asked
 *   CLOSED ---------------------> OPEN ---------------------------> HALF_OPEN
 *     ^  any success                ^   refused: twice as long          |
 *     |_____________________________|___________________________________|  success
 *
 * Pure: monotonic milliseconds come in. Half open lets one caller through; when nothing is heard of
 * that one for as long as the circuit had been open, another may try, so it never stays shut. */
#ifndef RLK_CIRCUIT_H
#define RLK_CIRCUIT_H

#include "core/err.h"

#include <stdbool.h>
#include <stdint.h>

typedef enum rlk_circuit_state {
    RLK_CIRCUIT_CLOSED,
    RLK_CIRCUIT_OPEN,
    RLK_CIRCUIT_HALF_OPEN
} rlk_circuit_state;

typedef struct rlk_circuit {
    rlk_circuit_state state;
    int64_t threshold;
    int64_t open_ms_min;
    int64_t open_ms_max;
    int64_t open_ms;  /* how long it opens the next time, or is open now */
    int64_t refusals; /* in a row; at most threshold */
    int64_t until_ms; /* when the next caller may try; meaningless while closed */
} rlk_circuit;

/* RLK_E_INVALID_OPTION outside of 1..RLK_CIRCUIT_THRESHOLD_MAX,
 * 1 <= open_ms <= open_ms_max <= RLK_CIRCUIT_OPEN_MS_MAX. */
rlk_err rlk_circuit_init(rlk_circuit *c, int64_t threshold, int64_t open_ms, int64_t open_ms_max);

/* Whether a caller may try now. */
bool rlk_circuit_allow(rlk_circuit *c, int64_t now_ms);

/* A try was refused. True when the circuit is open after it. */
bool rlk_circuit_refused(rlk_circuit *c, int64_t now_ms);

/* A try succeeded, even a late one from before it opened: the credentials are right. */
void rlk_circuit_succeeded(rlk_circuit *c);

#endif
