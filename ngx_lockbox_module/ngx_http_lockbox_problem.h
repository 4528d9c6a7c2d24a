/*
 * Answers in JSON: refusals as problem details (RFC 9457) with the challenge
 * of RFC 6750.
 */

#ifndef _NGX_HTTP_LOCKBOX_PROBLEM_H_INCLUDED_
#define _NGX_HTTP_LOCKBOX_PROBLEM_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include <jansson.h>

#include "ngx_lockbox_decision.h"


/*
 * Answers the main request with the decision's status, its challenge and a
 * problem body.  "detail" replaces the table's when it is not NULL; "more" is
 * an object whose members are added (borrowed), or NULL.  Returns what
 * ngx_http_finalize_request() wants.
 */
ngx_int_t ngx_http_lockbox_problem_send(ngx_http_request_t *r,
    ngx_lockbox_decision_t decision, const ngx_str_t *realm,
    const char *detail, json_t *more);

/*
 * Answers the main request with the value as JSON, consuming the reference
 * (NULL, for want of memory, is answered 500).  Every answer is no-store.
 * Returns what ngx_http_finalize_request() wants.
 */
ngx_int_t ngx_http_lockbox_json_send(ngx_http_request_t *r, ngx_uint_t status,
    const char *type, json_t *value);

/* The same for a text, which must live as long as the request. */
ngx_int_t ngx_http_lockbox_text_send(ngx_http_request_t *r, ngx_uint_t status,
    const char *type, const ngx_str_t *text);


#endif /* _NGX_HTTP_LOCKBOX_PROBLEM_H_INCLUDED_ */
