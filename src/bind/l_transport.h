/* core.transport: the io layer's transport as a userdata. */
#ifndef L_TRANSPORT_H
#define L_TRANSPORT_H

#include "bind/l_compat.h"

/* Makes the metatable and sets `transport` in the table on the top of the stack. */
void l_transport_register(lua_State *L);

#endif
