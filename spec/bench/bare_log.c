/* Reading a log of jobs; see bare_log.h. */
#define _POSIX_C_SOURCE 200809L

#include "bare_log.h"

#include <stdlib.h>
#include <string.h>

#include "bare_jobs.h"

enum { DATA_BYTES_MAX = 1 << 16 };

/* Stands for every row's bytes: what they are means nothing to SQLite. */
static const char some_data[DATA_BYTES_MAX] = {'d'};

static rlk_store_op op_named(const char *name) {
    static const char *const names[] = {
#define OP_NAME(NAME, name, writes) #name,
        RLK_STORE_OPS(OP_NAME)
#undef OP_NAME
    };
    const int op = rlk_span_find((rlk_span){name, strlen(name)}, names, RLK_STORE_OP_COUNT);
    if (op < 0) bare_die("unknown op", name);
    return (rlk_store_op)op;
}

static rlk_span data_of(const char *length) {
    const size_t bytes = strtoul(length, NULL, 10);
    if (bytes > DATA_BYTES_MAX) bare_die("too much data", length);
    return (rlk_span){some_data, bytes};
}

static void read_field(rlk_store_job *job, const char *name, size_t len, const char *value) {
    if (rlk_span_is((rlk_span){name, len}, "op")) {
        job->op = op_named(value);
        return;
    }
    const int field = bare_field_named(name, len);
    if (field < 0) bare_die("unknown field", name);
    if (field >= RLK_STORE_TEXT_COUNT)
        job->fields.numbers[field - RLK_STORE_TEXT_COUNT] = strtoll(value, NULL, 10);
    else if (field == RLK_STORE_DATA)
        job->fields.texts[field] = data_of(value);
    else
        job->fields.texts[field] = (rlk_span){value, strlen(value)};
}

static void read_job(rlk_store_job *job, char *line) {
    char *rest = NULL;
    job->fields = bare_no_fields();
    for (char *at = strtok_r(line, "\t", &rest); at != NULL; at = strtok_r(NULL, "\t", &rest)) {
        const char *equals = strchr(at, '=');
        if (equals == NULL) bare_die("a field without a value", at);
        read_field(job, at, (size_t)(equals - at), equals + 1);
    }
}

void bare_log_open(bare_log *log, const char *path) {
    log->file = fopen(path, "r");
    if (log->file == NULL) bare_die("cannot be read", path);
}

/* The next line, without its end; NULL at the end of the log. */
static char *next_line(bare_log *log, size_t *used) {
    char *line = log->text + *used;
    if (fgets(line, (int)(sizeof log->text - *used), log->file) == NULL) return NULL;
    const size_t len = strlen(line);
    if (line[len - 1] != '\n') bare_die("the log", "a line is cut");
    line[len - 1] = '\0';
    *used += len;
    return line;
}

static bool read_batch(bare_log *log, size_t *used) {
    char *line;
    while ((line = next_line(log, used)) != NULL && line[0] != '\0') {
        if (log->job_count == BARE_LOG_JOBS_MAX) bare_die("the log", "a batch is too large");
        read_job(&log->jobs[log->job_count++], line);
    }
    if (line != NULL) log->batch_ends[log->batch_count++] = log->job_count;
    return line != NULL;
}

bool bare_log_next(bare_log *log) {
    size_t used = 0;
    log->job_count = log->batch_count = 0;
    while (log->job_count < RLK_STORE_BATCH_COUNT_MAX && read_batch(log, &used))
        continue;
    return log->batch_count > 0;
}

void bare_log_close(bare_log *log) {
    (void)fclose(log->file);
}
