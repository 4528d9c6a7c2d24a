/*
 * Identity: who somebody is, as far as the identity provider that says so is
 * allowed to say it.
 */

#include "ngx_lockbox_identity.h"
#include "ngx_lockbox_base64url.h"
#include "ngx_lockbox_json.h"
#include "ngx_lockbox_jwt.h"
#include "ngx_lockbox_name.h"
#include "ngx_lockbox_text.h"
#include "ngx_lockbox_unicode.h"


/* so far off that no sum of times overflows */
#define NGX_LOCKBOX_AUTH_TIME_MAX  ((int64_t) 1 << 53)


static ngx_uint_t ngx_lockbox_identity_roles(
    const ngx_lockbox_issuer_t *issuer, const json_t *claims);
static ngx_uint_t ngx_lockbox_identity_has(const json_t *claims,
    const ngx_str_t *claim, const ngx_str_t *value);
static ngx_uint_t ngx_lockbox_identity_is(const json_t *json,
    const ngx_str_t *value);
static ngx_int_t ngx_lockbox_identity_tenant(ngx_pool_t *pool,
    const ngx_lockbox_issuer_t *issuer, const json_t *claims,
    ngx_str_t *tenant);
static ngx_lockbox_decision_t ngx_lockbox_identity_login(ngx_pool_t *pool,
    const json_t *claims, ngx_lockbox_identity_t *identity);
static ngx_uint_t ngx_lockbox_identity_shows(const ngx_str_t *text);
static ngx_uint_t ngx_lockbox_identity_speaks_for(
    const ngx_lockbox_issuer_t *issuer, const ngx_str_t *tenant);
static ngx_int_t ngx_lockbox_identity_copy(ngx_pool_t *pool,
    const ngx_str_t *src, ngx_str_t *dst);


const ngx_lockbox_role_name_t  ngx_lockbox_role_names[] = {
    { "engineer", NGX_LOCKBOX_ROLE_ENGINEER },
    { "manager", NGX_LOCKBOX_ROLE_MANAGER },
    { "customer", NGX_LOCKBOX_ROLE_CUSTOMER },
    { "auditor", NGX_LOCKBOX_ROLE_AUDITOR },
    { NULL, 0 }
};


ngx_lockbox_decision_t
ngx_lockbox_identity_open(ngx_pool_t *pool,
    const ngx_lockbox_issuers_t *issuers, const ngx_str_t *text, time_t now,
    ngx_lockbox_identity_t *identity)
{
    ngx_int_t                    rc;
    ngx_str_t                    sub;
    ngx_uint_t                   roles;
    ngx_lockbox_token_t          token;
    const ngx_lockbox_issuer_t  *issuer;
    ngx_lockbox_decision_t       decision;
    ngx_lockbox_token_rule_t    *rules;

    ngx_memzero(identity, sizeof(ngx_lockbox_identity_t));

    rules = issuers->rules.elts;

    decision = ngx_lockbox_token_open(pool, rules, issuers->rules.nelts, text,
                                      now, &token);
    if (decision != NGX_LOCKBOX_ALLOW) {
        return decision;
    }

    if (!token.at_jwt && !ngx_lockbox_jwt_verify(pool, token.key, text)) {
        return NGX_LOCKBOX_BAD_SIGNATURE;
    }

    issuer = (ngx_lockbox_issuer_t *) issuers->issuers.elts + token.rule;

    if (ngx_lockbox_json_string(token.claims, "sub", &sub) != NGX_OK) {
        return NGX_LOCKBOX_MALFORMED_TOKEN;
    }

    if (ngx_lockbox_identity_copy(pool, &sub, &identity->sub) != NGX_OK
        || ngx_lockbox_base64url_sha256(pool, text, &identity->token_hash)
           != NGX_OK)
    {
        return NGX_LOCKBOX_INTERNAL_ERROR;
    }

    decision = ngx_lockbox_identity_login(pool, token.claims, identity);
    if (decision != NGX_LOCKBOX_ALLOW) {
        return decision;
    }

    identity->iss = rules[token.rule].issuer;
    identity->expires = token.expires;

    roles = ngx_lockbox_identity_roles(issuer, token.claims);

    if (issuer->tenant_claim.len != 0 || issuer->tenant.len != 0) {

        rc = ngx_lockbox_identity_tenant(pool, issuer, token.claims,
                                         &identity->tenant);
        if (rc == NGX_ERROR) {
            return NGX_LOCKBOX_INTERNAL_ERROR;
        }

        if (rc == NGX_DECLINED) {
            roles &= ~(NGX_LOCKBOX_ROLE_CUSTOMER|NGX_LOCKBOX_ROLE_AUDITOR);
        }
    }

    identity->roles = roles;

    return NGX_LOCKBOX_ALLOW;
}


/* When and how somebody has logged in, as far as the provider says so. */

static ngx_lockbox_decision_t
ngx_lockbox_identity_login(ngx_pool_t *pool, const json_t *claims,
    ngx_lockbox_identity_t *identity)
{
    ngx_int_t  rc;
    ngx_str_t  acr;

    rc = ngx_lockbox_json_integer(claims, "auth_time", &identity->auth_time);

    if (rc == NGX_ERROR
        || (rc == NGX_OK && (identity->auth_time < 1
                             || identity->auth_time
                                > NGX_LOCKBOX_AUTH_TIME_MAX)))
    {
        return NGX_LOCKBOX_MALFORMED_TOKEN;
    }

    rc = ngx_lockbox_json_string(claims, "acr", &acr);

    if (rc == NGX_DECLINED) {
        return NGX_LOCKBOX_ALLOW;
    }

    if (rc == NGX_ERROR || !ngx_lockbox_identity_shows(&acr)) {
        return NGX_LOCKBOX_MALFORMED_TOKEN;
    }

    return ngx_lockbox_identity_copy(pool, &acr, &identity->acr) == NGX_OK
           ? NGX_LOCKBOX_ALLOW : NGX_LOCKBOX_INTERNAL_ERROR;
}


static ngx_uint_t
ngx_lockbox_identity_shows(const ngx_str_t *text)
{
    uint32_t       code;
    const u_char  *p, *end;

    end = text->data + text->len;

    for (p = text->data; p < end; /* void */ ) {
        p += ngx_lockbox_unicode_decode(p, end, &code);

        if (code < 0x20 || ngx_lockbox_unicode_hidden(code)) {
            return 0;
        }
    }

    return text->len <= NGX_LOCKBOX_ACR_MAX;
}


static ngx_uint_t
ngx_lockbox_identity_roles(const ngx_lockbox_issuer_t *issuer,
    const json_t *claims)
{
    ngx_uint_t                i, roles;
    ngx_lockbox_role_rule_t  *rule;

    roles = 0;
    rule = issuer->roles.elts;

    for (i = 0; i < issuer->roles.nelts; i++) {
        if (ngx_lockbox_identity_has(claims, &rule[i].claim, &rule[i].value)) {
            roles |= rule[i].role;
        }
    }

    return roles;
}


static ngx_uint_t
ngx_lockbox_identity_has(const json_t *claims, const ngx_str_t *claim,
    const ngx_str_t *value)
{
    size_t         i;
    const json_t  *found;

    found = ngx_lockbox_json_pointer(claims, claim);

    if (!json_is_array(found)) {
        return ngx_lockbox_identity_is(found, value);
    }

    for (i = 0; i < json_array_size(found); i++) {
        if (ngx_lockbox_identity_is(json_array_get(found, i), value)) {
            return 1;
        }
    }

    return 0;
}


static ngx_uint_t
ngx_lockbox_identity_is(const json_t *json, const ngx_str_t *value)
{
    return json_is_string(json)
           && json_string_length(json) == value->len
           && ngx_memcmp(json_string_value(json), value->data, value->len)
              == 0;
}


static ngx_int_t
ngx_lockbox_identity_tenant(ngx_pool_t *pool,
    const ngx_lockbox_issuer_t *issuer, const json_t *claims,
    ngx_str_t *tenant)
{
    ngx_str_t      text;
    const json_t  *found;

    if (issuer->tenant.len != 0) {
        *tenant = issuer->tenant;
        return NGX_OK;
    }

    found = ngx_lockbox_json_pointer(claims, &issuer->tenant_claim);
    if (!json_is_string(found)) {
        return NGX_DECLINED;
    }

    text.data = (u_char *) json_string_value(found);
    text.len = json_string_length(found);

    if (!ngx_lockbox_tenant_valid(&text)) {
        return NGX_DECLINED;
    }

    return ngx_lockbox_identity_copy(pool, &text, tenant);
}


ngx_uint_t
ngx_lockbox_identity_customer_possible(const ngx_lockbox_issuers_t *issuers,
    const ngx_str_t *tenant)
{
    ngx_uint_t             i;
    ngx_lockbox_issuer_t  *issuer;

    issuer = issuers->issuers.elts;

    for (i = 0; i < issuers->issuers.nelts; i++) {
        if (ngx_lockbox_identity_speaks_for(&issuer[i], tenant)) {
            return 1;
        }
    }

    return 0;
}


ngx_uint_t
ngx_lockbox_identity_customer_of(const ngx_lockbox_issuers_t *issuers,
    const ngx_str_t *iss, const ngx_str_t *tenant)
{
    ngx_uint_t                 i;
    ngx_lockbox_issuer_t      *issuer;
    ngx_lockbox_token_rule_t  *rule;

    rule = issuers->rules.elts;
    issuer = issuers->issuers.elts;

    for (i = 0; i < issuers->issuers.nelts; i++) {
        if (ngx_lockbox_text_same(&rule[i].issuer, iss)) {
            return ngx_lockbox_identity_speaks_for(&issuer[i], tenant);
        }
    }

    return 0;
}


static ngx_uint_t
ngx_lockbox_identity_speaks_for(const ngx_lockbox_issuer_t *issuer,
    const ngx_str_t *tenant)
{
    ngx_uint_t                i;
    ngx_lockbox_role_rule_t  *rule;

    if (issuer->tenant_claim.len == 0
        && !ngx_lockbox_text_same(&issuer->tenant, tenant))
    {
        return 0;
    }

    rule = issuer->roles.elts;

    for (i = 0; i < issuer->roles.nelts; i++) {
        if (rule[i].role == NGX_LOCKBOX_ROLE_CUSTOMER) {
            return 1;
        }
    }

    return 0;
}


static ngx_int_t
ngx_lockbox_identity_copy(ngx_pool_t *pool, const ngx_str_t *src,
    ngx_str_t *dst)
{
    dst->data = ngx_pnalloc(pool, src->len);
    if (dst->data == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(dst->data, src->data, src->len);
    dst->len = src->len;

    return NGX_OK;
}
