/* pthread_sigmask and sigtimedwait for a few signals; see signals.h. */
#define _POSIX_C_SOURCE 200809L

#include "io/signals.h"

#include <signal.h>
#include <time.h>

enum { MS_PER_S = 1000, NS_PER_MS = 1000000 };

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

static const char *name_of(int signal) {
    if (signal == SIGINT) return "INT";
    if (signal == SIGTERM) return "TERM";
    return signal == SIGHUP ? "HUP" : NULL;
}

const char *rlk_signals_await(int64_t ms) {
    sigset_t wanted;
    sigemptyset(&wanted);
    sigaddset(&wanted, SIGINT);
    sigaddset(&wanted, SIGTERM);
    sigaddset(&wanted, SIGHUP);
    const struct timespec span = {.tv_sec = (time_t)(ms / MS_PER_S),
                                  .tv_nsec = (long)(ms % MS_PER_S) * NS_PER_MS};
    if (pthread_sigmask(SIG_BLOCK, &wanted, NULL) != 0) return NULL;
    return name_of(sigtimedwait(&wanted, NULL, &span));
}
