/*
 * The certificate that a client has shown on its connection, to which a grant
 * may be bound (RFC 8705 section 3).
 */

#ifndef _NGX_HTTP_LOCKBOX_CERTIFICATE_H_INCLUDED_
#define _NGX_HTTP_LOCKBOX_CERTIFICATE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_lockbox_module.h"


#define NGX_HTTP_LOCKBOX_BIND_OFF       0
#define NGX_HTTP_LOCKBOX_BIND_OPTIONAL  1
#define NGX_HTTP_LOCKBOX_BIND_REQUIRED  2


/*
 * The thumbprint (NGX_LOCKBOX_THUMBPRINT_LEN bytes, pool memory) of the
 * certificate whose key the client of this very connection has proved to have;
 * empty without TLS or certificate.  Who signed the certificate does not
 * matter (RFC 8705 section 2.2).  NGX_ERROR without memory.
 */
ngx_int_t ngx_http_lockbox_certificate(ngx_http_request_t *r,
    ngx_str_t *thumbprint);

/* The setter of "lockbox_bind_certificate", and the words that it knows. */
char *ngx_http_lockbox_certificate_bind(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

/*
 * Notes, while configurations are merged, that grants are used or issued in
 * the location; the check in the end, when all servers are known, refuses it
 * where a certificate is required and no client can show one, and where TLS
 * early data is taken (RFC 8446 section 8, RFC 8470 section 3).  NGX_ERROR
 * without memory, or with the reason in the error log.
 */
ngx_int_t ngx_http_lockbox_certificate_note(ngx_conf_t *cf,
    ngx_http_lockbox_loc_conf_t *lcf);
ngx_int_t ngx_http_lockbox_certificate_check(ngx_conf_t *cf,
    ngx_http_lockbox_main_conf_t *mcf);


extern ngx_conf_enum_t  ngx_http_lockbox_certificate_modes[];


#endif /* _NGX_HTTP_LOCKBOX_CERTIFICATE_H_INCLUDED_ */
