/*
 * Directives that read files and addresses, and what must be there together.
 */

#include "ngx_http_lockbox_audit.h"
#include "ngx_http_lockbox_module.h"
#include "ngx_http_lockbox_warnings.h"
#include "ngx_lockbox_selftest.h"
#include "ngx_lockbox_text.h"


#define NGX_HTTP_LOCKBOX_FILE_MAX   65536
#define NGX_HTTP_LOCKBOX_REDIS_PORT  6379


static ngx_int_t ngx_http_lockbox_conf_redis_param(ngx_conf_t *cf,
    ngx_str_t *param, ngx_lockbox_redis_conf_t *redis);
static ngx_int_t ngx_http_lockbox_conf_password(ngx_conf_t *cf,
    ngx_str_t *name, ngx_str_t *password);
static ngx_int_t ngx_http_lockbox_conf_distinct(ngx_conf_t *cf,
    ngx_http_lockbox_main_conf_t *mcf);
static const ngx_lockbox_jwks_t *ngx_http_lockbox_conf_owner(
    const ngx_http_lockbox_main_conf_t *mcf, ngx_uint_t i,
    const ngx_str_t **name);
static const ngx_str_t *ngx_http_lockbox_conf_shared(
    const ngx_lockbox_jwks_t *keys, const ngx_lockbox_jwks_t *others);
static ngx_int_t ngx_http_lockbox_conf_missing(ngx_conf_t *cf,
    ngx_http_lockbox_main_conf_t *mcf, const char *name);


ngx_int_t
ngx_http_lockbox_conf_read(ngx_conf_t *cf, ngx_str_t *name, ngx_str_t *text)
{
    ssize_t          n;
    ngx_file_t       file;
    ngx_file_info_t  fi;

    if (ngx_conf_full_name(cf->cycle, name, 1) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_memzero(&file, sizeof(ngx_file_t));

    file.name = *name;
    file.log = cf->log;
    file.fd = ngx_open_file(name->data, NGX_FILE_RDONLY, NGX_FILE_OPEN, 0);

    if (file.fd == NGX_INVALID_FILE) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno,
                           ngx_open_file_n " \"%V\" failed", name);
        return NGX_ERROR;
    }

    n = NGX_ERROR;
    text->len = 0;

    if (ngx_fd_info(file.fd, &fi) == NGX_FILE_ERROR) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno,
                           ngx_fd_info_n " \"%V\" failed", name);

    } else if (!ngx_is_file(&fi)
               || ngx_file_size(&fi) == 0
               || ngx_file_size(&fi) > NGX_HTTP_LOCKBOX_FILE_MAX)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\" is not a file of 1 to %d bytes", name,
                           NGX_HTTP_LOCKBOX_FILE_MAX);

    } else {
        text->len = (size_t) ngx_file_size(&fi);
        text->data = ngx_pnalloc(cf->pool, text->len);

        if (text->data != NULL) {
            n = ngx_read_file(&file, text->data, text->len, 0);
        }
    }

    if (ngx_close_file(file.fd) == NGX_FILE_ERROR) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno,
                           ngx_close_file_n " \"%V\" failed", name);
        return NGX_ERROR;
    }

    return n == (ssize_t) text->len ? NGX_OK : NGX_ERROR;
}


/* What is no such number at all is NGX_ERROR, which is below all bounds. */

char *
ngx_http_lockbox_conf_bounded(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    int64_t                           n;
    ngx_str_t                        *value;
    ngx_command_t                     plain;
    const ngx_http_lockbox_bounds_t  *bounds;

    value = cf->args->elts;
    bounds = cmd->post;

    n = bounds->slot == ngx_conf_set_num_slot
        ? ngx_atoi(value[1].data, value[1].len)
        : bounds->slot == ngx_conf_set_size_slot
        ? ngx_parse_size(&value[1])
        : ngx_parse_time(&value[1], bounds->slot == ngx_conf_set_sec_slot);

    if (n < bounds->min || n > bounds->max) {
        return ngx_http_lockbox_conf_invalid(cf, &value[1], bounds->must);
    }

    plain = *cmd;
    plain.post = NULL;

    /* nothing else can be wrong with it any more */

    return bounds->slot(cf, &plain, conf) == NGX_CONF_OK ? NGX_CONF_OK
                                                         : "is duplicate";
}


char *
ngx_http_lockbox_conf_invalid(ngx_conf_t *cf, const ngx_str_t *value,
    const char *must)
{
    ngx_str_t  *directive;

    directive = cf->args->elts;

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "invalid value \"%V\" in \"%V\" directive, it must "
                       "be %s", value, directive, must);

    return NGX_CONF_ERROR;
}


char *
ngx_http_lockbox_conf_redis(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_lockbox_main_conf_t *mcf = conf;

    ngx_url_t    url;
    ngx_str_t   *value;
    ngx_uint_t   i;

    if (mcf->redis.addr != NULL) {
        return "is duplicate";
    }

    value = cf->args->elts;

    ngx_memzero(&url, sizeof(ngx_url_t));

    url.url = value[1];
    url.default_port = NGX_HTTP_LOCKBOX_REDIS_PORT;

    if (ngx_parse_url(cf->pool, &url) != NGX_OK || url.naddrs == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "%s in \"%V\" of \"lockbox_redis\"",
                           url.err ? url.err : "no address", &url.url);
        return NGX_CONF_ERROR;
    }

    mcf->redis.addr = &url.addrs[0];
    mcf->redis.connect_timeout = 500;
    mcf->redis.timeout = 1000;

    for (i = 2; i < cf->args->nelts; i++) {
        if (ngx_http_lockbox_conf_redis_param(cf, &value[i], &mcf->redis)
            != NGX_OK)
        {
            return NGX_CONF_ERROR;
        }
    }

    if (mcf->redis.user.len != 0 && mcf->redis.password.len == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"user=%V\" has no \"password_file\"",
                           &mcf->redis.user);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_http_lockbox_conf_redis_param(ngx_conf_t *cf, ngx_str_t *param,
    ngx_lockbox_redis_conf_t *redis)
{
    ngx_int_t   n;
    ngx_msec_t  msec;
    ngx_str_t   value;

    value.data = ngx_strlchr(param->data, param->data + param->len, '=');

    if (value.data != NULL) {
        value.data++;
        value.len = (size_t) (param->data + param->len - value.data);

        if (ngx_strncmp(param->data, "user=", 5) == 0 && value.len > 0) {
            redis->user = value;
            return NGX_OK;
        }

        if (ngx_strncmp(param->data, "password_file=", 14) == 0) {
            return ngx_http_lockbox_conf_password(cf, &value,
                                                  &redis->password);
        }

        if (ngx_strncmp(param->data, "db=", 3) == 0) {
            n = ngx_atoi(value.data, value.len);

            if (n != NGX_ERROR) {
                redis->db = (ngx_uint_t) n;
                return NGX_OK;
            }
        }

        msec = (ngx_msec_t) ngx_parse_time(&value, 0);

        if (msec != (ngx_msec_t) NGX_ERROR && msec > 0) {

            if (ngx_strncmp(param->data, "connect_timeout=", 16) == 0) {
                redis->connect_timeout = msec;
                return NGX_OK;
            }

            if (ngx_strncmp(param->data, "timeout=", 8) == 0) {
                redis->timeout = msec;
                return NGX_OK;
            }
        }
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "invalid parameter \"%V\" of \"lockbox_redis\"", param);

    return NGX_ERROR;
}


static ngx_int_t
ngx_http_lockbox_conf_password(ngx_conf_t *cf, ngx_str_t *name,
    ngx_str_t *password)
{
    if (ngx_http_lockbox_conf_read(cf, name, password) != NGX_OK) {
        return NGX_ERROR;
    }

    while (password->len > 0
           && (password->data[password->len - 1] == LF
               || password->data[password->len - 1] == CR))
    {
        password->len--;
    }

    if (password->len == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "the password file \"%V\" is empty", name);
        return NGX_ERROR;
    }

    return NGX_OK;
}


/* cmd->offset says whether the key signs, or is accepted besides. */

char *
ngx_http_lockbox_conf_key(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_lockbox_main_conf_t *mcf = conf;

    ngx_str_t           *value, text;
    const char          *err;
    ngx_uint_t           private;
    ngx_lockbox_key_t   *key;
    ngx_lockbox_jwks_t  *keys, added;

    value = cf->args->elts;
    private = cmd->offset;
    keys = private ? &mcf->signing : &mcf->accepted;

    if (private && keys->nelts != 0) {
        return "is duplicate";
    }

    if (ngx_http_lockbox_conf_read(cf, &value[1], &text) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    err = NULL;

    if (ngx_lockbox_jwks_pem(cf->pool, &text, private, keys, &err) != NGX_OK) {
        ngx_http_lockbox_conf_unusable(cf, &cmd->name, &value[1], err);
        return NGX_CONF_ERROR;
    }

    if (private) {
        ngx_explicit_memzero(text.data, text.len);
    }

    /* those before it are proven already */

    key = keys->elts;
    added = *keys;
    added.elts = &key[keys->nelts - 1];
    added.nelts = 1;

    return ngx_http_lockbox_conf_prove(cf, &cmd->name, &value[1], &added,
                                       private);
}


void
ngx_http_lockbox_conf_unusable(ngx_conf_t *cf, const ngx_str_t *directive,
    const ngx_str_t *file, const char *err)
{
    /* without its algorithms OpenSSL reads no key, whatever the file has */

    if (!ngx_lockbox_selftest_any(cf->temp_pool)) {
        err = "OpenSSL, as it is configured, has none of the algorithms";
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "\"%V\" \"%V\" cannot be used: %s",
                       directive, file, err);
}


char *
ngx_http_lockbox_conf_prove(ngx_conf_t *cf, const ngx_str_t *directive,
    const ngx_str_t *file, const ngx_lockbox_jwks_t *keys, ngx_uint_t private)
{
    const char               *err;
    const ngx_lockbox_key_t  *key;

    if (ngx_lockbox_selftest(cf->temp_pool, keys, private, &key, &err)
        == NGX_OK)
    {
        return NGX_CONF_OK;
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "\"%V\" \"%V\" cannot be used: the %V key \"%V\" %s",
                       directive, file, &key->alg->name,
                       key->kid.len != 0 ? &key->kid : &key->thumbprint, err);

    return NGX_CONF_ERROR;
}


ngx_int_t
ngx_http_lockbox_conf_complete(ngx_conf_t *cf,
    ngx_http_lockbox_main_conf_t *mcf)
{
    ngx_lockbox_key_t  *key, *added;

    /*
     * Grants and seals of our own are accepted like those of other proxies;
     * all proxies may list all keys, so ours may be there already.
     */

    key = mcf->signing.elts;

    if (mcf->signing.nelts != 0
        && ngx_lockbox_jwks_find(&mcf->accepted, &key->kid) == NULL)
    {
        added = ngx_array_push(&mcf->accepted);
        if (added == NULL) {
            return NGX_ERROR;
        }

        *added = *key;
    }

    if (ngx_http_lockbox_conf_distinct(cf, mcf) != NGX_OK) {
        return NGX_ERROR;
    }

    if (mcf->gated.nelts == 0) {
        return NGX_OK;
    }

    if (mcf->redis.addr == NULL) {
        return ngx_http_lockbox_conf_missing(cf, mcf, "lockbox_redis");
    }

    if (mcf->issuers.rules.nelts == 0) {
        return ngx_http_lockbox_conf_missing(cf, mcf, "lockbox_issuer");
    }

    if (mcf->signing.nelts == 0) {
        return ngx_http_lockbox_conf_missing(cf, mcf, "lockbox_signing_key");
    }

    if (!ngx_http_lockbox_audit_configured(cf)) {
        return ngx_http_lockbox_conf_missing(cf, mcf, "lockbox_audit_log");
    }

    return ngx_http_lockbox_warnings(cf, mcf);
}


/*
 * A key has one owner: were it shared by two issuers, or by an issuer and
 * this module, the one could speak in the name of the other.
 */

static ngx_int_t
ngx_http_lockbox_conf_distinct(ngx_conf_t *cf,
    ngx_http_lockbox_main_conf_t *mcf)
{
    ngx_uint_t                 a, b;
    const ngx_str_t           *shared, *left, *right;
    const ngx_lockbox_jwks_t  *keys, *others;

    for (a = 0; a <= mcf->issuers.rules.nelts; a++) {
        keys = ngx_http_lockbox_conf_owner(mcf, a, &left);

        for (b = 0; b <= a; b++) {
            others = ngx_http_lockbox_conf_owner(mcf, b, &right);
            shared = ngx_http_lockbox_conf_shared(keys, others);

            if (shared != NULL) {
                ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                              "one key, with the thumbprint \"%V\", is "
                              "configured twice for lockbox: under \"%V\" "
                              "and \"%V\"", shared, left, right);
                return NGX_ERROR;
            }
        }
    }

    return NGX_OK;
}


/* The keys of issuer "i"; behind the last issuer stands the module itself. */

static const ngx_lockbox_jwks_t *
ngx_http_lockbox_conf_owner(const ngx_http_lockbox_main_conf_t *mcf,
    ngx_uint_t i, const ngx_str_t **name)
{
    ngx_lockbox_token_rule_t  *rules;

    if (i == mcf->issuers.rules.nelts) {
        *name = &mcf->grant_issuer;
        return &mcf->accepted;
    }

    rules = mcf->issuers.rules.elts;
    *name = &rules[i].issuer;

    return rules[i].keys;
}


/* The thumbprint of a key that is in both sets, or twice in the one. */

static const ngx_str_t *
ngx_http_lockbox_conf_shared(const ngx_lockbox_jwks_t *keys,
    const ngx_lockbox_jwks_t *others)
{
    ngx_uint_t          i, j, n;
    ngx_lockbox_key_t  *key, *other;

    key = keys->elts;
    other = others->elts;

    for (i = 0; i < keys->nelts; i++) {
        n = keys == others ? i : others->nelts;

        for (j = 0; j < n; j++) {
            if (ngx_lockbox_text_same(&key[i].thumbprint,
                                      &other[j].thumbprint))
            {
                return &key[i].thumbprint;
            }
        }
    }

    return NULL;
}


static ngx_int_t
ngx_http_lockbox_conf_missing(ngx_conf_t *cf,
    ngx_http_lockbox_main_conf_t *mcf, const char *name)
{
    ngx_http_lockbox_loc_conf_t  **gated;

    gated = mcf->gated.elts;

    ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                  "\"lockbox on\" in %V:%ui needs \"%s\"%s",
                  &gated[0]->file, gated[0]->line, name,
                  ngx_strcmp(name, "lockbox_audit_log") == 0
                  ? " without \"optional\"" : "");

    return NGX_ERROR;
}
