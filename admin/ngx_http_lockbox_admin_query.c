/*
 * The query string of a call.
 */

#include "ngx_http_lockbox_admin_query.h"


ngx_int_t
ngx_http_lockbox_admin_query(ngx_http_lockbox_admin_call_t *call,
    const ngx_lockbox_query_parameter_t *parameters, void *values)
{
    ngx_int_t             rc;
    ngx_lockbox_fault_t   fault;
    ngx_http_request_t   *r;

    r = call->request;

    rc = ngx_lockbox_query_read(r->pool, &r->args, parameters, values, &fault);

    if (rc == NGX_OK) {
        return NGX_OK;
    }

    if (rc == NGX_DECLINED) {
        ngx_http_lockbox_admin_refuse_member(call, &fault);

    } else {
        ngx_http_lockbox_admin_refuse(call, NGX_LOCKBOX_INTERNAL_ERROR, NULL,
                                      NULL);
    }

    return NGX_ERROR;
}
