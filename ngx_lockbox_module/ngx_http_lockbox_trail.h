/*
 * The trail: audit records go to the streams of their tenants in Redis, too,
 * in batches and outside of the path of requests.
 */

#ifndef _NGX_HTTP_LOCKBOX_TRAIL_H_INCLUDED_
#define _NGX_HTTP_LOCKBOX_TRAIL_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_lockbox_audit.h"


typedef struct ngx_http_lockbox_trail_conf_s  ngx_http_lockbox_trail_conf_t;


/* The trail of a configuration, of which each worker has its own part. */
ngx_http_lockbox_trail_conf_t *ngx_http_lockbox_trail_conf(ngx_conf_t *cf);

/*
 * Hands over a record that is in the audit log, whole and with its line feed.
 * It is copied; one without a tenant is nobody's and left out.  What cannot
 * be taken is counted, and the count shown to the tenant.
 */
void ngx_http_lockbox_trail_add(ngx_http_lockbox_trail_conf_t *trail,
    const ngx_http_lockbox_leg_t *leg, const ngx_str_t *record);

/*
 * Says for how many seconds records are kept; for postconfiguration.  Until
 * then it is for ever, as far as their number allows.
 */
void ngx_http_lockbox_trail_keep(ngx_conf_t *cf, time_t retention);


extern ngx_module_t  ngx_http_lockbox_trail_module;


#endif /* _NGX_HTTP_LOCKBOX_TRAIL_H_INCLUDED_ */
