/* HTTP-dates; the contract is in httpdate.h.
 *
 * A cursor walks over the text; each step takes what it expects or marks the cursor as failed, and
 * after a failure every step is void. So each form is a list of steps and one check at the end. */
#include "core/httpdate.h"
#include "core/codec.h"
#include "core/limits.h"
#include "core/ms.h"

#include <string.h>

typedef struct cursor {
    const char *at;
    const char *end;
    bool failed;
} cursor;

typedef struct date {
    int year, month, day, hour, minute, second; /* month and day from 1 */
} date;

static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                     "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
static const char *const days_short[] = {"Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"};
static const char *const days_long[] = {"Monday", "Tuesday",  "Wednesday", "Thursday",
                                        "Friday", "Saturday", "Sunday"};
enum { MONTHS = 12, WEEKDAYS = 7 };

static bool starts_with(const cursor *c, const char *word) {
    const size_t len = strlen(word);
    return (size_t)(c->end - c->at) >= len && memcmp(c->at, word, len) == 0;
}

static void take(cursor *c, const char *word) {
    if (c->failed || !starts_with(c, word))
        c->failed = true;
    else
        c->at += strlen(word);
}

/* One of the words; its place from 1. */
static int take_name(cursor *c, const char *const *names, int count) {
    for (int i = 0; i < count && !c->failed; i++) {
        if (!starts_with(c, names[i])) continue;
        take(c, names[i]);
        return i + 1;
    }
    c->failed = true;
    return 0;
}

static int take_number(cursor *c, int digits) {
    int value = 0;
    for (int i = 0; i < digits; i++) {
        if (c->failed || c->at == c->end || !rlk_is_digit(*c->at)) {
            c->failed = true;
            return 0;
        }
        value = value * 10 + (*c->at++ - '0');
    }
    return value;
}

static void take_clock(cursor *c, date *d) {
    d->hour = take_number(c, 2);
    take(c, ":");
    d->minute = take_number(c, 2);
    take(c, ":");
    d->second = take_number(c, 2);
}

/* Sun, 06 Nov 1994 08:49:37 GMT */
static void read_imf(cursor *c, date *d) {
    take_name(c, days_short, WEEKDAYS);
    take(c, ", ");
    d->day = take_number(c, 2);
    take(c, " ");
    d->month = take_name(c, months, MONTHS);
    take(c, " ");
    d->year = take_number(c, 4);
    take(c, " ");
    take_clock(c, d);
    take(c, " GMT");
}

/* Sunday, 06-Nov-94 08:49:37 GMT; the year stays 0 to 99. */
static void read_rfc850(cursor *c, date *d) {
    take_name(c, days_long, WEEKDAYS);
    take(c, ", ");
    d->day = take_number(c, 2);
    take(c, "-");
    d->month = take_name(c, months, MONTHS);
    take(c, "-");
    d->year = take_number(c, 2);
    take(c, " ");
    take_clock(c, d);
    take(c, " GMT");
}

/* Sun Nov  6 08:49:37 1994; the day is padded with a space. */
static void read_asctime(cursor *c, date *d) {
    take_name(c, days_short, WEEKDAYS);
    take(c, " ");
    d->month = take_name(c, months, MONTHS);
    take(c, " ");
    const bool padded = !c->failed && starts_with(c, " ");
    if (padded) take(c, " ");
    d->day = take_number(c, padded ? 1 : 2);
    take(c, " ");
    take_clock(c, d);
    take(c, " ");
    d->year = take_number(c, 4);
}

static bool is_leap(int year) {
    return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

static int days_in(int year, int month) {
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    return days[month - 1] + (month == 2 && is_leap(year) ? 1 : 0);
}

static bool exists(const date *d) {
    return d->day >= 1 && d->day <= days_in(d->year, d->month) && d->hour <= 23 &&
           d->minute <= 59 && d->second <= 60;
}

/* Days from year 0 to the first of January, in the proleptic Gregorian calendar. */
static int64_t days_before_year(int64_t year) {
    const int64_t full = year - 1;
    if (year == 0) return 0;
    return 366 + full * 365 + full / 4 - full / 100 + full / 400;
}

static int64_t to_ms(const date *d) {
    int64_t days = days_before_year(d->year) - days_before_year(1970) + d->day - 1;
    for (int month = 1; month < d->month; month++)
        days += days_in(d->year, month);
    return (((days * 24 + d->hour) * 60 + d->minute) * 60 + d->second) * 1000;
}

/* A mean Gregorian year is 365.2425 days; near enough to tell centuries apart. */
static int year_of(int64_t ms) {
    const int64_t bounded_ms = rlk_ms_min(rlk_ms_max(ms, 0), RLK_TIME_MS_MAX);
    return (int)(1970 + bounded_ms / INT64_C(31556952000));
}

/* RFC 9110: a two-digit year that seems to be more than 50 years ahead is in the past. */
static int full_year(int two_digits, int64_t now_ms) {
    const int this_year = year_of(now_ms);
    const int year = this_year - this_year % 100 + two_digits;
    if (year > this_year + 50) return year - 100;
    return year <= this_year - 50 ? year + 100 : year;
}

typedef void reader(cursor *c, date *d);

static bool try_form(reader *read, rlk_span text, date *d) {
    cursor c = {text.ptr, text.ptr + text.len, false};
    read(&c, d);
    return !c.failed && c.at == c.end;
}

bool rlk_httpdate_parse(rlk_span text, int64_t now_ms, int64_t *ms) {
    date d = {0};
    if (text.len == 0) return false;
    if (try_form(read_rfc850, text, &d))
        d.year = full_year(d.year, now_ms);
    else if (!try_form(read_imf, text, &d) && !try_form(read_asctime, text, &d))
        return false;
    if (!exists(&d)) return false;
    *ms = to_ms(&d);
    return true;
}
