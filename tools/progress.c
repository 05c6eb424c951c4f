#include "tools/progress.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

enum { MOST_BAR = 40, LEAST_BAR = 8, MOST_COLUMNS = 400 };
static const double seconds_between_draws = 0.1;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Asked at each draw, since windows are resized. */
static int terminal_columns(void)
{
    struct winsize size;
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) || size.ws_col == 0) return 80;
    return size.ws_col < MOST_COLUMNS ? size.ws_col : MOST_COLUMNS;
}

void osv_progress_start(osv_progress *p, bool quiet)
{
    const char *term = getenv("TERM"), *no_color = getenv("NO_COLOR");
    bool dumb = !term || !*term || strcmp(term, "dumb") == 0;
    *p = (osv_progress){.quiet = quiet, .terminal = isatty(STDERR_FILENO) && !dumb, .started = now()};
    p->color = p->terminal && !(no_color && *no_color);
}

static void print_time_left(char *text, size_t room, double seconds)
{
    long s = (long)(seconds + 0.5);
    if (s < 3600)
        snprintf(text, room, "%ld:%02ld left", s / 60, s % 60);
    else
        snprintf(text, room, "%ld:%02ld:%02ld left", s / 3600, s / 60 % 60, s % 60);
}

void osv_progress_draw(osv_progress *p, double fraction, const char *text)
{
    double t = now();
    if (p->quiet || !p->terminal || (p->drawn && t - p->drawn_at < seconds_between_draws)) return;
    char left[48] = "", line[MOST_COLUMNS + 1], bar[MOST_BAR + 1];
    double done = fraction - p->from;
    if (done > 0) print_time_left(left, sizeof left, (t - p->started) * (1 - fraction) / done);

    int columns = terminal_columns() - 1; /* the last column would wrap on some terminals */
    int length = snprintf(line, sizeof line, "%s  %s", text, left);
    int width = columns - length - 4; /* "[" "]" and two blanks */
    if (width > MOST_BAR) width = MOST_BAR;
    if (width < LEAST_BAR) {
        fprintf(stderr, "\r%.*s\033[K", columns, line);
    } else {
        int full = (int)(fraction * width);
        memset(bar, '=', (size_t)full);
        if (full < width) bar[full] = '>';
        for (int i = full + 1; i < width; i++) bar[i] = ' ';
        bar[width] = '\0';
        fprintf(stderr, "\r%s[%s]%s  %s\033[K", p->color ? "\033[32m" : "", bar, p->color ? "\033[0m" : "",
                line);
    }
    fflush(stderr);
    p->drawn = true;
    p->drawn_at = t;
}

void osv_progress_line(osv_progress *p, const char *format, ...)
{
    if (p->quiet) return;
    osv_progress_end(p);
    va_list args;
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
}

void osv_progress_end(osv_progress *p)
{
    if (p->drawn) {
        fputs("\r\033[K", stderr);
        fflush(stderr);
    }
    p->drawn = false;
}
