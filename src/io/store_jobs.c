/* One function a job; see store_jobs.h, and store_sql.h for what they run. */
#include "io/store_jobs.h"

#include "io/store_sql.h"

enum { CLIENT_UNKNOWN = -1, CLIENT_FILE = 0 };

#define DAY_MS INT64_C(86400000)
#define REMOVAL_KEEP_MS DAY_MS
#define EVENT_KEEP_MS (7 * DAY_MS) /* contract 9 */

/* A job at work: its fields, to which it may add, and its result. */
typedef struct work {
    rlk_store_scope *scope;
    rlk_store_fields in;
    rlk_store_result *out;
} work;

/* Runs a statement for its effect. */
static int run(work *w, rlk_sql which) {
    return rlk_db_run(w->scope->db, (int)which, &w->in, NULL, NULL);
}

/* Runs a statement and gives its rows. */
static int give(work *w, rlk_sql which) {
    return rlk_db_run(w->scope->db, (int)which, &w->in, &w->out->entries, NULL);
}

/* Runs a statement and takes one number of its first row; RLK_STORE_NONE when there is none. */
static int ask(work *w, rlk_sql which, int number, int64_t *out) {
    rlk_store_fields first;
    const int code = rlk_db_run(w->scope->db, (int)which, &w->in, NULL, &first);
    *out = first.numbers[number];
    return code;
}

/* Runs a statement; yes when it wrote something. */
static int run_yes(work *w, rlk_sql which) {
    const int code = run(w, which);
    w->out->yes = code == SQLITE_OK && rlk_db_changes(w->scope->db) > 0;
    return code;
}

static bool has_text(const work *w, int text) {
    return w->in.texts[text].ptr != NULL;
}

static bool has_key(const work *w) {
    return w->in.texts[RLK_STORE_KEY].len > 0;
}

static bool has_key_and_owner(const work *w) {
    return has_key(w) && has_text(w, RLK_STORE_OWNER);
}

static bool has_number(const work *w, int number) {
    return w->in.numbers[number] != RLK_STORE_NONE;
}

/* Both are bounded by whoever reads clocks; a hostile sum must not overflow all the same. */
static int64_t later(int64_t at_ms, int64_t by_ms) {
    int64_t sum;
    return __builtin_add_overflow(at_ms, by_ms, &sum) ? INT64_MAX : sum;
}

/* ---- Rows ---- */

static int get(work *w) {
    return has_key(w) ? give(w, RLK_SQL_ROW_) : SQLITE_MISUSE;
}

static int next_change(work *w) {
    return ask(w, RLK_SQL_CHANGE_NEXT_, RLK_STORE_CHANGE, &w->in.numbers[RLK_STORE_CHANGE]);
}

static bool is_unclaimed(const work *w) {
    return has_text(w, RLK_STORE_STATE) && rlk_span_is(w->in.texts[RLK_STORE_STATE], "unclaimed");
}

/* As much as has to be: see store_sql.h. */
static int replace_row(work *w) {
    static const rlk_sql ways[] = {RLK_SQL_ROW_PUT_DATA_, RLK_SQL_ROW_PUT_DUE_, RLK_SQL_ROW_PUT_};
    int code = run_yes(w, ways[0]);
    for (size_t i = 1; i < sizeof ways / sizeof ways[0] && code == SQLITE_OK && !w->out->yes; i++)
        code = run_yes(w, ways[i]);
    return code;
}

static int write_row(work *w, bool is_new) {
    int code = next_change(w);
    if (code == SQLITE_OK) code = is_new ? run(w, RLK_SQL_ROW_ADD_) : replace_row(w);
    if (code == SQLITE_OK && is_unclaimed(w)) code = run(w, RLK_SQL_REMOVED_DROP_);
    if (code != SQLITE_OK) return code;
    w->out->yes = true;
    w->out->value = w->in.numbers[RLK_STORE_CHANGE];
    return SQLITE_OK;
}

static int put_if(work *w) {
    const int64_t wanted = w->in.numbers[RLK_STORE_VERSION];
    int64_t present;
    if (!has_key(w) || wanted < 0 || !has_text(w, RLK_STORE_DATA)) return SQLITE_MISUSE;
    const int code = ask(w, RLK_SQL_ROW_VERSION_, RLK_STORE_VERSION, &present);
    if (code != SQLITE_OK) return code;
    if (present == RLK_STORE_NONE) return wanted == 0 ? write_row(w, true) : SQLITE_OK;
    return wanted == present ? write_row(w, false) : SQLITE_OK;
}

static int delete (work *w) {
    const int64_t wanted = w->in.numbers[RLK_STORE_VERSION];
    int64_t present = wanted;
    if (!has_key(w) || !has_number(w, RLK_STORE_NOW_MS)) return SQLITE_MISUSE;
    int code = SQLITE_OK;
    if (wanted != RLK_STORE_NONE) code = ask(w, RLK_SQL_ROW_VERSION_, RLK_STORE_VERSION, &present);
    if (code != SQLITE_OK || present != wanted) return code;
    code = run_yes(w, RLK_SQL_ROW_DROP_);
    if (code != SQLITE_OK || !w->out->yes) return code;
    code = next_change(w);
    return code == SQLITE_OK ? run(w, RLK_SQL_REMOVED_PUT_) : code;
}

/* From the first key, and all of them, unless something else is said. */
static void choose_page(work *w) {
    if (!has_text(w, RLK_STORE_AFTER)) w->in.texts[RLK_STORE_AFTER] = (rlk_span){"", 0};
    if (!has_number(w, RLK_STORE_LIMIT)) w->in.numbers[RLK_STORE_LIMIT] = -1;
}

static int find(work *w) {
    choose_page(w);
    if (has_text(w, RLK_STORE_ACCOUNT)) return give(w, RLK_SQL_FIND_ACCOUNT_);
    if (has_text(w, RLK_STORE_USER)) return give(w, RLK_SQL_FIND_USER_);
    return give(w, has_text(w, RLK_STORE_STATE) ? RLK_SQL_FIND_STATE_ : RLK_SQL_FIND_);
}

static int due(work *w) {
    int64_t more;
    const bool goes_on = has_number(w, RLK_STORE_DUE_MS);
    if (!has_number(w, RLK_STORE_NOW_MS) || w->in.numbers[RLK_STORE_LIMIT] < 0 ||
        goes_on != has_text(w, RLK_STORE_AFTER)) {
        return SQLITE_MISUSE;
    }
    int code = give(w, RLK_SQL_DUE_);
    if (code == SQLITE_OK) code = ask(w, RLK_SQL_DUE_MORE_, RLK_STORE_DUE_MS, &more);
    if (code != SQLITE_OK) return code;
    if (more == RLK_STORE_NONE) {
        return ask(w, RLK_SQL_DUE_NEXT_, RLK_STORE_DUE_MS, &w->out->value);
    }
    w->out->value = w->in.numbers[RLK_STORE_NOW_MS];
    return SQLITE_OK;
}

/* Reads one entry of an index for each row: callers keep the answer for a while. */
static int tally(work *w) {
    const int code = give(w, RLK_SQL_TALLY_);
    return code == SQLITE_OK ? ask(w, RLK_SQL_TALLY_EVENTS_, RLK_STORE_COUNT, &w->out->value)
                             : code;
}

/* Whoever asks from 0 knows of no row that could have gone but those removed. */
static int unclaimed(work *w) {
    if (!has_number(w, RLK_STORE_CHANGE)) return SQLITE_MISUSE;
    int code = give(w, RLK_SQL_UNCLAIMED_);
    if (code == SQLITE_OK && w->in.numbers[RLK_STORE_CHANGE] > 0) code = give(w, RLK_SQL_LEFT_);
    if (code == SQLITE_OK) code = give(w, RLK_SQL_REMOVED_);
    if (code != SQLITE_OK) return code;
    code = ask(w, RLK_SQL_CHANGE_, RLK_STORE_CHANGE, &w->out->value);
    if (w->out->value == RLK_STORE_NONE) w->out->value = 0;
    return code;
}

/* ---- Leases and what is remembered ---- */

static bool has_boot_time(const work *w) {
    return has_text(w, RLK_STORE_BOOT) && has_number(w, RLK_STORE_BOOT_MS);
}

/* What an owner needs to take something for a while. */
static bool can_take(work *w) {
    int64_t *numbers = w->in.numbers;
    if (!has_text(w, RLK_STORE_OWNER) || !has_boot_time(w) || numbers[RLK_STORE_TTL_MS] < 0) {
        return false;
    }
    numbers[RLK_STORE_UNTIL_MS] = later(numbers[RLK_STORE_BOOT_MS], numbers[RLK_STORE_TTL_MS]);
    return true;
}

static int lease(work *w) {
    int64_t until_ms;
    if (!has_key(w) || !can_take(w)) return SQLITE_MISUSE;
    const int code = ask(w, RLK_SQL_LEASE_, RLK_STORE_UNTIL_MS, &until_ms);
    if (code != SQLITE_OK) return code;
    w->out->yes = until_ms == RLK_STORE_NONE;
    if (w->out->yes) return run(w, RLK_SQL_LEASE_PUT_);
    w->out->value = until_ms - w->in.numbers[RLK_STORE_BOOT_MS];
    return SQLITE_OK;
}

static int release(work *w) {
    return has_key_and_owner(w) ? run_yes(w, RLK_SQL_LEASE_DROP_) : SQLITE_MISUSE;
}

static int remember(work *w) {
    int64_t until_ms;
    if (!has_key(w) || !has_text(w, RLK_STORE_KIND) || !has_number(w, RLK_STORE_NOW_MS) ||
        !has_number(w, RLK_STORE_UNTIL_MS)) {
        return SQLITE_MISUSE;
    }
    const int code = ask(w, RLK_SQL_SEEN_, RLK_STORE_UNTIL_MS, &until_ms);
    if (code != SQLITE_OK) return code;
    w->out->yes = until_ms == RLK_STORE_NONE;
    return w->out->yes ? run(w, RLK_SQL_SEEN_PUT_) : SQLITE_OK;
}

/* ---- Events ---- */

static int event_add(work *w) {
    if (!has_key(w) || !has_number(w, RLK_STORE_RECEIVED_MS)) return SQLITE_MISUSE;
    int code = give(w, RLK_SQL_EVENT_ID_);
    if (code == SQLITE_OK && w->out->entries.len == 0 && has_text(w, RLK_STORE_ALIAS)) {
        code = give(w, RLK_SQL_EVENT_ALIAS_);
    }
    if (code != SQLITE_OK || w->out->entries.len > 0) return code;
    w->out->yes = true;
    return run(w, RLK_SQL_EVENT_ADD_);
}

/* The first ones are marked, then read: whatever carries this very mark beyond them comes later in
 * the order. */
static int event_take(work *w) {
    const bool one = has_text(w, RLK_STORE_KEY);
    if (!can_take(w) || !has_number(w, RLK_STORE_NOW_MS) || w->in.numbers[RLK_STORE_LIMIT] < 0) {
        return SQLITE_MISUSE;
    }
    if (w->in.numbers[RLK_STORE_LIMIT] == 0) return SQLITE_OK;
    int code = run_yes(w, one ? RLK_SQL_EVENT_TAKE_ONE_ : RLK_SQL_EVENT_TAKE_);
    if (code == SQLITE_OK && w->out->yes) {
        code = give(w, one ? RLK_SQL_EVENT_TAKEN_ONE_ : RLK_SQL_EVENT_TAKEN_);
    }
    if (code != SQLITE_OK || one) return code;
    return ask(w, RLK_SQL_EVENT_NEXT_, RLK_STORE_DUE_MS, &w->out->value);
}

static int event_pending(work *w) {
    if (w->in.numbers[RLK_STORE_LIMIT] < 0) return SQLITE_MISUSE;
    choose_page(w);
    return give(w, RLK_SQL_EVENT_PENDING_);
}

static int event_replace(work *w) {
    if (!has_key(w) || !has_text(w, RLK_STORE_WAS) || !has_text(w, RLK_STORE_DATA)) {
        return SQLITE_MISUSE;
    }
    return run_yes(w, RLK_SQL_EVENT_REPLACE_);
}

static int event_release(work *w) {
    return has_key_and_owner(w) ? run_yes(w, RLK_SQL_EVENT_RELEASE_) : SQLITE_MISUSE;
}

static int event_done(work *w) {
    return has_key(w) ? run_yes(w, RLK_SQL_EVENT_DONE_) : SQLITE_MISUSE;
}

static int event_forget(work *w) {
    return has_text(w, RLK_STORE_ACCOUNT) ? run_yes(w, RLK_SQL_EVENT_FORGET_) : SQLITE_MISUSE;
}

/* ---- Housekeeping ---- */

static int prune_counted(work *w, rlk_sql which) {
    const int code = run(w, which);
    if (code == SQLITE_OK) w->out->value += rlk_db_changes(w->scope->db);
    return code;
}

static int prune(work *w) {
    int64_t *numbers = w->in.numbers;
    if (!has_number(w, RLK_STORE_NOW_MS) || !has_boot_time(w)) return SQLITE_MISUSE;
    w->out->value = 0;
    numbers[RLK_STORE_UNTIL_MS] = later(numbers[RLK_STORE_NOW_MS], -EVENT_KEEP_MS);
    int code = prune_counted(w, RLK_SQL_PRUNE_EVENTS_);
    if (code == SQLITE_OK) code = prune_counted(w, RLK_SQL_PRUNE_SEEN_);
    numbers[RLK_STORE_UNTIL_MS] = later(numbers[RLK_STORE_NOW_MS], -REMOVAL_KEEP_MS);
    if (code == SQLITE_OK) code = run(w, RLK_SQL_PRUNE_REMOVED_);
    return code == SQLITE_OK ? run(w, RLK_SQL_PRUNE_LEASES_) : code;
}

static int meta_get(work *w) {
    return has_key(w) ? give(w, RLK_SQL_META_) : SQLITE_MISUSE;
}

static int meta_add(work *w) {
    if (!has_key(w) || !has_text(w, RLK_STORE_DATA)) return SQLITE_MISUSE;
    const int code = give(w, RLK_SQL_META_);
    if (code != SQLITE_OK || w->out->entries.len > 0) return code;
    return run_yes(w, RLK_SQL_META_ADD_);
}

static int meta_swap(work *w) {
    if (!has_key(w) || !has_text(w, RLK_STORE_DATA)) return SQLITE_MISUSE;
    return run_yes(w, RLK_SQL_META_SWAP_);
}

static int leave(work *w) {
    rlk_db_may_write_at_close(w->scope->db->connection, false);
    return SQLITE_OK;
}

/* ---- Whose ---- */

static int learn_client(work *w, bool writes) {
    rlk_store_scope *scope = w->scope;
    work inquiry = *w;
    if (scope->client != RLK_STORE_NONE) return SQLITE_OK;
    inquiry.in.texts[RLK_STORE_KEY] = scope->client_id;
    const int code = ask(&inquiry, RLK_SQL_CLIENT_, RLK_STORE_CLIENT, &scope->client);
    if (code != SQLITE_OK || scope->client != RLK_STORE_NONE || !writes) return code;
    return ask(&inquiry, RLK_SQL_CLIENT_ADD_, RLK_STORE_CLIENT, &scope->client);
}

/* What the whole file shares; nobody else may name client 0. */
static bool is_shared(const work *w, rlk_store_op op) {
    const bool is_meta =
        op == RLK_STORE_OP_META_GET || op == RLK_STORE_OP_META_ADD || op == RLK_STORE_OP_META_SWAP;
    return is_meta && has_text(w, RLK_STORE_KIND) &&
           rlk_span_is(w->in.texts[RLK_STORE_KIND], "file");
}

/* A client that nothing was stored for yet has no number, and finds nothing. */
static int choose_client(work *w, rlk_store_op op) {
    int64_t *client = &w->in.numbers[RLK_STORE_CLIENT];
    *client = CLIENT_FILE;
    if (is_shared(w, op)) return SQLITE_OK;
    const int code = learn_client(w, rlk_job_writes(op));
    *client = w->scope->client != RLK_STORE_NONE ? w->scope->client : CLIENT_UNKNOWN;
    return code;
}

bool rlk_job_writes(rlk_store_op op) {
    static const bool writes[] = {
#define OP_WRITES(NAME, name, writes) writes,
        RLK_STORE_OPS(OP_WRITES)
#undef OP_WRITES
    };
    return writes[op];
}

int rlk_job_do(rlk_store_scope *scope, const rlk_store_job *job, rlk_store_result *out) {
    typedef int job_function(work *);
    static job_function *const functions[] = {
#define OP_FUNCTION(NAME, name, writes) name,
        RLK_STORE_OPS(OP_FUNCTION)
#undef OP_FUNCTION
    };
    work w = {scope, job->fields, out};
    const int code = choose_client(&w, job->op);
    return code == SQLITE_OK ? functions[job->op](&w) : code;
}
