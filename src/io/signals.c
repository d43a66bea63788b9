/* pthread_sigmask for two signals; see signals.h. */
#define _POSIX_C_SOURCE 200809L

#include "io/signals.h"

#include <signal.h>

rlk_err rlk_signals_hold(rlk_signals *s) {
    if (s->held) return RLK_OK;
    sigset_t both, former;
    sigemptyset(&both);
    sigaddset(&both, SIGINT);
    sigaddset(&both, SIGTERM);
    if (pthread_sigmask(SIG_BLOCK, &both, &former) != 0) return RLK_E_INVALID_REQUEST;
    s->held = true;
    s->int_was_blocked = sigismember(&former, SIGINT) == 1;
    s->term_was_blocked = sigismember(&former, SIGTERM) == 1;
    return RLK_OK;
}

rlk_err rlk_signals_release(rlk_signals *s) {
    if (!s->held) return RLK_OK;
    sigset_t freed;
    sigemptyset(&freed);
    if (!s->int_was_blocked) sigaddset(&freed, SIGINT);
    if (!s->term_was_blocked) sigaddset(&freed, SIGTERM);
    s->held = false; /* before the mask changes: a handler that never returns leaves it right */
    return pthread_sigmask(SIG_UNBLOCK, &freed, NULL) == 0 ? RLK_OK : RLK_E_INVALID_REQUEST;
}
