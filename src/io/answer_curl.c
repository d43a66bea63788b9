/* See answer_curl.h. */
#include "io/answer_curl.h"

#include "io/clock.h"

static bool is_good(const rlk_transfer *x) {
    return x->status >= 200 && x->status < 300;
}

rlk_err rlk_answer_init(rlk_transfer *x, const rlk_request *request, const char **detail) {
    const bool has_file = request->sink_path.len > 0;
    const size_t part_max = RLK_TRANSPORT_PART_BYTES_MAX;
    size_t bytes_max = x->response_bytes_max;
    x->stall_ms = request->stall_ms;
    if (rlk_transfer_has_parts(x) && !has_file && bytes_max < part_max) bytes_max = part_max;
    rlk_buf_init(&x->answer, &x->alloc, bytes_max);
    return has_file ? rlk_sink_file_open(&x->file, &x->alloc, request->sink_path, detail) : RLK_OK;
}

void rlk_answer_deinit(rlk_transfer *x) {
    rlk_buf_deinit(&x->answer);
    rlk_sink_file_drop(x->file);
    x->file = NULL;
}

void rlk_answer_extend(rlk_transfer *x) {
    if (x->stall_ms == 0) return;
    x->deadline_ms = rlk_clock_monotonic_ms() + x->stall_ms;
    x->step_bytes = 0;
}

/* A peer that sends a byte now and then is taken for one that stands still. */
static void note_progress(rlk_transfer *x, size_t count) {
    x->step_bytes += count;
    if (x->step_bytes >= RLK_TRANSPORT_STEP_BYTES) rlk_answer_extend(x);
}

static rlk_err store(rlk_transfer *x, const char *bytes, size_t count) {
    const bool streams = x->stall_ms > 0 && is_good(x);
    if (x->file != NULL && streams) return rlk_sink_file_write(x->file, bytes, count);
    if (!streams && x->answer.len + count > x->response_bytes_max) return RLK_E_RESPONSE_TOO_LARGE;
    return rlk_buf_append(&x->answer, bytes, count);
}

static bool must_pause(const rlk_transfer *x, size_t count) {
    if (!rlk_transfer_has_parts(x) || !is_good(x)) return false;
    return x->lent || x->answer.len + count > RLK_TRANSPORT_PART_BYTES_MAX;
}

size_t rlk_answer_add(rlk_transfer *x, const char *bytes, size_t count) {
    if (must_pause(x, count)) {
        x->paused = true;
        return CURL_WRITEFUNC_PAUSE;
    }
    const rlk_err e = store(x, bytes, count);
    if (e == RLK_OK) {
        note_progress(x, count);
        return count;
    }
    x->failed = e;
    return 0;
}

rlk_err rlk_answer_keep(rlk_transfer *x) {
    if (x->file == NULL || !is_good(x)) return RLK_OK;
    x->failed = rlk_sink_file_commit(x->file);
    if (x->failed == RLK_OK) x->result.written = rlk_sink_file_bytes(x->file);
    return x->failed;
}

/* ---- Parts ---- */

bool rlk_transfer_has_parts(const rlk_transfer *x) {
    return x->stall_ms > 0 && x->file == NULL;
}

bool rlk_transfer_has_part(const rlk_transfer *x) {
    return rlk_transfer_has_parts(x) && is_good(x) && !x->lent && x->answer.len > 0;
}

void rlk_transfer_take_back(rlk_transfer *x) {
    x->lent = false;
    x->result.more = false;
    rlk_buf_reset(&x->answer);
    rlk_answer_extend(x);
}
