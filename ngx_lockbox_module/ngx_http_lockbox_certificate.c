/*
 * The certificate that a client has shown on its connection.
 */

#include "ngx_http_lockbox_certificate.h"
#include "ngx_lockbox_base64url.h"
#include "ngx_lockbox_grant.h"


#if (NGX_HTTP_SSL)

/* Something that holds of a server at an address. */
typedef ngx_uint_t (*ngx_http_lockbox_certificate_pt)(
    const ngx_http_conf_addr_t *addr, const ngx_http_core_srv_conf_t *server);

#endif


static ngx_int_t ngx_http_lockbox_certificate_shown(ngx_conf_t *cf,
    const ngx_http_lockbox_loc_conf_t *door);
static const char *ngx_http_lockbox_certificate_missing(ngx_conf_t *cf,
    const ngx_http_core_srv_conf_t *server);
static ngx_int_t ngx_http_lockbox_certificate_late(ngx_conf_t *cf,
    const ngx_http_lockbox_loc_conf_t *door);
#if (NGX_HTTP_SSL)
static ngx_uint_t ngx_http_lockbox_certificate_tls(
    const ngx_http_conf_addr_t *addr,
    const ngx_http_core_srv_conf_t *server);
static ngx_uint_t ngx_http_lockbox_certificate_early(
    const ngx_http_conf_addr_t *addr,
    const ngx_http_core_srv_conf_t *server);
static const ngx_http_core_srv_conf_t *ngx_http_lockbox_certificate_beside(
    ngx_conf_t *cf, const ngx_http_core_srv_conf_t *server,
    ngx_http_lockbox_certificate_pt is);
static const ngx_http_core_srv_conf_t *ngx_http_lockbox_certificate_first(
    const ngx_http_conf_addr_t *addr, const ngx_http_core_srv_conf_t *server,
    ngx_http_lockbox_certificate_pt is);
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
    ngx_http_lockbox_loc_conf_t   **door;
    ngx_http_lockbox_main_conf_t   *mcf;

    mcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_lockbox_module);

    door = ngx_array_push(&mcf->doors);
    if (door == NULL) {
        return NGX_ERROR;
    }

    *door = lcf;

    return NGX_OK;
}


ngx_int_t
ngx_http_lockbox_certificate_check(ngx_conf_t *cf,
    ngx_http_lockbox_main_conf_t *mcf)
{
    ngx_uint_t                     i;
    ngx_http_lockbox_loc_conf_t  **doors;

    doors = mcf->doors.elts;

    for (i = 0; i < mcf->doors.nelts; i++) {
        if (ngx_http_lockbox_certificate_shown(cf, doors[i]) != NGX_OK
            || ngx_http_lockbox_certificate_late(cf, doors[i]) != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_lockbox_certificate_shown(ngx_conf_t *cf,
    const ngx_http_lockbox_loc_conf_t *door)
{
    const char  *missing;

    if (door->bind != NGX_HTTP_LOCKBOX_BIND_REQUIRED) {
        return NGX_OK;
    }

    missing = ngx_http_lockbox_certificate_missing(cf, door->server);

    if (missing == NULL) {
        return NGX_OK;
    }

    ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                  "\"lockbox_bind_certificate required\" in %V:%ui "
                  "needs \"%s\" in the server in %s:%ui, or no client "
                  "can show a certificate",
                  &door->bind_file, door->bind_line, missing,
                  door->server->file_name, door->server->line);

    return NGX_ERROR;
}


#if (NGX_HTTP_SSL)

/* What keeps all clients of the server from showing a certificate, or NULL. */

static const char *
ngx_http_lockbox_certificate_missing(ngx_conf_t *cf,
    const ngx_http_core_srv_conf_t *server)
{
    ngx_http_ssl_srv_conf_t  *sscf;

    sscf = server->ctx->srv_conf[ngx_http_ssl_module.ctx_index];

    if (sscf->verify == 0) {
        return "ssl_verify_client";
    }

    return ngx_http_lockbox_certificate_beside(cf, server,
                                            ngx_http_lockbox_certificate_tls)
           != NULL ? NULL : "listen ... ssl";
}


/*
 * Early data can be sent once more by whoever has seen it pass, without any
 * key (RFC 8446 section 8), and nginx has OpenSSL not look for that.  Which
 * server of an address has the say is nginx's affair: none of them may.
 */

static ngx_int_t
ngx_http_lockbox_certificate_late(ngx_conf_t *cf,
    const ngx_http_lockbox_loc_conf_t *door)
{
    const ngx_http_core_srv_conf_t  *server;
    const ngx_http_core_loc_conf_t  *clcf;

    server = ngx_http_lockbox_certificate_beside(cf, door->server,
                                          ngx_http_lockbox_certificate_early);

    if (server == NULL) {
        return NGX_OK;
    }

    clcf = door->loc_conf[ngx_http_core_module.ctx_index];

    ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                  "\"ssl_early_data on\" of the server in %s:%ui lets anybody "
                  "replay requests of the server in %s:%ui, where %s%V%s is "
                  "gated or has the admin API",
                  server->file_name, server->line,
                  door->server->file_name, door->server->line,
                  clcf->name.len != 0 ? "location \"" : "all",
                  &clcf->name, clcf->name.len != 0 ? "\"" : "");

    return NGX_ERROR;
}


static ngx_uint_t
ngx_http_lockbox_certificate_tls(const ngx_http_conf_addr_t *addr,
    const ngx_http_core_srv_conf_t *server)
{
#if (nginx_version < 1025001)
    ngx_http_ssl_srv_conf_t  *sscf;

    sscf = server->ctx->srv_conf[ngx_http_ssl_module.ctx_index];

    if (sscf->enable) {
        return 1;
    }
#endif

#if (NGX_HTTP_V3)
    if (addr->opt.quic) {
        return 1;
    }
#endif

    return addr->opt.ssl;
}


static ngx_uint_t
ngx_http_lockbox_certificate_early(const ngx_http_conf_addr_t *addr,
    const ngx_http_core_srv_conf_t *server)
{
    ngx_http_ssl_srv_conf_t  *sscf;

    sscf = server->ctx->srv_conf[ngx_http_ssl_module.ctx_index];

    return sscf->early_data && ngx_http_lockbox_certificate_tls(addr, server);
}


/* The first of the servers that share an address with it of which it holds. */

static const ngx_http_core_srv_conf_t *
ngx_http_lockbox_certificate_beside(ngx_conf_t *cf,
    const ngx_http_core_srv_conf_t *server, ngx_http_lockbox_certificate_pt is)
{
    ngx_uint_t                       p, a;
    ngx_http_conf_port_t            *port;
    ngx_http_conf_addr_t            *addr;
    ngx_http_core_main_conf_t       *cmcf;
    const ngx_http_core_srv_conf_t  *found;

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    port = cmcf->ports->elts;

    for (p = 0; p < cmcf->ports->nelts; p++) {
        addr = port[p].addrs.elts;

        for (a = 0; a < port[p].addrs.nelts; a++) {
            found = ngx_http_lockbox_certificate_first(&addr[a], server, is);

            if (found != NULL) {
                return found;
            }
        }
    }

    return NULL;
}


static const ngx_http_core_srv_conf_t *
ngx_http_lockbox_certificate_first(const ngx_http_conf_addr_t *addr,
    const ngx_http_core_srv_conf_t *server, ngx_http_lockbox_certificate_pt is)
{
    ngx_uint_t                        i, served;
    ngx_http_core_srv_conf_t        **servers;
    const ngx_http_core_srv_conf_t   *found;

    found = NULL;
    served = 0;
    servers = addr->servers.elts;

    for (i = 0; i < addr->servers.nelts; i++) {
        served |= servers[i] == server;

        if (found == NULL && is(addr, servers[i])) {
            found = servers[i];
        }
    }

    return served ? found : NULL;
}

#else

static const char *
ngx_http_lockbox_certificate_missing(ngx_conf_t *cf,
    const ngx_http_core_srv_conf_t *server)
{
    return "listen ... ssl";
}


static ngx_int_t
ngx_http_lockbox_certificate_late(ngx_conf_t *cf,
    const ngx_http_lockbox_loc_conf_t *door)
{
    return NGX_OK;
}

#endif
