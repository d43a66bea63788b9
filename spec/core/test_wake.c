/* A wake: who may connect, what is left behind, which bytes come when. */
#define _GNU_SOURCE

#include "reader.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "io/clock.h"
#include "place.h"

static rlk_wake *open_wake(void) {
    const rlk_alloc alloc = rlk_alloc_default();
    const char *detail = NULL;
    rlk_wake *w = NULL;
    assert_int_equal(rlk_wake_open(&w, &alloc, &detail), RLK_OK);
    return w;
}

static rlk_err accept_on(rlk_wake *w) {
    const char *detail = NULL;
    const rlk_err e = rlk_wake_accept(w, &detail);
    if (e != RLK_OK) assert_non_null(detail);
    return e;
}

/* The socket's path, and that of its folder. */
typedef struct spot {
    char socket[128];
    char folder[128];
} spot;

static spot spot_of(const rlk_wake *w) {
    spot s;
    snprintf(s.socket, sizeof s.socket, "%s", rlk_wake_path(w));
    snprintf(s.folder, sizeof s.folder, "%s", s.socket);
    *strrchr(s.folder, '/') = '\0';
    return s;
}

static bool is_there(const char *path) {
    struct stat st;
    return stat(path, &st) == 0;
}

static void assert_gone(const spot *s) {
    assert_false(is_there(s->socket));
    assert_false(is_there(s->folder));
}

static void its_folder_is_for_its_owner_only(void **state) {
    (void)state;
    rlk_wake *w = open_wake();
    const spot s = spot_of(w);
    struct stat st;
    assert_int_equal(stat(s.folder, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    assert_int_equal(st.st_uid, geteuid());
    assert_int_equal(stat(s.socket, &st), 0);
    assert_true(S_ISSOCK(st.st_mode));
    rlk_wake_release(w);
    assert_gone(&s);
}

static void every_wake_has_its_own(void **state) {
    (void)state;
    rlk_wake *a = open_wake(), *b = open_wake();
    assert_string_not_equal(rlk_wake_path(a), rlk_wake_path(b));
    rlk_wake_release(a);
    rlk_wake_release(b);
}

static void nothing_is_left_once_the_connection_stands(void **state) {
    (void)state;
    rlk_wake *w = open_wake();
    const spot s = spot_of(w);
    const int fd = reader_connect(s.socket);
    assert_int_equal(accept_on(w), RLK_OK);
    assert_gone(&s);
    assert_null(rlk_wake_path(w));
    assert_int_equal(accept_on(w), RLK_E_CLOSED);
    close(fd);
    rlk_wake_release(w);
}

static void accepting_does_not_wait(void **state) {
    (void)state;
    rlk_wake *w = open_wake();
    assert_int_equal(accept_on(w), RLK_E_CONNECT);
    const int fd = reader_connect(rlk_wake_path(w));
    assert_int_equal(accept_on(w), RLK_OK);
    close(fd);
    rlk_wake_release(w);
}

static void the_descriptors_are_not_handed_on(void **state) {
    (void)state;
    int before = open("/dev/null", O_RDONLY);
    close(before);
    rlk_wake *w = open_wake(); /* takes the lowest free one */
    assert_int_equal(fcntl(before, F_GETFD), FD_CLOEXEC);
    const int fd = reader_connect(rlk_wake_path(w));
    assert_int_equal(fd, before + 1);
    assert_int_equal(accept_on(w), RLK_OK);
    assert_int_equal(fcntl(before + 2, F_GETFD), FD_CLOEXEC);
    assert_int_equal(fcntl(before, F_GETFD), -1); /* nothing listens any more */
    close(fd);
    rlk_wake_release(w);
}

/* ---- Others ---- */

/* Starts a process that connects; returns when it has. Its exit status is 0 when it was turned away
 * without a byte. */
static pid_t start_stranger(const char *path) {
    int tell[2];
    char byte;
    assert_int_equal(pipe(tell), 0);
    const pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        const int fd = reader_connect(path);
        (void)!write(tell[1], "c", 1);
        _exit(fd >= 0 && recv(fd, &byte, 1, 0) == 0 ? 0 : 1);
    }
    assert_int_equal(read(tell[0], &byte, 1), 1);
    close(tell[0]), close(tell[1]);
    return pid;
}

static void assert_turned_away(pid_t stranger) {
    int status = -1;
    assert_int_equal(waitpid(stranger, &status, 0), stranger);
    assert_int_equal(status, 0);
}

static void another_process_is_turned_away(void **state) {
    (void)state;
    rlk_wake *w = open_wake();
    const spot s = spot_of(w);
    const char *detail = NULL;
    const pid_t alone = start_stranger(s.socket);
    assert_int_equal(rlk_wake_accept(w, &detail), RLK_E_CONNECT);
    assert_non_null(strstr(detail, "another process"));
    assert_turned_away(alone);
    assert_true(is_there(s.socket));

    const pid_t first = start_stranger(s.socket);
    const int fd = reader_connect(s.socket);
    const reader own = {w, fd};
    rlk_wake_signal(w);
    assert_int_equal(accept_on(w), RLK_OK);
    assert_turned_away(first);
    assert_int_equal(reader_read(&own, PATIENCE_MS), 1);
    close(fd);
    rlk_wake_release(w);
}

/* Only the superuser can be somebody else for a moment. */
static void another_user_is_turned_away(void **state) {
    (void)state;
    if (geteuid() != 0) skip();
    rlk_wake *w = open_wake();
    const spot s = spot_of(w);
    assert_int_equal(chmod(s.folder, 0777), 0);
    assert_int_equal(chmod(s.socket, 0777), 0);
    assert_int_equal(seteuid(65534), 0);
    const int fd = reader_connect(s.socket);
    assert_int_equal(seteuid(0), 0);
    assert_true(fd >= 0);
    assert_int_equal(accept_on(w), RLK_E_CONNECT);
    close(fd);
    rlk_wake_release(w);
}

static void a_forked_child_can_do_nothing_with_it(void **state) {
    (void)state;
    rlk_wake *w = open_wake();
    const spot s = spot_of(w);
    int status = -1;
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        static rlk_wake *parents; /* else valgrind misses it in the child */
        const char *detail = NULL;
        parents = w;
        const bool good = rlk_wake_path(w) == NULL && rlk_wake_accept(w, &detail) == RLK_E_CLOSED;
        rlk_wake_close(w);
        rlk_wake_release(w);
        _exit(good && parents == w ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_true(is_there(s.socket)); /* and took nothing away */
    const int fd = reader_connect(s.socket);
    assert_int_equal(accept_on(w), RLK_OK);
    close(fd);
    rlk_wake_release(w);
}

/* ---- Bytes ---- */

static reader open_reader(void) {
    const rlk_alloc alloc = rlk_alloc_default();
    return reader_open(&alloc);
}

static void a_signal_is_a_byte(void **state) {
    (void)state;
    reader r = open_reader();
    assert_int_equal(reader_read(&r, 0), 0);
    rlk_wake_signal(r.wake);
    rlk_wake_signal(r.wake);
    assert_int_equal(reader_read(&r, PATIENCE_MS), 2);
    reader_close(&r);
}

static void signals_before_the_connection_are_made_up_for_by_one(void **state) {
    (void)state;
    rlk_wake *w = open_wake();
    const reader r = {w, reader_connect(rlk_wake_path(w))};
    rlk_wake_signal(w);
    rlk_wake_signal(w);
    assert_int_equal(reader_read(&r, 0), 0);
    assert_int_equal(accept_on(w), RLK_OK);
    assert_int_equal(reader_read(&r, PATIENCE_MS), 1);
    close(r.fd);
    rlk_wake_release(w);
}

static void a_full_connection_is_no_reason_to_wait(void **state) {
    (void)state;
    reader r = open_reader();
    for (int i = 0; i < 100000; i++)
        rlk_wake_signal(r.wake);
    assert_true(reader_read(&r, PATIENCE_MS) > 0);
    reader_close(&r);
}

static void a_reader_that_went_away_does_no_harm(void **state) {
    (void)state;
    reader r = open_reader();
    close(r.fd);
    rlk_wake_signal(r.wake); /* SIGPIPE would end this program */
    rlk_wake_signal(r.wake);
    rlk_wake_release(r.wake);
}

static void closing_ends_the_connection_for_all(void **state) {
    (void)state;
    reader r = open_reader();
    rlk_wake *held = rlk_wake_hold(r.wake);
    rlk_wake_close(r.wake);
    rlk_wake_close(r.wake);
    assert_int_equal(reader_read(&r, PATIENCE_MS), -1);
    reader_close(&r);
    rlk_wake_signal(held);
    assert_true(rlk_wake_beat(held) > 0);
    rlk_wake_release(held);
}

/* No thread is here that could beat, and the time does pass. */
static void a_beat_comes_when_nothing_else_came(void **state) {
    (void)state;
    const int64_t began_ms = rlk_clock_monotonic_ms();
    reader r = open_reader();
    int64_t next_ms = rlk_wake_beat(r.wake);
    assert_true(next_ms > 0 && next_ms <= RLK_WAKE_BEAT_MS);
    while (reader_read(&r, 0) == 0) {
        assert_int_equal(rlk_clock_sleep_ms(next_ms), RLK_OK);
        next_ms = rlk_wake_beat(r.wake);
        assert_true(next_ms > 0 && next_ms <= RLK_WAKE_BEAT_MS);
    }
    assert_true(rlk_clock_monotonic_ms() - began_ms >= RLK_WAKE_BEAT_MS);
    reader_close(&r);
}

/* ---- Pairs ---- */

static rlk_wake *open_pair(void) {
    const rlk_alloc alloc = rlk_alloc_default();
    const char *detail = NULL;
    rlk_wake *w = NULL;
    assert_int_equal(rlk_wake_open_pair(&w, &alloc, &detail), RLK_OK);
    return w;
}

static bool is_readable(const rlk_wake *w) {
    struct pollfd one = {.fd = rlk_wake_fd(w), .events = POLLIN};
    return poll(&one, 1, 0) == 1;
}

static void a_pair_is_ready_at_once(void **state) {
    (void)state;
    rlk_wake *w = open_pair();
    assert_null(rlk_wake_path(w));
    assert_int_equal(accept_on(w), RLK_E_CLOSED);
    assert_false(is_readable(w));
    for (int i = 0; i < 1000; i++)
        rlk_wake_signal(w);
    assert_true(is_readable(w));
    rlk_wake_wait(w, INT64_MAX); /* not at all */
    rlk_wake_drain(w);
    assert_false(is_readable(w));
    rlk_wake_drain(w);
    rlk_wake_wait(w, 1);
    rlk_wake_release(w);
}

static void a_pair_is_not_handed_on_and_closes_both_ends(void **state) {
    (void)state;
    const int next = open("/dev/null", O_RDONLY);
    close(next);
    rlk_wake *w = open_pair(); /* takes the two lowest free ones */
    assert_int_equal(rlk_wake_fd(w), next + 1);
    assert_int_equal(fcntl(next, F_GETFD), FD_CLOEXEC);
    assert_int_equal(fcntl(next + 1, F_GETFD), FD_CLOEXEC);
    rlk_wake_close(w);
    assert_int_equal(rlk_wake_fd(w), -1);
    assert_int_equal(fcntl(next, F_GETFD), -1);
    assert_int_equal(fcntl(next + 1, F_GETFD), -1);
    rlk_wake_signal(w);
    rlk_wake_drain(w);
    rlk_wake_wait(w, INT64_MAX);
    rlk_wake_release(w);
}

static void a_forked_child_has_no_pair(void **state) {
    (void)state;
    rlk_wake *w = open_pair();
    int status = -1;
    rlk_wake_signal(w);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        static rlk_wake *parents; /* else valgrind misses it in the child */
        parents = w;
        rlk_wake_drain(w);
        rlk_wake_wait(w, INT64_MAX);
        rlk_wake_close(w);
        _exit(rlk_wake_fd(w) == -1 && parents == w ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_true(is_readable(w)); /* and took nothing away */
    rlk_wake_release(w);
}

/* ---- What fails ---- */

static void each_allocation_may_fail(void **state) {
    (void)state;
    shared_heap heap = SHARED_HEAP_INIT;
    const rlk_alloc alloc = shared_allocator(&heap);
    const char *detail = NULL;
    rlk_wake *w = NULL;
    heap.plain.fail_at = 1;
    assert_int_equal(rlk_wake_open(&w, &alloc, &detail), RLK_E_NO_MEMORY);
    assert_null(w);
    assert_int_equal(rlk_wake_open(&w, &alloc, &detail), RLK_OK);
    rlk_wake_release(w);
    assert_int_equal(heap.plain.blocks_out, 0);
    assert_int_equal(heap.plain.allocations, 2);
    heap.plain.fail_at = 3;
    assert_int_equal(rlk_wake_open_pair(&w, &alloc, &detail), RLK_E_NO_MEMORY);
    assert_null(w);
}

static void no_descriptor_left_is_told_and_leaves_nothing(void **state) {
    (void)state;
    const rlk_alloc alloc = rlk_alloc_default();
    const char *detail = NULL;
    rlk_wake *w = NULL;
    place p = place_arrive();
    struct rlimit limit;
    assert_int_equal(setenv("TMPDIR", p.directory, 1), 0);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    const rlim_t former = limit.rlim_cur;
    limit.rlim_cur = 0;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    const rlk_err e = rlk_wake_open(&w, &alloc, &detail);
    rlk_wake *pair = NULL;
    const char *of_pair_detail = NULL;
    int probe[2] = {-1, -1}; /* valgrind lets no limit get in the way of pairs */
    const bool limited = socketpair(AF_UNIX, SOCK_STREAM, 0, probe) != 0;
    const rlk_err of_pair = rlk_wake_open_pair(&pair, &alloc, &of_pair_detail);
    limit.rlim_cur = former;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    assert_int_equal(e, RLK_E_CONNECT);
    assert_int_equal(of_pair, limited ? RLK_E_CONNECT : RLK_OK);
    rlk_wake_release(pair);
    if (!limited) close(probe[0]), close(probe[1]);
    assert_non_null(strstr(detail, "open files"));
    assert_int_equal(rmdir(p.directory), 0); /* it is empty */
    assert_int_equal(unsetenv("TMPDIR"), 0);
}

static const char *folder_with(const char *tmpdir, spot *out) {
    assert_int_equal(setenv("TMPDIR", tmpdir, 1), 0);
    rlk_wake *w = open_wake();
    assert_int_equal(unsetenv("TMPDIR"), 0);
    *out = spot_of(w);
    const int fd = reader_connect(out->socket);
    assert_int_equal(accept_on(w), RLK_OK);
    close(fd);
    rlk_wake_release(w);
    return out->folder;
}

static void tmpdir_is_heeded_where_it_will_do(void **state) {
    (void)state;
    char long_name[200];
    spot s;
    place p = place_arrive();
    memset(long_name, 'x', sizeof long_name - 1);
    long_name[0] = '/', long_name[sizeof long_name - 1] = '\0';
    assert_memory_equal(folder_with(p.directory, &s), p.directory, strlen(p.directory));
    assert_memory_equal(folder_with(long_name, &s), "/tmp/ringlink-", 14);
    assert_memory_equal(folder_with(".", &s), "/tmp/ringlink-", 14);
    assert_memory_equal(folder_with("/does/not/exist", &s), "/tmp/ringlink-", 14);
    place_leave(&p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(its_folder_is_for_its_owner_only),
        cmocka_unit_test(every_wake_has_its_own),
        cmocka_unit_test(nothing_is_left_once_the_connection_stands),
        cmocka_unit_test(accepting_does_not_wait),
        cmocka_unit_test(the_descriptors_are_not_handed_on),
        cmocka_unit_test(another_process_is_turned_away),
        cmocka_unit_test(another_user_is_turned_away),
        cmocka_unit_test(a_forked_child_can_do_nothing_with_it),
        cmocka_unit_test(a_signal_is_a_byte),
        cmocka_unit_test(signals_before_the_connection_are_made_up_for_by_one),
        cmocka_unit_test(a_full_connection_is_no_reason_to_wait),
        cmocka_unit_test(a_reader_that_went_away_does_no_harm),
        cmocka_unit_test(closing_ends_the_connection_for_all),
        cmocka_unit_test(a_beat_comes_when_nothing_else_came),
        cmocka_unit_test(a_pair_is_ready_at_once),
        cmocka_unit_test(a_pair_is_not_handed_on_and_closes_both_ends),
        cmocka_unit_test(a_forked_child_has_no_pair),
        cmocka_unit_test(each_allocation_may_fail),
        cmocka_unit_test(no_descriptor_left_is_told_and_leaves_nothing),
        cmocka_unit_test(tmpdir_is_heeded_where_it_will_do),
    };
    unsetenv("TMPDIR");
    return cmocka_run_group_tests_name("wake", tests, NULL, NULL);
}
