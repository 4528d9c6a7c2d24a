/*
 * What "nginx -t" says of directives that stand around a gate and do not do
 * there what they do elsewhere.
 */

#ifndef _NGX_HTTP_LOCKBOX_WARNINGS_H_INCLUDED_
#define _NGX_HTTP_LOCKBOX_WARNINGS_H_INCLUDED_


#include "ngx_http_lockbox_module.h"


/*
 * Warns, in the error log, of "return" and "rewrite" in gated locations, of a
 * location with a regular expression that nginx may take instead of a gated
 * one, and of named locations that errors lead to but the gate does not let
 * through.  NGX_ERROR, with the reason in the error log, where one of these
 * would be reached unseen by the gate.  For postconfiguration, when locations
 * are sorted.
 */
ngx_int_t ngx_http_lockbox_warnings(ngx_conf_t *cf,
    const ngx_http_lockbox_main_conf_t *mcf);


#endif /* _NGX_HTTP_LOCKBOX_WARNINGS_H_INCLUDED_ */
