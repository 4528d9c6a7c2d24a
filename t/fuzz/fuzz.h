/*
 * What all fuzz targets share: a check that stops the run, lines of an input,
 * and pools that must give back all they took.
 */

#ifndef _FUZZ_H_INCLUDED_
#define _FUZZ_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_shim.h"


/* Stops the run, and has the input written down, if "good" does not hold. */
#define fuzz_check(good)                                                     \
    do {                                                                     \
        if (!(good)) {                                                       \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__,        \
                    #good);                                                  \
            abort();                                                         \
        }                                                                    \
    } while (0)


int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


static ngx_uint_t  fuzz_live;


__attribute__((unused))
static ngx_pool_t *
fuzz_pool(void)
{
    ngx_pool_t        *pool;
    static ngx_log_t   quiet;

    fuzz_live = ngx_shim_live();

    pool = ngx_create_pool(1, &quiet);
    fuzz_check(pool != NULL);

    return pool;
}


__attribute__((unused))
static void
fuzz_pool_end(ngx_pool_t *pool)
{
    ngx_destroy_pool(pool);
    fuzz_check(ngx_shim_live() == fuzz_live);
}


/* The next line of the input without its LF, or what is left of it. */

__attribute__((unused))
static ngx_str_t
fuzz_line(ngx_str_t *input)
{
    size_t      n;
    u_char     *end;
    ngx_str_t   line;

    end = input->len ? memchr(input->data, LF, input->len) : NULL;
    n = end ? (size_t) (end - input->data) : input->len;

    line.data = input->data;
    line.len = n;

    n += end != NULL;

    if (n) {
        input->data += n;
        input->len -= n;
    }

    return line;
}


/* The number that the text begins with, 0 to 9999; moves behind it. */

__attribute__((unused))
static size_t
fuzz_number(ngx_str_t *text)
{
    size_t  n, i;

    n = 0;

    for (i = 0; i < 4 && text->len; i++) {

        if (*text->data < '0' || *text->data > '9') {
            break;
        }

        n = n * 10 + (*text->data++ - '0');
        text->len--;
    }

    return n;
}


/* Byte "i" of the text, 0 behind its end. */

__attribute__((unused))
static u_char
fuzz_byte(const ngx_str_t *text, size_t i)
{
    return i < text->len ? text->data[i] : 0;
}


__attribute__((unused))
static ngx_uint_t
fuzz_same(const ngx_str_t *a, const ngx_str_t *b)
{
    return a->len == b->len
           && (a->len == 0 || memcmp(a->data, b->data, a->len) == 0);
}


__attribute__((unused))
static ngx_uint_t
fuzz_is(const ngx_str_t *text, const char *literal)
{
    ngx_str_t  other;

    other = ngx_shim_str(literal);

    return fuzz_same(text, &other);
}


/* A copy whose last byte is the last of its memory, so that overruns show. */

__attribute__((unused))
static ngx_str_t
fuzz_copy(ngx_pool_t *pool, const u_char *data, size_t len)
{
    ngx_str_t  copy;

    copy.len = len;
    copy.data = ngx_pnalloc(pool, len);
    fuzz_check(copy.data != NULL);

    if (len) {
        ngx_memcpy(copy.data, data, len);
    }

    return copy;
}


/*
 * Makes one of the next allocations fail, which one follows from the input.
 * To be ended with ngx_shim_fail(0).
 */

__attribute__((unused))
static void
fuzz_starve(const uint8_t *data, size_t size, ngx_uint_t range)
{
    size_t    i;
    uint32_t  sum;

    sum = 2166136261u;

    for (i = 0; i < size; i++) {
        sum = (sum ^ data[i]) * 16777619u;
    }

    ngx_shim_fail(1 + (sum >> 8) % range);
}


#endif /* _FUZZ_H_INCLUDED_ */
