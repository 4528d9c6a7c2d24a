/*
 * Runs workflow.lua in Redis and names its results.
 */

#ifndef _NGX_LOCKBOX_WORKFLOW_H_INCLUDED_
#define _NGX_LOCKBOX_WORKFLOW_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include <jansson.h>

#include "ngx_lockbox_decision.h"
#include "ngx_lockbox_redis.h"


typedef struct ngx_lockbox_workflow_call_s  ngx_lockbox_workflow_call_t;


typedef struct {
    /*
     * NGX_LOCKBOX_ALLOW when the script did what was asked, else NOT_FOUND,
     * FORBIDDEN_ROLE, OWN_REQUEST, SAME_PERSON, CONFLICT, INVALID_MEMBER (the
     * cursor of a page, "extends" of a filing), TOO_MANY_REQUESTS,
     * STORE_UNAVAILABLE (no usable answer: what was asked may or may not have
     * happened), or INTERNAL_ERROR (the script refused the worker's clock).
     */
    ngx_lockbox_decision_t    decision;

    /* A CONFLICT because the policy is by now another than was gone by. */
    ngx_uint_t                stale;

    /*
     * The request as a JSON object: every field of its hash as a string, and
     * "actions", an array of the actions the actor may take now.  NULL when
     * the actor may not see it, and for lists.  "policy" and "set_policy":
     * the policy in the same form, without actions.
     */
    json_t                   *request;

    /*
     * "list": an array of such objects.  "due": an array of objects with
     * "tenant" and "id".  Else NULL.
     */
    json_t                   *requests;

    /*
     * "events": an array of objects, every field of an event as a string, and
     * "cursor", its id.  For one request the same, of what has just happened;
     * NULL when nothing has.
     */
    json_t                   *events;

    /* "events": between the cursor and them others are no longer there. */
    ngx_uint_t                gap;

    /* Where the next page begins; but for events empty at the end */
    ngx_str_t                 next;

    /*
     * "audit": the records; the time (Unix ms) up to which they are complete,
     * as text, empty if nobody knows; and workers that are not heard of, each
     * one followed by its time.  Arrays of ngx_str_t, else NULL.
     */
    ngx_array_t              *records;
    ngx_str_t                 complete;
    ngx_array_t              *silent;
} ngx_lockbox_workflow_result_t;


/*
 * Called once, unless the call was cancelled; the result is valid as long as
 * the pool of the call.
 */
typedef void (*ngx_lockbox_workflow_pt)(void *data,
    const ngx_lockbox_workflow_result_t *result);


/*
 * Runs one action of the script: EVALSHA, and EVAL once when Redis does not
 * know the script (NOSCRIPT).  "action" is a static text, "args" is borrowed
 * during this function only.  The call is pool memory, and cancelled with the
 * pool.  NULL when it cannot be sent; the handler is not called then, and
 * never from within this function.
 */
ngx_lockbox_workflow_call_t *ngx_lockbox_workflow_run(
    ngx_lockbox_redis_t *redis, ngx_pool_t *pool, const char *action,
    const json_t *args, ngx_lockbox_workflow_pt handler, void *data);

/*
 * Forgets the handler; what was sent to Redis happens all the same.  Safe
 * after the answer, and to be called twice.
 */
void ngx_lockbox_workflow_cancel(ngx_lockbox_workflow_call_t *call);


#endif /* _NGX_LOCKBOX_WORKFLOW_H_INCLUDED_ */
