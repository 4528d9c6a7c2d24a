/*
 * The grant and the decision: the heart of the gate, without I/O and without
 * a clock of its own.
 */

#ifndef _NGX_LOCKBOX_GRANT_H_INCLUDED_
#define _NGX_LOCKBOX_GRANT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include <jansson.h>

#include "ngx_lockbox_decision.h"
#include "ngx_lockbox_scope.h"


/*
 * Bytes of the thumbprint of a certificate: base64url of the SHA-256 of its
 * DER (RFC 8705 section 3.1, x5t#S256).
 */
#define NGX_LOCKBOX_THUMBPRINT_LEN  43


typedef struct {
    ngx_str_t              id;              /* jti: the request's id */
    ngx_str_t              tenant;
    ngx_str_t              engineer_iss;
    ngx_str_t              engineer_sub;    /* sub */
    time_t                 not_before;      /* nbf */
    time_t                 expires;         /* exp */
    ngx_str_t              certificate;     /* cnf, a thumbprint; or empty */
    ngx_lockbox_scope_t    scope;           /* authorization_details */
} ngx_lockbox_grant_t;


/* What a request asks for. */
typedef struct {
    ngx_str_t              tenant;
    ngx_str_t              service;
    ngx_lockbox_strings_t  labels;          /* all that the location carries */
    ngx_str_t              method;
    ngx_uint_t             upgrade;         /* 1: and to switch protocols */
    ngx_str_t              path;            /* canonical */
    ngx_str_t              certificate;     /* thumbprint of the client's, of
                                               this very connection; or empty */
    ngx_uint_t             bound;           /* 1: only grants with cnf */
} ngx_lockbox_target_t;


/*
 * Reads a grant from the claims of a token that went through the door (which
 * has checked iss, aud and the times already).  All texts are copied to the
 * pool.  Unknown claims are ignored.
 *
 * NGX_OK; NGX_DECLINED for a malformed grant: jti no request id, tenant or
 * authorization_details ill-formed, engineer_iss or sub missing, empty, over
 * 255 bytes or with control characters, cnf anything but an object with the
 * one member x5t#S256 and a canonical thumbprint (a confirmation that is not
 * understood cannot be checked, RFC 7800 section 3.1); NGX_ERROR without
 * memory.
 */
ngx_int_t ngx_lockbox_grant_parse(ngx_pool_t *pool, const json_t *claims,
    ngx_lockbox_grant_t *grant);

/*
 * The claims of the grant (RFC 7519, RFC 9396): iss, aud, sub, iat (= nbf),
 * nbf, exp, jti, tenant, engineer_iss, authorization_details, and cnf unless
 * "certificate" is empty.  A new reference, NULL without memory.
 */
json_t *ngx_lockbox_grant_claims(const ngx_lockbox_grant_t *grant,
    const ngx_str_t *issuer, const ngx_str_t *audience);

/*
 * ALLOW, NOT_YET_VALID or EXPIRED: the first things that the decision looks
 * at, for who would rather not ask the rest in vain.
 */
ngx_lockbox_decision_t ngx_lockbox_grant_timely(
    const ngx_lockbox_grant_t *grant, time_t now, time_t leeway);

/*
 * 1 if who asks may use the grant (RFC 8705 section 3): it is bound to the
 * certificate of the connection, or to none where none is demanded.
 */
ngx_uint_t ngx_lockbox_grant_held(const ngx_lockbox_grant_t *grant,
    const ngx_lockbox_target_t *target);

/*
 * The decision.  "now" and the grant's times are Unix seconds, "leeway" is
 * granted to not_before only, never to the end (a grant is over at the second
 * of its exp, RFC 7519 section 4.1.4).  An ill-formed tenant or service of the
 * location is never covered.  NGX_LOCKBOX_ALLOW, or NOT_YET_VALID, EXPIRED,
 * WRONG_CERTIFICATE (not held), WRONG_TENANT, or what
 * ngx_lockbox_scope_covers() says, in this order.
 */
ngx_lockbox_decision_t ngx_lockbox_grant_decide(
    const ngx_lockbox_grant_t *grant, const ngx_lockbox_target_t *target,
    time_t now, time_t leeway);


#endif /* _NGX_LOCKBOX_GRANT_H_INCLUDED_ */
