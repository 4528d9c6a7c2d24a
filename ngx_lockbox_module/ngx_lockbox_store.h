/*
 * Typed questions to Redis that the gate asks.
 */

#ifndef _NGX_LOCKBOX_STORE_H_INCLUDED_
#define _NGX_LOCKBOX_STORE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_lockbox_decision.h"
#include "ngx_lockbox_redis.h"


/* The value of a live key; its existence is what counts. */
#define NGX_LOCKBOX_LIVE_VALUE  "live"


typedef struct ngx_lockbox_lookup_s  ngx_lockbox_lookup_t;

/*
 * The answer: REVOKED, COMPLETED or EXPIRED when the request's state says so,
 * else NGX_LOCKBOX_ALLOW when the live key exists with its value, NOT_LIVE
 * when it does not; STORE_UNAVAILABLE when Redis gave no usable answer to
 * either question, or one that contradicts the other: a live key beside a
 * state that is there and is not "approved".
 */
typedef void (*ngx_lockbox_lookup_pt)(void *data,
    ngx_lockbox_decision_t liveness);

/*
 * The live key of a grant, lockbox:grant:{tenant}:id, in pool memory.
 * NGX_ERROR without memory.
 */
ngx_int_t ngx_lockbox_store_live_key(ngx_pool_t *pool,
    const ngx_str_t *tenant, const ngx_str_t *id, ngx_str_t *key);

/*
 * REVOKED, COMPLETED or EXPIRED when a request's state says that its grant is
 * over for good, else ALLOW.
 */
ngx_lockbox_decision_t ngx_lockbox_store_end(const ngx_str_t *state);

/*
 * Asks for the live key and, in the same round trip,
 * for the state of lockbox:{tenant}:request:id.  The look-up is pool memory.
 * NULL when the question cannot be sent; the handler is not called then, and
 * never from within this function.
 *
 * The key is read with GETEX, a command that Redis counts as a write: so a
 * replica that is not writable, and a primary that may not or cannot keep
 * writes, answers with an error and not with a stale permission.
 */
ngx_lockbox_lookup_t *ngx_lockbox_store_liveness(ngx_lockbox_redis_t *redis,
    ngx_pool_t *pool, const ngx_str_t *tenant, const ngx_str_t *id,
    ngx_lockbox_lookup_pt handler, void *data);

/* Forgets the handler.  Safe after the answer, and to be called twice. */
void ngx_lockbox_store_cancel(ngx_lockbox_lookup_t *lookup);


#endif /* _NGX_LOCKBOX_STORE_H_INCLUDED_ */
