/*
 * What the shared memory of nginx is for a single process: memory, a lock that
 * must be free when it is taken, a clock that the test sets, and a log that is
 * counted.  For one translation unit a program.
 */

#ifndef _ZONE_H_INCLUDED_
#define _ZONE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_lockbox_cache.h"


volatile ngx_time_t  *ngx_cached_time;
ngx_uint_t            ngx_pagesize = 4096;

/* what ngx_slab_alloc() gave last, and 1 if it has nothing to give */
static void          *zone_memory;
static ngx_uint_t     zone_full;

static ngx_uint_t     zone_locked;
static ngx_uint_t     zone_warnings;
static ngx_time_t     zone_time = { .sec = 1000000 };
static ngx_log_t      zone_log = { .log_level = NGX_LOG_DEBUG };
static ngx_shmtx_t    zone_mutex;


void *
ngx_slab_alloc(ngx_slab_pool_t *pool, size_t size)
{
    (void) pool;

    zone_memory = zone_full ? NULL : malloc(size);

    return zone_memory;
}


void
ngx_shmtx_lock(ngx_shmtx_t *mtx)
{
    (void) mtx;

    if (zone_locked) {
        abort();
    }

    zone_locked = 1;
}


void
ngx_shmtx_unlock(ngx_shmtx_t *mtx)
{
    (void) mtx;

    if (!zone_locked) {
        abort();
    }

    zone_locked = 0;
}


void
ngx_log_error_core(ngx_uint_t level, ngx_log_t *log, ngx_err_t err,
    const char *fmt, ...)
{
    (void) level;
    (void) log;
    (void) err;
    (void) fmt;

    zone_warnings++;
}


/* A cache in so many bytes of fresh memory, which zone_free() frees. */
__attribute__((unused))
static ngx_lockbox_cache_t
zone_create(size_t size)
{
    void                 *memory;
    ngx_lockbox_cache_t   cache;

    ngx_cached_time = &zone_time;

    memory = malloc(size);
    if (memory == NULL) {
        abort();
    }

    ngx_memset(memory, 0xa5, size);

    cache.zone = ngx_lockbox_cache_create(memory, size);
    cache.mutex = &zone_mutex;
    cache.log = &zone_log;

    return cache;
}


__attribute__((unused))
static void
zone_free(const ngx_lockbox_cache_t *cache)
{
    free(cache->zone);
}


#endif /* _ZONE_H_INCLUDED_ */
