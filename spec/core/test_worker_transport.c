/* A transport on a thread of its own, against a server on the test's: requests are copied, answers
 * come back, whatever ends early says so, nothing secret is left behind. What goes over the wire is
 * tested in transport_spec.lua. */
#define _POSIX_C_SOURCE 200809L

#include "reader.h"

#include <curl/curl.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "io/clock.h"
#include "io/worker_transport.h"
#include "peer.h"

#define SECRET PEER_ANSWER

enum { TURN_MS = 2, MANY = 300, CROWD = 14, QUICK_ROUNDS = 10 };

/* libcurl's allocator: one allocation fails, whichever thread's, or all of the worker's. */
static atomic_size_t curl_allocations, curl_fail_at;
static atomic_bool curl_starves;
static pthread_t tester;

static bool curl_fails(void) {
    return ++curl_allocations == curl_fail_at ||
           (curl_starves && !pthread_equal(pthread_self(), tester));
}

static void *curl_malloc(size_t bytes) {
    return curl_fails() ? NULL : malloc(bytes);
}

static void *curl_realloc(void *ptr, size_t bytes) {
    return curl_fails() ? NULL : realloc(ptr, bytes);
}

static void *curl_calloc(size_t count, size_t bytes) {
    return curl_fails() ? NULL : calloc(count, bytes);
}

static char *curl_strdup(const char *text) {
    return curl_fails() ? NULL : strdup(text);
}

static const rlk_transport_config config = {
    .proxy = "http://user:" SECRET "@127.0.0.1:9/", /* kept, and not used for this machine */
    .connect_timeout_ms = PATIENCE_MS,
    .response_bytes_max = 10000,
    .http_version = RLK_HTTP_1_1, /* as many connections as it takes */
    .allow_http_loopback = true,
};

typedef struct stage {
    shared_heap heap;
    rlk_alloc alloc;
    peer peer;
    reader reader;
    rlk_transport_worker *worker;
} stage;

static rlk_err try_open(stage *s, size_t queue_max) {
    const char *detail = NULL;
    return rlk_transport_worker_open(&s->worker, &s->alloc, &config, queue_max, s->reader.wake,
                                     &detail);
}

static void stage_init(stage *s) {
    memset(s, 0, sizeof *s);
    pthread_mutex_init(&s->heap.lock, NULL);
    s->heap.secret = SECRET;
    s->alloc = shared_allocator(&s->heap);
    peer_open(&s->peer);
    s->reader = reader_open(&s->alloc);
}

static void stage_open(stage *s, size_t queue_max) {
    stage_init(s);
    assert_int_equal(try_open(s, queue_max), RLK_OK);
}

static void stage_close(stage *s) {
    rlk_transport_worker_free(s->worker);
    reader_close(&s->reader);
    peer_close(&s->peer);
    assert_int_equal(s->heap.plain.blocks_out, 0);
}

/* Everything that the request points to is overwritten once it was started. */
static rlk_err try_start(stage *s, const char *method, int64_t *ticket) {
    char verb[8], url[64], line[] = "Authorization: Bearer " SECRET, body[] = "code=" SECRET;
    snprintf(verb, sizeof verb, "%s", method);
    snprintf(url, sizeof url, "%s", s->peer.url);
    const rlk_span headers[] = {span_of(line)};
    const rlk_request request = {.method = span_of(verb),
                                 .url = span_of(url),
                                 .headers = headers,
                                 .header_count = 1,
                                 .body = span_of(strcmp(method, "GET") == 0 ? "" : body),
                                 .timeout_ms = PATIENCE_MS};
    const char *detail = NULL;
    const rlk_err e = rlk_transport_worker_start(s->worker, &request, ticket, &detail);
    memset(verb, '-', sizeof verb), memset(url, '-', sizeof url);
    memset(line, '-', sizeof line), memset(body, '-', sizeof body);
    if (e != RLK_OK) assert_non_null(detail);
    return e;
}

static int64_t post(stage *s) {
    int64_t ticket = 0;
    assert_int_equal(try_start(s, "POST", &ticket), RLK_OK);
    return ticket;
}

/* The next completion, the server moving meanwhile. */
static const rlk_result *next_result(stage *s) {
    const rlk_result *r;
    const int64_t began_ms = rlk_clock_monotonic_ms();
    while ((r = rlk_transport_worker_peek(s->worker)) == NULL) {
        assert_true(rlk_clock_monotonic_ms() - began_ms < PATIENCE_MS);
        peer_turn(&s->peer);
        reader_read(&s->reader, TURN_MS);
    }
    return r;
}

static void expect(stage *s, rlk_err error) {
    assert_int_equal(next_result(s)->error, error);
    rlk_transport_worker_drop(s->worker);
}

/* ---- What comes back ---- */

static void answers_come_back(void **state) {
    (void)state;
    stage s;
    stage_open(&s, 10);
    for (int64_t n = 1; n <= 3; n++) {
        assert_int_equal(post(&s), n);
        const rlk_result *r = next_result(&s);
        assert_int_equal(r->ticket, n);
        assert_int_equal(r->error, RLK_OK);
        assert_int_equal(r->status, 200);
        assert_true(r->sent);
        assert_int_equal(r->reused, n > 1);
        assert_int_equal(r->body.len, sizeof SECRET - 1);
        assert_memory_equal(r->body.ptr, SECRET, r->body.len);
        rlk_transport_worker_drop(s.worker);
    }
    const rlk_transport_stats counts = rlk_transport_worker_counts(s.worker);
    assert_int_equal(counts.started, 3);
    assert_int_equal(counts.reused, 2);
    assert_int_equal(counts.connections, 1);
    assert_int_equal(counts.in_flight, 0);
    stage_close(&s);
}

static void many_at_once_come_back_once_each(void **state) {
    (void)state;
    stage s;
    bool seen[MANY + 1] = {false};
    stage_open(&s, MANY);
    peer_close(&s.peer); /* nobody is there: no server to be slow */
    for (int64_t n = 1; n <= MANY; n++)
        assert_int_equal(post(&s), n);
    for (int n = 1; n <= MANY; n++) {
        const rlk_result *r = next_result(&s);
        assert_int_equal(r->error, RLK_E_CONNECT);
        assert_false(r->sent);
        assert_false(seen[r->ticket]);
        seen[r->ticket] = true;
        rlk_transport_worker_drop(s.worker);
    }
    assert_null(rlk_transport_worker_peek(s.worker));
    stage_close(&s);
}

static void what_is_wrong_is_told_at_once(void **state) {
    (void)state;
    stage s;
    int64_t ticket = 0;
    stage_open(&s, 10);
    assert_int_equal(try_start(&s, "BREW", &ticket), RLK_E_INVALID_REQUEST);
    rlk_transport_config wrong = config;
    wrong.ca_file = "/does/not/exist";
    const char *detail = NULL;
    rlk_transport_worker *none = NULL;
    assert_int_equal(rlk_transport_worker_open(&none, &s.alloc, &wrong, 1, s.reader.wake, &detail),
                     RLK_E_INVALID_OPTION);
    assert_null(none);
    assert_non_null(strstr(detail, "ca_file"));
    stage_close(&s);
}

static void more_than_the_queue_holds_is_busy(void **state) {
    (void)state;
    stage s;
    int64_t ticket = 0;
    stage_open(&s, 2);
    s.peer.silent = true;
    post(&s), post(&s);
    assert_int_equal(try_start(&s, "POST", &ticket), RLK_E_BUSY);
    assert_int_equal(rlk_transport_worker_counts(s.worker).in_flight, 2);
    assert_true(rlk_transport_worker_cancel(s.worker, 1));
    next_result(&s);
    assert_int_equal(try_start(&s, "POST", &ticket), RLK_E_BUSY); /* not handed out yet */
    rlk_transport_worker_drop(s.worker);
    assert_int_equal(try_start(&s, "POST", &ticket), RLK_OK);
    stage_close(&s);
}

/* ---- Ending early ---- */

/* Until so many have reached the server, which says nothing to them. */
static void await_requests(stage *s, int count) {
    const int64_t began_ms = rlk_clock_monotonic_ms();
    s->peer.silent = true;
    while (s->peer.requests < count) {
        assert_true(rlk_clock_monotonic_ms() - began_ms < PATIENCE_MS);
        peer_turn(&s->peer);
        reader_read(&s->reader, TURN_MS);
    }
}

static void cancelling_tells_whether_it_was_sent(void **state) {
    (void)state;
    stage s;
    stage_open(&s, 10);
    const int64_t ticket = post(&s);
    await_requests(&s, 1);
    assert_true(rlk_transport_worker_cancel(s.worker, ticket));
    const rlk_result *r = next_result(&s);
    assert_int_equal(r->ticket, ticket);
    assert_int_equal(r->error, RLK_E_CANCELLED);
    assert_true(r->sent);
    assert_false(rlk_transport_worker_cancel(s.worker, ticket));
    rlk_transport_worker_drop(s.worker);
    stage_close(&s);
}

/* At once or after it was launched, as it happens. */
static void cancelling_right_after_the_start_works_too(void **state) {
    (void)state;
    stage s;
    stage_open(&s, MANY);
    s.peer.silent = true;
    for (int i = 0; i < MANY; i++)
        assert_true(rlk_transport_worker_cancel(s.worker, post(&s)));
    for (int i = 0; i < MANY; i++)
        expect(&s, RLK_E_CANCELLED);
    stage_close(&s);
}

static void closing_cancels_and_tells_what_was_sent(void **state) {
    (void)state;
    stage s;
    int64_t ticket = 0;
    stage_open(&s, MANY);
    assert_int_equal(post(&s), 1);
    await_requests(&s, 1);
    for (int i = 1; i < MANY; i++)
        post(&s);
    rlk_transport_worker_close(s.worker);
    rlk_transport_worker_close(s.worker);
    assert_int_equal(try_start(&s, "POST", &ticket), RLK_E_CLOSED);
    for (int i = 0; i < MANY; i++) {
        const rlk_result *r = rlk_transport_worker_peek(s.worker);
        assert_non_null(r);
        assert_int_equal(r->error, RLK_E_CANCELLED);
        assert_true(r->sent || r->ticket > 1);
        assert_true(strlen(r->detail) > 0);
        rlk_transport_worker_drop(s.worker);
    }
    assert_null(rlk_transport_worker_peek(s.worker));
    assert_int_equal(rlk_transport_worker_counts(s.worker).in_flight, 0);
    stage_close(&s);
}

static void freeing_wipes_what_is_under_way(void **state) {
    (void)state;
    stage s;
    stage_open(&s, 10);
    post(&s);
    await_requests(&s, 1);
    for (int i = 0; i < 5; i++)
        post(&s);
    stage_close(&s);
}

static void time_begins_with_the_start(void **state) {
    (void)state;
    stage s;
    const char *detail = NULL;
    int64_t ticket = 0;
    stage_open(&s, 10);
    s.peer.silent = true;
    const rlk_request request = {
        .method = LITERAL("GET"), .url = span_of(s.peer.url), .timeout_ms = 1};
    assert_int_equal(rlk_transport_worker_start(s.worker, &request, &ticket, &detail), RLK_OK);
    assert_int_equal(next_result(&s)->error, RLK_E_TIMEOUT);
    assert_true(next_result(&s)->time_ms >= 1);
    stage_close(&s);
}

/* ---- Memory and processes ---- */

static rlk_err exchange(stage *s) {
    int64_t ticket = 0;
    rlk_err e = try_open(s, 10);
    assert_int_equal(s->worker != NULL, e == RLK_OK);
    if (e == RLK_OK) e = try_start(s, "POST", &ticket);
    if (e == RLK_OK) {
        e = next_result(s)->error;
        rlk_transport_worker_drop(s->worker);
    }
    return e;
}

static void each_allocation_may_fail(void **state) {
    (void)state;
    rlk_err e = RLK_E_NO_MEMORY;
    for (size_t n = 1; e != RLK_OK; n++) {
        stage s;
        stage_init(&s);
        const size_t fail_at = s.heap.plain.allocations + n;
        s.heap.plain.fail_at = fail_at;
        e = exchange(&s);
        assert_true(e == RLK_OK || e == RLK_E_NO_MEMORY);
        assert_int_equal(e == RLK_OK, fail_at > s.heap.plain.allocations);
        stage_close(&s);
    }
}

/* Some of them may fail without harm, and not each of libcurl's failures is told as one of memory;
 * but the request ends, and nothing is left behind. */
static void each_of_libcurls_allocations_may_fail(void **state) {
    (void)state;
    size_t failures = 0;
    bool through = false;
    for (size_t n = 1; !through; n++) {
        stage s;
        stage_init(&s);
        curl_allocations = 0;
        curl_fail_at = n;
        failures += exchange(&s) != RLK_OK;
        rlk_transport_worker_free(s.worker);
        s.worker = NULL;
        through = n > curl_allocations;
        curl_fail_at = 0;
        stage_close(&s);
    }
    assert_true(failures > 10);
}

/* Somebody closes a descriptor that is not theirs, and opens a file of their own. */
static void lose_epoll(void) {
    char link[64], target[64];
    const int nothing = open("/dev/null", O_RDONLY | O_CLOEXEC);
    size_t found = 0;
    for (int fd = 0; fd < nothing; fd++) {
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        const ssize_t length = readlink(link, target, sizeof target - 1);
        target[length > 0 ? length : 0] = '\0';
        if (strcmp(target, "anon_inode:[eventpoll]") != 0) continue;
        assert_int_equal(dup2(nothing, fd), fd);
        found++;
    }
    assert_int_equal(found, 1);
    close(nothing);
}

static void fail_as_a_whole(stage *s) {
    for (int i = 0; i < CROWD; i++)
        post(s);
    await_requests(s, CROWD);
    lose_epoll();
    post(s); /* wakes it */
    for (int i = 0; i <= CROWD; i++)
        expect(s, RLK_E_NETWORK);
}

static clock_t cpu_used_until_the_next_byte(const stage *s) {
    const clock_t before = clock();
    assert_true(reader_read(&s->reader, PATIENCE_MS) > 0);
    return clock() - before;
}

static void a_transport_that_failed_as_a_whole_says_so(void **state) {
    (void)state;
    stage s;
    int64_t ticket = 0;
    stage_open(&s, MANY);
    fail_as_a_whole(&s);
    assert_int_equal(try_start(&s, "POST", &ticket), RLK_E_CLOSED);
    while (reader_read(&s.reader, 0) > 0) {
    }
    assert_true(cpu_used_until_the_next_byte(&s) < CLOCKS_PER_SEC / 2); /* it comes in a second */
    rlk_transport_worker_free(s.worker);
    assert_int_equal(try_open(&s, MANY), RLK_OK);
    peer_close(&s.peer);
    peer_open(&s.peer);
    post(&s);
    expect(&s, RLK_OK);
    stage_close(&s);
}

/* What cannot be launched is told at once, not with the next beat. */
static void what_cannot_be_launched_ends_at_once(void **state) {
    (void)state;
    stage s;
    stage_open(&s, MANY);
    const int64_t began_ms = rlk_clock_monotonic_ms();
    for (int i = 0; i < QUICK_ROUNDS; i++) {
        curl_starves = true;
        post(&s);
        expect(&s, RLK_E_NO_MEMORY);
        curl_starves = false;
    }
    assert_true(rlk_clock_monotonic_ms() - began_ms < (QUICK_ROUNDS - 1) * RLK_WAKE_BEAT_MS);
    post(&s);
    expect(&s, RLK_OK);
    stage_close(&s);
}

static bool child_finds_nothing(stage *s) {
    int64_t ticket = 0;
    const size_t blocks = s->heap.plain.blocks_out;
    const bool good = try_start(s, "POST", &ticket) == RLK_E_CLOSED &&
                      rlk_transport_worker_peek(s->worker) == NULL &&
                      !rlk_transport_worker_cancel(s->worker, 1);
    rlk_transport_worker_close(s->worker);
    rlk_transport_worker_free(s->worker);
    rlk_wake_release(s->reader.wake);
    return good && s->heap.plain.blocks_out == blocks;
}

static void a_forked_child_finds_it_closed_and_does_no_harm(void **state) {
    (void)state;
    stage s;
    int status = -1;
    stage_open(&s, 10);
    post(&s);
    await_requests(&s, 1);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) _exit(child_finds_nothing(&s) ? 0 : 1);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(rlk_transport_worker_counts(s.worker).in_flight, 1);
    s.peer.silent = false;
    assert_true(rlk_transport_worker_cancel(s.worker, 1));
    expect(&s, RLK_E_CANCELLED);
    post(&s);
    expect(&s, RLK_OK);
    stage_close(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_come_back),
        cmocka_unit_test(many_at_once_come_back_once_each),
        cmocka_unit_test(what_is_wrong_is_told_at_once),
        cmocka_unit_test(more_than_the_queue_holds_is_busy),
        cmocka_unit_test(cancelling_tells_whether_it_was_sent),
        cmocka_unit_test(cancelling_right_after_the_start_works_too),
        cmocka_unit_test(closing_cancels_and_tells_what_was_sent),
        cmocka_unit_test(freeing_wipes_what_is_under_way),
        cmocka_unit_test(time_begins_with_the_start),
        cmocka_unit_test(each_allocation_may_fail),
        cmocka_unit_test(each_of_libcurls_allocations_may_fail),
        cmocka_unit_test(a_transport_that_failed_as_a_whole_says_so),
        cmocka_unit_test(what_cannot_be_launched_ends_at_once),
        cmocka_unit_test(a_forked_child_finds_it_closed_and_does_no_harm),
    };
    tester = pthread_self();
    (void)curl_global_init_mem(CURL_GLOBAL_DEFAULT, curl_malloc, free, curl_realloc, curl_strdup,
                               curl_calloc);
    return cmocka_run_group_tests_name("transport worker", tests, NULL, NULL);
}
