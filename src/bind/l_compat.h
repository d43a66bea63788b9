/* Every difference between the Lua versions ringlink's binding meets, and nothing else.
 *
 * Supported: LuaJIT 2.1 (the 5.1 API with the additions every 2.1 has), PUC 5.2 to 5.4. Other files
 * of src/bind never test LUA_VERSION_NUM. PUC 5.1 itself is not supported: it cannot yield across
 * pcall. */
#ifndef L_COMPAT_H
#define L_COMPAT_H

#include <stdio.h>

#include <lua.h>
#include <lauxlib.h>
#include <lualib.h>

/* The only symbols that leave the shared object carry this. */
#define L_EXPORT __attribute__((visibility("default")))

#if LUA_VERSION_NUM < 502
#define lua_rawlen lua_objlen
/* An absolute index survives pushes. */
#define lua_absindex(L, i) ((i) > 0 || (i) <= LUA_REGISTRYINDEX ? (i) : lua_gettop(L) + (i) + 1)
#endif

#if LUA_VERSION_NUM >= 504
#define l_rawnewud(L, bytes) lua_newuserdatauv((L), (bytes), 0)
#else
#define l_rawnewud(L, bytes) lua_newuserdata((L), (bytes))
#endif

/* What a file of Lua's io begins with is its FILE pointer. A closed one has none in LuaJIT, and
 * since 5.2 no function to close it with. */
#if LUA_VERSION_NUM >= 502
#define l_isclosedfile(file) (((const luaL_Stream *)(file))->closef == NULL)
#else
#define l_isclosedfile(file) (*(FILE *const *)(file) == NULL)
#endif

/* Since 5.3 a number may be a 64-bit integer; before, all are doubles and lua_Integer may have
 * only 32 bits, so that milliseconds must travel as doubles. */
#define L_HAS_INT64 (LUA_VERSION_NUM >= 503)

#endif
