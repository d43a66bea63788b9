/* The journey of one link, from the code to completed, as a state machine (contract 1, design
 * "Grants, accounts, links" and "Ambiguity"). The diagram stands in link.c.
 *
 * Pure: an event, the time and a link come in; the changed link, or why the event is not allowed,
 * comes out. A link is a plain value that is stored before the next act, so any process can go on
 * from it: rlk_link_next says with what. Links may come from damaged rows: apply and next look at
 * the invariants first, and nothing is changed when an event is refused. */
#ifndef RLK_LINK_H
#define RLK_LINK_H

#include "core/err.h"
#include "core/span.h"

#include <stdbool.h>
#include <stdint.h>

/* api.md's names of the states. */
#define RLK_LINK_STATES(X)                                                                         \
    X(EXCHANGING, "exchanging")   /* the code is known, the tokens are not */                      \
    X(IDENTIFYING, "identifying") /* the tokens are durable, whose they are is not known */        \
    X(UNCLAIMED, "unclaimed")     /* the account is known, nobody has claimed it */                \
    X(MATCHED, "matched")         /* a nonce matched; nothing was sent yet */                      \
    X(CONFIRMING, "confirming")   /* the POST is under way, or its outcome is unknown */           \
    X(AWAITING, "awaiting")       /* Ring knows the link; configuring and the PATCH are left */    \
    X(COMPLETED, "completed")     /* Ring said so */                                               \
    X(FAILED, "failed")           /* the end: Ring knows no such code, user or integration */      \
    X(SUPERSEDED, "superseded")   /* the end: a newer grant of the account took over */            \
    X(UNLINKED, "unlinked")       /* the end: the user removed the app */                          \
    X(RELINK, "relink")           /* Ring refused the tokens; a late success brings it back */

/* What can happen. */
#define RLK_LINK_EVENTS(X)                                                                         \
    X(EXCHANGED, "exchanged")               /* the token pair is durable */                        \
    X(EXCHANGE_REFUSED, "exchange_refused") /* the code was refused, or it is too late */          \
    X(IDENTIFIED, "identified")             /* users/me told the account */                        \
    X(IDENTIFY_REFUSED, "identify_refused") /* 404: no such user */                                \
    X(CLAIM, "claim")                       /* a nonce matched; needs the redirect's time */       \
    X(RELEASE, "release")                   /* the claim ends before a POST may have been sent */  \
    X(CONSENTED, "consented")               /* the user agreed at Ring's own page: no POST */      \
    X(CONFIRM_BEGIN, "confirm_begin")       /* the POST is about to be sent */                     \
    X(CONFIRM_UNSENT, "confirm_unsent")     /* no POST of this claim reached Ring after all */     \
    X(CONFIRMED, "confirmed")               /* the POST was answered with 200 */                   \
    X(SETTLED, "settled")                   /* the answer was lost, but the POST has worked */     \
    X(CONFIRM_REFUSED, "confirm_refused")   /* Ring definitely did not do the POST */              \
    X(UNSETTLED, "unsettled")               /* it cannot be told; the claim is given up */         \
    X(GONE, "gone")                         /* 404: Ring knows no such integration */              \
    X(CONFIGURED, "configured")             /* the partner's configure passed */                   \
    X(CLEARED, "cleared")                   /* before_complete passed */                           \
    X(COMPLETE_BEGIN, "complete_begin")     /* the completing PATCH is about to be sent */         \
    X(COMPLETE_UNSENT, "complete_unsent")   /* it did not reach Ring after all */                  \
    X(COMPLETE_REFUSED, "complete_refused") /* Ring refused it; the hook is asked again */         \
    X(COMPLETED, "completed")               /* Ring said completed */                              \
    X(PAUSED, "paused")                     /* a PATCH awaiting was accepted */                    \
    X(SUPERSEDE, "supersede")               /* a newer grant took over */                          \
    X(UNLINK, "unlink")                     /* the user removed the app */                         \
    X(RELINK, "relink")                     /* Ring refused the refresh token */                   \
    X(REVIVED, "revived")                   /* a late refresh succeeded */

/* What is to be done next with a link, by whichever process finds it. */
#define RLK_LINK_ACTIONS(X)                                                                        \
    X(EXCHANGE, "exchange")   /* ask for the tokens */                                             \
    X(EXPIRE, "expire")       /* the code is dead: exchange_refused */                             \
    X(IDENTIFY, "identify")   /* ask users/me */                                                   \
    X(WAIT, "wait")           /* for the user's redirect */                                        \
    X(CONFIRM, "confirm")     /* send the POST, perhaps again */                                   \
    X(SETTLE, "settle")       /* find out whether the POST worked */                               \
    X(RELEASE, "release")     /* the window has passed, nothing was sent */                        \
    X(CONFIGURE, "configure") /* run the partner's configure */                                    \
    X(CLEAR, "clear")         /* run before_complete */                                            \
    X(COMPLETE, "complete")   /* send the PATCH, perhaps again */                                  \
    X(NONE, "none")

typedef enum rlk_link_state {
#define RLK_LINK_ENUM(name, text) RLK_LINK_##name,
    RLK_LINK_STATES(RLK_LINK_ENUM)
#undef RLK_LINK_ENUM
        RLK_LINK_STATE_COUNT,
    RLK_LINK_NO_STATE = RLK_LINK_STATE_COUNT
} rlk_link_state;

typedef enum rlk_link_event {
#define RLK_LINK_ENUM(name, text) RLK_LINK_EV_##name,
    RLK_LINK_EVENTS(RLK_LINK_ENUM)
#undef RLK_LINK_ENUM
        RLK_LINK_EVENT_COUNT
} rlk_link_event;

typedef enum rlk_link_action {
#define RLK_LINK_ENUM(name, text) RLK_LINK_DO_##name,
    RLK_LINK_ACTIONS(RLK_LINK_ENUM)
#undef RLK_LINK_ENUM
        RLK_LINK_ACTION_COUNT
} rlk_link_action;

/* Stored in rows: never renumbered. */
enum {
    RLK_LINK_POST_MAYBE = 1,  /* a POST of this claim may have reached Ring */
    RLK_LINK_CONFIRMED = 2,   /* the POST is known, or settled, to have worked; or none is due */
    RLK_LINK_CONFIGURED = 4,  /* the partner's configure passed */
    RLK_LINK_CLEARED = 8,     /* before_complete passed */
    RLK_LINK_PATCH_MAYBE = 16 /* a completing PATCH may have reached Ring */
};

typedef struct rlk_link {
    rlk_link_state state;
    rlk_link_state base;   /* where a claim that ends leads back to; else RLK_LINK_UNCLAIMED */
    rlk_link_state resume; /* of relink: the state to come back to; else RLK_LINK_NO_STATE */
    uint32_t flags;
    int64_t time_ms; /* the redirect's time while a claim is held; else 0 */
    int64_t code_ms; /* when the code came */
} rlk_link;

/* The name of the first invariant that is broken, or NULL. */
const char *rlk_link_check(const rlk_link *link);

/* Lets an event happen. time_ms is the redirect's time for CLAIM, and not looked at otherwise.
 * RLK_E_INVALID_TRANSITION: not in this state; RLK_E_LINK_EXPIRED: outside the 600 s window;
 * RLK_E_INVALID_REQUEST: the link breaks an invariant, or time_ms is not positive. On failure the
 * link is unchanged. */
rlk_err rlk_link_apply(rlk_link *link, rlk_link_event event, int64_t now_ms, int64_t time_ms);

/* What to do next; NONE for a link that breaks an invariant. */
rlk_link_action rlk_link_next(const rlk_link *link, int64_t now_ms);

/* Names; the lookups are false for an unknown one. NO_STATE has none (NULL). */
const char *rlk_link_state_name(rlk_link_state state);
const char *rlk_link_event_name(rlk_link_event event);
const char *rlk_link_action_name(rlk_link_action action);
bool rlk_link_state_named(rlk_span name, rlk_link_state *state);
bool rlk_link_event_named(rlk_span name, rlk_link_event *event);

#endif
