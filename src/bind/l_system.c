/* What the machine gives: clocks, sleep, randomness, the process's number, modes of files, and
 * holding signals back or waiting for one.
 *
 * hold_signals and release_signals share one userdata as upvalue, so that a state that is closed
 * while holding puts the mask back. */
#define _POSIX_C_SOURCE 200809L

#include <unistd.h>

#include "bind/l_core.h"
#include "bind/l_util.h"
#include "core/limits.h"
#include "io/clock.h"
#include "io/file.h"
#include "io/random.h"
#include "io/signals.h"
#include "io/thread.h"

static int system_now_ms(lua_State *L) {
    l_pushint(L, rlk_clock_wall_ms());
    return 1;
}

static int system_monotonic_ms(lua_State *L) {
    l_pushint(L, rlk_clock_monotonic_ms());
    return 1;
}

static int system_boottime_ms(lua_State *L) {
    l_pushint(L, rlk_clock_boottime_ms());
    return 1;
}

static int system_boot_id(lua_State *L) {
    char id[RLK_BOOT_ID_BYTES + 1];
    const rlk_err e = rlk_clock_boot_id(id);
    if (e != RLK_OK) return l_pushfail(L, e, "the system tells no boot id");
    lua_pushstring(L, id);
    return 1;
}

static int system_process_id(lua_State *L) {
    l_pushint(L, getpid());
    return 1;
}

/* How many threads of this process, of whichever Lua state, have a name that begins so. */
static int system_thread_count(lua_State *L) {
    l_pushint(L, (int64_t)rlk_thread_count(luaL_checkstring(L, 1)));
    return 1;
}

static void raise_unless_ok(lua_State *L, rlk_err e, const char *what) {
    if (e != RLK_OK) luaL_error(L, "%s failed: %s", what, rlk_err_describe(e)->code);
}

static int system_sleep_ms(lua_State *L) {
    const int64_t asked_ms = l_checkms(L, 1);
    const int64_t ms = asked_ms < RLK_SLEEP_MS_MAX ? asked_ms : RLK_SLEEP_MS_MAX;
    raise_unless_ok(L, rlk_clock_sleep_ms(ms), "sleep_ms");
    return 0;
}

static int system_random(lua_State *L) {
    const size_t bytes = (size_t)l_checkint(L, 1, 0, RLK_RANDOM_BYTES_MAX);
    char *scratch = l_rawnewud(L, bytes);
    raise_unless_ok(L, rlk_random_bytes(scratch, bytes), "random");
    lua_pushlstring(L, scratch, bytes);
    return 1;
}

static rlk_err mode_of_open(lua_State *L, unsigned *mode, bool *is_trusted) {
    FILE **file = luaL_checkudata(L, 1, LUA_FILEHANDLE);
    if (l_isclosedfile(file)) return RLK_E_NOT_FOUND;
    return rlk_file_mode_of(*file, mode, is_trusted);
}

/* A path with a NUL in it names no file. */
static rlk_err mode_of_path(lua_State *L, unsigned *mode, bool *is_trusted) {
    const rlk_span path = l_checkspan(L, 1);
    if (strlen(path.ptr) != path.len) return RLK_E_NOT_FOUND;
    return rlk_file_mode(path.ptr, mode, is_trusted);
}

/* The mode, and whether the file is this user's or root's: of a path, or of an open file. */
static int system_file_mode(lua_State *L) {
    unsigned mode = 0;
    bool is_trusted = false;
    const rlk_err e = (lua_isuserdata(L, 1) ? mode_of_open : mode_of_path)(L, &mode, &is_trusted);
    if (e != RLK_OK) return l_pushfail(L, e, NULL);
    l_pushint(L, mode);
    lua_pushboolean(L, is_trusted);
    return 2;
}

static int system_hold_signals(lua_State *L) {
    raise_unless_ok(L, rlk_signals_hold(lua_touserdata(L, lua_upvalueindex(1))), "hold_signals");
    return 0;
}

static int system_release_signals(lua_State *L) {
    raise_unless_ok(L, rlk_signals_release(lua_touserdata(L, lua_upvalueindex(1))),
                    "release_signals");
    return 0;
}

/* await_signal(ms): the name of the one that came; nil when none did. */
static int system_await_signal(lua_State *L) {
    const char *name = rlk_signals_await(l_checkms(L, 1));
    if (name == NULL) return 0;
    lua_pushstring(L, name);
    return 1;
}

static int signals_gc(lua_State *L) {
    (void)rlk_signals_release(luaL_checkudata(L, 1, L_SIGNALS_MT));
    return 0;
}

void l_system_register(lua_State *L) {
    static const luaL_Reg functions[] = {{"now_ms", system_now_ms},
                                         {"monotonic_ms", system_monotonic_ms},
                                         {"sleep_ms", system_sleep_ms},
                                         {"random", system_random},
                                         {"file_mode", system_file_mode},
                                         {"boottime_ms", system_boottime_ms},
                                         {"boot_id", system_boot_id},
                                         {"process_id", system_process_id},
                                         {"thread_count", system_thread_count},
                                         {"await_signal", system_await_signal},
                                         {NULL, NULL}};
    static const luaL_Reg signals[] = {{"hold_signals", system_hold_signals},
                                       {"release_signals", system_release_signals},
                                       {NULL, NULL}};
    static const luaL_Reg methods[] = {{NULL, NULL}};
    static const luaL_Reg meta[] = {{"__gc", signals_gc}, {NULL, NULL}};
    luaL_setfuncs(L, functions, 0);
    l_newclass(L, L_SIGNALS_MT, methods, meta);
    (void)l_newud(L, sizeof(rlk_signals), L_SIGNALS_MT);
    luaL_setfuncs(L, signals, 1);
}
