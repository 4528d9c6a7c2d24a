/*
 * Responses under way: each is cut when its grant ends, is taken back, or
 * cannot be confirmed any more.
 */

#ifndef _NGX_HTTP_LOCKBOX_FLIGHT_H_INCLUDED_
#define _NGX_HTTP_LOCKBOX_FLIGHT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_lockbox_audit.h"
#include "ngx_lockbox_cache.h"
#include "ngx_lockbox_grant.h"
#include "ngx_lockbox_redis.h"
#include "ngx_lockbox_watch.h"


typedef struct ngx_http_lockbox_flights_s  ngx_http_lockbox_flights_t;


/* One response; lies in the request's pool. */
typedef struct {
    ngx_queue_t                  queue;
    ngx_http_lockbox_flights_t  *flights;       /* NULL: not under way */
    ngx_http_request_t          *request;
    ngx_http_lockbox_leg_t      *leg;

    const ngx_lockbox_grant_t   *grant;
    u_char                       name[NGX_LOCKBOX_CACHE_NAME_LEN];

    /* ngx_current_msec as of which the grant was live for certain */
    ngx_msec_t                   confirmed;
    void                        *question;      /* asked on its behalf */
    unsigned                     doubtful:1;    /* the watch's word is not
                                                   enough any more */
} ngx_http_lockbox_flight_t;


/*
 * The responses of this worker, none yet.  "redis" is the client of the
 * look-ups and "lease", in milliseconds, for how long a confirmation lasts.
 * The watch is set when it is there.  Everything must outlive the result,
 * which is memory of the cycle's pool.  NULL without memory.
 */
ngx_http_lockbox_flights_t *ngx_http_lockbox_flights_create(
    ngx_cycle_t *cycle, ngx_lockbox_redis_t *redis,
    const ngx_lockbox_cache_t *cache, ngx_msec_t lease);

/* Whom the watch has to tell. */
const ngx_lockbox_watch_listener_t *ngx_http_lockbox_flights_listener(
    ngx_http_lockbox_flights_t *flights);

void ngx_http_lockbox_flights_watch(ngx_http_lockbox_flights_t *flights,
    const ngx_lockbox_watch_t *watch);

/*
 * The response is under way from now until ngx_http_lockbox_flight_end().
 * The caller has filled in everything from "request" to "confirmed", and
 * "doubtful" when there may have been a change since that the watch has told
 * of before: then Redis is asked again.
 */
void ngx_http_lockbox_flight_begin(ngx_http_lockbox_flights_t *flights,
    ngx_http_lockbox_flight_t *flight);

/* Safe for one that never began, and to be called twice. */
void ngx_http_lockbox_flight_end(ngx_http_lockbox_flight_t *flight);

/*
 * Cuts all responses under the grant of this name, for the reason "end",
 * which goes on record.  The requests end in events of their own, later in
 * this turn of the loop.
 */
void ngx_http_lockbox_flights_cut(ngx_http_lockbox_flights_t *flights,
    const u_char *name, ngx_lockbox_decision_t end);


#endif /* _NGX_HTTP_LOCKBOX_FLIGHT_H_INCLUDED_ */
