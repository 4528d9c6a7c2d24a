/*
 * The grant and the decision: the heart of the gate.
 */

#include <ngx_config.h>
#include <ngx_core.h>

#include <jansson.h>

#include "ngx_lockbox_base64url.h"
#include "ngx_lockbox_grant.h"
#include "ngx_lockbox_json.h"
#include "ngx_lockbox_name.h"
#include "ngx_lockbox_token.h"


#define NGX_LOCKBOX_GRANT_CNF  "cnf"
#define NGX_LOCKBOX_GRANT_X5T  "x5t#S256"


/* A claim that is a text of the grant. */
typedef struct {
    const char   *name;
    size_t        offset;       /* in ngx_lockbox_grant_t */
    ngx_uint_t  (*valid)(const ngx_str_t *text);
} ngx_lockbox_grant_text_t;


static ngx_int_t ngx_lockbox_grant_texts(ngx_pool_t *pool,
    const json_t *claims, ngx_lockbox_grant_t *grant);
static ngx_int_t ngx_lockbox_grant_time(const json_t *claims,
    const char *name, time_t *value);
static ngx_int_t ngx_lockbox_grant_confirmation(ngx_pool_t *pool,
    const json_t *claims, ngx_str_t *certificate);
static ngx_int_t ngx_lockbox_grant_copy(ngx_pool_t *pool,
    const ngx_str_t *text, ngx_str_t *copy);
static json_t *ngx_lockbox_grant_confirmation_json(
    const ngx_str_t *certificate);


static const ngx_lockbox_grant_text_t  ngx_lockbox_grant_claim_texts[] = {

    { "jti", offsetof(ngx_lockbox_grant_t, id),
      ngx_lockbox_id_valid },

    { "tenant", offsetof(ngx_lockbox_grant_t, tenant),
      ngx_lockbox_tenant_valid },

    { "engineer_iss", offsetof(ngx_lockbox_grant_t, engineer_iss),
      ngx_lockbox_token_text_valid },

    { "sub", offsetof(ngx_lockbox_grant_t, engineer_sub),
      ngx_lockbox_token_text_valid },

    { NULL, 0, NULL }
};


ngx_int_t
ngx_lockbox_grant_parse(ngx_pool_t *pool, const json_t *claims,
    ngx_lockbox_grant_t *grant)
{
    ngx_int_t  rc;

    rc = ngx_lockbox_grant_texts(pool, claims, grant);
    if (rc != NGX_OK) {
        return rc;
    }

    if (ngx_lockbox_grant_time(claims, "nbf", &grant->not_before) != NGX_OK
        || ngx_lockbox_grant_time(claims, "exp", &grant->expires) != NGX_OK)
    {
        return NGX_DECLINED;
    }

    rc = ngx_lockbox_grant_confirmation(pool, claims, &grant->certificate);
    if (rc != NGX_OK) {
        return rc;
    }

    return ngx_lockbox_scope_parse(pool,
                                   json_object_get(claims,
                                                   "authorization_details"),
                                   NGX_LOCKBOX_SCOPE_DETAILS,
                                   "/authorization_details", &grant->scope,
                                   NULL);
}


static ngx_int_t
ngx_lockbox_grant_texts(ngx_pool_t *pool, const json_t *claims,
    ngx_lockbox_grant_t *grant)
{
    ngx_str_t                        text, *copy;
    const ngx_lockbox_grant_text_t  *claim;

    for (claim = ngx_lockbox_grant_claim_texts; claim->name; claim++) {

        if (ngx_lockbox_json_string(claims, claim->name, &text) != NGX_OK
            || !claim->valid(&text))
        {
            return NGX_DECLINED;
        }

        copy = (ngx_str_t *) ((u_char *) grant + claim->offset);

        if (ngx_lockbox_grant_copy(pool, &text, copy) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_lockbox_grant_copy(ngx_pool_t *pool, const ngx_str_t *text,
    ngx_str_t *copy)
{
    copy->data = ngx_pstrdup(pool, (ngx_str_t *) text);
    copy->len = text->len;

    return copy->data != NULL ? NGX_OK : NGX_ERROR;
}


static ngx_int_t
ngx_lockbox_grant_time(const json_t *claims, const char *name, time_t *value)
{
    ngx_int_t  rc;
    int64_t    seconds;

    rc = ngx_lockbox_json_integer(claims, name, &seconds);

    if (rc == NGX_OK) {
        *value = (time_t) seconds;
    }

    return rc;
}


static ngx_int_t
ngx_lockbox_grant_confirmation(ngx_pool_t *pool, const json_t *claims,
    ngx_str_t *certificate)
{
    ngx_int_t      rc;
    ngx_str_t      text, raw;
    const json_t  *cnf;

    ngx_str_null(certificate);

    cnf = json_object_get(claims, NGX_LOCKBOX_GRANT_CNF);
    if (cnf == NULL) {
        return NGX_OK;
    }

    /* what is no object has no members */

    if (json_object_size(cnf) != 1
        || ngx_lockbox_json_string(cnf, NGX_LOCKBOX_GRANT_X5T, &text)
           != NGX_OK
        || text.len != NGX_LOCKBOX_THUMBPRINT_LEN)
    {
        return NGX_DECLINED;
    }

    rc = ngx_lockbox_base64url_decode(pool, &text, &raw);
    if (rc != NGX_OK) {
        return rc;
    }

    return ngx_lockbox_grant_copy(pool, &text, certificate);
}


json_t *
ngx_lockbox_grant_claims(const ngx_lockbox_grant_t *grant,
    const ngx_str_t *issuer, const ngx_str_t *audience)
{
    json_t                          *claims;
    ngx_int_t                        rc;
    const ngx_str_t                 *text;
    const ngx_lockbox_grant_text_t  *claim;

    claims = json_object();

    if (ngx_lockbox_json_set(claims, "iss", ngx_lockbox_json_text(issuer))
        != NGX_OK
        || ngx_lockbox_json_set(claims, "aud", ngx_lockbox_json_text(audience))
           != NGX_OK
        || ngx_lockbox_json_set(claims, "iat", json_integer(grant->not_before))
           != NGX_OK
        || ngx_lockbox_json_set(claims, "nbf", json_integer(grant->not_before))
           != NGX_OK
        || ngx_lockbox_json_set(claims, "exp", json_integer(grant->expires))
           != NGX_OK
        || ngx_lockbox_json_set(claims, "authorization_details",
               ngx_lockbox_scope_json(&grant->scope,
                                      NGX_LOCKBOX_SCOPE_DETAILS))
           != NGX_OK
        || (grant->certificate.len != 0
            && ngx_lockbox_json_set(claims, NGX_LOCKBOX_GRANT_CNF,
                   ngx_lockbox_grant_confirmation_json(&grant->certificate))
               != NGX_OK))
    {
        json_decref(claims);
        return NULL;
    }

    for (claim = ngx_lockbox_grant_claim_texts; claim->name; claim++) {
        text = (const ngx_str_t *) ((const u_char *) grant + claim->offset);

        rc = ngx_lockbox_json_set(claims, claim->name,
                                  ngx_lockbox_json_text(text));
        if (rc != NGX_OK) {
            json_decref(claims);
            return NULL;
        }
    }

    return claims;
}


static json_t *
ngx_lockbox_grant_confirmation_json(const ngx_str_t *certificate)
{
    json_t  *cnf;

    cnf = json_object();

    if (ngx_lockbox_json_set(cnf, NGX_LOCKBOX_GRANT_X5T,
                             ngx_lockbox_json_text(certificate))
        != NGX_OK)
    {
        json_decref(cnf);
        return NULL;
    }

    return cnf;
}


ngx_uint_t
ngx_lockbox_grant_held(const ngx_lockbox_grant_t *grant,
    const ngx_lockbox_target_t *target)
{
    if (grant->certificate.len == 0) {
        return !target->bound;
    }

    return ngx_lockbox_name_same(&grant->certificate, &target->certificate);
}


ngx_lockbox_decision_t
ngx_lockbox_grant_timely(const ngx_lockbox_grant_t *grant, time_t now,
    time_t leeway)
{
    if (grant->not_before > now + leeway) {
        return NGX_LOCKBOX_NOT_YET_VALID;
    }

    if (now >= grant->expires) {
        return NGX_LOCKBOX_EXPIRED;
    }

    return NGX_LOCKBOX_ALLOW;
}


ngx_lockbox_decision_t
ngx_lockbox_grant_decide(const ngx_lockbox_grant_t *grant,
    const ngx_lockbox_target_t *target, time_t now, time_t leeway)
{
    ngx_lockbox_decision_t  decision;

    decision = ngx_lockbox_grant_timely(grant, now, leeway);
    if (decision != NGX_LOCKBOX_ALLOW) {
        return decision;
    }

    if (!ngx_lockbox_grant_held(grant, target)) {
        return NGX_LOCKBOX_WRONG_CERTIFICATE;
    }

    if (!ngx_lockbox_tenant_valid(&target->tenant)
        || !ngx_lockbox_name_same(&target->tenant, &grant->tenant))
    {
        return NGX_LOCKBOX_WRONG_TENANT;
    }

    if (!ngx_lockbox_name_valid(&target->service)) {
        return NGX_LOCKBOX_WRONG_SERVICE;
    }

    return ngx_lockbox_scope_covers(&grant->scope, &target->service,
                                    &target->labels, &target->method,
                                    target->upgrade, &target->path);
}
