/*
 * The caches and stores of nginx, which would serve to others what one grant
 * has opened.
 */

#ifndef _NGX_HTTP_LOCKBOX_CACHES_H_INCLUDED_
#define _NGX_HTTP_LOCKBOX_CACHES_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


/*
 * Switches proxy_cache and the like off in all gated locations.  For
 * postconfiguration, when they are merged.  NGX_ERROR, with the reason in the
 * error log, where this nginx does not let itself be told so.
 */
ngx_int_t ngx_http_lockbox_caches_off(ngx_conf_t *cf);

/* The answer whose header is about to be sent is not to be kept. */
void ngx_http_lockbox_caches_forbid(ngx_http_request_t *r);

/* 1 if the answer comes from a cache, else 0. */
ngx_uint_t ngx_http_lockbox_caches_hit(const ngx_http_request_t *r);

/*
 * 1 if the last location of the request that had an upstream took an answer or
 * the mere status of an error from a cache, else 0.  nginx does not say the
 * latter of the error page that it makes of it.
 */
ngx_uint_t ngx_http_lockbox_caches_error(const ngx_http_request_t *r);


#endif /* _NGX_HTTP_LOCKBOX_CACHES_H_INCLUDED_ */
