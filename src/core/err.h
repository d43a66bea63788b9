/* The one list of what can go wrong.
 *
 * X(NAME, code, class, meaning, cause, cure): the code is what users see in err.code (api.md's
 * names stay as they are), the class says whether repeating the operation later can help. Switches
 * over rlk_err and rlk_err_class have no default, so that the compiler names the one forgotten. */
#ifndef RLK_ERR_H
#define RLK_ERR_H

#include "core/span.h"

#define RLK_ERRORS(X)                                                                              \
    X(INVALID_REQUEST, "invalid_request", FATAL, "an argument is missing or malformed",            \
      "the value came from the wire or from the caller in a form Ring never uses",                 \
      "check the named field; the message says what form it must have")                            \
    X(INVALID_OPTION, "invalid_option", FATAL, "an option is unknown or has a wrong value",        \
      "a mistake in the calling program's settings", "correct the named option")                   \
    X(INVALID_NONCE, "invalid_nonce", FATAL, "the nonce was not accepted",                         \
      "it was used before, for an attempt that ended, or Ring refused it",                         \
      "let the user tap Sign In in the Ring app again")                                            \
    X(NO_UNCLAIMED_MATCH, "no_unclaimed_match", RETRY, "no unclaimed account matches the nonce",   \
      "the exchange has not finished yet, or the code never arrived",                              \
      "wait a few seconds and try again (wait_s); then let the user reconnect the app; if it "     \
      "never works, check hmac_key")                                                               \
    X(LINK_EXPIRED, "link_expired", FATAL, "the link request is older than its window",            \
      "the user took longer than 10 minutes, or this machine's clock is ahead",                    \
      "let the user tap Sign In in the Ring app again; check the clock")                           \
    X(LINK_IN_FUTURE, "link_in_future", FATAL, "the link request lies in the future",              \
      "this machine's clock is behind, or the time was forged",                                    \
      "synchronise the clock; clock_skew_s sets what is tolerated")                                \
    X(ALREADY_LINKED, "already_linked", FATAL, "another user holds this Ring account",             \
      "the Ring account was linked before by another partner user",                                \
      "let that user unlink it, or decide in the reassign hook")                                   \
    X(NOT_FOUND, "not_found", FATAL, "there is no such thing for this account",                    \
      "the account is unknown here, belongs to another user, or Ring has no integration for it",   \
      "check the id; after a removal the user must connect the app again")                         \
    X(VETOED, "vetoed", FATAL, "a before_ hook stopped the step",                                  \
      "the partner's own hook said no",                                                            \
      "see the message for the hook's reason; after before_confirm the user taps Sign In again, "  \
      "after before_complete call complete")                                                       \
    X(CONFIGURE_FAILED, "configure_failed", RETRY, "the configure hook did not finish",            \
      "the partner's own configuration failed or is not done yet",                                 \
      "fix the configuration, then call complete, or link again")                                  \
    X(HOOK_FAILED, "hook_failed", RETRY, "a hook raised an error",                                 \
      "a mistake in the partner's hook; no token or state was lost",                               \
      "see the cause; fix the hook")                                                               \
    X(CONFIRM_OUTCOME_UNKNOWN, "confirm_outcome_unknown", FATAL,                                   \
      "it cannot be told whether Ring confirmed the link",                                         \
      "the answer to the POST was lost and neither status nor devices prove that it worked",       \
      "let the user tap Sign In in the Ring app again")                                            \
    X(EXCHANGE_OUTCOME_UNKNOWN, "exchange_outcome_unknown", FATAL,                                 \
      "the tokens were handed out but never arrived",                                              \
      "the answer to the token exchange was lost, and the code works only once",                   \
      "the user must remove and reconnect the app in the Ring app")                                \
    X(REFRESH_OUTCOME_UNKNOWN, "refresh_outcome_unknown", FATAL,                                   \
      "the rotated tokens never arrived",                                                          \
      "the answer to a refresh was lost and the old refresh token is refused since",               \
      "try refresh{force=true} once; then the user must link again")                               \
    X(EXCHANGE_REFUSED, "exchange_refused", FATAL, "Ring refused the authorization code",          \
      "the code is older than 60 seconds, was used before, or the client credentials are wrong",   \
      "exchange codes at once; check client_id and client_secret; the user must reconnect the "    \
      "app")                                                                                       \
    X(REFRESH_FAILED, "refresh_failed", RETRY, "the tokens could not be refreshed",                \
      "Ring or the network failed, or the client credentials are wrong; the tokens are untouched", \
      "try again later; with invalid_client check client_id and client_secret")                    \
    X(REFRESH_CIRCUIT_OPEN, "refresh_circuit_open", RETRY,                                         \
      "refreshing is paused: too many refusals in a row",                                          \
      "many accounts were refused one after another, which points at wrong credentials or a "      \
      "deploy gone wrong",                                                                         \
      "check client_id, client_secret and environment; it closes by itself")                       \
    X(RELINK_REQUIRED, "relink_required", FATAL, "the user must link again",                       \
      "Ring refused the refresh token: it lapsed after 30 days or was revoked",                    \
      "ask the user to connect the app again; refresh{force=true} tries once more")                \
    X(UNLINKED, "unlinked", FATAL, "the user removed the app", "Ring told so by webhook",          \
      "nothing to do; a new install brings a new code")                                            \
    X(INVALID_TRANSITION, "invalid_transition", FATAL,                                             \
      "this step is not allowed in the link's present state",                                      \
      "steps were called out of order, or Ring's own state differs",                               \
      "look at account:state(); confirm comes before complete")                                    \
    X(UNAUTHORIZED, "unauthorized", FATAL, "Ring refused the access token",                        \
      "the token was revoked, and a fresh one was refused too", "the user must link again")        \
    X(FORBIDDEN, "forbidden", FATAL, "the token does not cover this",                              \
      "the scope lacks it, the user withdrew consent, or the path is unknown to Ring",             \
      "check the path and what the user consented to")                                             \
    X(RATE_LIMITED, "rate_limited", RETRY, "Ring asks to slow down",                               \
      "more than 100 requests a second for this client_id", "wait retry_after seconds")            \
    X(DEVICE_UNAVAILABLE, "device_unavailable", FATAL, "the device is offline",                    \
      "the device does not answer Ring", "repeating does not help; wait for device_online")        \
    X(RANGE_NOT_SATISFIABLE, "range_not_satisfiable", FATAL, "the range asked for is not there",   \
      "it begins behind the end", "ask for a range inside; total_bytes says how much there is")    \
    X(TOO_EARLY, "too_early", RETRY, "what was asked for is not ready yet",                        \
      "the recording is still being made or stored", "try again; retry_after may say when")        \
    X(SINK_FAILED, "sink_failed", FATAL, "the answer could not be written where it was to go",     \
      "the directory is missing or not writable, or the disk is full",                             \
      "see the message; a file that was there before is untouched")                                \
    X(RING_ERROR, "ring_error", RETRY, "Ring answered with an error",                              \
      "trouble on Ring's side, or something between", "try again later; quote ring_id to Ring")    \
    X(BAD_RESPONSE, "bad_response", RETRY, "the answer could not be understood",                   \
      "it was truncated, not JSON, or lacked a field", "try again; check proxies in between")      \
    X(RESPONSE_TOO_LARGE, "response_too_large", FATAL, "the answer is larger than allowed",        \
      "it exceeds response_bytes_max", "raise response_bytes_max if such answers are expected")    \
    X(TIMEOUT, "timeout", RETRY, "the time allowed has passed", "a slow network or server",        \
      "try again; timeout_ms and deadline_ms set the limits")                                      \
    X(CONNECT, "connect", RETRY, "no connection could be made",                                    \
      "the host refused or is unreachable", "check the network, the proxy and the URL")            \
    X(DNS, "dns", RETRY, "the host name could not be resolved",                                    \
      "the resolver failed or the name is wrong", "check the URL and the resolver")                \
    X(TLS, "tls", FATAL, "the server's certificate was not accepted",                              \
      "wrong certificate, name or CA, or somebody in between",                                     \
      "check ca_file and the URL; never turn verification off")                                    \
    X(NETWORK, "network", RETRY, "the connection broke",                                           \
      "the peer or something between closed it", "try again")                                      \
    X(CANCELLED, "cancelled", FATAL, "the caller gave up waiting",                                 \
      "the wait was abandoned; what had begun is finished in the background", "nothing to do")     \
    X(BUSY, "busy", RETRY, "too much is in flight", "a queue is full", "try again later")          \
    X(STORE_ERROR, "store_error", RETRY, "the store failed", "see the cause", "see the cause")     \
    X(STORE_BUSY, "store_busy", RETRY, "the store is locked by others",                            \
      "another process holds it, or rows changed again and again", "try again")                    \
    X(STORE_BELONGS_ELSEWHERE, "store_belongs_elsewhere", FATAL,                                   \
      "the store belongs to another app or environment",                                           \
      "it was stamped with other URLs, client_id or environment", "open the right store")          \
    X(STORE_KEY, "store_key", FATAL, "a sealed field cannot be opened",                            \
      "the store key is missing or wrong", "put the right key into store_key; rows are kept")      \
    X(STORE_CORRUPT, "store_corrupt", FATAL, "the store is damaged", "see the cause",              \
      "restore a backup; nothing was written")                                                     \
    X(SIGNATURE, "signature", FATAL, "the webhook's signature does not match",                     \
      "it is not from Ring, the body was altered, or the HMAC key differs",                        \
      "answer 401; verify the raw body; check hmac_key")                                           \
    X(EVENT_TOO_OLD, "event_too_old", FATAL, "the event is older than 7 days",                     \
      "a replay of an old delivery", "answer 200; it is not acted on")                             \
    X(IN_PROGRESS, "in_progress", RETRY, "this is being done elsewhere at the moment",             \
      "another process or task works on it", "try again in a moment")                              \
    X(RUNTIME_NOT_STARTED, "runtime_not_started", RETRY, "the background runtime does not run",    \
      "no timer could be started", "raise lua_max_running_timers; try again")                      \
    X(FOREIGN_COROUTINE, "foreign_coroutine", FATAL,                                               \
      "this coroutine was not started by the runtime",                                             \
      "a call that waits was made in a coroutine of another scheduler",                            \
      "use ringlink.spawn, or name the runtime of your event loop")                                \
    X(NOT_HERE, "not_here", FATAL, "this phase cannot wait",                                       \
      "the call was made where nginx cannot yield", "call it from a phase that can yield")         \
    X(CLOSED, "closed", FATAL, "the client is closed", "close() was called", "make a new client")  \
    X(NO_MEMORY, "no_memory", RETRY, "out of memory", "the allocator refused", "free memory")

typedef enum rlk_err_class { RLK_CLASS_FATAL, RLK_CLASS_RETRY } rlk_err_class;

typedef enum rlk_err {
    RLK_OK = 0,
#define RLK_ERR_ENUM(name, code, class_, meaning, cause, cure) RLK_E_##name,
    RLK_ERRORS(RLK_ERR_ENUM)
#undef RLK_ERR_ENUM
        RLK_E_COUNT
} rlk_err;

typedef struct rlk_err_info {
    const char *code;
    rlk_err_class class_;
    const char *meaning;
    const char *cause;
    const char *cure;
} rlk_err_info;

/* What is known of an error; NULL for RLK_OK and for numbers outside the list. */
const rlk_err_info *rlk_err_describe(rlk_err e);

/* The error that has this code; RLK_OK when none has. */
rlk_err rlk_err_named(rlk_span code);

#endif
