/* core.link_*: the link machine of link.h over Lua tables.
 *
 * A link in Lua is { state, base, resume, flags, time_ms, code_ms }; absent fields have their
 * value at rest. It may come from a stored row, so whatever is wrong in it is invalid_request; an
 * unknown event is a mistake of the caller and raises. Tables are never changed: apply makes a new
 * one. */
#include "bind/l_core.h"
#include "bind/l_util.h"
#include "core/link.h"

static bool read_state(lua_State *L, int arg, const char *name, rlk_link_state *state) {
    rlk_span text = {NULL, 0};
    switch (l_field_span(L, arg, name, &text)) {
    case L_ABSENT:
        return true;
    case L_GOOD:
        return rlk_link_state_named(text, state);
    case L_WRONG:
        return false;
    }
    return false;
}

static bool read_int(lua_State *L, int arg, const char *name, int64_t max, int64_t *value) {
    const l_found f = l_field_int(L, arg, name, value);
    return f == L_ABSENT || (f == L_GOOD && *value >= 0 && *value <= max);
}

/* False when the table is no link; whether it is a sound one, rlk_link_check tells. */
static bool read_link(lua_State *L, int arg, rlk_link *link) {
    int64_t flags = 0;
    *link = (rlk_link){
        .state = RLK_LINK_NO_STATE, .base = RLK_LINK_UNCLAIMED, .resume = RLK_LINK_NO_STATE};
    luaL_checktype(L, arg, LUA_TTABLE);
    if (!read_state(L, arg, "state", &link->state)) return false;
    if (!read_state(L, arg, "base", &link->base)) return false;
    if (!read_state(L, arg, "resume", &link->resume)) return false;
    if (!read_int(L, arg, "flags", UINT32_MAX, &flags)) return false;
    link->flags = (uint32_t)flags;
    return read_int(L, arg, "time_ms", INT64_MAX, &link->time_ms) &&
           read_int(L, arg, "code_ms", INT64_MAX, &link->code_ms);
}

static void push_link(lua_State *L, const rlk_link *link) {
    lua_newtable(L);
    l_setstr(L, "state", rlk_link_state_name(link->state));
    l_setstr(L, "base", rlk_link_state_name(link->base));
    l_setstr(L, "resume", rlk_link_state_name(link->resume)); /* NULL: absent */
    l_setint(L, "flags", link->flags);
    l_setint(L, "time_ms", link->time_ms);
    l_setint(L, "code_ms", link->code_ms);
}

static rlk_link_event check_event(lua_State *L, int arg) {
    rlk_link_event event = RLK_LINK_EVENT_COUNT;
    luaL_argcheck(L, rlk_link_event_named(l_checkspan(L, arg), &event), arg, "unknown event");
    return event;
}

static int link_apply(lua_State *L) {
    rlk_link link;
    const bool readable = read_link(L, 1, &link);
    const rlk_link_event event = check_event(L, 2);
    const int64_t now_ms = l_checkms(L, 3);
    const int64_t time_ms = l_argms(L, 4, 0);
    if (!readable) return l_pushfail(L, RLK_E_INVALID_REQUEST, NULL);
    const rlk_err e = rlk_link_apply(&link, event, now_ms, time_ms);
    if (e != RLK_OK) return l_pushfail(L, e, NULL);
    push_link(L, &link);
    return 1;
}

static int link_next(lua_State *L) {
    rlk_link link;
    const bool readable = read_link(L, 1, &link);
    const int64_t now_ms = l_checkms(L, 2);
    if (!readable || rlk_link_check(&link) != NULL)
        return l_pushfail(L, RLK_E_INVALID_REQUEST, NULL);
    lua_pushstring(L, rlk_link_action_name(rlk_link_next(&link, now_ms)));
    return 1;
}

static int link_check(lua_State *L) {
    rlk_link link;
    const char *broken = read_link(L, 1, &link) ? rlk_link_check(&link) : "fields have their type";
    if (broken == NULL) {
        lua_pushboolean(L, 1);
        return 1;
    }
    lua_pushnil(L);
    lua_pushstring(L, broken);
    return 2;
}

static void set_states(lua_State *L) {
    lua_newtable(L);
    for (rlk_link_state s = 0; s < RLK_LINK_STATE_COUNT; s++) {
        lua_pushstring(L, rlk_link_state_name(s));
        lua_rawseti(L, -2, (int)s + 1);
    }
    lua_setfield(L, -2, "link_states");
}

static void set_events(lua_State *L) {
    lua_newtable(L);
    for (rlk_link_event e = 0; e < RLK_LINK_EVENT_COUNT; e++) {
        lua_pushstring(L, rlk_link_event_name(e));
        lua_rawseti(L, -2, (int)e + 1);
    }
    lua_setfield(L, -2, "link_events");
}

static void set_flags(lua_State *L) {
    lua_newtable(L);
    l_setint(L, "post_maybe", RLK_LINK_POST_MAYBE);
    l_setint(L, "confirmed", RLK_LINK_CONFIRMED);
    l_setint(L, "configured", RLK_LINK_CONFIGURED);
    l_setint(L, "cleared", RLK_LINK_CLEARED);
    l_setint(L, "patch_maybe", RLK_LINK_PATCH_MAYBE);
    lua_setfield(L, -2, "link_flags");
}

void l_link_register(lua_State *L) {
    static const luaL_Reg functions[] = {{"link_apply", link_apply},
                                         {"link_next", link_next},
                                         {"link_check", link_check},
                                         {NULL, NULL}};
    luaL_setfuncs(L, functions, 0);
    set_states(L);
    set_events(L);
    set_flags(L);
}
