/* The journey of one link; the contract is in link.h.
 *
 *   exchanging --exchanged--> identifying --identified--> unclaimed
 *       | exchange_refused        | identify_refused          |
 *       v                         v                           | claim
 *     failed                    failed                        v
 *                               awaiting <---consented--- matched ----release----> base
 *                                                             |
 *                                                             | confirm_begin (in the window)
 *                                                             v
 *                    confirm_begin, confirm_unsent: stays  confirming --release, -----> base
 *                                                             |        confirm_refused,
 *                                                             |        unsettled
 *                                      confirmed, settled     |
 *                                                             v
 *     configured, cleared, complete_begin, complete_unsent, awaiting ---claim---> matched
 *     complete_refused: stays                               |    ^
 *                                                 completed |    | paused
 *                                                           v    |
 *                                                          completed --claim---> matched
 *
 *   base is unclaimed, or the awaiting or completed that a claim set out from: then the same user
 *   came back with a fresh nonce, and POST and PATCH run again. consented is for those only whose
 *   code came by way of Ring's own page, after the user's yes (contract 11): they have no POST.
 *
 *   matched, confirming, awaiting, completed            --gone------> failed
 *   identifying .. completed, relink                    --supersede-> superseded
 *   identifying .. completed                            --relink----> relink --revived--> back
 *   all but unlinked                                    --unlink----> unlinked
 *
 * failed, superseded and unlinked are ends. Every path gets there or rests: a POST is begun only
 * in the window, after it only settle or release are left, and both leave confirming.
 *
 * What each state may and must hold is the table `rules` below; rlk_link_check asks it. */
#include "core/link.h"
#include "core/limits.h"
#include "core/ms.h"

enum {
    DONE_FLAGS = RLK_LINK_CONFIRMED | RLK_LINK_CONFIGURED | RLK_LINK_CLEARED,
    RLK_LINK_ALL_FLAGS = DONE_FLAGS | RLK_LINK_POST_MAYBE | RLK_LINK_PATCH_MAYBE
};

/* Invariants */

typedef struct rule {
    bool claim;       /* a nonce is in use: its time is kept, and base says where to go back */
    uint32_t needed;  /* flags that are set */
    uint32_t allowed; /* flags that may be set as well */
} rule;

/* Not listed: nothing is held. relink holds what the state under it holds. */
static const rule rules[RLK_LINK_STATE_COUNT] = {
    [RLK_LINK_MATCHED] = {true, 0, RLK_LINK_CONFIGURED},
    [RLK_LINK_CONFIRMING] = {true, 0, RLK_LINK_CONFIGURED | RLK_LINK_POST_MAYBE},
    [RLK_LINK_AWAITING] = {false, RLK_LINK_CONFIRMED,
                           RLK_LINK_CONFIGURED | RLK_LINK_CLEARED | RLK_LINK_PATCH_MAYBE},
    [RLK_LINK_COMPLETED] = {false, DONE_FLAGS, 0},
};

typedef uint32_t state_set;

#define ONE(name) ((state_set)1 << RLK_LINK_##name)

static const state_set bases = ONE(UNCLAIMED) | ONE(AWAITING) | ONE(COMPLETED);
static const state_set flow = ONE(IDENTIFYING) | ONE(UNCLAIMED) | ONE(MATCHED) | ONE(CONFIRMING) |
                              ONE(AWAITING) | ONE(COMPLETED);

static bool in(rlk_link_state state, state_set set) {
    return state < RLK_LINK_STATE_COUNT && (set >> state & 1) != 0;
}

static bool has(const rlk_link *link, uint32_t flags) {
    return (link->flags & flags) == flags;
}

static bool resume_fits(const rlk_link *link) {
    if (link->state == RLK_LINK_RELINK) return in(link->resume, flow);
    return link->resume == RLK_LINK_NO_STATE;
}

/* The state whose rules hold: under relink, the one to come back to. */
static rlk_link_state effective(const rlk_link *link) {
    return link->state == RLK_LINK_RELINK ? link->resume : link->state;
}

/* A first claim has configured nothing yet; one that set out from completed has. */
static bool configured_fits_base(const rlk_link *link, const rule *r) {
    if (!r->claim) return true;
    if (link->base == RLK_LINK_UNCLAIMED) return !has(link, RLK_LINK_CONFIGURED);
    return link->base != RLK_LINK_COMPLETED || has(link, RLK_LINK_CONFIGURED);
}

const char *rlk_link_check(const rlk_link *link) {
    if (link->state >= RLK_LINK_STATE_COUNT) return "state is known";
    if (!resume_fits(link)) return "only relink resumes, and only a flow state";
    const rule *r = &rules[effective(link)];
    if (!in(link->base, bases)) return "base is a state at rest";
    if (!r->claim && link->base != RLK_LINK_UNCLAIMED) return "only a claim has a base";
    if (link->time_ms < 0 || link->code_ms < 0) return "times are not negative";
    if (r->claim != (link->time_ms > 0)) return "a claim, and only a claim, keeps its time";
    if (!has(link, r->needed)) return "the state's flags are set";
    if ((link->flags & ~(r->needed | r->allowed)) != 0) return "only the state's flags are set";
    if (!configured_fits_base(link, r)) return "a claim is configured as its base is";
    if (has(link, RLK_LINK_PATCH_MAYBE) && !has(link, DONE_FLAGS))
        return "no PATCH before POST, configure and before_complete";
    return NULL;
}

/* Helpers of the transitions: each refuses or changes the link, never half */

static bool in_window(const rlk_link *link, int64_t now_ms) {
    return rlk_ms_sub(now_ms, link->time_ms) <= RLK_LINK_WINDOW_MS;
}

/* Enters a state in which no claim is held. */
static rlk_err rest(rlk_link *link, rlk_link_state state, uint32_t flags) {
    link->state = state;
    link->base = RLK_LINK_UNCLAIMED;
    link->resume = RLK_LINK_NO_STATE;
    link->flags = flags;
    link->time_ms = 0;
    return RLK_OK;
}

static rlk_err rest_from(rlk_link *link, state_set from, rlk_link_state to) {
    if (!in(link->state, from)) return RLK_E_INVALID_TRANSITION;
    return rest(link, to, 0);
}

/* The claim is over and what was before it holds again: the POST that is over changed nothing. */
static rlk_err back_to_base(rlk_link *link) {
    const uint32_t configured = link->flags & RLK_LINK_CONFIGURED;
    if (link->base == RLK_LINK_COMPLETED) return rest(link, RLK_LINK_COMPLETED, DONE_FLAGS);
    if (link->base == RLK_LINK_AWAITING)
        return rest(link, RLK_LINK_AWAITING, RLK_LINK_CONFIRMED | configured);
    return rest(link, RLK_LINK_UNCLAIMED, 0);
}

/* A POST of this claim may have reached Ring. */
static bool post_is_out(const rlk_link *link) {
    return link->state == RLK_LINK_CONFIRMING && has(link, RLK_LINK_POST_MAYBE);
}

static rlk_err post_worked(rlk_link *link) {
    if (!post_is_out(link)) return RLK_E_INVALID_TRANSITION;
    const uint32_t configured = link->flags & RLK_LINK_CONFIGURED;
    return rest(link, RLK_LINK_AWAITING, RLK_LINK_CONFIRMED | configured);
}

static rlk_err post_given_up(rlk_link *link) {
    return post_is_out(link) ? back_to_base(link) : RLK_E_INVALID_TRANSITION;
}

/* Sets and clears flags in awaiting, when `needed` are set. */
static rlk_err while_awaiting(rlk_link *link, uint32_t needed, uint32_t set, uint32_t cleared) {
    if (link->state != RLK_LINK_AWAITING || !has(link, needed)) return RLK_E_INVALID_TRANSITION;
    link->flags = (link->flags & ~cleared) | set;
    return RLK_OK;
}

/* Transitions, one function each */

static rlk_err on_exchanged(rlk_link *link) {
    return rest_from(link, ONE(EXCHANGING), RLK_LINK_IDENTIFYING);
}

static rlk_err on_exchange_refused(rlk_link *link) {
    return rest_from(link, ONE(EXCHANGING), RLK_LINK_FAILED);
}

static rlk_err on_identified(rlk_link *link) {
    return rest_from(link, ONE(IDENTIFYING), RLK_LINK_UNCLAIMED);
}

static rlk_err on_identify_refused(rlk_link *link) {
    return rest_from(link, ONE(IDENTIFYING), RLK_LINK_FAILED);
}

/* A link that is held already keeps its configuration; before_complete is asked again. */
static rlk_err on_claim(rlk_link *link, int64_t now_ms, int64_t time_ms) {
    if (!in(link->state, bases)) return RLK_E_INVALID_TRANSITION;
    if (time_ms <= 0) return RLK_E_INVALID_REQUEST;
    if (rlk_ms_sub(now_ms, time_ms) > RLK_LINK_WINDOW_MS) return RLK_E_LINK_EXPIRED;
    link->base = link->state;
    link->state = RLK_LINK_MATCHED;
    link->flags &= RLK_LINK_CONFIGURED;
    link->time_ms = time_ms;
    return RLK_OK;
}

static rlk_err on_release(rlk_link *link) {
    if (!in(link->state, ONE(MATCHED) | ONE(CONFIRMING)) || post_is_out(link))
        return RLK_E_INVALID_TRANSITION;
    return back_to_base(link);
}

static rlk_err on_consented(rlk_link *link) {
    if (link->state != RLK_LINK_MATCHED) return RLK_E_INVALID_TRANSITION;
    return rest(link, RLK_LINK_AWAITING, RLK_LINK_CONFIRMED | (link->flags & RLK_LINK_CONFIGURED));
}

static rlk_err on_confirm_begin(rlk_link *link, int64_t now_ms) {
    if (!in(link->state, ONE(MATCHED) | ONE(CONFIRMING))) return RLK_E_INVALID_TRANSITION;
    if (!in_window(link, now_ms)) return RLK_E_LINK_EXPIRED;
    link->state = RLK_LINK_CONFIRMING;
    link->flags |= RLK_LINK_POST_MAYBE;
    return RLK_OK;
}

static rlk_err on_confirm_unsent(rlk_link *link) {
    if (!post_is_out(link)) return RLK_E_INVALID_TRANSITION;
    link->flags &= ~(uint32_t)RLK_LINK_POST_MAYBE;
    return RLK_OK;
}

static rlk_err on_confirmed(rlk_link *link) {
    return post_worked(link);
}

static rlk_err on_settled(rlk_link *link) {
    return post_worked(link);
}

static rlk_err on_confirm_refused(rlk_link *link) {
    return post_given_up(link);
}

static rlk_err on_unsettled(rlk_link *link) {
    return post_given_up(link);
}

static rlk_err on_gone(rlk_link *link) {
    return rest_from(link, ONE(MATCHED) | ONE(CONFIRMING) | ONE(AWAITING) | ONE(COMPLETED),
                     RLK_LINK_FAILED);
}

static rlk_err on_configured(rlk_link *link) {
    return while_awaiting(link, 0, RLK_LINK_CONFIGURED, 0);
}

static rlk_err on_cleared(rlk_link *link) {
    return while_awaiting(link, RLK_LINK_CONFIRMED, RLK_LINK_CLEARED, 0);
}

static rlk_err on_complete_begin(rlk_link *link) {
    return while_awaiting(link, DONE_FLAGS, RLK_LINK_PATCH_MAYBE, 0);
}

static rlk_err on_complete_unsent(rlk_link *link) {
    return while_awaiting(link, RLK_LINK_PATCH_MAYBE, 0, RLK_LINK_PATCH_MAYBE);
}

static rlk_err on_complete_refused(rlk_link *link) {
    return while_awaiting(link, RLK_LINK_PATCH_MAYBE, 0, RLK_LINK_PATCH_MAYBE | RLK_LINK_CLEARED);
}

static rlk_err on_completed(rlk_link *link) {
    if (link->state != RLK_LINK_AWAITING || !has(link, RLK_LINK_PATCH_MAYBE))
        return RLK_E_INVALID_TRANSITION;
    return rest(link, RLK_LINK_COMPLETED, DONE_FLAGS);
}

static rlk_err on_paused(rlk_link *link) {
    if (link->state != RLK_LINK_COMPLETED) return RLK_E_INVALID_TRANSITION;
    return rest(link, RLK_LINK_AWAITING, RLK_LINK_CONFIRMED | RLK_LINK_CONFIGURED);
}

static rlk_err on_supersede(rlk_link *link) {
    return rest_from(link, flow | ONE(RELINK), RLK_LINK_SUPERSEDED);
}

static rlk_err on_unlink(rlk_link *link) {
    return rest_from(link, ~ONE(UNLINKED), RLK_LINK_UNLINKED);
}

static rlk_err on_relink(rlk_link *link) {
    if (!in(link->state, flow)) return RLK_E_INVALID_TRANSITION;
    link->resume = link->state;
    link->state = RLK_LINK_RELINK;
    return RLK_OK;
}

static rlk_err on_revived(rlk_link *link) {
    if (link->state != RLK_LINK_RELINK) return RLK_E_INVALID_TRANSITION;
    link->state = link->resume;
    link->resume = RLK_LINK_NO_STATE;
    return RLK_OK;
}

rlk_err rlk_link_apply(rlk_link *link, rlk_link_event event, int64_t now_ms, int64_t time_ms) {
    if (rlk_link_check(link) != NULL) return RLK_E_INVALID_REQUEST;
    switch (event) {
    case RLK_LINK_EV_EXCHANGED:
        return on_exchanged(link);
    case RLK_LINK_EV_EXCHANGE_REFUSED:
        return on_exchange_refused(link);
    case RLK_LINK_EV_IDENTIFIED:
        return on_identified(link);
    case RLK_LINK_EV_IDENTIFY_REFUSED:
        return on_identify_refused(link);
    case RLK_LINK_EV_CLAIM:
        return on_claim(link, now_ms, time_ms);
    case RLK_LINK_EV_RELEASE:
        return on_release(link);
    case RLK_LINK_EV_CONSENTED:
        return on_consented(link);
    case RLK_LINK_EV_CONFIRM_BEGIN:
        return on_confirm_begin(link, now_ms);
    case RLK_LINK_EV_CONFIRM_UNSENT:
        return on_confirm_unsent(link);
    case RLK_LINK_EV_CONFIRMED:
        return on_confirmed(link);
    case RLK_LINK_EV_SETTLED:
        return on_settled(link);
    case RLK_LINK_EV_CONFIRM_REFUSED:
        return on_confirm_refused(link);
    case RLK_LINK_EV_UNSETTLED:
        return on_unsettled(link);
    case RLK_LINK_EV_GONE:
        return on_gone(link);
    case RLK_LINK_EV_CONFIGURED:
        return on_configured(link);
    case RLK_LINK_EV_CLEARED:
        return on_cleared(link);
    case RLK_LINK_EV_COMPLETE_BEGIN:
        return on_complete_begin(link);
    case RLK_LINK_EV_COMPLETE_UNSENT:
        return on_complete_unsent(link);
    case RLK_LINK_EV_COMPLETE_REFUSED:
        return on_complete_refused(link);
    case RLK_LINK_EV_COMPLETED:
        return on_completed(link);
    case RLK_LINK_EV_PAUSED:
        return on_paused(link);
    case RLK_LINK_EV_SUPERSEDE:
        return on_supersede(link);
    case RLK_LINK_EV_UNLINK:
        return on_unlink(link);
    case RLK_LINK_EV_RELINK:
        return on_relink(link);
    case RLK_LINK_EV_REVIVED:
        return on_revived(link);
    case RLK_LINK_EVENT_COUNT:
        break;
    }
    return RLK_E_INVALID_TRANSITION;
}

/* What is to be done next */

static rlk_link_action next_exchanging(const rlk_link *link, int64_t now_ms) {
    const bool dead = rlk_ms_sub(now_ms, link->code_ms) > RLK_CODE_LIFETIME_MS;
    return dead ? RLK_LINK_DO_EXPIRE : RLK_LINK_DO_EXCHANGE;
}

static rlk_link_action next_in_claim(const rlk_link *link, int64_t now_ms) {
    if (in_window(link, now_ms)) return RLK_LINK_DO_CONFIRM;
    return post_is_out(link) ? RLK_LINK_DO_SETTLE : RLK_LINK_DO_RELEASE;
}

static rlk_link_action next_awaiting(const rlk_link *link) {
    if (!has(link, RLK_LINK_CONFIGURED)) return RLK_LINK_DO_CONFIGURE;
    if (!has(link, RLK_LINK_CLEARED)) return RLK_LINK_DO_CLEAR;
    return RLK_LINK_DO_COMPLETE;
}

rlk_link_action rlk_link_next(const rlk_link *link, int64_t now_ms) {
    if (rlk_link_check(link) != NULL) return RLK_LINK_DO_NONE;
    switch (link->state) {
    case RLK_LINK_EXCHANGING:
        return next_exchanging(link, now_ms);
    case RLK_LINK_IDENTIFYING:
        return RLK_LINK_DO_IDENTIFY;
    case RLK_LINK_UNCLAIMED:
        return RLK_LINK_DO_WAIT;
    case RLK_LINK_MATCHED:
    case RLK_LINK_CONFIRMING:
        return next_in_claim(link, now_ms);
    case RLK_LINK_AWAITING:
        return next_awaiting(link);
    case RLK_LINK_COMPLETED:
    case RLK_LINK_FAILED:
    case RLK_LINK_SUPERSEDED:
    case RLK_LINK_UNLINKED:
    case RLK_LINK_RELINK:
    case RLK_LINK_STATE_COUNT:
        break;
    }
    return RLK_LINK_DO_NONE;
}

/* Names */

#define LINK_NAME(name, text) text,
static const char *const state_names[] = {RLK_LINK_STATES(LINK_NAME)};
static const char *const event_names[] = {RLK_LINK_EVENTS(LINK_NAME)};
static const char *const action_names[] = {RLK_LINK_ACTIONS(LINK_NAME)};
#undef LINK_NAME

const char *rlk_link_state_name(rlk_link_state state) {
    return state < RLK_LINK_STATE_COUNT ? state_names[state] : NULL;
}

const char *rlk_link_event_name(rlk_link_event event) {
    return event_names[event];
}

const char *rlk_link_action_name(rlk_link_action action) {
    return action_names[action];
}

bool rlk_link_state_named(rlk_span name, rlk_link_state *state) {
    const int found = rlk_span_find(name, state_names, RLK_LINK_STATE_COUNT);
    if (found >= 0) *state = (rlk_link_state)found;
    return found >= 0;
}

bool rlk_link_event_named(rlk_span name, rlk_link_event *event) {
    const int found = rlk_span_find(name, event_names, RLK_LINK_EVENT_COUNT);
    if (found >= 0) *event = (rlk_link_event)found;
    return found >= 0;
}
