/*
 * The block "lockbox_issuer": an identity provider, its keys, and what it may
 * assert.
 */

#include "ngx_http_lockbox_module.h"
#include "ngx_lockbox_json.h"
#include "ngx_lockbox_name.h"
#include "ngx_lockbox_text.h"


#define NGX_HTTP_LOCKBOX_ISSUER_LEEWAY_MAX  60
#define NGX_HTTP_LOCKBOX_ISSUER_LIFE_MAX    (7 * 24 * 3600)


typedef struct {
    ngx_lockbox_token_rule_t  *rule;
    ngx_lockbox_issuer_t      *issuer;
} ngx_http_lockbox_issuer_ctx_t;


typedef char *(*ngx_http_lockbox_member_pt)(ngx_conf_t *cf,
    ngx_http_lockbox_issuer_ctx_t *ctx);


typedef struct {
    const char                  *name;
    ngx_uint_t                   args;
    ngx_http_lockbox_member_pt   handler;
} ngx_http_lockbox_member_t;


static char *ngx_http_lockbox_issuer_member(ngx_conf_t *cf,
    ngx_command_t *dummy, void *conf);
static char *ngx_http_lockbox_issuer_keys(ngx_conf_t *cf,
    ngx_http_lockbox_issuer_ctx_t *ctx);
static char *ngx_http_lockbox_issuer_audience(ngx_conf_t *cf,
    ngx_http_lockbox_issuer_ctx_t *ctx);
static char *ngx_http_lockbox_issuer_role(ngx_conf_t *cf,
    ngx_http_lockbox_issuer_ctx_t *ctx);
static char *ngx_http_lockbox_issuer_tenant_claim(ngx_conf_t *cf,
    ngx_http_lockbox_issuer_ctx_t *ctx);
static char *ngx_http_lockbox_issuer_tenant(ngx_conf_t *cf,
    ngx_http_lockbox_issuer_ctx_t *ctx);
static char *ngx_http_lockbox_issuer_leeway(ngx_conf_t *cf,
    ngx_http_lockbox_issuer_ctx_t *ctx);
static char *ngx_http_lockbox_issuer_max_life(ngx_conf_t *cf,
    ngx_http_lockbox_issuer_ctx_t *ctx);
static char *ngx_http_lockbox_issuer_time(ngx_conf_t *cf, time_t min,
    time_t max, time_t *field);
static char *ngx_http_lockbox_issuer_complete(ngx_conf_t *cf,
    ngx_http_lockbox_issuer_ctx_t *ctx);


static const ngx_http_lockbox_member_t  ngx_http_lockbox_issuer_members[] = {
    { "keys", 2, ngx_http_lockbox_issuer_keys },
    { "audience", 2, ngx_http_lockbox_issuer_audience },
    { "role", 3, ngx_http_lockbox_issuer_role },
    { "tenant_claim", 2, ngx_http_lockbox_issuer_tenant_claim },
    { "tenant", 2, ngx_http_lockbox_issuer_tenant },
    { "leeway", 2, ngx_http_lockbox_issuer_leeway },
    { "max_life", 2, ngx_http_lockbox_issuer_max_life },
    { NULL, 0, NULL }
};


char *
ngx_http_lockbox_conf_issuer(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_lockbox_main_conf_t *mcf = conf;

    char                           *rv;
    ngx_str_t                      *value;
    ngx_uint_t                      i;
    ngx_conf_t                      save;
    ngx_lockbox_token_rule_t       *rule;
    ngx_http_lockbox_issuer_ctx_t  *ctx;

    value = cf->args->elts;

    if (!ngx_lockbox_token_text_valid(&value[1])) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid issuer \"%V\"", &value[1]);
        return NGX_CONF_ERROR;
    }

    rule = mcf->issuers.rules.elts;

    for (i = 0; i < mcf->issuers.rules.nelts; i++) {
        if (ngx_lockbox_text_same(&rule[i].issuer, &value[1])) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "duplicate issuer \"%V\"", &value[1]);
            return NGX_CONF_ERROR;
        }
    }

    ctx = ngx_palloc(cf->temp_pool, sizeof(ngx_http_lockbox_issuer_ctx_t));
    if (ctx == NULL) {
        return NGX_CONF_ERROR;
    }

    ctx->rule = ngx_array_push(&mcf->issuers.rules);
    ctx->issuer = ngx_array_push(&mcf->issuers.issuers);

    if (ctx->rule == NULL || ctx->issuer == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_memzero(ctx->rule, sizeof(ngx_lockbox_token_rule_t));
    ngx_memzero(ctx->issuer, sizeof(ngx_lockbox_issuer_t));

    ctx->rule->issuer = value[1];
    ctx->rule->leeway = NGX_CONF_UNSET;
    ctx->rule->max_life = NGX_CONF_UNSET;

    if (ngx_array_init(&ctx->issuer->roles, cf->pool, 4,
                       sizeof(ngx_lockbox_role_rule_t))
        != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    save = *cf;
    cf->handler = ngx_http_lockbox_issuer_member;
    cf->handler_conf = ctx;

    rv = ngx_conf_parse(cf, NULL);

    *cf = save;

    if (rv != NGX_CONF_OK) {
        return rv;
    }

    return ngx_http_lockbox_issuer_complete(cf, ctx);
}


static char *
ngx_http_lockbox_issuer_member(ngx_conf_t *cf, ngx_command_t *dummy,
    void *conf)
{
    ngx_http_lockbox_issuer_ctx_t *ctx = conf;

    char                             *rv;
    ngx_str_t                        *value;
    const ngx_http_lockbox_member_t  *member;

    value = cf->args->elts;

    for (member = ngx_http_lockbox_issuer_members;
         member->name != NULL;
         member++)
    {
        if (ngx_strcmp(value[0].data, member->name) == 0) {
            break;
        }
    }

    if (member->name == NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "unknown directive \"%V\" in \"lockbox_issuer\"",
                           &value[0]);
        return NGX_CONF_ERROR;
    }

    if (cf->args->nelts != member->args) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid number of arguments in \"%V\" directive",
                           &value[0]);
        return NGX_CONF_ERROR;
    }

    rv = member->handler(cf, ctx);

    if (rv != NGX_CONF_OK && rv != NGX_CONF_ERROR) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\" directive %s", &value[0], rv);
        return NGX_CONF_ERROR;
    }

    return rv;
}


static char *
ngx_http_lockbox_issuer_keys(ngx_conf_t *cf,
    ngx_http_lockbox_issuer_ctx_t *ctx)
{
    ngx_str_t           *value, text;
    const char          *err;
    ngx_lockbox_jwks_t  *keys;

    if (ctx->rule->keys != NULL) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (ngx_http_lockbox_conf_read(cf, &value[1], &text) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    keys = ngx_array_create(cf->pool, 4, sizeof(ngx_lockbox_key_t));
    if (keys == NULL) {
        return NGX_CONF_ERROR;
    }

    err = NULL;

    if (ngx_lockbox_jwks_parse(cf->pool, &text, keys, &err) != NGX_OK) {
        ngx_http_lockbox_conf_unusable(cf, &value[0], &value[1], err);
        return NGX_CONF_ERROR;
    }

    ctx->rule->keys = keys;

    return ngx_http_lockbox_conf_prove(cf, &value[0], &value[1], keys, 0);
}


static char *
ngx_http_lockbox_issuer_audience(ngx_conf_t *cf,
    ngx_http_lockbox_issuer_ctx_t *ctx)
{
    ngx_str_t  *value;

    if (ctx->rule->audience.data != NULL) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (!ngx_lockbox_token_text_valid(&value[1])) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid audience \"%V\"", &value[1]);
        return NGX_CONF_ERROR;
    }

    ctx->rule->audience = value[1];

    return NGX_CONF_OK;
}


static char *
ngx_http_lockbox_issuer_role(ngx_conf_t *cf,
    ngx_http_lockbox_issuer_ctx_t *ctx)
{
    u_char                         *p;
    ngx_str_t                      *value;
    ngx_lockbox_role_rule_t        *rule;
    const ngx_lockbox_role_name_t  *name;

    value = cf->args->elts;

    for (name = ngx_lockbox_role_names; name->name != NULL; name++) {
        if (ngx_strcmp(value[1].data, name->name) == 0) {
            break;
        }
    }

    if (name->name == NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "unknown role \"%V\"", &value[1]);
        return NGX_CONF_ERROR;
    }

    p = ngx_strlchr(value[2].data, value[2].data + value[2].len, '=');

    if (p == NULL
        || p == value[2].data
        || p + 1 == value[2].data + value[2].len)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid role condition \"%V\", it must be "
                           "claim=value", &value[2]);
        return NGX_CONF_ERROR;
    }

    rule = ngx_array_push(&ctx->issuer->roles);
    if (rule == NULL) {
        return NGX_CONF_ERROR;
    }

    rule->role = name->role;
    rule->claim.data = value[2].data;
    rule->claim.len = (size_t) (p - value[2].data);
    rule->value.data = p + 1;
    rule->value.len = (size_t) (value[2].data + value[2].len - p - 1);

    return NGX_CONF_OK;
}


static char *
ngx_http_lockbox_issuer_tenant_claim(ngx_conf_t *cf,
    ngx_http_lockbox_issuer_ctx_t *ctx)
{
    ngx_str_t  *value;

    if (ctx->issuer->tenant_claim.data != NULL) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (value[1].len == 0) {
        return "is empty";
    }

    ctx->issuer->tenant_claim = value[1];

    return NGX_CONF_OK;
}


static char *
ngx_http_lockbox_issuer_tenant(ngx_conf_t *cf,
    ngx_http_lockbox_issuer_ctx_t *ctx)
{
    ngx_str_t  *value;

    if (ctx->issuer->tenant.data != NULL) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (!ngx_lockbox_tenant_valid(&value[1])) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid tenant \"%V\"", &value[1]);
        return NGX_CONF_ERROR;
    }

    ctx->issuer->tenant = value[1];

    return NGX_CONF_OK;
}


static char *
ngx_http_lockbox_issuer_leeway(ngx_conf_t *cf,
    ngx_http_lockbox_issuer_ctx_t *ctx)
{
    return ngx_http_lockbox_issuer_time(cf, 0,
                                        NGX_HTTP_LOCKBOX_ISSUER_LEEWAY_MAX,
                                        &ctx->rule->leeway);
}


static char *
ngx_http_lockbox_issuer_max_life(ngx_conf_t *cf,
    ngx_http_lockbox_issuer_ctx_t *ctx)
{
    return ngx_http_lockbox_issuer_time(cf, 1,
                                        NGX_HTTP_LOCKBOX_ISSUER_LIFE_MAX,
                                        &ctx->rule->max_life);
}


static char *
ngx_http_lockbox_issuer_time(ngx_conf_t *cf, time_t min, time_t max,
    time_t *field)
{
    time_t      seconds;
    ngx_str_t  *value;

    if (*field != NGX_CONF_UNSET) {
        return "is duplicate";
    }

    value = cf->args->elts;
    seconds = ngx_parse_time(&value[1], 1);

    if (seconds < min || seconds > max) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid time \"%V\" in \"%V\", it must be %T to "
                           "%T seconds",
                           &value[1], &value[0], min, max);
        return NGX_CONF_ERROR;
    }

    *field = seconds;

    return NGX_CONF_OK;
}


static char *
ngx_http_lockbox_issuer_complete(ngx_conf_t *cf,
    ngx_http_lockbox_issuer_ctx_t *ctx)
{
    ngx_uint_t                i, roles;
    const char               *wrong;
    ngx_lockbox_issuer_t     *issuer;
    ngx_lockbox_role_rule_t  *rule;

    issuer = ctx->issuer;
    rule = issuer->roles.elts;
    roles = 0;
    wrong = NULL;

    for (i = 0; i < issuer->roles.nelts; i++) {
        roles |= rule[i].role;
    }

    if (ctx->rule->keys == NULL) {
        wrong = "has no \"keys\"";

    } else if (ctx->rule->audience.len == 0) {
        wrong = "has no \"audience\"";

    } else if (roles == 0) {
        wrong = "has no \"role\"";

    } else if ((roles & NGX_LOCKBOX_ROLE_CUSTOMER)
               && (roles & (NGX_LOCKBOX_ROLE_ENGINEER
                            |NGX_LOCKBOX_ROLE_MANAGER)))
    {
        wrong = "has the role \"customer\" beside one of the vendor's";

    } else if ((roles & NGX_LOCKBOX_ROLE_CUSTOMER)
               && issuer->tenant.len == 0 && issuer->tenant_claim.len == 0)
    {
        wrong = "has the role \"customer\", and neither \"tenant\" nor "
                "\"tenant_claim\"";

    } else if (issuer->tenant.len != 0 && issuer->tenant_claim.len != 0) {
        wrong = "has both \"tenant\" and \"tenant_claim\"";
    }

    if (wrong != NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "lockbox_issuer \"%V\" %s",
                           &ctx->rule->issuer, wrong);
        return NGX_CONF_ERROR;
    }

    ngx_conf_init_value(ctx->rule->leeway, 0);
    ngx_conf_init_value(ctx->rule->max_life, 24 * 3600);

    return NGX_CONF_OK;
}
