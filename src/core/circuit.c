/* A circuit breaker for refreshes; the contract is in circuit.h. */
#include "core/circuit.h"
#include "core/limits.h"
#include "core/ms.h"

rlk_err rlk_circuit_init(rlk_circuit *c, int64_t threshold, int64_t open_ms, int64_t open_ms_max) {
    if (threshold < 1 || threshold > RLK_CIRCUIT_THRESHOLD_MAX) return RLK_E_INVALID_OPTION;
    if (open_ms < 1 || open_ms > open_ms_max) return RLK_E_INVALID_OPTION;
    if (open_ms_max > RLK_CIRCUIT_OPEN_MS_MAX) return RLK_E_INVALID_OPTION;
    *c = (rlk_circuit){
        .state = RLK_CIRCUIT_CLOSED,
        .threshold = threshold,
        .open_ms_min = open_ms,
        .open_ms_max = open_ms_max,
        .open_ms = open_ms,
    };
    return RLK_OK;
}

bool rlk_circuit_allow(rlk_circuit *c, int64_t now_ms) {
    if (c->state == RLK_CIRCUIT_CLOSED) return true;
    if (now_ms < c->until_ms) return false;
    c->state = RLK_CIRCUIT_HALF_OPEN;
    c->until_ms = rlk_ms_add(now_ms, c->open_ms);
    return true;
}

static void open_for(rlk_circuit *c, int64_t now_ms, int64_t open_ms) {
    c->state = RLK_CIRCUIT_OPEN;
    c->open_ms = open_ms;
    c->until_ms = rlk_ms_add(now_ms, open_ms);
}

bool rlk_circuit_refused(rlk_circuit *c, int64_t now_ms) {
    switch (c->state) {
    case RLK_CIRCUIT_CLOSED:
        if (++c->refusals >= c->threshold) open_for(c, now_ms, c->open_ms_min);
        break;
    case RLK_CIRCUIT_HALF_OPEN:
        open_for(c, now_ms, rlk_ms_min(c->open_ms * 2, c->open_ms_max));
        break;
    case RLK_CIRCUIT_OPEN:
        break; /* a late answer of a try from before; nothing new */
    }
    return c->state == RLK_CIRCUIT_OPEN;
}

void rlk_circuit_succeeded(rlk_circuit *c) {
    c->state = RLK_CIRCUIT_CLOSED;
    c->refusals = 0;
}
