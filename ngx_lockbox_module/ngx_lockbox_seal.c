/*
 * Seals: signed steps of a request, chained by the hash of the one before.
 */

#include "ngx_lockbox_seal.h"
#include "ngx_lockbox_base64url.h"
#include "ngx_lockbox_json.h"
#include "ngx_lockbox_text.h"


/* so far off that no sum of times overflows */
#define NGX_LOCKBOX_SEAL_AT_MAX  ((int64_t) 1 << 53)


static ngx_int_t ngx_lockbox_seal_read(const json_t *claims,
    ngx_lockbox_seal_t *seal);
static ngx_uint_t ngx_lockbox_seal_concerns(const ngx_lockbox_seal_t *seal,
    const ngx_lockbox_seal_subject_t *subject);
static ngx_uint_t ngx_lockbox_seal_follows(const ngx_lockbox_seal_t *seal,
    const ngx_lockbox_seal_t *before, const ngx_str_t *hash);
static ngx_uint_t ngx_lockbox_seal_filed(const ngx_lockbox_seal_t *seal);
static ngx_uint_t ngx_lockbox_seal_repeated(const ngx_lockbox_seal_t *seals,
    ngx_uint_t n);


/* The claims that are texts, and where they are kept. */

typedef struct {
    const char  *claim;
    size_t       offset;
} ngx_lockbox_seal_member_t;


static const ngx_lockbox_seal_member_t  ngx_lockbox_seal_texts[] = {
    { "request", offsetof(ngx_lockbox_seal_t, request) },
    { "tenant", offsetof(ngx_lockbox_seal_t, tenant) },
    { "engineer_iss", offsetof(ngx_lockbox_seal_t, engineer_iss) },
    { "engineer_sub", offsetof(ngx_lockbox_seal_t, engineer_sub) },
    { "access_hash", offsetof(ngx_lockbox_seal_t, access_hash) },
    { "stage", offsetof(ngx_lockbox_seal_t, stage) },
    { "decision", offsetof(ngx_lockbox_seal_t, decision) },
    { "by_iss", offsetof(ngx_lockbox_seal_t, by_iss) },
    { "sub", offsetof(ngx_lockbox_seal_t, by_sub) },
    { NULL, 0 }
};


static const ngx_lockbox_seal_member_t  ngx_lockbox_seal_numbers[] = {
    { "version", offsetof(ngx_lockbox_seal_t, version) },
    { "duration", offsetof(ngx_lockbox_seal_t, duration) },
    { "at", offsetof(ngx_lockbox_seal_t, at) },
    { NULL, 0 }
};


ngx_int_t
ngx_lockbox_seal_sign(ngx_pool_t *pool, const ngx_lockbox_key_t *key,
    const ngx_str_t *issuer, const ngx_lockbox_seal_t *seal, ngx_str_t *text)
{
    json_t                           *claims;
    int64_t                           iat;
    const u_char                     *base;
    const ngx_lockbox_seal_member_t  *m;

    claims = ngx_lockbox_json_own(pool, json_object());
    base = (const u_char *) seal;

    for (m = ngx_lockbox_seal_texts; m->claim != NULL; m++) {
        if (ngx_lockbox_json_set(claims, m->claim,
                ngx_lockbox_json_text((const ngx_str_t *)
                                      (const void *) (base + m->offset)))
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    for (m = ngx_lockbox_seal_numbers; m->claim != NULL; m++) {
        if (ngx_lockbox_json_set(claims, m->claim,
                json_integer(*(const int64_t *)
                             (const void *) (base + m->offset)))
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    if (seal->prev.len != 0
        && ngx_lockbox_json_set(claims, "prev",
                                ngx_lockbox_json_text(&seal->prev)) != NGX_OK)
    {
        return NGX_ERROR;
    }

    iat = seal->at / 1000;

    if (ngx_lockbox_json_set(claims, "iss", ngx_lockbox_json_text(issuer))
        != NGX_OK
        || ngx_lockbox_json_set(claims, "aud", ngx_lockbox_json_text(issuer))
           != NGX_OK
        || ngx_lockbox_json_set(claims, "iat", json_integer(iat)) != NGX_OK
        || ngx_lockbox_json_set(claims, "exp",
                                json_integer(iat + NGX_LOCKBOX_SEAL_LIFE))
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_lockbox_token_sign(pool, key, NGX_LOCKBOX_SEAL_TYP, claims,
                                  text);
}


ngx_int_t
ngx_lockbox_seal_open(ngx_pool_t *pool, const ngx_lockbox_jwks_t *keys,
    const ngx_str_t *issuer, const ngx_str_t *texts, ngx_uint_t n, time_t now,
    const ngx_lockbox_seal_subject_t *subject, ngx_lockbox_seal_t *seals)
{
    ngx_str_t                 hash;
    ngx_uint_t                i;
    ngx_lockbox_token_t       token;
    ngx_lockbox_token_rule_t  rule;

    ngx_memzero(&rule, sizeof(ngx_lockbox_token_rule_t));

    rule.typ = NGX_LOCKBOX_SEAL_TYP;
    rule.issuer = *issuer;
    rule.audience = *issuer;
    rule.keys = keys;
    rule.leeway = NGX_LOCKBOX_SEAL_LEEWAY;
    rule.max_life = NGX_LOCKBOX_SEAL_LIFE;

    ngx_str_null(&hash);

    for (i = 0; i < n; i++) {

        switch (ngx_lockbox_token_open(pool, &rule, 1, &texts[i], now,
                                       &token))
        {
        case NGX_LOCKBOX_ALLOW:
            break;
        case NGX_LOCKBOX_INTERNAL_ERROR:
            return NGX_ERROR;
        default:
            return NGX_DECLINED;
        }

        if (ngx_lockbox_seal_read(token.claims, &seals[i]) != NGX_OK
            || !ngx_lockbox_seal_concerns(&seals[i], subject)
            || !(i == 0 ? ngx_lockbox_seal_filed(&seals[0])
                        : ngx_lockbox_seal_follows(&seals[i], &seals[i - 1],
                                                   &hash)))
        {
            return NGX_DECLINED;
        }

        if (ngx_lockbox_base64url_sha256(pool, &texts[i], &hash) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    if (n == 0
        || !ngx_lockbox_text_same(&seals[n - 1].access_hash,
                                   &subject->access_hash)
        || seals[n - 1].duration != subject->duration)
    {
        return NGX_DECLINED;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_lockbox_seal_read(const json_t *claims, ngx_lockbox_seal_t *seal)
{
    u_char                           *base;
    const ngx_lockbox_seal_member_t  *m;

    ngx_memzero(seal, sizeof(ngx_lockbox_seal_t));

    base = (u_char *) seal;

    for (m = ngx_lockbox_seal_texts; m->claim != NULL; m++) {
        if (ngx_lockbox_json_string(claims, m->claim,
                          (ngx_str_t *) (void *) (base + m->offset)) != NGX_OK)
        {
            return NGX_DECLINED;
        }
    }

    for (m = ngx_lockbox_seal_numbers; m->claim != NULL; m++) {
        if (ngx_lockbox_json_integer(claims, m->claim,
                           (int64_t *) (void *) (base + m->offset)) != NGX_OK)
        {
            return NGX_DECLINED;
        }
    }

    if (seal->at < 0 || seal->at > NGX_LOCKBOX_SEAL_AT_MAX) {
        return NGX_DECLINED;
    }

    if (ngx_lockbox_json_string(claims, "prev", &seal->prev) == NGX_ERROR) {
        return NGX_DECLINED;
    }

    return NGX_OK;
}


static ngx_uint_t
ngx_lockbox_seal_concerns(const ngx_lockbox_seal_t *seal,
    const ngx_lockbox_seal_subject_t *subject)
{
    return ngx_lockbox_text_same(&seal->request, &subject->request)
           && ngx_lockbox_text_same(&seal->tenant, &subject->tenant)
           && ngx_lockbox_text_same(&seal->engineer_iss,
                                     &subject->engineer_iss)
           && ngx_lockbox_text_same(&seal->engineer_sub,
                                     &subject->engineer_sub);
}


static ngx_uint_t
ngx_lockbox_seal_filed(const ngx_lockbox_seal_t *seal)
{
    return seal->prev.len == 0
           && seal->version == 0
           && ngx_lockbox_text_is(&seal->stage, "engineer")
           && ngx_lockbox_text_is(&seal->decision, "request")
           && ngx_lockbox_text_same(&seal->by_iss, &seal->engineer_iss)
           && ngx_lockbox_text_same(&seal->by_sub, &seal->engineer_sub);
}


static ngx_uint_t
ngx_lockbox_seal_follows(const ngx_lockbox_seal_t *seal,
    const ngx_lockbox_seal_t *before, const ngx_str_t *hash)
{
    return ngx_lockbox_text_same(&seal->prev, hash)
           && seal->version > before->version
           && seal->at + NGX_LOCKBOX_SEAL_LEEWAY * 1000 >= before->at;
}


int64_t
ngx_lockbox_seal_approved(const ngx_lockbox_seal_t *seals, ngx_uint_t n,
    ngx_uint_t manager, ngx_uint_t customer)
{
    int64_t     at;
    ngx_uint_t  i, managers, customers;

    at = 0;
    managers = 0;
    customers = 0;

    for (i = 1; i < n; i++) {

        if (!ngx_lockbox_text_is(&seals[i].decision, "approve")
            || ngx_lockbox_seal_repeated(seals, i))
        {
            return 0;
        }

        if (ngx_lockbox_text_is(&seals[i].stage, "manager") && customers == 0) {
            managers++;

        } else if (ngx_lockbox_text_is(&seals[i].stage, "customer")
                   && managers >= manager)
        {
            customers++;

        } else {
            return 0;
        }

        at = seals[i].at;
    }

    return managers >= manager && customers >= customer ? at : 0;
}


/* Whether the person of seal "n" stands in one of the seals before it. */

static ngx_uint_t
ngx_lockbox_seal_repeated(const ngx_lockbox_seal_t *seals, ngx_uint_t n)
{
    ngx_uint_t  i;

    for (i = 0; i < n; i++) {
        if (ngx_lockbox_text_same(&seals[i].by_iss, &seals[n].by_iss)
            && ngx_lockbox_text_same(&seals[i].by_sub, &seals[n].by_sub))
        {
            return 1;
        }
    }

    return 0;
}
