/*
 * The gate: decides on each request and subrequest of a gated location.
 */

#ifndef _NGX_HTTP_LOCKBOX_GATE_H_INCLUDED_
#define _NGX_HTTP_LOCKBOX_GATE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


/*
 * Takes note of a request that reached a gated location, before anything in
 * the location can answer it.  For the rewrite phase; always NGX_DECLINED,
 * or 500 without memory.
 */
ngx_int_t ngx_http_lockbox_gate_arrival(ngx_http_request_t *r);

/* Lets a worker verify signatures, few in each turn of its event loop. */
ngx_int_t ngx_http_lockbox_gate_init_process(ngx_cycle_t *cycle);

/*
 * The preaccess handler.  NGX_DECLINED lets the request on; NGX_AGAIN while
 * it waits for a signature to be verified or for Redis; a main request that
 * is refused has been answered when NGX_DONE is returned; a subrequest that is
 * refused gets the status.
 */
ngx_int_t ngx_http_lockbox_gate_handler(ngx_http_request_t *r);

/*
 * The content handler, before those that serve files: an error before the gate
 * may lead to a page, but not to the file or directory that was asked for.
 * NGX_DECLINED, or what the request is to be finalized with.
 */
ngx_int_t ngx_http_lockbox_gate_content(ngx_http_request_t *r);


#endif /* _NGX_HTTP_LOCKBOX_GATE_H_INCLUDED_ */
