/* The list of err.h as data. */
#include "core/err.h"

static const rlk_err_info infos[RLK_E_COUNT] = {
#define RLK_ERR_ROW(name, code, class_, meaning, cause, cure)                                      \
    [RLK_E_##name] = {code, RLK_CLASS_##class_, meaning, cause, cure},
    RLK_ERRORS(RLK_ERR_ROW)
#undef RLK_ERR_ROW
};

const rlk_err_info *rlk_err_describe(rlk_err e) {
    if (e <= RLK_OK || e >= RLK_E_COUNT) return NULL;
    return &infos[e];
}

rlk_err rlk_err_named(rlk_span code) {
    for (rlk_err e = RLK_OK + 1; e < RLK_E_COUNT; e++)
        if (rlk_span_is(code, infos[e].code)) return e;
    return RLK_OK;
}
