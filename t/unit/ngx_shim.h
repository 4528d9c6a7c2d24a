/*
 * The few functions of nginx that the pure files use, for unit tests without
 * nginx.  Each allocation is a malloc() of its own, so that a sanitizer sees
 * every overrun, and each can be made to fail.  jansson allocates here too.
 */

#ifndef _NGX_SHIM_H_INCLUDED_
#define _NGX_SHIM_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/*
 * Makes the n-th allocation from now fail (1 is the next one), once; 0 makes
 * none fail.
 */
void ngx_shim_fail(ngx_uint_t n);

/* 1 if the failure that ngx_shim_fail() asked for has come to pass. */
ngx_uint_t ngx_shim_failed(void);

/*
 * Calls "run" in a fresh pool with its first allocation failing, then with
 * its second, and so on until none is left to fail.  It must return NGX_ERROR
 * each time, and NGX_OK in the end.  Returns how many allocations have failed,
 * or 0 after a wrong answer.
 */
typedef ngx_int_t (*ngx_shim_run_pt)(ngx_pool_t *pool, const void *data);

ngx_uint_t ngx_shim_walk(ngx_shim_run_pt run, const void *data);

/* The number of allocations that nobody has freed yet. */
ngx_uint_t ngx_shim_live(void);

/* The text of a C string, borrowed; it lets data tables hold C strings. */
ngx_str_t ngx_shim_str(const char *text);


#endif /* _NGX_SHIM_H_INCLUDED_ */
