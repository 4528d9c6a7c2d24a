/*
 * The query string of a call.
 */

#ifndef _NGX_HTTP_LOCKBOX_ADMIN_QUERY_H_INCLUDED_
#define _NGX_HTTP_LOCKBOX_ADMIN_QUERY_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_lockbox_admin.h"
#include "ngx_lockbox_query.h"


/* The longest cursor that any list gives, in bytes. */
#define NGX_HTTP_LOCKBOX_CURSOR_MAX  64


/*
 * Reads the query of the call by a table of parameters into "values", as
 * ngx_lockbox_query_read() does.  When this fails, the call has been refused,
 * with invalid_member and the name of the parameter, and NGX_ERROR is
 * returned.
 */
ngx_int_t ngx_http_lockbox_admin_query(ngx_http_lockbox_admin_call_t *call,
    const ngx_lockbox_query_parameter_t *parameters, void *values);


#endif /* _NGX_HTTP_LOCKBOX_ADMIN_QUERY_H_INCLUDED_ */
