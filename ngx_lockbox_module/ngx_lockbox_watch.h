/*
 * The watch: hears from Redis of every live key that changes, and knows how
 * far that hearing can be trusted.
 *
 * A connection of its own tracks the keys and subscribes to what Redis tells
 * of them.  A heartbeat goes out several times a lease, and whatever Redis has
 * changed before it got one had been announced before its answer: so the
 * knowledge is complete as of the time at which the last answered heartbeat
 * was sent, and is trusted for one lease from then.
 */

#ifndef _NGX_LOCKBOX_WATCH_H_INCLUDED_
#define _NGX_LOCKBOX_WATCH_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include "ngx_lockbox_cache.h"
#include "ngx_lockbox_redis.h"


typedef struct ngx_lockbox_watch_s  ngx_lockbox_watch_t;

/*
 * Called after the cache has been told: "changed" with the name of the live
 * key (ngx_lockbox_cache_name()), or NULL when it may be any of them; "tick"
 * with each heartbeat that is due, whether Redis is there or not.
 */
typedef struct {
    void                       (*changed)(void *data, const u_char *name);
    void                       (*tick)(void *data);
    void                        *data;
} ngx_lockbox_watch_listener_t;


typedef struct {
    const ngx_lockbox_redis_conf_t      *redis;
    ngx_lockbox_redis_t                 *gate;      /* the look-ups' client */
    const ngx_lockbox_cache_t           *cache;
    ngx_msec_t                           lease;
    const ngx_lockbox_watch_listener_t  *listener;
} ngx_lockbox_watch_conf_t;


/*
 * Starts to watch.  Everything the conf names must outlive the watch.  To be
 * called in a worker.  NULL without memory.
 */
ngx_lockbox_watch_t *ngx_lockbox_watch_create(
    const ngx_lockbox_watch_conf_t *conf, ngx_log_t *log);

/* Milliseconds between two heartbeats of such a lease. */
ngx_msec_t ngx_lockbox_watch_period(ngx_msec_t lease);

/* Closes the connection; for exit_process. */
void ngx_lockbox_watch_destroy(ngx_lockbox_watch_t *watch);

/*
 * The ticket that was the last one when the subscription was confirmed: what
 * has been asked of Redis later can be trusted.  NGX_LOCKBOX_CACHE_NO_TRUST
 * without a lease.
 */
uint64_t ngx_lockbox_watch_since(const ngx_lockbox_watch_t *watch);

/*
 * 1 and the time (ngx_current_msec) as of which the knowledge is complete; 0
 * when it never was.
 */
ngx_uint_t ngx_lockbox_watch_seen(const ngx_lockbox_watch_t *watch,
    ngx_msec_t *seen);


#endif /* _NGX_LOCKBOX_WATCH_H_INCLUDED_ */
