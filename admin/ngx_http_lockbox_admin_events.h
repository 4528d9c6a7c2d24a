/*
 * Events as they are shown: CloudEvents 1.0.
 */

#ifndef _NGX_HTTP_LOCKBOX_ADMIN_EVENTS_H_INCLUDED_
#define _NGX_HTTP_LOCKBOX_ADMIN_EVENTS_H_INCLUDED_


#include "ngx_http_lockbox_admin.h"


/* Events in one answer, at most. */
#define NGX_HTTP_LOCKBOX_EVENTS_MAX  100


/*
 * An event of the workflow as a CloudEvent from that source (a URI, the
 * issuer of grants).  A new reference; NULL without memory or when its fields
 * make no sense.
 */
json_t *ngx_http_lockbox_admin_event(const ngx_str_t *source,
    const json_t *fields);

/*
 * A CloudEvent as one line of ASCII without a line feed, in pool memory.
 * Consumes the value, which may be NULL.  NGX_ERROR without memory.
 */
ngx_int_t ngx_http_lockbox_admin_event_text(ngx_pool_t *pool, json_t *event,
    ngx_str_t *text);

/*
 * The arguments of the script's "events": what this identity may see behind
 * the cursor, or if that is empty from the oldest on, or with "latest" from
 * the last one on.  A new reference, NULL without memory.
 */
json_t *ngx_http_lockbox_admin_events_args(
    const ngx_lockbox_identity_t *identity, const ngx_str_t *cursor,
    ngx_uint_t limit, ngx_uint_t latest);

/*
 * Keeps the answer to "GET v1/events" open and sends what happens behind the
 * cursor, or without one what happens from now on.  Refuses the call where it
 * cannot.  ngx_http_lockbox_admin_stream.c.
 */
void ngx_http_lockbox_admin_stream(ngx_http_lockbox_admin_call_t *call,
    const ngx_str_t *cursor);

/* What all streams of a worker share; NULL without memory. */
ngx_http_lockbox_streams_t *ngx_http_lockbox_streams_create(
    ngx_cycle_t *cycle, const ngx_http_lockbox_admin_conf_t *conf);

/* Closes the connection that wakes streams; for exit_process. */
void ngx_http_lockbox_streams_destroy(ngx_http_lockbox_streams_t *streams);


#endif /* _NGX_HTTP_LOCKBOX_ADMIN_EVENTS_H_INCLUDED_ */
