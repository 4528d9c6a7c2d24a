/*
 * Responses under way, found by the name of their grant's live key.
 *
 * What the watch hears of is asked for at once, and what it may have missed is
 * asked for again while a confirmation lasts: the lease of a response is that
 * of a cached answer, and when it runs out without Redis, the response ends.
 */

#include "ngx_http_lockbox_flight.h"
#include "ngx_lockbox_store.h"


#define NGX_HTTP_LOCKBOX_FLIGHT_BUCKETS  1024

#define NGX_HTTP_LOCKBOX_FLIGHT_POOL     1024


/* One question on behalf of all responses under a grant. */
typedef struct {
    ngx_http_lockbox_flights_t    *flights;
    ngx_http_lockbox_flight_t     *flight;      /* whose name it asks for */
    ngx_pool_t                    *pool;
    ngx_lockbox_lookup_t          *lookup;
    ngx_msec_t                     sent;
    unsigned                       stale:1;     /* a change came later */
} ngx_http_lockbox_question_t;


struct ngx_http_lockbox_flights_s {
    ngx_lockbox_redis_t           *redis;
    const ngx_lockbox_cache_t     *cache;
    const ngx_lockbox_watch_t     *watch;
    ngx_msec_t                     lease;
    ngx_log_t                     *log;
    ngx_lockbox_watch_listener_t   listener;
    ngx_queue_t                    buckets[NGX_HTTP_LOCKBOX_FLIGHT_BUCKETS];
};


static ngx_queue_t *ngx_http_lockbox_flight_bucket(
    ngx_http_lockbox_flights_t *flights, const u_char *name);
static void ngx_http_lockbox_flight_changed(void *data, const u_char *name);
static void ngx_http_lockbox_flight_doubt(ngx_queue_t *bucket,
    const u_char *name);
static void ngx_http_lockbox_flight_tick(void *data);
static void ngx_http_lockbox_flight_check(ngx_http_lockbox_flight_t *flight);
static void ngx_http_lockbox_flight_ask(ngx_http_lockbox_flight_t *flight);
static void ngx_http_lockbox_flight_answer(void *data,
    ngx_lockbox_decision_t liveness);
static void ngx_http_lockbox_flight_confirm(ngx_queue_t *bucket,
    const u_char *name, ngx_msec_t sent);
static void ngx_http_lockbox_flight_cut(ngx_http_lockbox_flight_t *flight,
    ngx_lockbox_decision_t end);
static void ngx_http_lockbox_flight_reset(ngx_http_request_t *r);


ngx_http_lockbox_flights_t *
ngx_http_lockbox_flights_create(ngx_cycle_t *cycle, ngx_lockbox_redis_t *redis,
    const ngx_lockbox_cache_t *cache, ngx_msec_t lease)
{
    ngx_uint_t                   i;
    ngx_http_lockbox_flights_t  *flights;

    flights = ngx_pcalloc(cycle->pool, sizeof(ngx_http_lockbox_flights_t));
    if (flights == NULL) {
        return NULL;
    }

    flights->redis = redis;
    flights->cache = cache;
    flights->lease = lease;
    flights->log = cycle->log;

    flights->listener.changed = ngx_http_lockbox_flight_changed;
    flights->listener.tick = ngx_http_lockbox_flight_tick;
    flights->listener.data = flights;

    for (i = 0; i < NGX_HTTP_LOCKBOX_FLIGHT_BUCKETS; i++) {
        ngx_queue_init(&flights->buckets[i]);
    }

    return flights;
}


const ngx_lockbox_watch_listener_t *
ngx_http_lockbox_flights_listener(ngx_http_lockbox_flights_t *flights)
{
    return &flights->listener;
}


void
ngx_http_lockbox_flights_watch(ngx_http_lockbox_flights_t *flights,
    const ngx_lockbox_watch_t *watch)
{
    flights->watch = watch;
}


void
ngx_http_lockbox_flight_begin(ngx_http_lockbox_flights_t *flights,
    ngx_http_lockbox_flight_t *flight)
{
    flight->flights = flights;
    flight->question = NULL;

    ngx_queue_insert_tail(ngx_http_lockbox_flight_bucket(flights,
                                                         flight->name),
                          &flight->queue);

    /* the first tick may be the last one before its lease is over */

    if (ngx_current_msec - flight->confirmed >= flights->lease / 2) {
        ngx_http_lockbox_flight_ask(flight);
    }
}


void
ngx_http_lockbox_flight_end(ngx_http_lockbox_flight_t *flight)
{
    ngx_http_lockbox_question_t  *question;

    if (flight->flights == NULL) {
        return;
    }

    flight->flights = NULL;
    ngx_queue_remove(&flight->queue);

    /* the others under its grant will ask with the next tick */

    question = flight->question;

    if (question != NULL) {
        ngx_lockbox_store_cancel(question->lookup);
        ngx_destroy_pool(question->pool);
    }
}


/* The name is a digest. */

static ngx_queue_t *
ngx_http_lockbox_flight_bucket(ngx_http_lockbox_flights_t *flights,
    const u_char *name)
{
    ngx_uint_t  hash;

    hash = (ngx_uint_t) name[0] << 8 | name[1];

    return &flights->buckets[hash % NGX_HTTP_LOCKBOX_FLIGHT_BUCKETS];
}


static void
ngx_http_lockbox_flight_changed(void *data, const u_char *name)
{
    ngx_uint_t                   i;
    ngx_http_lockbox_flights_t  *flights = data;

    if (name != NULL) {
        ngx_http_lockbox_flight_doubt(
                         ngx_http_lockbox_flight_bucket(flights, name), name);
        return;
    }

    for (i = 0; i < NGX_HTTP_LOCKBOX_FLIGHT_BUCKETS; i++) {
        ngx_http_lockbox_flight_doubt(&flights->buckets[i], NULL);
    }
}


static void
ngx_http_lockbox_flight_doubt(ngx_queue_t *bucket, const u_char *name)
{
    ngx_queue_t                  *q;
    ngx_http_lockbox_flight_t    *flight;
    ngx_http_lockbox_question_t  *question;

    for (q = ngx_queue_head(bucket);
         q != ngx_queue_sentinel(bucket);
         q = ngx_queue_next(q))
    {
        flight = ngx_queue_data(q, ngx_http_lockbox_flight_t, queue);

        if (name != NULL
            && ngx_memcmp(flight->name, name, NGX_LOCKBOX_CACHE_NAME_LEN) != 0)
        {
            continue;
        }

        flight->doubtful = 1;
        question = flight->question;

        if (question != NULL) {
            question->stale = 1;
        }

        ngx_http_lockbox_flight_ask(flight);
    }
}


static void
ngx_http_lockbox_flight_tick(void *data)
{
    ngx_uint_t                   i;
    ngx_queue_t                 *q, *next, *bucket;
    ngx_http_lockbox_flights_t  *flights = data;

    for (i = 0; i < NGX_HTTP_LOCKBOX_FLIGHT_BUCKETS; i++) {
        bucket = &flights->buckets[i];

        for (q = ngx_queue_head(bucket);
             q != ngx_queue_sentinel(bucket);
             q = next)
        {
            next = ngx_queue_next(q);

            ngx_http_lockbox_flight_check(
                         ngx_queue_data(q, ngx_http_lockbox_flight_t, queue));
        }
    }
}


static void
ngx_http_lockbox_flight_check(ngx_http_lockbox_flight_t *flight)
{
    ngx_msec_t                   seen, silent;
    ngx_http_lockbox_flights_t  *flights;

    flights = flight->flights;

    if (ngx_time() >= flight->grant->expires) {
        ngx_http_lockbox_flight_cut(flight, NGX_LOCKBOX_EXPIRED);
        return;
    }

    if (!flight->doubtful
        && ngx_lockbox_watch_seen(flights->watch, &seen)
        && (ngx_msec_int_t) (seen - flight->confirmed) > 0)
    {
        flight->confirmed = seen;
    }

    silent = ngx_current_msec - flight->confirmed;

    /* the next tick would come too late */

    if (silent + ngx_lockbox_watch_period(flights->lease) >= flights->lease) {
        ngx_http_lockbox_flight_cut(flight, NGX_LOCKBOX_STORE_UNAVAILABLE);
        return;
    }

    if (flight->doubtful || silent >= flights->lease / 2) {
        ngx_http_lockbox_flight_ask(flight);
    }
}


/* Memory of its own, for the response may be under way for days. */

static void
ngx_http_lockbox_flight_ask(ngx_http_lockbox_flight_t *flight)
{
    ngx_pool_t                   *pool;
    ngx_queue_t                  *q, *bucket;
    ngx_http_lockbox_flight_t    *other;
    ngx_http_lockbox_question_t  *question;

    bucket = ngx_http_lockbox_flight_bucket(flight->flights, flight->name);

    for (q = ngx_queue_head(bucket);
         q != ngx_queue_sentinel(bucket);
         q = ngx_queue_next(q))
    {
        other = ngx_queue_data(q, ngx_http_lockbox_flight_t, queue);

        if (other->question != NULL
            && ngx_memcmp(other->name, flight->name,
                          NGX_LOCKBOX_CACHE_NAME_LEN) == 0)
        {
            return;
        }
    }

    pool = ngx_create_pool(NGX_HTTP_LOCKBOX_FLIGHT_POOL, flight->flights->log);
    if (pool == NULL) {
        return;
    }

    question = ngx_pcalloc(pool, sizeof(ngx_http_lockbox_question_t));
    if (question == NULL) {
        ngx_destroy_pool(pool);
        return;
    }

    question->flights = flight->flights;
    question->flight = flight;
    question->pool = pool;
    question->sent = ngx_current_msec;

    question->lookup = ngx_lockbox_store_liveness(flight->flights->redis, pool,
                                               &flight->grant->tenant,
                                               &flight->grant->id,
                                               ngx_http_lockbox_flight_answer,
                                               question);
    if (question->lookup == NULL) {
        ngx_destroy_pool(pool);
        return;
    }

    flight->question = question;
}


static void
ngx_http_lockbox_flight_answer(void *data, ngx_lockbox_decision_t liveness)
{
    u_char                        name[NGX_LOCKBOX_CACHE_NAME_LEN];
    time_t                        expires;
    ngx_msec_t                    sent;
    ngx_uint_t                    stale;
    ngx_http_lockbox_flight_t    *flight;
    ngx_http_lockbox_flights_t   *flights;
    ngx_http_lockbox_question_t  *question = data;

    flights = question->flights;
    flight = question->flight;
    sent = question->sent;
    stale = question->stale;
    expires = flight->grant->expires;
    ngx_memcpy(name, flight->name, NGX_LOCKBOX_CACHE_NAME_LEN);

    flight->question = NULL;
    ngx_destroy_pool(question->pool);

    switch (liveness) {

    case NGX_LOCKBOX_STORE_UNAVAILABLE:
        break;

    case NGX_LOCKBOX_ALLOW:
        if (stale) {
            ngx_http_lockbox_flight_ask(flight);
            break;
        }

        ngx_http_lockbox_flight_confirm(
                   ngx_http_lockbox_flight_bucket(flights, name), name, sent);
        break;

    case NGX_LOCKBOX_NOT_LIVE:

        /* at its end Redis lets go of the key sooner than it says why */

        ngx_http_lockbox_flights_cut(flights, name,
                                     ngx_time() >= expires
                                     ? NGX_LOCKBOX_EXPIRED : liveness);
        break;

    default:
        ngx_lockbox_cache_bury(flights->cache, name, liveness, expires);
        ngx_http_lockbox_flights_cut(flights, name, liveness);
    }
}


static void
ngx_http_lockbox_flight_confirm(ngx_queue_t *bucket, const u_char *name,
    ngx_msec_t sent)
{
    ngx_queue_t                *q;
    ngx_http_lockbox_flight_t  *flight;

    for (q = ngx_queue_head(bucket);
         q != ngx_queue_sentinel(bucket);
         q = ngx_queue_next(q))
    {
        flight = ngx_queue_data(q, ngx_http_lockbox_flight_t, queue);

        if (ngx_memcmp(flight->name, name, NGX_LOCKBOX_CACHE_NAME_LEN) != 0) {
            continue;
        }

        flight->doubtful = 0;

        if ((ngx_msec_int_t) (sent - flight->confirmed) > 0) {
            flight->confirmed = sent;
        }
    }
}


void
ngx_http_lockbox_flights_cut(ngx_http_lockbox_flights_t *flights,
    const u_char *name, ngx_lockbox_decision_t end)
{
    ngx_queue_t                *q, *next, *bucket;
    ngx_http_lockbox_flight_t  *flight;

    bucket = ngx_http_lockbox_flight_bucket(flights, name);

    for (q = ngx_queue_head(bucket);
         q != ngx_queue_sentinel(bucket);
         q = next)
    {
        next = ngx_queue_next(q);
        flight = ngx_queue_data(q, ngx_http_lockbox_flight_t, queue);

        if (ngx_memcmp(flight->name, name, NGX_LOCKBOX_CACHE_NAME_LEN) == 0) {
            ngx_http_lockbox_flight_cut(flight, end);
        }
    }
}


/*
 * Has nginx end the request the way it ends those that outlive
 * worker_shutdown_timeout: by an event, so that nothing is freed under
 * whoever called us.
 */

static void
ngx_http_lockbox_flight_cut(ngx_http_lockbox_flight_t *flight,
    ngx_lockbox_decision_t end)
{
    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    r = flight->request;
    c = r->connection;

    ngx_http_lockbox_flight_end(flight);

    if (flight->leg->past) {
        /* what is under way is let through, or not, where it was led to */
        return;
    }

    flight->leg->decision = end;
    flight->leg->cut = 1;

    ngx_log_error(NGX_LOG_INFO, c->log, 0,
                  "lockbox cuts a response of grant \"%V\": %V",
                  &flight->grant->id, &ngx_lockbox_decision_info(end)->word);

    ngx_http_lockbox_flight_reset(r);

    c->close = 1;
    c->error = 1;

    ngx_post_event(c->read, &ngx_posted_events);

#if (NGX_HTTP_V2)

    /* the frame that resets the stream must not wait for another one */

    if (r->stream) {
        ngx_post_event(r->stream->connection->connection->write,
                       &ngx_posted_events);
    }

#endif
}


/*
 * An orderly end would look like that of a body without a length; a reset
 * cannot be taken for one (RFC 9112 section 8).  Streams are reset by nginx.
 */

static void
ngx_http_lockbox_flight_reset(ngx_http_request_t *r)
{
    struct linger  linger;

    if (r->http_version >= NGX_HTTP_VERSION_20) {
        return;
    }

    linger.l_onoff = 1;
    linger.l_linger = 0;

    if (setsockopt(r->connection->fd, SOL_SOCKET, SO_LINGER,
                   (const void *) &linger, sizeof(struct linger))
        == -1)
    {
        ngx_log_error(NGX_LOG_ERR, r->connection->log, ngx_socket_errno,
                      "setsockopt(SO_LINGER) failed");
    }
}
