/*
 * The few functions of nginx that the pure files use, for unit tests without
 * nginx.
 */

#include <ngx_config.h>
#include <ngx_core.h>

#include <malloc.h>

#include <jansson.h>

#include "ngx_shim.h"


/* Fresh and freed memory hold these, so that reading either shows. */
#define NGX_SHIM_FRESH  0xa5
#define NGX_SHIM_FREED  0x5a


static ngx_uint_t  ngx_shim_countdown;
static ngx_uint_t  ngx_shim_has_failed;
static ngx_uint_t  ngx_shim_allocations;


static ngx_uint_t
ngx_shim_fails(void)
{
    if (ngx_shim_countdown == 0 || --ngx_shim_countdown) {
        return 0;
    }

    ngx_shim_has_failed = 1;

    return 1;
}


static void *
ngx_shim_alloc(size_t size)
{
    void  *p;

    if (ngx_shim_fails()) {
        return NULL;
    }

    p = malloc(size);
    if (p == NULL) {
        return NULL;
    }

    ngx_shim_allocations++;
    ngx_memset(p, NGX_SHIM_FRESH, size);

    return p;
}


static void
ngx_shim_free(void *p)
{
    if (p) {
        ngx_shim_allocations--;
        ngx_memset(p, NGX_SHIM_FREED, malloc_usable_size(p));
        free(p);
    }
}


__attribute__((constructor))
static void
ngx_shim_init(void)
{
    json_set_alloc_funcs(ngx_shim_alloc, ngx_shim_free);
}


void
ngx_shim_fail(ngx_uint_t n)
{
    ngx_shim_countdown = n;
    ngx_shim_has_failed = 0;
}


ngx_uint_t
ngx_shim_failed(void)
{
    return ngx_shim_has_failed;
}


ngx_uint_t
ngx_shim_walk(ngx_shim_run_pt run, const void *data)
{
    ngx_int_t    rc;
    ngx_uint_t   n, failed;
    ngx_pool_t  *pool;

    for (n = 1; /* void */ ; n++) {
        pool = ngx_create_pool(0, NULL);

        ngx_shim_fail(n);
        rc = run(pool, data);
        failed = ngx_shim_has_failed;
        ngx_shim_fail(0);

        ngx_destroy_pool(pool);

        if (rc != (failed ? NGX_ERROR : NGX_OK)) {
            printf("# with allocation %d failing: %d\n", (int) n, (int) rc);
            return 0;
        }

        if (!failed) {
            return n - 1;
        }
    }
}


ngx_uint_t
ngx_shim_live(void)
{
    return ngx_shim_allocations;
}


ngx_str_t
ngx_shim_str(const char *text)
{
    ngx_str_t  str;

    str.data = (u_char *) text;
    str.len = ngx_strlen(text);

    return str;
}


ngx_pool_t *
ngx_create_pool(size_t size, ngx_log_t *log)
{
    ngx_pool_t  *pool;

    (void) size;

    pool = ngx_shim_alloc(sizeof(ngx_pool_t));
    if (pool == NULL) {
        return NULL;
    }

    ngx_memzero(pool, sizeof(ngx_pool_t));
    pool->log = log;

    return pool;
}


void
ngx_destroy_pool(ngx_pool_t *pool)
{
    ngx_pool_large_t    *large, *next;
    ngx_pool_cleanup_t  *cln;

    for (cln = pool->cleanup; cln; cln = cln->next) {
        if (cln->handler) {
            cln->handler(cln->data);
        }
    }

    for (large = pool->large; large; large = next) {
        next = large->next;
        ngx_shim_free(large->alloc);
        free(large);
    }

    ngx_shim_free(pool);
}


void *
ngx_palloc(ngx_pool_t *pool, size_t size)
{
    ngx_pool_large_t  *large;

    large = malloc(sizeof(ngx_pool_large_t));
    if (large == NULL) {
        return NULL;
    }

    large->alloc = ngx_shim_alloc(size);
    large->next = pool->large;
    pool->large = large;

    return large->alloc;
}


void *
ngx_pnalloc(ngx_pool_t *pool, size_t size)
{
    return ngx_palloc(pool, size);
}


void *
ngx_pcalloc(ngx_pool_t *pool, size_t size)
{
    void  *p;

    p = ngx_palloc(pool, size);
    if (p) {
        ngx_memzero(p, size);
    }

    return p;
}


ngx_int_t
ngx_pfree(ngx_pool_t *pool, void *p)
{
    ngx_pool_large_t  *large;

    for (large = pool->large; large; large = large->next) {
        if (large->alloc == p) {
            ngx_shim_free(p);
            large->alloc = NULL;

            return NGX_OK;
        }
    }

    return NGX_DECLINED;
}


ngx_pool_cleanup_t *
ngx_pool_cleanup_add(ngx_pool_t *pool, size_t size)
{
    ngx_pool_cleanup_t  *cln;

    cln = ngx_palloc(pool, sizeof(ngx_pool_cleanup_t));
    if (cln == NULL) {
        return NULL;
    }

    cln->data = NULL;

    if (size) {
        cln->data = ngx_palloc(pool, size);
        if (cln->data == NULL) {
            return NULL;
        }
    }

    cln->handler = NULL;
    cln->next = pool->cleanup;
    pool->cleanup = cln;

    return cln;
}


void *
ngx_array_push(ngx_array_t *array)
{
    void  *elts;

    if (array->nelts == array->nalloc) {
        elts = ngx_palloc(array->pool, 2 * array->nalloc * array->size);
        if (elts == NULL) {
            return NULL;
        }

        ngx_memcpy(elts, array->elts, array->nelts * array->size);
        array->elts = elts;
        array->nalloc *= 2;
    }

    return (u_char *) array->elts + array->size * array->nelts++;
}


u_char *
ngx_pstrdup(ngx_pool_t *pool, ngx_str_t *src)
{
    u_char  *dst;

    dst = ngx_pnalloc(pool, src->len);
    if (dst == NULL) {
        return NULL;
    }

    return ngx_cpymem(dst, src->data, src->len) - src->len;
}


ngx_int_t
ngx_strncasecmp(u_char *s1, u_char *s2, size_t n)
{
    u_char  c1, c2;

    for ( /* void */ ; n; n--, s1++, s2++) {
        c1 = ngx_tolower(*s1);
        c2 = ngx_tolower(*s2);

        if (c1 != c2) {
            return c1 - c2;
        }

        if (c1 == '\0') {
            break;
        }
    }

    return 0;
}


u_char *
ngx_hex_dump(u_char *dst, u_char *src, size_t len)
{
    static const char  digits[] = "0123456789abcdef";

    while (len--) {
        *dst++ = digits[*src >> 4];
        *dst++ = digits[*src++ & 0xf];
    }

    return dst;
}


ngx_int_t
ngx_hextoi(u_char *line, size_t n)
{
    char   text[16], *end;
    long   value;

    if (n == 0 || n >= sizeof(text)) {
        return NGX_ERROR;
    }

    ngx_memcpy(text, line, n);
    text[n] = '\0';

    /* strtol() would take a sign, blanks and "0x", too */

    if (strspn(text, "0123456789abcdefABCDEF") != n) {
        return NGX_ERROR;
    }

    value = strtol(text, &end, 16);

    return *end == '\0' ? (ngx_int_t) value : NGX_ERROR;
}
