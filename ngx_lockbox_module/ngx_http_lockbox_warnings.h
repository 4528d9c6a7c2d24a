/*
 * What "nginx -t" says of directives that stand around a gate and do not do
 * there what they do elsewhere.
 */

#ifndef _NGX_HTTP_LOCKBOX_WARNINGS_H_INCLUDED_
#define _NGX_HTTP_LOCKBOX_WARNINGS_H_INCLUDED_


#include "ngx_http_lockbox_module.h"


/*
 * Warns, in the error log, of "return" and "rewrite" in gated locations, and
 * of two ways past them that are easily overlooked: a location with a regular
 * expression that nginx may take instead, and a named location that errors
 * lead to.  For postconfiguration, when locations are sorted.
 */
void ngx_http_lockbox_warnings(ngx_conf_t *cf,
    const ngx_http_lockbox_main_conf_t *mcf);


#endif /* _NGX_HTTP_LOCKBOX_WARNINGS_H_INCLUDED_ */
