/*
 * A little of the Test Anything Protocol, for one translation unit a program.
 * With TAP_STOP the first test that fails ends it.
 */

#ifndef _TAP_H_INCLUDED_
#define _TAP_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/* One test: passes if "good" holds; the rest is a printf-style name. */
#define ok(good, ...)                                                        \
    tap_ok((good) ? 1 : 0, __FILE__, __LINE__, __VA_ARGS__)

/* One test: passes if both integers are equal. */
#define is(got, want, ...)                                                   \
    tap_is((long long) (got), (long long) (want), __FILE__, __LINE__,        \
           __VA_ARGS__)

/* One test: passes if the ngx_str_t has exactly the bytes of the C string. */
#define is_text(got, want, ...)                                              \
    tap_is_text(got, want, __FILE__, __LINE__, __VA_ARGS__)


static int  tap_tests;
static int  tap_failures;


__attribute__((unused, format(printf, 4, 0)))
static int
tap_report(int good, const char *file, int line, const char *format,
    va_list args)
{
    char   name[512];
    char  *p;

    (void) vsnprintf(name, sizeof(name), format, args);

    /* a newline or '#' in what is tested must not become a line of TAP */

    for (p = name; *p; p++) {
        if ((*p >= 0 && *p < ' ') || *p == '#' || *p == 0x7f) {
            *p = '?';
        }
    }

    printf("%sok %d - %s\n", good ? "" : "not ", ++tap_tests, name);

    if (!good) {
        tap_failures++;
        printf("#   failed at %s line %d\n", file, line);
    }

    /* what is known so far must outlive a crash of the next test */
    fflush(stdout);

#if (TAP_STOP)
    if (!good) {
        _exit(1);
    }
#endif

    return good;
}


__attribute__((unused, format(printf, 4, 5)))
static int
tap_ok(int good, const char *file, int line, const char *format, ...)
{
    va_list  args;

    va_start(args, format);
    (void) tap_report(good, file, line, format, args);
    va_end(args);

    return good;
}


__attribute__((unused, format(printf, 5, 6)))
static int
tap_is(long long got, long long want, const char *file, int line,
    const char *format, ...)
{
    va_list  args;

    va_start(args, format);

    if (!tap_report(got == want, file, line, format, args)) {
        printf("#   got %lld, want %lld\n", got, want);
    }

    va_end(args);

    return got == want;
}


__attribute__((unused, format(printf, 5, 6)))
static int
tap_is_text(const ngx_str_t *got, const char *want, const char *file,
    int line, const char *format, ...)
{
    int      good;
    va_list  args;

    good = got->len == ngx_strlen(want)
           && (got->len == 0 || ngx_memcmp(got->data, want, got->len) == 0);

    va_start(args, format);

    if (!tap_report(good, file, line, format, args)) {
        printf("#   got \"%.*s\", want \"%s\"\n", (int) got->len, got->data,
               want);
    }

    va_end(args);

    return good;
}


/* Prints the plan; the result of main(). */
__attribute__((unused))
static int
tap_done(void)
{
    printf("1..%d\n", tap_tests);

    return tap_failures ? 1 : 0;
}


#endif /* _TAP_H_INCLUDED_ */
