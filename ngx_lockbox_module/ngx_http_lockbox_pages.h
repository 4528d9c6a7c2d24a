/*
 * Where errors lead that nginx finds before a gate has seen the request.
 */

#ifndef _NGX_HTTP_LOCKBOX_PAGES_H_INCLUDED_
#define _NGX_HTTP_LOCKBOX_PAGES_H_INCLUDED_


#include "ngx_http_lockbox_module.h"


/*
 * Checks each "error_page" of gated locations and of their servers.  NGX_ERROR,
 * with the reason in the error log, where one takes a request, with the path
 * that the client chose, from in front of a gate to what serves it and is not
 * gated.  Warns of those that the gate stops there, and of those that leave no
 * record.  For postconfiguration, when locations are sorted.
 */
ngx_int_t ngx_http_lockbox_pages(ngx_conf_t *cf,
    const ngx_http_lockbox_main_conf_t *mcf);


#endif /* _NGX_HTTP_LOCKBOX_PAGES_H_INCLUDED_ */
