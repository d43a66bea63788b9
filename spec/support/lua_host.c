/* A bare Lua interpreter for runs under sanitizers, which have to be in the program from its start:
 * `lua_host script.lua arguments...` or `lua_host -e code arguments...`. It closes its Lua state,
 * so that leak reports are honest. SIGINT raises "interrupted!" as in lua.c. */
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

static lua_State *interrupted;

static void stop(lua_State *L, lua_Debug *ar) {
    (void)ar;
    lua_sethook(L, NULL, 0, 0);
    luaL_error(L, "interrupted!");
}

static void on_interrupt(int number) {
    signal(number, SIG_DFL);
    lua_sethook(interrupted, stop, LUA_MASKCALL | LUA_MASKRET | LUA_MASKLINE | LUA_MASKCOUNT, 1);
}

static int add_traceback(lua_State *L) {
    luaL_traceback(L, L, luaL_tolstring(L, 1, NULL), 1);
    return 1;
}

/* As in lua.c: arg[0] is the script, negative numbers lead back to the interpreter. */
static void set_arguments(lua_State *L, int argc, char **argv, int script) {
    lua_createtable(L, argc, 0);
    for (int i = 0; i < argc; i++) {
        lua_pushstring(L, argv[i]);
        lua_rawseti(L, -2, i - script);
    }
    lua_setglobal(L, "arg");
}

static int run(lua_State *L, int argc, char **argv) {
    bool is_code = argc > 2 && strcmp(argv[1], "-e") == 0;
    int script = is_code ? 2 : 1;
    luaL_openlibs(L);
    set_arguments(L, argc, argv, script);
    lua_pushcfunction(L, add_traceback);
    interrupted = L;
    signal(SIGINT, on_interrupt);
    int e = is_code ? luaL_loadstring(L, argv[2]) : luaL_loadfile(L, argv[1]);
    for (int i = script + 1; e == LUA_OK && i < argc; i++)
        lua_pushstring(L, argv[i]);
    return e == LUA_OK ? lua_pcall(L, argc - script - 1, 0, 1) : e;
}

int main(int argc, char **argv) {
    lua_State *L = argc > 1 ? luaL_newstate() : NULL;
    if (L == NULL) return EXIT_FAILURE;
    int e = run(L, argc, argv);
    if (e != LUA_OK) fprintf(stderr, "%s\n", lua_tostring(L, -1));
    lua_close(L);
    return e == LUA_OK ? EXIT_SUCCESS : EXIT_FAILURE;
}
