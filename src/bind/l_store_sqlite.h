/* core.store_sqlite: the io layer's SQLite store as a userdata. */
#ifndef L_STORE_SQLITE_H
#define L_STORE_SQLITE_H

#include "bind/l_compat.h"

/* Makes the metatables and sets `store_sqlite` in the table on the top of the stack. */
void l_store_sqlite_register(lua_State *L);

#endif
