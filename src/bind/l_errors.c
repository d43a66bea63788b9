/* core.errors: the one list of err.h, as Lua's documentation and error objects read it. */
#include "bind/l_core.h"
#include "bind/l_util.h"

static const char *class_name(rlk_err_class class_) {
    switch (class_) {
    case RLK_CLASS_FATAL:
        return "fatal";
    case RLK_CLASS_RETRY:
        return "retry";
    }
    return "fatal";
}

static void push_info(lua_State *L, const rlk_err_info *info) {
    lua_newtable(L);
    l_setstr(L, "code", info->code);
    l_setstr(L, "class", class_name(info->class_));
    l_setstr(L, "meaning", info->meaning);
    l_setstr(L, "cause", info->cause);
    l_setstr(L, "cure", info->cure);
}

void l_errors_register(lua_State *L) {
    lua_newtable(L);
    for (rlk_err e = RLK_OK + 1; e < RLK_E_COUNT; e++) {
        push_info(L, rlk_err_describe(e));
        lua_rawseti(L, -2, (int)e);
    }
    lua_setfield(L, -2, "errors");
}
