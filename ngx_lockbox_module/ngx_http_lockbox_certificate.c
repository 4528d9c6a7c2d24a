/*
 * The certificate that a client has shown on its connection.
 */

#include "ngx_http_lockbox_certificate.h"
#include "ngx_lockbox_base64url.h"
#include "ngx_lockbox_grant.h"


static const char *ngx_http_lockbox_certificate_missing(ngx_conf_t *cf,
    const ngx_http_core_srv_conf_t *server);
#if (NGX_HTTP_SSL)
static ngx_uint_t ngx_http_lockbox_certificate_tls(ngx_conf_t *cf,
    const ngx_http_core_srv_conf_t *server);
static ngx_uint_t ngx_http_lockbox_certificate_served(
    const ngx_http_conf_addr_t *addr, const ngx_http_core_srv_conf_t *server);
#endif


ngx_conf_enum_t  ngx_http_lockbox_certificate_modes[] = {
    { ngx_string("off"), NGX_HTTP_LOCKBOX_BIND_OFF },
    { ngx_string("optional"), NGX_HTTP_LOCKBOX_BIND_OPTIONAL },
    { ngx_string("required"), NGX_HTTP_LOCKBOX_BIND_REQUIRED },
    { ngx_null_string, 0 }
};


#if (NGX_HTTP_SSL)

ngx_int_t
ngx_http_lockbox_certificate(ngx_http_request_t *r, ngx_str_t *thumbprint)
{
    X509          *certificate;
    u_char         digest[EVP_MAX_MD_SIZE];
    unsigned int   len;

    ngx_str_null(thumbprint);

    if (r->connection->ssl == NULL) {
        return NGX_OK;
    }

    certificate = SSL_get0_peer_certificate(r->connection->ssl->connection);

    if (certificate == NULL) {
        return NGX_OK;
    }

    thumbprint->data = ngx_pnalloc(r->pool, NGX_LOCKBOX_THUMBPRINT_LEN);

    if (thumbprint->data == NULL
        || !X509_digest(certificate, EVP_sha256(), digest, &len))
    {
        return NGX_ERROR;
    }

    ngx_lockbox_base64url_encode(thumbprint, digest, len);

    return NGX_OK;
}

#else

ngx_int_t
ngx_http_lockbox_certificate(ngx_http_request_t *r, ngx_str_t *thumbprint)
{
    ngx_str_null(thumbprint);

    return NGX_OK;
}

#endif


char *
ngx_http_lockbox_certificate_bind(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_lockbox_loc_conf_t *lcf = conf;

    ngx_str_t        *value;
    ngx_conf_enum_t  *mode;

    if (lcf->bind != NGX_CONF_UNSET_UINT) {
        return "is duplicate";
    }

    value = cf->args->elts;

    for (mode = cmd->post; mode->name.len != 0; mode++) {

        if (ngx_strcasecmp(mode->name.data, value[1].data) == 0) {
            lcf->bind = mode->value;
            lcf->bind_file = cf->conf_file->file.name;
            lcf->bind_line = cf->conf_file->line;
            return NGX_CONF_OK;
        }
    }

    return ngx_http_lockbox_conf_invalid(cf, &value[1],
                                         "off, optional or required");
}


ngx_int_t
ngx_http_lockbox_certificate_note(ngx_conf_t *cf,
    ngx_http_lockbox_loc_conf_t *lcf)
{
    ngx_http_lockbox_loc_conf_t   **bound;
    ngx_http_lockbox_main_conf_t   *mcf;

    if (lcf->bind != NGX_HTTP_LOCKBOX_BIND_REQUIRED) {
        return NGX_OK;
    }

    mcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_lockbox_module);

    bound = ngx_array_push(&mcf->bound);
    if (bound == NULL) {
        return NGX_ERROR;
    }

    *bound = lcf;

    return NGX_OK;
}


ngx_int_t
ngx_http_lockbox_certificate_check(ngx_conf_t *cf,
    ngx_http_lockbox_main_conf_t *mcf)
{
    ngx_uint_t                     i;
    const char                    *missing;
    ngx_http_lockbox_loc_conf_t  **bound;

    bound = mcf->bound.elts;

    for (i = 0; i < mcf->bound.nelts; i++) {
        missing = ngx_http_lockbox_certificate_missing(cf, bound[i]->server);

        if (missing != NULL) {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "\"lockbox_bind_certificate required\" in %V:%ui "
                          "needs \"%s\" in the server in %s:%ui, or no client "
                          "can show a certificate",
                          &bound[i]->bind_file, bound[i]->bind_line, missing,
                          bound[i]->server->file_name,
                          bound[i]->server->line);
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


/* What keeps all clients of the server from showing a certificate, or NULL. */

#if (NGX_HTTP_SSL)

static const char *
ngx_http_lockbox_certificate_missing(ngx_conf_t *cf,
    const ngx_http_core_srv_conf_t *server)
{
    ngx_http_ssl_srv_conf_t  *sscf;

    sscf = server->ctx->srv_conf[ngx_http_ssl_module.ctx_index];

    if (sscf->verify == 0) {
        return "ssl_verify_client";
    }

#if (nginx_version < 1025001)
    if (sscf->enable) {
        return NULL;
    }
#endif

    return ngx_http_lockbox_certificate_tls(cf, server) ? NULL
                                                        : "listen ... ssl";
}


static ngx_uint_t
ngx_http_lockbox_certificate_tls(ngx_conf_t *cf,
    const ngx_http_core_srv_conf_t *server)
{
    ngx_uint_t                  p, a, tls;
    ngx_http_conf_port_t       *port;
    ngx_http_conf_addr_t       *addr;
    ngx_http_core_main_conf_t  *cmcf;

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    port = cmcf->ports->elts;

    for (p = 0; p < cmcf->ports->nelts; p++) {
        addr = port[p].addrs.elts;

        for (a = 0; a < port[p].addrs.nelts; a++) {
            tls = addr[a].opt.ssl;

#if (NGX_HTTP_V3)
            tls |= addr[a].opt.quic;
#endif

            if (tls && ngx_http_lockbox_certificate_served(&addr[a], server)) {
                return 1;
            }
        }
    }

    return 0;
}


static ngx_uint_t
ngx_http_lockbox_certificate_served(const ngx_http_conf_addr_t *addr,
    const ngx_http_core_srv_conf_t *server)
{
    ngx_uint_t                  i;
    ngx_http_core_srv_conf_t  **servers;

    servers = addr->servers.elts;

    for (i = 0; i < addr->servers.nelts; i++) {
        if (servers[i] == server) {
            return 1;
        }
    }

    return 0;
}

#else

static const char *
ngx_http_lockbox_certificate_missing(ngx_conf_t *cf,
    const ngx_http_core_srv_conf_t *server)
{
    return "listen ... ssl";
}

#endif
