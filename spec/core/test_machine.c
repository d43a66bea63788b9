/* Clock, randomness and signals: what the machine gives. */
#define _POSIX_C_SOURCE 200809L

#include "support.h"

#include <pthread.h>
#include <signal.h>
#include <time.h>

#include "io/clock.h"
#include "io/random.h"
#include "io/signals.h"

static void clocks_count_milliseconds(void **state) {
    (void)state;
    const int64_t seconds = (int64_t)time(NULL);
    const int64_t wall_ms = rlk_clock_wall_ms();
    assert_true(wall_ms / 1000 - seconds <= 1 && wall_ms / 1000 >= seconds);
    const int64_t before_ms = rlk_clock_monotonic_ms();
    assert_true(rlk_clock_monotonic_ms() >= before_ms);
}

static void sleeping_takes_as_long_as_asked(void **state) {
    (void)state;
    const int64_t before_ms = rlk_clock_monotonic_ms();
    assert_int_equal(rlk_clock_sleep_ms(12), RLK_OK);
    assert_true(rlk_clock_monotonic_ms() - before_ms >= 11); /* both ends are rounded down */
    assert_int_equal(rlk_clock_sleep_ms(0), RLK_OK);
    assert_int_equal(rlk_clock_sleep_ms(INT64_MIN), RLK_OK);
}

static void on_signal(int number) {
    (void)number;
}

typedef struct sleeper {
    volatile sig_atomic_t done;
} sleeper;

static void *sleep_long(void *ud) {
    sleeper *s = ud;
    rlk_clock_sleep_ms(3600000);
    s->done = 1;
    return NULL;
}

static void a_signal_ends_a_sleep(void **state) {
    (void)state;
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART}, former;
    sigaction(SIGUSR1, &action, &former);
    sleeper s = {0};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, sleep_long, &s), 0);
    while (!s.done) { /* the first ones may come before it sleeps */
        pthread_kill(thread, SIGUSR1);
        rlk_clock_sleep_ms(1);
    }
    assert_int_equal(pthread_join(thread, NULL), 0);
    sigaction(SIGUSR1, &former, NULL);
}

static void random_bytes_fill_all(void **state) {
    (void)state;
    unsigned char bytes[1000] = {0};
    size_t zeros = 0;
    assert_int_equal(rlk_random_bytes(bytes, sizeof bytes), RLK_OK);
    for (size_t i = 0; i < sizeof bytes; i++)
        zeros += bytes[i] == 0;
    assert_true(zeros < 50);
    assert_int_equal(rlk_random_bytes(bytes, 0), RLK_OK);
}

static bool is_blocked(int number) {
    sigset_t mask;
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    return sigismember(&mask, number) == 1;
}

static void holding_blocks_and_release_restores(void **state) {
    (void)state;
    rlk_signals s = {0};
    assert_int_equal(rlk_signals_release(&s), RLK_OK);
    assert_int_equal(rlk_signals_hold(&s), RLK_OK);
    assert_int_equal(rlk_signals_hold(&s), RLK_OK);
    assert_true(is_blocked(SIGINT) && is_blocked(SIGTERM));
    assert_int_equal(rlk_signals_release(&s), RLK_OK);
    assert_false(is_blocked(SIGINT) || is_blocked(SIGTERM));
}

static void what_was_blocked_before_stays_so(void **state) {
    (void)state;
    sigset_t term;
    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &term, NULL);
    rlk_signals s = {0};
    assert_int_equal(rlk_signals_hold(&s), RLK_OK);
    assert_int_equal(rlk_signals_release(&s), RLK_OK);
    assert_true(is_blocked(SIGTERM));
    assert_false(is_blocked(SIGINT));
    pthread_sigmask(SIG_UNBLOCK, &term, NULL);
}

static volatile sig_atomic_t interrupted;

static void on_interrupt(int number) {
    (void)number;
    interrupted++;
}

static void a_held_signal_comes_with_the_release(void **state) {
    (void)state;
    struct sigaction action = {.sa_handler = on_interrupt}, former;
    sigaction(SIGINT, &action, &former);
    rlk_signals s = {0};
    interrupted = 0;
    assert_int_equal(rlk_signals_hold(&s), RLK_OK);
    pthread_kill(pthread_self(), SIGINT);
    assert_int_equal(interrupted, 0);
    assert_int_equal(rlk_signals_release(&s), RLK_OK);
    assert_int_equal(interrupted, 1);
    sigaction(SIGINT, &former, NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(clocks_count_milliseconds),
        cmocka_unit_test(sleeping_takes_as_long_as_asked),
        cmocka_unit_test(a_signal_ends_a_sleep),
        cmocka_unit_test(random_bytes_fill_all),
        cmocka_unit_test(holding_blocks_and_release_restores),
        cmocka_unit_test(what_was_blocked_before_stays_so),
        cmocka_unit_test(a_held_signal_comes_with_the_release),
    };
    return cmocka_run_group_tests_name("machine", tests, NULL, NULL);
}
