/* Whether and when a call is repeated; the contract is in retry.h. */
#include "core/retry.h"
#include "core/codec.h"
#include "core/httpdate.h"
#include "core/limits.h"
#include "core/ms.h"

/* A failure that repeating cures says so in the one list of errors. */
static rlk_retry_class classify_error(rlk_err error, bool sent) {
    const rlk_err_info *info = rlk_err_describe(error);
    if (info == NULL || info->class_ == RLK_CLASS_FATAL) return RLK_RETRY_CLASS_FATAL;
    return sent ? RLK_RETRY_CLASS_LOST : RLK_RETRY_CLASS_UNSENT;
}

rlk_retry_class rlk_retry_classify(const rlk_attempt *attempt) {
    const int64_t status = attempt->status;
    if (status == RLK_RETRY_NO_STATUS) return classify_error(attempt->error, attempt->sent);
    if (status == 401) return RLK_RETRY_CLASS_UNAUTHORIZED;
    if (status == 429) return RLK_RETRY_CLASS_LIMITED;
    if (status == 408) return RLK_RETRY_CLASS_UNAVAILABLE;
    if (status >= 200 && status < 400) return RLK_RETRY_CLASS_DONE;
    if (status >= 400 && status < 500) return RLK_RETRY_CLASS_REFUSED;
    return RLK_RETRY_CLASS_UNAVAILABLE;
}

static bool lost_may_repeat(rlk_retry_kind kind, int64_t lost) {
    switch (kind) {
    case RLK_RETRY_KIND_SAFE:
    case RLK_RETRY_KIND_LINK:
        return true;
    case RLK_RETRY_KIND_TOKEN:
        return lost <= 1;
    case RLK_RETRY_KIND_ONCE:
    case RLK_RETRY_KIND_COUNT:
        return false;
    }
    return false;
}

static bool may_repeat(rlk_retry_kind kind, rlk_retry_class class_, int64_t lost) {
    switch (class_) {
    case RLK_RETRY_CLASS_LIMITED:
    case RLK_RETRY_CLASS_UNSENT:
        return true;
    case RLK_RETRY_CLASS_UNAVAILABLE:
        return kind != RLK_RETRY_KIND_ONCE;
    case RLK_RETRY_CLASS_LOST:
        return lost_may_repeat(kind, lost);
    case RLK_RETRY_CLASS_DONE:
    case RLK_RETRY_CLASS_REFUSED:
    case RLK_RETRY_CLASS_UNAUTHORIZED:
    case RLK_RETRY_CLASS_FATAL:
    case RLK_RETRY_CLASS_COUNT:
        return false;
    }
    return false;
}

/* Written so that NaN becomes 0. */
static double bounded_random(double random) {
    if (!(random > 0)) return 0;
    return random < 1 ? random : 1;
}

/* Full jitter: anything from nothing to the doubled step, so that many clients spread out. */
static int64_t backoff_ms(int64_t attempts, double random) {
    const int64_t doublings = rlk_ms_min(rlk_ms_max(attempts, 1) - 1, RLK_RETRY_COUNT_MAX);
    const int64_t step = (int64_t)RLK_BACKOFF_MS_MIN << doublings;
    return (int64_t)((double)rlk_ms_min(step, RLK_BACKOFF_MS_MAX) * bounded_random(random));
}

rlk_retry_advice rlk_retry_decide(rlk_retry_kind kind, const rlk_attempt *attempt) {
    const rlk_retry_class class_ = rlk_retry_classify(attempt);
    rlk_retry_advice advice = {.verdict = RLK_RETRY_STOP, .class_ = class_, .wait_ms = 0};
    if (class_ == RLK_RETRY_CLASS_DONE) {
        advice.verdict = RLK_RETRY_DONE;
        return advice;
    }
    const int64_t attempts_max = rlk_ms_min(attempt->attempts_max, RLK_RETRY_COUNT_MAX);
    if (attempt->final || attempt->attempts >= attempts_max) return advice;
    if (!may_repeat(kind, class_, attempt->lost)) return advice;
    const int64_t asked_ms = rlk_ms_min(attempt->retry_after_ms, RLK_RETRY_AFTER_MS_MAX);
    const int64_t wait_ms = rlk_ms_max(backoff_ms(attempt->attempts, attempt->random), asked_ms);
    if (rlk_ms_add(attempt->elapsed_ms, wait_ms) >= attempt->deadline_ms) return advice;
    advice.verdict = RLK_RETRY_REPEAT;
    advice.wait_ms = wait_ms;
    return advice;
}

/* Seconds; bounded at each digit, so that no number of digits overflows. */
static bool parse_seconds(rlk_span text, int64_t *ms) {
    int64_t s = 0;
    for (size_t i = 0; i < text.len; i++) {
        if (!rlk_is_digit(text.ptr[i])) return false;
        s = rlk_ms_min(s * 10 + (text.ptr[i] - '0'), RLK_RETRY_AFTER_MS_MAX / 1000);
    }
    *ms = s * 1000;
    return text.len > 0;
}

static bool is_blank(char c) {
    return c == ' ' || c == '\t';
}

/* A header's value may be surrounded by blanks (RFC 9110 section 5.5). */
static rlk_span trim(rlk_span text) {
    while (text.len > 0 && is_blank(text.ptr[text.len - 1]))
        text.len--;
    while (text.len > 0 && is_blank(text.ptr[0])) {
        text.ptr++;
        text.len--;
    }
    return text;
}

bool rlk_retry_after_parse(rlk_span text, int64_t now_ms, int64_t *ms) {
    const rlk_span value = trim(text);
    if (parse_seconds(value, ms)) return true;
    int64_t at_ms = 0;
    if (!rlk_httpdate_parse(value, now_ms, &at_ms)) return false;
    *ms = rlk_ms_min(rlk_ms_max(rlk_ms_sub(at_ms, now_ms), 0), RLK_RETRY_AFTER_MS_MAX);
    return true;
}

#define RLK_RETRY_NAME(name, text) text,

bool rlk_retry_kind_named(rlk_span name, rlk_retry_kind *kind) {
    static const char *const names[] = {RLK_RETRY_KINDS(RLK_RETRY_NAME)};
    const int found = rlk_span_find(name, names, RLK_RETRY_KIND_COUNT);
    if (found < 0) return false;
    *kind = (rlk_retry_kind)found;
    return true;
}

const char *rlk_retry_class_name(rlk_retry_class class_) {
    static const char *const names[] = {RLK_RETRY_CLASSES(RLK_RETRY_NAME)};
    return names[class_];
}

#undef RLK_RETRY_NAME

const char *rlk_retry_verdict_name(rlk_retry_verdict verdict) {
    switch (verdict) {
    case RLK_RETRY_DONE:
        return "done";
    case RLK_RETRY_STOP:
        return "stop";
    case RLK_RETRY_REPEAT:
        return "repeat";
    }
    return "stop";
}
