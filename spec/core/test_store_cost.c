/* What the store's statements cost: as many steps of SQLite's machine among many rows as among few,
 * for what is asked is the same. That each uses an index is tested in test_store.c; this counts. */
#include "support.h"

#include <sqlite3.h>

#include "io/store_schema.h"
#include "io/store_sql.h"

enum { FEW = 100, MANY = 10000, STEPS_MIN = 3 };

/* ---- A database with a few rows that are asked for among others that are not ---- */

#define OTHERS "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d) "

static const char others[] =
    OTHERS "INSERT INTO rows (client, key, kind, state, user, account, due_ms, version, data) "
           "SELECT 1, printf('other-%%08d', i), 'grant', 'completed', 'user-' || i,"
           " 'account-' || i, 1000000 + i, 100 + i, x'00' FROM n;" OTHERS
           "INSERT INTO removed SELECT 1, 'removed-' || i, 1, 1000000 FROM n;" OTHERS
           "INSERT INTO remembered SELECT 1, 'nonce', 'other-' || i, 1000000 FROM n;" OTHERS
           "INSERT INTO events (client, key, account, state, received_ms, due_ms, attempts) "
           "SELECT 1, 'other-' || i, 'account-' || i, 'done', 1000000, 1000000, 0 FROM n;";

static const char asked_for[] =
    "INSERT INTO clients VALUES (1, 'app', 50);"
    "INSERT INTO rows (client, key, kind, state, user, account, due_ms, version, data) VALUES"
    " (1, 'a1', 'grant', 'matched', 'u', 'a', 10, 11, x'00'),"
    " (1, 'a2', 'grant', 'matched', 'u', 'a', 11, 12, x'00'),"
    " (1, 'a3', 'grant', 'unclaimed', 'u', 'a', 12, 13, x'00');"
    "INSERT INTO leases VALUES (1, 'a1', 'o', 'b', 50);"
    "INSERT INTO remembered VALUES (1, 'code', 'a1', 50);"
    "INSERT INTO removed VALUES (1, 'a4', 20, 10);"
    "INSERT INTO meta VALUES (1, 'a1', x'00');"
    "INSERT INTO events (client, key, alias, account, state, received_ms, due_ms, attempts, data)"
    " VALUES (1, 'a1', 'alias', 'a', 'pending', 10, 10, 0, x'00');";

static void execute(sqlite3 *db, const char *sql) {
    if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK) fail_msg("%s", sqlite3_errmsg(db));
}

static sqlite3 *database_among(int count) {
    sqlite3 *db = NULL;
    const rlk_schema schema = rlk_schema_current();
    char sql[sizeof others + 64];
    assert_int_equal(sqlite3_open(":memory:", &db), SQLITE_OK);
    for (int i = 0; i < schema.version; i++)
        execute(db, schema.steps[i]);
    execute(db, asked_for);
    snprintf(sql, sizeof sql, others, count, count, count, count);
    execute(db, sql);
    return db;
}

/* ---- What is asked ---- */

static const struct {
    const char *name, *text;
} texts[] = {{":key", "a1"}, {":kind", "code"}, {":state", "matched"},
             {":user", "u"}, {":account", "a"}, {":owner", "o"},
             {":boot", "b"}, {":after", ""},    {":alias", "alias"}};

static const struct {
    const char *name;
    int number;
} numbers[] = {{":client", 1},   {":version", 11}, {":change", 11},
               {":due_ms", 10},  {":now_ms", 30},  {":until_ms", 40},
               {":boot_ms", 20}, {":limit", 2},    {":received_ms", 10}};

static void bind(sqlite3_stmt *st) {
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        const int at = sqlite3_bind_parameter_index(st, texts[i].name);
        if (at > 0) sqlite3_bind_text(st, at, texts[i].text, -1, SQLITE_STATIC);
    }
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        const int at = sqlite3_bind_parameter_index(st, numbers[i].name);
        if (at > 0) sqlite3_bind_int(st, at, numbers[i].number);
    }
    for (const char *const *name = (const char *const[]){":data", ":was", NULL}; *name; name++) {
        const int at = sqlite3_bind_parameter_index(st, *name);
        if (at > 0) sqlite3_bind_blob(st, at, "", 1, SQLITE_STATIC);
    }
}

/* Everything a statement does is undone, so that the next one finds what this one found. */
static int steps_of(sqlite3 *db, const char *text) {
    sqlite3_stmt *st = NULL;
    execute(db, "SAVEPOINT all_of_it");
    assert_int_equal(sqlite3_prepare_v2(db, text, -1, &st, NULL), SQLITE_OK);
    bind(st);
    while (sqlite3_step(st) == SQLITE_ROW)
        continue;
    const int steps = sqlite3_stmt_status(st, SQLITE_STMTSTATUS_VM_STEP, 0);
    sqlite3_finalize(st);
    execute(db, "ROLLBACK TO all_of_it; RELEASE all_of_it");
    return steps;
}

static bool is_query(const char *text) {
    return strncmp(text, "SELECT", 6) == 0 || strncmp(text, "INSERT", 6) == 0 ||
           strncmp(text, "UPDATE", 6) == 0 || strncmp(text, "DELETE", 6) == 0;
}

static void a_statement_costs_what_it_is_asked_for(void **state) {
    (void)state;
    sqlite3 *few = database_among(FEW), *many = database_among(MANY);
    for (int i = 0; i < RLK_SQL_COUNT; i++) {
        const char *text = rlk_sql_text(i);
        if (!is_query(text) || i == RLK_SQL_TALLY_) continue; /* which counts all there is */
        const int steps = steps_of(few, text);
        assert_true(steps >= STEPS_MIN);
        if (steps_of(many, text) != steps) {
            fail_msg("%s\n%d steps among %d rows, %d among %d", text, steps, FEW,
                     steps_of(many, text), MANY);
        }
    }
    sqlite3_close(few);
    sqlite3_close(many);
}

/* Of what is due no more is visited than is wanted. */
static void what_is_due_costs_what_is_wanted(void **state) {
    (void)state;
    sqlite3 *db = database_among(FEW);
    const int before = steps_of(db, rlk_sql_text(RLK_SQL_DUE_));
    const int more_before = steps_of(db, rlk_sql_text(RLK_SQL_DUE_MORE_));
    execute(db, "UPDATE rows SET due_ms = 20 WHERE state = 'completed'");
    assert_int_equal(steps_of(db, rlk_sql_text(RLK_SQL_DUE_MORE_)), more_before);
    assert_in_range(steps_of(db, rlk_sql_text(RLK_SQL_DUE_)), before, 3 * before);
    sqlite3_close(db);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_statement_costs_what_it_is_asked_for),
        cmocka_unit_test(what_is_due_costs_what_is_wanted),
    };
    return cmocka_run_group_tests_name("store_cost", tests, NULL, NULL);
}
