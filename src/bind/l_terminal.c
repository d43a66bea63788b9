/* The terminal: is there one, how wide is it, and asking there for a line or a secret. */
#include "bind/l_core.h"
#include "bind/l_util.h"
#include "core/alloc.h"
#include "io/terminal.h"

enum { FD_MAX = 1024 };

static int check_fd(lua_State *L) {
    return (int)l_checkint(L, 1, 0, FD_MAX);
}

static int terminal_is(lua_State *L) {
    lua_pushboolean(L, rlk_terminal_is(check_fd(L)));
    return 1;
}

static int terminal_columns(lua_State *L) {
    l_pushint(L, rlk_terminal_columns(check_fd(L)));
    return 1;
}

/* ask_terminal(question, echo): the line. */
static int terminal_ask(lua_State *L) {
    const rlk_span question = l_checkspan(L, 1);
    char line[RLK_TERMINAL_LINE_BYTES_MAX];
    size_t bytes = 0;
    const rlk_err e = rlk_terminal_ask(question, lua_toboolean(L, 2), line, &bytes);
    if (e != RLK_OK) return l_pushfail(L, e, NULL);
    lua_pushlstring(L, line, bytes);
    rlk_wipe(line, sizeof line);
    return 1;
}

void l_terminal_register(lua_State *L) {
    static const luaL_Reg functions[] = {{"is_terminal", terminal_is},
                                         {"terminal_columns", terminal_columns},
                                         {"ask_terminal", terminal_ask},
                                         {NULL, NULL}};
    luaL_setfuncs(L, functions, 0);
}
