/* termios, and signals that wait until the terminal is as it was; see terminal.h. */
#define _DEFAULT_SOURCE

#include "io/terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <unistd.h>

typedef struct asking {
    int tty;
    int signals; /* readable while one of `held` is pending; never read, so that it stays so */
    bool echo;
    sigset_t held, former;
    struct termios saved;
} asking;

typedef enum heard { HEARD_LINE, HEARD_SIGNAL, HEARD_NOTHING } heard;

bool rlk_terminal_is(int fd) {
    return isatty(fd) == 1;
}

unsigned rlk_terminal_columns(int fd) {
    struct winsize size = {0};
    return ioctl(fd, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
}

static void write_all(int fd, const char *text, size_t bytes) {
    while (bytes > 0) {
        const ssize_t done = write(fd, text, bytes);
        if (done < 0 && errno != EINTR) return;
        if (done > 0) {
            text += done;
            bytes -= (size_t)done;
        }
    }
}

static void close_asking(asking *a) {
    if (a->signals >= 0) (void)close(a->signals);
    if (a->tty >= 0) (void)close(a->tty);
}

static rlk_err open_asking(asking *a, bool echo) {
    static const int all[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP};
    sigemptyset(&a->held);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        sigaddset(&a->held, all[i]);
    a->echo = echo;
    a->tty = open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC);
    a->signals = signalfd(-1, &a->held, SFD_CLOEXEC);
    if (a->tty >= 0 && a->signals >= 0) return RLK_OK;
    close_asking(a);
    return RLK_E_NOT_FOUND;
}

static void let_signals_come(const asking *a) {
    (void)pthread_sigmask(SIG_SETMASK, &a->former, NULL);
}

static bool begin(asking *a, rlk_span question) {
    (void)pthread_sigmask(SIG_BLOCK, &a->held, &a->former);
    if (tcgetattr(a->tty, &a->saved) != 0) {
        let_signals_come(a);
        return false;
    }
    struct termios quiet = a->saved;
    if (!a->echo) quiet.c_lflag &= ~(tcflag_t)ECHO;
    (void)tcsetattr(a->tty, TCSAFLUSH, &quiet);
    write_all(a->tty, question.ptr, question.len);
    return true;
}

/* Whether asking again makes sense: the process was stopped and goes on. */
static bool was_stopped(void) {
    sigset_t pending;
    sigemptyset(&pending);
    (void)sigpending(&pending);
    return sigismember(&pending, SIGTSTP) == 1 && sigismember(&pending, SIGINT) != 1;
}

static void end(const asking *a, heard what) {
    (void)tcsetattr(a->tty, TCSANOW, &a->saved);
    if (!a->echo || what != HEARD_LINE) write_all(a->tty, "\n", 1);
    let_signals_come(a);
}

static heard read_line(int tty, char *line, size_t *bytes) {
    const ssize_t got = read(tty, line, RLK_TERMINAL_LINE_BYTES_MAX);
    if (got <= 0) return HEARD_NOTHING;
    *bytes = (size_t)got - (line[got - 1] == '\n' ? 1 : 0);
    return HEARD_LINE;
}

static heard listen(const asking *a, char *line, size_t *bytes) {
    struct pollfd both[] = {{a->signals, POLLIN, 0}, {a->tty, POLLIN, 0}};
    while (poll(both, 2, -1) < 0)
        if (errno != EINTR) return HEARD_NOTHING;
    if (both[0].revents != 0) return HEARD_SIGNAL;
    return read_line(a->tty, line, bytes);
}

rlk_err rlk_terminal_ask(rlk_span question, bool echo, char line[RLK_TERMINAL_LINE_BYTES_MAX],
                         size_t *bytes) {
    asking a;
    rlk_err e = open_asking(&a, echo);
    if (e != RLK_OK) return e;
    heard what = HEARD_NOTHING;
    bool again = true;
    while (again && begin(&a, question)) {
        what = listen(&a, line, bytes);
        again = what == HEARD_SIGNAL && was_stopped();
        end(&a, what);
    }
    close_asking(&a);
    if (what == HEARD_LINE) return RLK_OK;
    return what == HEARD_SIGNAL ? RLK_E_CANCELLED : RLK_E_NOT_FOUND;
}
