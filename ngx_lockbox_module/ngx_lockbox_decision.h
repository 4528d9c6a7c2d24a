/*
 * The closed list of decisions: one word for each, the same in the response,
 * the variable and the audit record.
 */

#ifndef _NGX_LOCKBOX_DECISION_H_INCLUDED_
#define _NGX_LOCKBOX_DECISION_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


typedef enum {
    /* zero, so that memory nobody wrote to never reads as permission */
    NGX_LOCKBOX_NOT_DECIDED = 0,
    NGX_LOCKBOX_ALLOW,

    /* refusals of the gate */
    NGX_LOCKBOX_AMBIGUOUS_TARGET,
    NGX_LOCKBOX_OVERRIDE_HEADER,
    NGX_LOCKBOX_TWO_TOKENS,
    NGX_LOCKBOX_NO_TOKEN,
    NGX_LOCKBOX_MALFORMED_TOKEN,
    NGX_LOCKBOX_UNKNOWN_KEY,
    NGX_LOCKBOX_BAD_SIGNATURE,
    NGX_LOCKBOX_WRONG_TYPE,
    NGX_LOCKBOX_WRONG_ISSUER,
    NGX_LOCKBOX_WRONG_AUDIENCE,
    NGX_LOCKBOX_NOT_YET_VALID,
    NGX_LOCKBOX_EXPIRED,
    NGX_LOCKBOX_TOO_LONG_LIVED,
    NGX_LOCKBOX_WRONG_CERTIFICATE,
    NGX_LOCKBOX_REVOKED,
    NGX_LOCKBOX_COMPLETED,
    NGX_LOCKBOX_NOT_LIVE,
    NGX_LOCKBOX_WRONG_TENANT,
    NGX_LOCKBOX_WRONG_SERVICE,
    NGX_LOCKBOX_WRONG_METHOD,
    NGX_LOCKBOX_WRONG_PATH,
    NGX_LOCKBOX_WRONG_LABEL,
    NGX_LOCKBOX_STORE_UNAVAILABLE,
    NGX_LOCKBOX_AUDIT_UNAVAILABLE,
    NGX_LOCKBOX_INTERNAL_ERROR,

    /* further refusals of the admin calls */
    NGX_LOCKBOX_INVALID_JSON,
    NGX_LOCKBOX_INVALID_MEMBER,
    NGX_LOCKBOX_FORBIDDEN_ROLE,
    NGX_LOCKBOX_OWN_REQUEST,
    NGX_LOCKBOX_SAME_PERSON,
    NGX_LOCKBOX_NOT_FOUND,
    NGX_LOCKBOX_METHOD_NOT_ALLOWED,
    NGX_LOCKBOX_CONFLICT,
    NGX_LOCKBOX_TOO_LARGE,
    NGX_LOCKBOX_UNSUPPORTED_MEDIA_TYPE,
    NGX_LOCKBOX_TOO_MANY_REQUESTS,

    NGX_LOCKBOX_DECISIONS
} ngx_lockbox_decision_t;


typedef struct {
    ngx_str_t    word;      /* "wrong_path" */
    ngx_uint_t   status;    /* HTTP status; 0 for the two that refuse nothing */
    ngx_str_t    error;     /* RFC 6750 section 3.1 error code, may be empty */
    ngx_str_t    title;     /* RFC 9457 "title" */
    ngx_str_t    detail;    /* RFC 9457 "detail": what to do about it */
} ngx_lockbox_decision_info_t;


/*
 * Word, status and texts of a decision.  Never NULL: a value outside of the
 * list reads as NGX_LOCKBOX_INTERNAL_ERROR.  The result is static.
 */
const ngx_lockbox_decision_info_t *ngx_lockbox_decision_info(
    ngx_lockbox_decision_t decision);


#endif /* _NGX_LOCKBOX_DECISION_H_INCLUDED_ */
