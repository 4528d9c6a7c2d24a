/*
 * Whether a grant may be used now: from the cache as long as the watch
 * vouches for it, else from Redis.
 */

#ifndef _NGX_HTTP_LOCKBOX_LIVENESS_H_INCLUDED_
#define _NGX_HTTP_LOCKBOX_LIVENESS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_lockbox_flight.h"
#include "ngx_lockbox_cache.h"
#include "ngx_lockbox_grant.h"
#include "ngx_lockbox_store.h"


/* What is known of the grant of one request; memory of that request. */
typedef struct {
    ngx_str_t                   facts;        /* empty: none were known */
    u_char                      key[NGX_LOCKBOX_CACHE_KEY_LEN];
    u_char                      name[NGX_LOCKBOX_CACHE_NAME_LEN];

    ngx_http_request_t         *request;
    ngx_lockbox_question_t      question;
    ngx_lockbox_lookup_t       *lookup;       /* under way */
    ngx_lockbox_lookup_pt       handler;
    void                       *data;

    const ngx_lockbox_grant_t  *grant;
    ngx_msec_t                  confirmed;    /* ngx_current_msec */
    unsigned                    vouched:1;    /* the watch hears of changes
                                                 since */
    ngx_http_lockbox_flight_t   flight;
} ngx_http_lockbox_liveness_t;


/*
 * Finds the facts of a token that was verified before, by this worker or
 * another one, under the same keys and rules; of its access items those of the
 * service, for they alone are decided by.  The grant's memory is the
 * request's.  NGX_OK; NGX_DECLINED when the token has to be verified; then
 * ngx_http_lockbox_liveness_remember() is to follow for a good one.
 */
ngx_int_t ngx_http_lockbox_liveness_recall(ngx_http_request_t *r,
    ngx_http_lockbox_liveness_t *liveness, const ngx_str_t *token,
    const ngx_str_t *service, ngx_lockbox_grant_t *grant);

/*
 * Gives the grant all of its access items, for whoever is to see them.  Not
 * NGX_OK without memory.
 */
ngx_int_t ngx_http_lockbox_liveness_complete(ngx_http_request_t *r,
    const ngx_http_lockbox_liveness_t *liveness, ngx_lockbox_grant_t *grant);

/*
 * Keeps the facts of the token that was asked for last.  NGX_ERROR without
 * memory.
 */
ngx_int_t ngx_http_lockbox_liveness_remember(ngx_http_request_t *r,
    ngx_http_lockbox_liveness_t *liveness, const ngx_lockbox_grant_t *grant);

/*
 * ALLOW, or the end that the grant has come to, or STORE_UNAVAILABLE when
 * Redis cannot be asked; NOT_DECIDED when it is being asked: the handler is
 * called with the answer then, and never from within this function.  The
 * grant must live as long as the request.
 */
ngx_lockbox_decision_t ngx_http_lockbox_liveness_check(ngx_http_request_t *r,
    ngx_http_lockbox_liveness_t *liveness, const ngx_lockbox_grant_t *grant,
    ngx_lockbox_lookup_pt handler, void *data);

/* The response is let through, for as long as the grant is live. */
void ngx_http_lockbox_liveness_begin(ngx_http_request_t *r,
    ngx_http_lockbox_liveness_t *liveness, ngx_http_lockbox_leg_t *leg);

/* The request is over: nothing is asked for it, and nothing is cut. */
void ngx_http_lockbox_liveness_end(ngx_http_lockbox_liveness_t *liveness);

/*
 * The caller has seen to it that the grant is ended, for the reason "end":
 * here it is from now on.  "expires" is the end of its window, Unix seconds.
 * Responses under it are cut.
 */
void ngx_http_lockbox_liveness_bury(ngx_http_request_t *r,
    const ngx_str_t *tenant, const ngx_str_t *id, ngx_lockbox_decision_t end,
    time_t expires);

/* For how long, in milliseconds, a worker may not have heard of an end. */
ngx_msec_t ngx_http_lockbox_liveness_lease(ngx_http_request_t *r);


extern ngx_module_t  ngx_http_lockbox_liveness_module;


#endif /* _NGX_HTTP_LOCKBOX_LIVENESS_H_INCLUDED_ */
