/*
 * Hands events to a location of the operator's, by requests of the module's
 * own that no client waits for.
 */

#ifndef _NGX_HTTP_LOCKBOX_ADMIN_NOTIFY_H_INCLUDED_
#define _NGX_HTTP_LOCKBOX_ADMIN_NOTIFY_H_INCLUDED_


#include "ngx_http_lockbox_admin.h"


/* To be called in a worker; NULL without memory. */
ngx_http_lockbox_notifier_t *ngx_http_lockbox_notifier_create(
    ngx_cycle_t *cycle, const ngx_http_lockbox_admin_conf_t *conf);

/* Forgets what is still queued; for exit_process. */
void ngx_http_lockbox_notifier_destroy(ngx_http_lockbox_notifier_t *notifier);

/*
 * Queues what a step of the workflow has announced, and returns; nothing is
 * handed over from within this function.  "notifier" may be NULL.
 */
void ngx_http_lockbox_notify(ngx_http_lockbox_notifier_t *notifier,
    const ngx_lockbox_workflow_result_t *result);


#endif /* _NGX_HTTP_LOCKBOX_ADMIN_NOTIFY_H_INCLUDED_ */
