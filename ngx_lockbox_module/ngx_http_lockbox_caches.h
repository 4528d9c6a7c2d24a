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
 * Switches proxy_cache, proxy_store and the like off in all gated locations.
 * For postconfiguration, when they are merged.  NGX_ERROR, with the reason in
 * the error log, where this nginx does not let itself be told so.
 */
ngx_int_t ngx_http_lockbox_caches_off(ngx_conf_t *cf);


#endif /* _NGX_HTTP_LOCKBOX_CACHES_H_INCLUDED_ */
