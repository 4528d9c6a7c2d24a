/*
 * What "nginx -t" says of directives that stand around a gate and do not do
 * there what they do elsewhere.
 */

#ifndef _NGX_HTTP_LOCKBOX_WARNINGS_H_INCLUDED_
#define _NGX_HTTP_LOCKBOX_WARNINGS_H_INCLUDED_


#include "ngx_http_lockbox_module.h"


/*
 * Warns, in the error log, of "return" and "rewrite" in gated locations and of
 * a location with a regular expression that nginx may take instead of a gated
 * one, and checks error pages.  NGX_ERROR, with the reason in the error log,
 * where one of these leads past the gate.  For postconfiguration, when
 * locations are sorted.
 */
ngx_int_t ngx_http_lockbox_warnings(ngx_conf_t *cf,
    const ngx_http_lockbox_main_conf_t *mcf);

/* Warns of a directive in the gated location or server, and says what of it. */
void ngx_http_lockbox_warnings_say(ngx_conf_t *cf,
    const ngx_http_lockbox_loc_conf_t *lcf, const char *directive,
    const char *what);

/*
 * 1 if a "return" in this location or server, or in an "if" in it, ends in
 * that status, or a "rewrite" or "if" whose regular expression fails.
 */
ngx_uint_t ngx_http_lockbox_warnings_ends(ngx_conf_t *cf,
    const ngx_http_lockbox_loc_conf_t *lcf, ngx_int_t status);

/* 1 if a "return" comes before all else, so that nothing else answers. */
ngx_uint_t ngx_http_lockbox_warnings_answers(ngx_conf_t *cf,
    const ngx_http_lockbox_loc_conf_t *lcf);

/* The configuration of nginx itself for the same location. */
ngx_http_core_loc_conf_t *ngx_http_lockbox_warnings_core(
    const ngx_http_lockbox_loc_conf_t *lcf);

#if (NGX_PCRE)
/*
 * What all URIs of a location begin with, as far as is easily seen: a part of
 * its name, or of its regular expression.  Two locations whose beginnings
 * differ have no request in common.
 */
ngx_str_t ngx_http_lockbox_warnings_head(
    const ngx_http_core_loc_conf_t *clcf);
#endif


#endif /* _NGX_HTTP_LOCKBOX_WARNINGS_H_INCLUDED_ */
