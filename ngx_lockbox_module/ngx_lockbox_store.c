/*
 * Typed questions to Redis that the gate asks.
 */

#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_lockbox_store.h"
#include "ngx_lockbox_text.h"


struct ngx_lockbox_lookup_s {
    ngx_lockbox_redis_t          *redis;
    ngx_lockbox_lookup_pt         handler;
    void                         *data;

    /* NULL once answered */
    ngx_lockbox_redis_command_t  *live;
    ngx_lockbox_redis_command_t  *state;

    /* what the live key alone says */
    ngx_lockbox_decision_t        liveness;
};


typedef struct {
    ngx_str_t                     state;
    ngx_lockbox_decision_t        decision;
} ngx_lockbox_ended_t;


static ngx_lockbox_redis_command_t *ngx_lockbox_store_ask_live(
    ngx_lockbox_redis_t *redis, ngx_pool_t *pool, const ngx_str_t *tenant,
    const ngx_str_t *id, ngx_lockbox_lookup_t *lookup);
static ngx_lockbox_redis_command_t *ngx_lockbox_store_ask_state(
    ngx_lockbox_redis_t *redis, ngx_pool_t *pool, const ngx_str_t *tenant,
    const ngx_str_t *id, ngx_lockbox_lookup_t *lookup);
static void ngx_lockbox_store_live_handler(void *data,
    const ngx_lockbox_reply_t *reply);
static void ngx_lockbox_store_state_handler(void *data,
    const ngx_lockbox_reply_t *reply);
static void ngx_lockbox_store_suspect(ngx_lockbox_lookup_t *lookup,
    const ngx_lockbox_reply_t *reply);
static ngx_lockbox_decision_t ngx_lockbox_store_live(
    const ngx_lockbox_reply_t *reply);
static ngx_lockbox_decision_t ngx_lockbox_store_state(
    const ngx_lockbox_reply_t *reply, ngx_lockbox_decision_t liveness);
static void ngx_lockbox_store_finish(ngx_lockbox_lookup_t *lookup,
    ngx_lockbox_decision_t liveness);


static const ngx_str_t  ngx_lockbox_live_value =
    ngx_string(NGX_LOCKBOX_LIVE_VALUE);


/* The states that a request whose grant was live can end in, for good. */
static const ngx_lockbox_ended_t  ngx_lockbox_ended[] = {
    { ngx_string("revoked"), NGX_LOCKBOX_REVOKED },
    { ngx_string("completed"), NGX_LOCKBOX_COMPLETED },
    { ngx_string("expired"), NGX_LOCKBOX_EXPIRED }
};


ngx_lockbox_lookup_t *
ngx_lockbox_store_liveness(ngx_lockbox_redis_t *redis, ngx_pool_t *pool,
    const ngx_str_t *tenant, const ngx_str_t *id,
    ngx_lockbox_lookup_pt handler, void *data)
{
    ngx_lockbox_lookup_t  *lookup;

    lookup = ngx_palloc(pool, sizeof(ngx_lockbox_lookup_t));
    if (lookup == NULL) {
        return NULL;
    }

    lookup->redis = redis;
    lookup->handler = handler;
    lookup->data = data;
    lookup->liveness = NGX_LOCKBOX_NOT_DECIDED;
    lookup->state = NULL;

    lookup->live = ngx_lockbox_store_ask_live(redis, pool, tenant, id, lookup);
    if (lookup->live == NULL) {
        return NULL;
    }

    lookup->state = ngx_lockbox_store_ask_state(redis, pool, tenant, id,
                                                lookup);
    if (lookup->state == NULL) {
        ngx_lockbox_store_cancel(lookup);
        return NULL;
    }

    return lookup;
}


void
ngx_lockbox_store_cancel(ngx_lockbox_lookup_t *lookup)
{
    lookup->handler = NULL;

    if (lookup->live) {
        ngx_lockbox_redis_cancel(lookup->live);
        lookup->live = NULL;
    }

    if (lookup->state) {
        ngx_lockbox_redis_cancel(lookup->state);
        lookup->state = NULL;
    }
}


ngx_int_t
ngx_lockbox_store_live_key(ngx_pool_t *pool, const ngx_str_t *tenant,
    const ngx_str_t *id, ngx_str_t *key)
{
    key->len = sizeof("lockbox:grant:{}:") - 1 + tenant->len + id->len;

    key->data = ngx_pnalloc(pool, key->len);
    if (key->data == NULL) {
        return NGX_ERROR;
    }

    (void) ngx_sprintf(key->data, "lockbox:grant:{%V}:%V", tenant, id);

    return NGX_OK;
}


static ngx_lockbox_redis_command_t *
ngx_lockbox_store_ask_live(ngx_lockbox_redis_t *redis, ngx_pool_t *pool,
    const ngx_str_t *tenant, const ngx_str_t *id, ngx_lockbox_lookup_t *lookup)
{
    ngx_str_t  argv[2];

    ngx_str_set(&argv[0], "GETEX");

    if (ngx_lockbox_store_live_key(pool, tenant, id, &argv[1]) != NGX_OK) {
        return NULL;
    }

    return ngx_lockbox_redis_send(redis, argv, 2,
                                  ngx_lockbox_store_live_handler, lookup);
}


static ngx_lockbox_redis_command_t *
ngx_lockbox_store_ask_state(ngx_lockbox_redis_t *redis, ngx_pool_t *pool,
    const ngx_str_t *tenant, const ngx_str_t *id, ngx_lockbox_lookup_t *lookup)
{
    ngx_str_t  argv[3];

    ngx_str_set(&argv[0], "HGET");

    argv[1].len = sizeof("lockbox:{}:request:") - 1 + tenant->len + id->len;
    argv[1].data = ngx_pnalloc(pool, argv[1].len);
    if (argv[1].data == NULL) {
        return NULL;
    }

    (void) ngx_sprintf(argv[1].data, "lockbox:{%V}:request:%V", tenant, id);

    ngx_str_set(&argv[2], "state");

    return ngx_lockbox_redis_send(redis, argv, 3,
                                  ngx_lockbox_store_state_handler, lookup);
}


static void
ngx_lockbox_store_live_handler(void *data, const ngx_lockbox_reply_t *reply)
{
    ngx_lockbox_lookup_t  *lookup = data;

    lookup->live = NULL;
    lookup->liveness = ngx_lockbox_store_live(reply);

    ngx_lockbox_store_suspect(lookup, reply);

    if (lookup->liveness == NGX_LOCKBOX_STORE_UNAVAILABLE) {
        ngx_lockbox_store_finish(lookup, lookup->liveness);
    }
}


static void
ngx_lockbox_store_state_handler(void *data, const ngx_lockbox_reply_t *reply)
{
    ngx_lockbox_lookup_t  *lookup = data;

    lookup->state = NULL;

    ngx_lockbox_store_suspect(lookup, reply);

    ngx_lockbox_store_finish(lookup,
                             ngx_lockbox_store_state(reply, lookup->liveness));
}


/*
 * Neither question is ever answered with a number or a list: that is the reply
 * to another one, and so would be all that follow.
 */
static void
ngx_lockbox_store_suspect(ngx_lockbox_lookup_t *lookup,
    const ngx_lockbox_reply_t *reply)
{
    if (reply != NULL
        && (reply->type == NGX_LOCKBOX_RESP_INTEGER
            || reply->type == NGX_LOCKBOX_RESP_ARRAY))
    {
        ngx_lockbox_redis_reject(lookup->redis, "reply to another question");
    }
}


/* A live key of another value is none that the workflow has written. */
static ngx_lockbox_decision_t
ngx_lockbox_store_live(const ngx_lockbox_reply_t *reply)
{
    if (reply == NULL) {
        return NGX_LOCKBOX_STORE_UNAVAILABLE;
    }

    if (reply->type == NGX_LOCKBOX_RESP_NIL) {
        return NGX_LOCKBOX_NOT_LIVE;
    }

    if (reply->type == NGX_LOCKBOX_RESP_STRING
        && ngx_lockbox_text_same(&reply->text, &ngx_lockbox_live_value))
    {
        return NGX_LOCKBOX_ALLOW;
    }

    return NGX_LOCKBOX_STORE_UNAVAILABLE;
}


/*
 * An ended state wins over a live key: the workflow never leaves both, no end
 * is ever taken back, and between the two questions a revocation may have been
 * carried out.
 */
static ngx_lockbox_decision_t
ngx_lockbox_store_state(const ngx_lockbox_reply_t *reply,
    ngx_lockbox_decision_t liveness)
{
    ngx_lockbox_decision_t  end;

    if (reply == NULL) {
        return NGX_LOCKBOX_STORE_UNAVAILABLE;
    }

    if (reply->type == NGX_LOCKBOX_RESP_NIL) {
        return liveness;
    }

    if (reply->type != NGX_LOCKBOX_RESP_STRING) {
        return NGX_LOCKBOX_STORE_UNAVAILABLE;
    }

    end = ngx_lockbox_store_end(&reply->text);
    if (end != NGX_LOCKBOX_ALLOW) {
        return end;
    }

    /* another state beside a live key is none that the workflow has left */

    if (liveness == NGX_LOCKBOX_ALLOW
        && !ngx_lockbox_text_is(&reply->text, "approved"))
    {
        return NGX_LOCKBOX_STORE_UNAVAILABLE;
    }

    return liveness;
}


ngx_lockbox_decision_t
ngx_lockbox_store_end(const ngx_str_t *state)
{
    ngx_uint_t  i;

    for (i = 0;
         i < sizeof(ngx_lockbox_ended) / sizeof(ngx_lockbox_ended[0]);
         i++)
    {
        if (ngx_lockbox_text_same(state, &ngx_lockbox_ended[i].state)) {
            return ngx_lockbox_ended[i].decision;
        }
    }

    return NGX_LOCKBOX_ALLOW;
}


/* The handler may destroy the pool that the look-up lies in. */
static void
ngx_lockbox_store_finish(ngx_lockbox_lookup_t *lookup,
    ngx_lockbox_decision_t liveness)
{
    void                   *data;
    ngx_lockbox_lookup_pt   handler;

    handler = lookup->handler;
    data = lookup->data;

    ngx_lockbox_store_cancel(lookup);

    if (handler) {
        handler(data, liveness);
    }
}
