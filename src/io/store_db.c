/* Statements, bindings and SQLite's codes; see store_db.h. */
#include "io/store_db.h"

#include <string.h>

#include "io/store_sql.h"

enum {
    NO_FIELD = 255,
    FIRST_NUMBER = RLK_STORE_TEXT_COUNT, /* numbers come after the texts */
    FIELD_COUNT = RLK_STORE_TEXT_COUNT + RLK_STORE_NUMBER_COUNT
};

_Static_assert(FIELD_COUNT < NO_FIELD, "a field's number fits into a byte");

const char *rlk_sql_text(int which) {
    static const char *const texts[] = {
#define SQL_TEXT(NAME, text) text,
        RLK_STORE_SQL(SQL_TEXT)
#undef SQL_TEXT
    };
    return texts[which];
}

rlk_store_fields rlk_store_no_fields(void) {
    rlk_store_fields none;
    for (size_t i = 0; i < RLK_STORE_TEXT_COUNT; i++)
        none.texts[i] = (rlk_span){NULL, 0};
    for (size_t i = 0; i < RLK_STORE_NUMBER_COUNT; i++)
        none.numbers[i] = RLK_STORE_NONE;
    return none;
}

/* ---- Codes ---- */

static rlk_store_problem problem(int code, rlk_err error, const char *detail) {
    return (rlk_store_problem){error, detail, code};
}

static rlk_store_problem disk_problem(int code) {
    if (code == SQLITE_IOERR_NOMEM) return problem(code, RLK_E_NO_MEMORY, "out of memory");
    return problem(code, RLK_E_STORE_ERROR,
                   "the disk could not be read or written; nothing of this was stored, check the "
                   "disk and try again");
}

static rlk_store_problem write_problem(int code) {
    if (code == SQLITE_READONLY_DBMOVED) {
        return problem(code, RLK_E_STORE_ERROR,
                       "the file was moved, removed or replaced while it was open; restart");
    }
    return problem(code, RLK_E_STORE_ERROR,
                   "it cannot be written; check its owner, its mode and the file system");
}

/* SQLite's codes are an open list, so this switch has a default. */
rlk_store_problem rlk_db_problem(int code) {
    switch (code & 0xff) {
    case SQLITE_OK:
    case SQLITE_ROW:
    case SQLITE_DONE:
        return problem(0, RLK_OK, "");
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return problem(code, RLK_E_STORE_BUSY, "another process holds it; try again");
    case SQLITE_NOTADB:
        return problem(code, RLK_E_STORE_CORRUPT,
                       "it is no SQLite database; name another file, or restore a backup");
    case SQLITE_CORRUPT:
        return problem(code, RLK_E_STORE_CORRUPT,
                       "it is damaged and was left as it is; restore a backup");
    case SQLITE_ERROR: /* our statements are constant: only foreign tables refuse them */
    case SQLITE_SCHEMA:
        return problem(code, RLK_E_STORE_CORRUPT,
                       "its tables are not as ringlink made them; restore a backup");
    case SQLITE_FULL:
        return problem(code, RLK_E_STORE_ERROR,
                       "the disk is full; nothing of this was stored, free some space");
    case SQLITE_IOERR:
        return disk_problem(code);
    case SQLITE_READONLY:
    case SQLITE_PERM:
        return write_problem(code);
    case SQLITE_CANTOPEN:
        return problem(code, RLK_E_STORE_ERROR,
                       "it, or a file beside it, cannot be opened; check the folder and the modes");
    case SQLITE_TOOBIG:
        return problem(code, RLK_E_STORE_ERROR,
                       "a row or an answer is larger than allowed; ask for less at once");
    case SQLITE_NOMEM:
        return problem(code, RLK_E_NO_MEMORY, "out of memory");
    case SQLITE_MISUSE:
        return problem(code, RLK_E_INVALID_REQUEST, "a field is missing or not what it must be");
    default:
        return problem(code, RLK_E_STORE_ERROR, "SQLite failed; see its code");
    }
}

/* ---- Names ---- */

static unsigned char field_named(const char *name) {
    static const char *const names[] = {
#define FIELD_NAME(NAME, name) #name,
        RLK_STORE_TEXTS(FIELD_NAME) RLK_STORE_NUMBERS(FIELD_NAME)
#undef FIELD_NAME
    };
    const int at = rlk_span_find((rlk_span){name, strlen(name)}, names, FIELD_COUNT);
    return at < 0 ? NO_FIELD : (unsigned char)at;
}

/* ---- Statements ---- */

static bool learn_names(rlk_db_statement *st) {
    const int parameters = sqlite3_bind_parameter_count(st->prepared);
    const int columns = sqlite3_column_count(st->prepared);
    if (parameters > RLK_DB_PARAMETER_COUNT_MAX || columns > RLK_DB_PARAMETER_COUNT_MAX) {
        return false;
    }
    for (int i = 0; i < parameters; i++)
        st->parameters[i] = field_named(sqlite3_bind_parameter_name(st->prepared, i + 1) + 1);
    for (int i = 0; i < columns; i++) {
        const char *name = sqlite3_column_name(st->prepared, i);
        if (name == NULL) return false; /* out of memory */
        st->columns[i] = field_named(name);
    }
    return true;
}

static int prepare(rlk_db *db, int which, rlk_db_statement **out) {
    rlk_db_statement *st = *out = &db->statements[which];
    if (st->prepared != NULL) return SQLITE_OK;
    const int code = sqlite3_prepare_v3(db->connection, rlk_sql_text(which), -1,
                                        SQLITE_PREPARE_PERSISTENT, &st->prepared, NULL);
    if (code != SQLITE_OK || learn_names(st)) return code;
    sqlite3_finalize(st->prepared);
    st->prepared = NULL;
    return SQLITE_NOMEM;
}

static int bind_text(sqlite3_stmt *st, int at, rlk_span text, bool is_data) {
    if (text.ptr == NULL) return sqlite3_bind_null(st, at);
    if (text.len > RLK_STORE_TEXT_BYTES_MAX) return SQLITE_TOOBIG;
    if (is_data) return sqlite3_bind_blob64(st, at, text.ptr, text.len, SQLITE_STATIC);
    return sqlite3_bind_text64(st, at, text.ptr, text.len, SQLITE_STATIC, SQLITE_UTF8);
}

static int bind_number(sqlite3_stmt *st, int at, int64_t number) {
    if (number == RLK_STORE_NONE) return sqlite3_bind_null(st, at);
    return sqlite3_bind_int64(st, at, number);
}

static int bind_field(sqlite3_stmt *st, int at, int field, const rlk_store_fields *in) {
    if (field >= FIRST_NUMBER) return bind_number(st, at, in->numbers[field - FIRST_NUMBER]);
    return bind_text(st, at, in->texts[field], field == RLK_STORE_DATA || field == RLK_STORE_WAS);
}

static int bind_all(const rlk_db_statement *st, const rlk_store_fields *in) {
    const int count = sqlite3_bind_parameter_count(st->prepared);
    int code = SQLITE_OK;
    for (int i = 0; i < count && code == SQLITE_OK; i++) {
        if (st->parameters[i] >= FIELD_COUNT) return SQLITE_MISUSE;
        code = bind_field(st->prepared, i + 1, st->parameters[i], in);
    }
    return code;
}

/* ---- Rows ---- */

static const char empty_text[] = "";

/* An empty blob has no address. */
static rlk_span column_text(sqlite3_stmt *st, int at) {
    if (sqlite3_column_type(st, at) == SQLITE_NULL) return (rlk_span){NULL, 0};
    const char *ptr = sqlite3_column_blob(st, at);
    return (rlk_span){ptr != NULL ? ptr : empty_text, (size_t)sqlite3_column_bytes(st, at)};
}

static int64_t column_number(sqlite3_stmt *st, int at) {
    if (sqlite3_column_type(st, at) == SQLITE_NULL) return RLK_STORE_NONE;
    return sqlite3_column_int64(st, at);
}

static rlk_store_fields read_columns(const rlk_db_statement *st) {
    rlk_store_fields row = rlk_store_no_fields();
    const int count = sqlite3_column_count(st->prepared);
    for (int i = 0; i < count; i++) {
        const int field = st->columns[i];
        if (field < FIRST_NUMBER)
            row.texts[field] = column_text(st->prepared, i);
        else if (field < FIELD_COUNT)
            row.numbers[field - FIRST_NUMBER] = column_number(st->prepared, i);
    }
    return row;
}

/* An entry lies in the buffer as this frame, followed by its texts. */
typedef struct frame {
    int64_t numbers[RLK_STORE_NUMBER_COUNT];
    size_t lens[RLK_STORE_TEXT_COUNT];
} frame;

#define NO_TEXT SIZE_MAX

static int code_of(rlk_err e) {
    if (e == RLK_OK) return SQLITE_OK;
    return e == RLK_E_NO_MEMORY ? SQLITE_NOMEM : SQLITE_TOOBIG;
}

static int append_entry(rlk_buf *out, const rlk_store_fields *row) {
    frame f;
    memcpy(f.numbers, row->numbers, sizeof f.numbers);
    for (size_t i = 0; i < RLK_STORE_TEXT_COUNT; i++)
        f.lens[i] = row->texts[i].ptr != NULL ? row->texts[i].len : NO_TEXT;
    rlk_err e = rlk_buf_append(out, &f, sizeof f);
    for (size_t i = 0; i < RLK_STORE_TEXT_COUNT && e == RLK_OK; i++) {
        if (row->texts[i].len > 0) e = rlk_buf_append(out, row->texts[i].ptr, row->texts[i].len);
    }
    return code_of(e);
}

bool rlk_store_next(const rlk_store_result *result, size_t *at, rlk_store_fields *entry) {
    frame f;
    if (*at >= result->entries.len) return false;
    const char *bytes = result->entries.data + *at;
    memcpy(&f, bytes, sizeof f);
    bytes += sizeof f;
    memcpy(entry->numbers, f.numbers, sizeof f.numbers);
    for (size_t i = 0; i < RLK_STORE_TEXT_COUNT; i++) {
        const bool there = f.lens[i] != NO_TEXT;
        entry->texts[i] = (rlk_span){there ? bytes : NULL, there ? f.lens[i] : 0};
        bytes += entry->texts[i].len;
    }
    *at = (size_t)(bytes - result->entries.data);
    return true;
}

/* ---- Running ---- */

static int step_all(const rlk_db_statement *st, rlk_buf *out, rlk_store_fields *first) {
    int code;
    while ((code = sqlite3_step(st->prepared)) == SQLITE_ROW) {
        const rlk_store_fields row = read_columns(st);
        if (first != NULL) memcpy(first->numbers, row.numbers, sizeof row.numbers);
        first = NULL;
        if (out != NULL) {
            const int appended = append_entry(out, &row);
            if (appended != SQLITE_OK) return appended;
        }
    }
    return code == SQLITE_DONE ? SQLITE_OK : code;
}

int rlk_db_run(rlk_db *db, int which, const rlk_store_fields *in, rlk_buf *out,
               rlk_store_fields *first) {
    rlk_db_statement *st;
    if (first != NULL) *first = rlk_store_no_fields();
    int code = prepare(db, which, &st);
    if (code != SQLITE_OK) return code;
    code = bind_all(st, in);
    if (code == SQLITE_OK) code = step_all(st, out, first);
    (void)sqlite3_reset(st->prepared); /* only says the step's code again */
    (void)sqlite3_clear_bindings(st->prepared);
    return code;
}

int64_t rlk_db_changes(const rlk_db *db) {
    return sqlite3_changes64(db->connection);
}

int rlk_db_execute(sqlite3 *connection, const char *sql) {
    return sqlite3_exec(connection, sql, NULL, NULL, NULL);
}

int rlk_db_number(sqlite3 *connection, const char *sql, int64_t *out) {
    sqlite3_stmt *st = NULL;
    int code = sqlite3_prepare_v2(connection, sql, -1, &st, NULL);
    if (code == SQLITE_OK) code = sqlite3_step(st);
    if (code == SQLITE_ROW) *out = sqlite3_column_int64(st, 0);
    (void)sqlite3_finalize(st);
    return code == SQLITE_ROW || code == SQLITE_DONE ? SQLITE_OK : code;
}

void rlk_db_may_write_at_close(sqlite3 *connection, bool may) {
    (void)sqlite3_db_config(connection, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, may ? 0 : 1, NULL);
}

void rlk_db_finalize(rlk_db *db) {
    for (int i = 0; i < RLK_SQL_COUNT; i++) {
        (void)sqlite3_finalize(db->statements[i].prepared);
        db->statements[i].prepared = NULL;
    }
}

const char *rlk_store_library(void) {
    return sqlite3_libversion();
}
