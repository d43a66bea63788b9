/* The parts of ringlink.core. Each register function expects the module's table on the top of the
 * stack, sets its fields in it and leaves the stack as it was. */
#ifndef L_CORE_H
#define L_CORE_H

#include "bind/l_compat.h"

void l_circuit_register(lua_State *L);          /* circuit */
void l_errors_register(lua_State *L);           /* errors */
void l_hmac_register(lua_State *L);             /* hmac_key */
void l_libraries_register(lua_State *L);        /* libraries */
void l_limiter_register(lua_State *L);          /* limiter */
void l_link_register(lua_State *L);             /* link_* */
void l_retry_register(lua_State *L);            /* retry, retry_after_ms */
void l_secret_register(lua_State *L);           /* secret */
void l_system_register(lua_State *L);           /* clocks, random, file_mode, signals */
void l_terminal_register(lua_State *L);         /* is_terminal, terminal_columns, ask_terminal */
void l_text_register(lua_State *L);             /* sha256, hex, base64, mask */
void l_token_register(lua_State *L);            /* token_*, check_time */
void l_vault_register(lua_State *L);            /* vault */
void l_wake_register(lua_State *L);             /* wake */
void l_worker_store_register(lua_State *L);     /* store_worker */
void l_worker_transport_register(lua_State *L); /* transport_worker */

#endif
