/*
 * A tenant's policy: what its customer allows, never more than the operator
 * does.  Pure, without a request or a configuration.
 */

#ifndef _NGX_LOCKBOX_POLICY_H_INCLUDED_
#define _NGX_LOCKBOX_POLICY_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include <jansson.h>

#include "ngx_lockbox_json.h"
#include "ngx_lockbox_scope.h"


/* Bytes of the canonical text. */
#define NGX_LOCKBOX_POLICY_MAX           16384

#define NGX_LOCKBOX_POLICY_APPROVALS     9
#define NGX_LOCKBOX_POLICY_NAMES_MAX     64
#define NGX_LOCKBOX_POLICY_PREAPPROVALS  16

/* Seconds for which something can be approved beforehand. */
#define NGX_LOCKBOX_POLICY_AHEAD         (90 * 24 * 3600)


/* What the operator sets: the tenant may be stricter. */
typedef struct {
    int64_t                      max_duration;   /* seconds */
    ngx_uint_t                   approvals;      /* of the customer; or 0 */
} ngx_lockbox_policy_limits_t;


/* Something narrow that the customer has approved beforehand. */
typedef struct {
    ngx_str_t                    name;
    ngx_lockbox_scope_t          scope;
    int64_t                      max_duration;   /* seconds; 0: not stated */
    ngx_lockbox_strings_t        reasons;        /* none: not stated */
    int64_t                      until;          /* Unix milliseconds; for
                                                    all of the window */
} ngx_lockbox_preapproval_t;


/* Without a statement the operator's limits hold, and nothing else. */
typedef struct {
    int64_t                      max_duration;   /* seconds; 0: not stated */
    ngx_uint_t                   approvals;      /* 0: not stated */
    ngx_lockbox_strings_t        services;       /* none: not stated */
    ngx_lockbox_strings_t        reasons;        /* none: not stated */
    ngx_lockbox_strings_t        labels_never;
    ngx_uint_t                   npreapprovals;
    ngx_lockbox_preapproval_t   *preapprovals;
} ngx_lockbox_policy_t;


/* What somebody wants, as far as a policy has a say in it. */
typedef struct {
    const ngx_lockbox_scope_t   *scope;
    int64_t                      duration;       /* seconds */
    ngx_str_t                    reason;
} ngx_lockbox_policy_wish_t;


/*
 * Reads a policy, an object of at most NGX_LOCKBOX_POLICY_MAX bytes: the
 * members of ngx_lockbox_policy_t by their names, all of which may be missing,
 * and nothing else.  A preapproval has "name", "access" and "until", may have
 * "max_duration" and "reasons", and must be narrow: it opens no whole service
 * (the path "/") and no other protocol.  "at" is the pointer of the policy in
 * its document.
 *
 * The limits are the operator's, and "now" is in Unix milliseconds, so that
 * what is set means something: max_duration is not longer and approvals not
 * fewer than theirs, and "until" is at most NGX_LOCKBOX_POLICY_AHEAD away.
 * With limits of NULL both are taken as they are: so a policy is read that was
 * set before.
 *
 * NGX_OK, with texts in pool memory; NGX_DECLINED and the fault; NGX_ERROR
 * without memory.
 */
ngx_int_t ngx_lockbox_policy_parse(ngx_pool_t *pool, const json_t *value,
    const char *at, const ngx_lockbox_policy_limits_t *limits, int64_t now,
    ngx_lockbox_policy_t *policy, ngx_lockbox_fault_t *fault);

/*
 * Makes the policy what holds: where the operator's limits are stricter than
 * what it states, or it states nothing, they take its place.  A zeroed policy
 * becomes that of a tenant that has set none.
 */
void ngx_lockbox_policy_clamp(ngx_lockbox_policy_t *policy,
    const ngx_lockbox_policy_limits_t *limits);

/*
 * Whether the wish is within a clamped policy.  NGX_OK; NGX_DECLINED and the
 * fault, whose member is that of the request ("/duration", "/reason",
 * "/access/0/service", "/access/0/labels/1"); NGX_ERROR without memory.
 */
ngx_int_t ngx_lockbox_policy_allows(ngx_pool_t *pool,
    const ngx_lockbox_policy_t *policy, const ngx_lockbox_policy_wish_t *wish,
    ngx_lockbox_fault_t *fault);

/*
 * The first preapproval of a clamped policy that covers the whole wish, to its
 * end, if its window begins then (Unix seconds), or NULL.  What the policy does
 * not allow is covered by none.
 */
const ngx_lockbox_preapproval_t *ngx_lockbox_policy_preapproval(
    const ngx_lockbox_policy_t *policy, const ngx_lockbox_policy_wish_t *wish,
    int64_t begins);


#endif /* _NGX_LOCKBOX_POLICY_H_INCLUDED_ */
