/*
 * Seals of policies.
 */

#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_lockbox_json.h"
#include "ngx_lockbox_policy_seal.h"
#include "ngx_lockbox_seal.h"
#include "ngx_lockbox_text.h"


/* The claims that are texts, and where they are kept. */

typedef struct {
    const char  *claim;
    size_t       offset;
    unsigned     optional:1;
} ngx_lockbox_policy_claim_t;


static ngx_int_t ngx_lockbox_policy_seal_read(const json_t *claims,
    ngx_lockbox_policy_seal_t *seal);
static ngx_uint_t ngx_lockbox_policy_seal_says(
    const ngx_lockbox_policy_seal_t *seal,
    const ngx_lockbox_policy_seal_t *said);


static const ngx_lockbox_policy_claim_t  ngx_lockbox_policy_claims[] = {
    { "tenant", offsetof(ngx_lockbox_policy_seal_t, tenant), 0 },
    { "policy_hash", offsetof(ngx_lockbox_policy_seal_t, hash), 0 },
    { "by_iss", offsetof(ngx_lockbox_policy_seal_t, by_iss), 0 },
    { "sub", offsetof(ngx_lockbox_policy_seal_t, by_sub), 0 },
    { "token_hash", offsetof(ngx_lockbox_policy_seal_t, token_hash), 0 },
    { "acr", offsetof(ngx_lockbox_policy_seal_t, acr), 1 },
    { "prev", offsetof(ngx_lockbox_policy_seal_t, prev), 1 },
    { NULL, 0, 0 }
};


ngx_int_t
ngx_lockbox_policy_seal_sign(ngx_pool_t *pool, const ngx_lockbox_key_t *key,
    const ngx_str_t *issuer, const ngx_lockbox_policy_seal_t *seal,
    ngx_str_t *text)
{
    json_t                            *claims;
    int64_t                            iat, exp;
    const ngx_str_t                   *value;
    const ngx_lockbox_policy_claim_t  *c;

    iat = seal->at / 1000;
    exp = iat + NGX_LOCKBOX_POLICY_LIFE;

    claims = ngx_lockbox_json_own(pool,
                json_pack("{s:o, s:o, s:I, s:I, s:I, s:I}",
                          "iss", ngx_lockbox_json_text(issuer),
                          "aud", ngx_lockbox_json_text(issuer),
                          "iat", (json_int_t) iat,
                          "exp", (json_int_t) exp,
                          "version", (json_int_t) seal->version,
                          "at", (json_int_t) seal->at));
    if (claims == NULL) {
        return NGX_ERROR;
    }

    for (c = ngx_lockbox_policy_claims; c->claim != NULL; c++) {
        value = (const ngx_str_t *)
                    (const void *) ((const u_char *) seal + c->offset);

        if ((value->len != 0 || !c->optional)
            && ngx_lockbox_json_set(claims, c->claim,
                                    ngx_lockbox_json_text(value))
               != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    if (seal->auth_time != 0
        && ngx_lockbox_json_set(claims, "auth_time",
                                json_integer((json_int_t) seal->auth_time))
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_lockbox_token_sign(pool, key, NGX_LOCKBOX_POLICY_TYP, claims,
                                  text);
}


ngx_int_t
ngx_lockbox_policy_seal_open(ngx_pool_t *pool, const ngx_lockbox_jwks_t *keys,
    const ngx_str_t *issuer, const ngx_str_t *text, time_t now,
    const ngx_lockbox_policy_seal_t *said, ngx_lockbox_policy_seal_t *seal)
{
    ngx_lockbox_token_t       token;
    ngx_lockbox_token_rule_t  rule;

    ngx_memzero(&rule, sizeof(ngx_lockbox_token_rule_t));

    rule.typ = NGX_LOCKBOX_POLICY_TYP;
    rule.issuer = *issuer;
    rule.audience = *issuer;
    rule.keys = keys;
    rule.leeway = NGX_LOCKBOX_SEAL_LEEWAY;
    rule.max_life = NGX_LOCKBOX_POLICY_LIFE;

    switch (ngx_lockbox_token_open(pool, &rule, 1, text, now, &token)) {
    case NGX_LOCKBOX_ALLOW:
        break;
    case NGX_LOCKBOX_INTERNAL_ERROR:
        return NGX_ERROR;
    default:
        return NGX_DECLINED;
    }

    return ngx_lockbox_policy_seal_read(token.claims, seal) == NGX_OK
           && ngx_lockbox_policy_seal_says(seal, said)
           ? NGX_OK : NGX_DECLINED;
}


static ngx_int_t
ngx_lockbox_policy_seal_read(const json_t *claims,
    ngx_lockbox_policy_seal_t *seal)
{
    ngx_int_t                          rc;
    const ngx_lockbox_policy_claim_t  *c;

    ngx_memzero(seal, sizeof(ngx_lockbox_policy_seal_t));

    for (c = ngx_lockbox_policy_claims; c->claim != NULL; c++) {
        rc = ngx_lockbox_json_string(claims, c->claim,
                       (ngx_str_t *) (void *) ((u_char *) seal + c->offset));

        if (rc == NGX_ERROR || (rc == NGX_DECLINED && !c->optional)) {
            return NGX_DECLINED;
        }
    }

    if (ngx_lockbox_json_integer(claims, "version", &seal->version) != NGX_OK
        || ngx_lockbox_json_integer(claims, "at", &seal->at) != NGX_OK
        || ngx_lockbox_json_integer(claims, "auth_time", &seal->auth_time)
           == NGX_ERROR)
    {
        return NGX_DECLINED;
    }

    return NGX_OK;
}


static ngx_uint_t
ngx_lockbox_policy_seal_says(const ngx_lockbox_policy_seal_t *seal,
    const ngx_lockbox_policy_seal_t *said)
{
    return seal->version == said->version
           && ngx_lockbox_text_same(&seal->tenant, &said->tenant)
           && ngx_lockbox_text_same(&seal->hash, &said->hash)
           && ngx_lockbox_text_same(&seal->by_iss, &said->by_iss)
           && ngx_lockbox_text_same(&seal->by_sub, &said->by_sub);
}
