/* Tables into jobs, results into tables; see l_jobs.h. */
#include "bind/l_jobs.h"

#include <string.h>

#include "bind/l_util.h"

static const char *const text_names[] = {
#define TEXT_NAME(NAME, name) #name,
    RLK_STORE_TEXTS(TEXT_NAME)
#undef TEXT_NAME
};

static const char *const number_names[] = {
#define NUMBER_NAME(NAME, name) #name,
    RLK_STORE_NUMBERS(NUMBER_NAME)
#undef NUMBER_NAME
};

static const char *const op_names[] = {
#define OP_NAME(NAME, name, writes) #name,
    RLK_STORE_OPS(OP_NAME)
#undef OP_NAME
};

/* ---- Options ---- */

static const char *need_text(lua_State *L, int arg, const char *name) {
    const rlk_span text = l_opt_span(L, arg, name);
    if (text.ptr == NULL) luaL_argerror(L, arg, lua_pushfstring(L, "%s: missing", name));
    if (strlen(text.ptr) != text.len) {
        luaL_argerror(L, arg, lua_pushfstring(L, "%s: contains NUL", name));
    }
    return text.ptr;
}

rlk_store_config l_read_store(lua_State *L, int arg) {
    return (rlk_store_config){
        .path = need_text(L, arg, "path"),
        .client_id = l_opt_span(L, arg, "client_id"),
        .busy_ms =
            l_opt_int(L, arg, "busy_ms", RLK_STORE_BUSY_MS_DEFAULT, 0, RLK_STORE_BUSY_MS_MAX),
    };
}

/* ---- Jobs in ---- */

static void fail_job(lua_State *L, int index, const char *name, const char *complaint) {
    const char *job = index > 0 ? lua_pushfstring(L, "job %d: ", index) : "";
    luaL_argerror(L, 2, lua_pushfstring(L, "%s%s: %s", job, name, complaint));
}

/* The job's table is on the top of the stack. */
static rlk_store_op read_op(lua_State *L, int index) {
    rlk_span name = {NULL, 0};
    if (l_field_span(L, -1, "op", &name) != L_GOOD) fail_job(L, index, "op", "string expected");
    const int op = rlk_span_find(name, op_names, RLK_STORE_OP_COUNT);
    if (op < 0) fail_job(L, index, "op", "unknown");
    return (rlk_store_op)op;
}

static void read_fields(lua_State *L, int index, rlk_store_fields *fields) {
    for (int i = 0; i < RLK_STORE_TEXT_COUNT; i++) {
        fields->texts[i] = (rlk_span){NULL, 0};
        if (l_field_span(L, -1, text_names[i], &fields->texts[i]) == L_WRONG) {
            fail_job(L, index, text_names[i], "string expected");
        }
    }
    for (int i = 0; i < RLK_STORE_NUMBER_COUNT; i++) {
        fields->numbers[i] = RLK_STORE_NONE;
        if (l_field_int(L, -1, number_names[i], &fields->numbers[i]) == L_WRONG) {
            fail_job(L, index, number_names[i], "whole number expected");
        }
    }
}

void l_read_job(lua_State *L, int index, rlk_store_job *job) {
    job->op = read_op(L, index);
    read_fields(L, index, &job->fields);
}

/* ---- Results out ---- */

static void push_entry(lua_State *L, const rlk_store_fields *entry) {
    lua_newtable(L);
    for (int i = 0; i < RLK_STORE_TEXT_COUNT; i++) {
        if (entry->texts[i].ptr == NULL) continue;
        lua_pushlstring(L, entry->texts[i].ptr, entry->texts[i].len);
        lua_setfield(L, -2, text_names[i]);
    }
    for (int i = 0; i < RLK_STORE_NUMBER_COUNT; i++)
        if (entry->numbers[i] != RLK_STORE_NONE) l_setint(L, number_names[i], entry->numbers[i]);
}

static void push_entries(lua_State *L, const rlk_store_result *r) {
    rlk_store_fields entry;
    size_t at = 0;
    lua_newtable(L);
    for (int i = 1; rlk_store_next(r, &at, &entry); i++) {
        push_entry(L, &entry);
        lua_rawseti(L, -2, i);
    }
}

void l_push_job_result(lua_State *L, const rlk_store_result *r) {
    luaL_checkstack(L, 8, "no room for a result");
    lua_newtable(L);
    if (r->problem.error != RLK_OK) {
        l_setstr(L, "error", rlk_err_describe(r->problem.error)->code);
        l_setstr(L, "detail", r->problem.detail);
        l_setint(L, "sqlite_code", r->problem.sqlite_code);
        return;
    }
    l_setbool(L, "yes", r->yes);
    if (r->value != RLK_STORE_NONE) l_setint(L, "value", r->value);
    push_entries(L, r);
    lua_setfield(L, -2, "entries");
}
