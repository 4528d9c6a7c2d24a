/*
 * Header fields of requests and responses.
 */

#ifndef _NGX_HTTP_LOCKBOX_HEADERS_H_INCLUDED_
#define _NGX_HTTP_LOCKBOX_HEADERS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_lockbox_decision.h"


/*
 * How many fields of this name, in any case and with any mark for a hyphen, the
 * request has; "value", unless NULL, becomes the first one's, borrowed.
 */
ngx_uint_t ngx_http_lockbox_header_find(ngx_http_request_t *r,
    const ngx_str_t *name, ngx_str_t *value);

/*
 * The values of all fields of this name, by the same rule, in their order and
 * with a comma behind each: so lists are read that are in several fields (RFC
 * 9110 section 5.3).  Empty if there is none, else pool memory.  NGX_ERROR
 * without memory.
 */
ngx_int_t ngx_http_lockbox_header_list(ngx_http_request_t *r,
    const ngx_str_t *name, ngx_str_t *list);

/*
 * 1 if the request has a field of one of these names, by the same rule; the
 * list ends with an empty one.
 */
ngx_uint_t ngx_http_lockbox_header_any(ngx_http_request_t *r,
    const ngx_str_t *names);

/*
 * Adds a response header; name and value must live as long as the request.
 * NGX_ERROR without memory.
 */
ngx_int_t ngx_http_lockbox_header_add(ngx_http_request_t *r, const char *name,
    const ngx_str_t *value);

/* Takes all response headers of these names, by the same rule, out. */
void ngx_http_lockbox_header_remove(ngx_http_request_t *r,
    const ngx_str_t *names);

/*
 * Finds the text of the token in the only Authorization field (RFC 6750
 * section 2.1).  NGX_LOCKBOX_ALLOW and the text, borrowed, which may be
 * empty; else NO_TOKEN or TWO_TOKENS.
 */
ngx_lockbox_decision_t ngx_http_lockbox_header_bearer(ngx_http_request_t *r,
    ngx_str_t *token);


#endif /* _NGX_HTTP_LOCKBOX_HEADERS_H_INCLUDED_ */
