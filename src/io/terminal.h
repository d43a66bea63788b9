/* Asking whoever sits at the terminal.
 *
 * The question goes to the terminal itself, /dev/tty, whatever standard input and output are. While
 * a secret is asked for the terminal does not echo. However asking ends, also by a signal, echo is
 * back before anything else happens: SIGINT, SIGTERM, SIGHUP, SIGQUIT and SIGTSTP are held back
 * while the line is typed, and reach the process once the terminal is as it was.
 *
 * Nothing is kept; one thread at a time, the one that the signals are meant for. */
#ifndef RLK_TERMINAL_H
#define RLK_TERMINAL_H

#include <stdbool.h>
#include <stddef.h>

#include "core/err.h"
#include "core/span.h"

enum { RLK_TERMINAL_LINE_BYTES_MAX = 4096 };

/* Whether a file descriptor is a terminal. */
bool rlk_terminal_is(int fd);

/* How many columns that terminal has; 0 when nobody knows. */
unsigned rlk_terminal_columns(int fd);

/* Asks for one line, without its end. RLK_E_NOT_FOUND: there is no terminal to ask at, or it went
 * away, or the answer was an end of file; RLK_E_CANCELLED: a signal came, and its handler returned.
 * The caller wipes `line`. */
rlk_err rlk_terminal_ask(rlk_span question, bool echo, char line[RLK_TERMINAL_LINE_BYTES_MAX],
                         size_t *bytes);

#endif
