/* rlk_terminal_ask at a pseudo-terminal: what is typed, what shows, and what a signal leaves
 * behind.
 *
 * The child asks and tells by its exit status; the test plays the person. */
#define _DEFAULT_SOURCE

#include "support.h"

#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "io/terminal.h"

enum { PATIENCE_MS = 60000, SAID_BYTES_MAX = 4096, GOOD = 0, BAD = 1 };

static const char QUESTION[] = "what? ";

typedef struct person {
    int terminal;
    pid_t child;
    char said[SAID_BYTES_MAX]; /* all that the terminal showed, a text */
    size_t bytes;
} person;

static bool echoes(int fd) {
    struct termios t;
    assert_int_equal(tcgetattr(fd, &t), 0);
    return (t.c_lflag & (tcflag_t)ECHO) != 0;
}

/* A child at a new terminal, which ends with what `body` returns. */
static void sit_down(person *p, int (*body)(void)) {
    memset(p, 0, sizeof *p);
    p->child = forkpty(&p->terminal, NULL, NULL, NULL);
    assert_true(p->child >= 0);
    if (p->child == 0) _exit(body());
}

static void read_until(person *p, const char *text) {
    while (strstr(p->said, text) == NULL) {
        struct pollfd one = {p->terminal, POLLIN, 0};
        assert_int_equal(poll(&one, 1, PATIENCE_MS), 1);
        const ssize_t got = read(p->terminal, p->said + p->bytes, SAID_BYTES_MAX - 1 - p->bytes);
        assert_true(got > 0);
        p->bytes += (size_t)got;
    }
}

static void type(const person *p, const char *text) {
    assert_int_equal(write(p->terminal, text, strlen(text)), (ssize_t)strlen(text));
}

/* How the child ended. The terminal outlives it. */
static int leave(person *p) {
    int status = 0;
    assert_int_equal(waitpid(p->child, &status, 0), p->child);
    close(p->terminal);
    return status;
}

static rlk_err ask(bool echo, char *line, size_t *bytes) {
    return rlk_terminal_ask(span_of(QUESTION), echo, line, bytes);
}

static int expect_secret(bool echo) {
    char line[RLK_TERMINAL_LINE_BYTES_MAX];
    size_t bytes = 0;
    if (ask(echo, line, &bytes) != RLK_OK) return BAD;
    const bool same = bytes == 6 && memcmp(line, "secret", 6) == 0;
    (void)printf("done\n");
    (void)fflush(stdout);
    (void)getchar(); /* the person looks at the terminal first */
    return same ? GOOD : BAD;
}

static int expect_hidden(void) {
    return expect_secret(false);
}

static int expect_shown(void) {
    return expect_secret(true);
}

static void test_a_secret_does_not_show(void **state) {
    (void)state;
    person p;
    sit_down(&p, expect_hidden);
    read_until(&p, QUESTION);
    assert_false(echoes(p.terminal));
    type(&p, "secret\n");
    read_until(&p, "done");
    assert_true(echoes(p.terminal));
    assert_null(strstr(p.said, "secret"));
    assert_non_null(strstr(p.said, "what? \r\ndone"));
    type(&p, "\n");
    assert_int_equal(leave(&p), GOOD);
}

static void test_anything_else_shows(void **state) {
    (void)state;
    person p;
    sit_down(&p, expect_shown);
    read_until(&p, QUESTION);
    type(&p, "secret\n");
    read_until(&p, "done");
    assert_non_null(strstr(p.said, "what? secret\r\ndone"));
    type(&p, "\n");
    assert_int_equal(leave(&p), GOOD);
}

static volatile sig_atomic_t echoed_at_signal = -1;

static void on_signal(int number) {
    (void)number;
    struct termios t;
    echoed_at_signal = tcgetattr(STDIN_FILENO, &t) == 0 && (t.c_lflag & (tcflag_t)ECHO) != 0;
}

/* The handler, which may be the last thing that runs, finds the terminal as it was. */
static int expect_interruption(void) {
    struct sigaction act = {.sa_handler = on_signal};
    (void)sigaction(SIGINT, &act, NULL);
    char line[RLK_TERMINAL_LINE_BYTES_MAX];
    size_t bytes = 0;
    return ask(false, line, &bytes) == RLK_E_CANCELLED && echoed_at_signal == 1 ? GOOD : BAD;
}

static void test_ctrl_c_finds_the_terminal_as_it_was(void **state) {
    (void)state;
    person p;
    sit_down(&p, expect_interruption);
    read_until(&p, QUESTION);
    type(&p, "sec\003");
    assert_int_equal(leave(&p), GOOD);
}

static void test_a_deadly_signal_leaves_it_as_it_was(void **state) {
    (void)state;
    person p;
    sit_down(&p, expect_hidden);
    read_until(&p, QUESTION);
    assert_false(echoes(p.terminal));
    assert_int_equal(kill(p.child, SIGTERM), 0);
    int status = 0;
    assert_int_equal(waitpid(p.child, &status, 0), p.child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
    assert_true(echoes(p.terminal));
    close(p.terminal);
}

static int expect_nothing(void) {
    char line[RLK_TERMINAL_LINE_BYTES_MAX];
    size_t bytes = 0;
    return ask(false, line, &bytes) == RLK_E_NOT_FOUND ? GOOD : BAD;
}

static void test_an_end_of_file_is_no_answer(void **state) {
    (void)state;
    person p;
    sit_down(&p, expect_nothing);
    read_until(&p, QUESTION);
    type(&p, "\004");
    assert_int_equal(leave(&p), GOOD);
}

static void test_without_a_terminal_nobody_is_asked(void **state) {
    (void)state;
    const pid_t child = fork();
    if (child == 0) _exit(setsid() > 0 ? expect_nothing() : BAD);
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, GOOD);
}

static void test_what_is_a_terminal_is_known(void **state) {
    (void)state;
    int ends[2], one = -1, other = -1;
    struct winsize size = {.ws_col = 77, .ws_row = 5};
    assert_int_equal(openpty(&one, &other, NULL, NULL, &size), 0);
    assert_int_equal(pipe(ends), 0);
    assert_true(rlk_terminal_is(other));
    assert_int_equal(rlk_terminal_columns(other), 77);
    assert_false(rlk_terminal_is(ends[0]));
    assert_int_equal(rlk_terminal_columns(ends[0]), 0);
    close(ends[0]);
    close(ends[1]);
    close(one);
    close(other);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_secret_does_not_show),
        cmocka_unit_test(test_anything_else_shows),
        cmocka_unit_test(test_ctrl_c_finds_the_terminal_as_it_was),
        cmocka_unit_test(test_a_deadly_signal_leaves_it_as_it_was),
        cmocka_unit_test(test_an_end_of_file_is_no_answer),
        cmocka_unit_test(test_without_a_terminal_nobody_is_asked),
        cmocka_unit_test(test_what_is_a_terminal_is_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
