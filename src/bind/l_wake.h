/* core.wake as other userdata of the binding see it. */
#ifndef L_WAKE_H
#define L_WAKE_H

#include "bind/l_compat.h"
#include "io/wake.h"

/* The wake in argument `arg`; raises when it is something else, or closed. */
rlk_wake *l_check_wake(lua_State *L, int arg);

#endif
