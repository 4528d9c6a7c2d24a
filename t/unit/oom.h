/*
 * Every allocation failing in its turn, those inside of libraries as well:
 * jansson, OpenSSL, libjwt and hiredis all end up here.
 */

#ifndef _OOM_H_INCLUDED_
#define _OOM_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_shim.h"


/* The functions behind are the sanitizer's or libc's. */

#if (__SANITIZE_ADDRESS__)
#define oom_real(name)  __interceptor_##name
#else
#define oom_real(name)  __libc_##name
#endif

extern void *oom_real(malloc)(size_t size);
extern void *oom_real(calloc)(size_t n, size_t size);
extern void *oom_real(realloc)(void *p, size_t size);


static ngx_uint_t  oom_walks;
static ngx_uint_t  oom_countdown;
static ngx_uint_t  oom_has_failed;


static ngx_uint_t
oom_fails(void)
{
    if (oom_countdown == 0 || --oom_countdown) {
        return 0;
    }

    oom_has_failed = 1;

    return 1;
}


void *
malloc(size_t size)
{
    /* a sanitizer ends the program where libc has no memory for libjwt's -1 */

    if (oom_walks && size > PTRDIFF_MAX) {
        return NULL;
    }

    return oom_fails() ? NULL : oom_real(malloc)(size);
}


void *
calloc(size_t n, size_t size)
{
    return oom_fails() ? NULL : oom_real(calloc)(n, size);
}


void *
realloc(void *p, size_t size)
{
    return oom_fails() ? NULL : oom_real(realloc)(p, size);
}


/* Calls "run" in a fresh pool with the n-th allocation failing, or none. */

static ngx_int_t
oom_run(ngx_shim_run_pt run, const void *data, ngx_uint_t n)
{
    ngx_int_t    rc;
    ngx_pool_t  *pool;

    pool = ngx_create_pool(0, NULL);

    oom_walks = 1;
    oom_has_failed = 0;
    oom_countdown = n;
    rc = run(pool, data);
    oom_countdown = 0;
    oom_walks = 0;

    ngx_destroy_pool(pool);

    return rc;
}


/*
 * Like ngx_shim_walk(), but a library may do without what it was refused:
 * "run" returns NGX_OK if all that it got is right, NGX_ERROR if it got an
 * error, and anything else if it got what is wrong.  The first run is without
 * failure, for libraries prepare some things for good, or never.  "step" 1
 * makes each allocation fail, 2 every other one and so on: to read a key from
 * PEM takes OpenSSL thousands.  Returns about how many there are, or 0 after a
 * wrong answer.
 */

static ngx_uint_t
oom_walk(ngx_shim_run_pt run, const void *data, ngx_uint_t step)
{
    ngx_int_t   rc;
    ngx_uint_t  n;

    rc = oom_run(run, data, 0);
    if (rc != NGX_OK) {
        return 0;
    }

    for (n = 1; /* void */ ; n += step) {
        rc = oom_run(run, data, n);

        if (rc != NGX_OK && !(rc == NGX_ERROR && oom_has_failed)) {
            printf("# with allocation %d failing: %d\n", (int) n, (int) rc);
            return 0;
        }

        if (!oom_has_failed) {
            return n - 1;
        }
    }
}


#endif /* _OOM_H_INCLUDED_ */
