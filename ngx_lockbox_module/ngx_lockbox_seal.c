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
static ngx_uint_t ngx_lockbox_seal_filed(const ngx_lockbox_seal_t *seal,
    const ngx_lockbox_seal_subject_t *subject);
static ngx_uint_t ngx_lockbox_seal_is_given(const ngx_lockbox_seal_t *seal);
static ngx_uint_t ngx_lockbox_seal_in_order(const ngx_lockbox_seal_t *seal,
    const ngx_lockbox_seal_t *before);
static ngx_uint_t ngx_lockbox_seal_is_engineers(
    const ngx_lockbox_seal_t *seal);
static ngx_uint_t ngx_lockbox_seal_repeated(const ngx_lockbox_seal_t *seals,
    ngx_uint_t n);
static ngx_uint_t ngx_lockbox_seal_same_person(const ngx_lockbox_seal_t *a,
    const ngx_lockbox_seal_t *b);


/*
 * The claims that are texts or numbers, and where they are kept.  What is
 * optional is missing when it is empty or zero, and never says that itself.
 */

typedef struct {
    const char  *claim;
    size_t       offset;
    unsigned     optional:1;
} ngx_lockbox_seal_member_t;


static const ngx_lockbox_seal_member_t  ngx_lockbox_seal_texts[] = {
    { "request", offsetof(ngx_lockbox_seal_t, request), 0 },
    { "tenant", offsetof(ngx_lockbox_seal_t, tenant), 0 },
    { "engineer_iss", offsetof(ngx_lockbox_seal_t, engineer_iss), 0 },
    { "engineer_sub", offsetof(ngx_lockbox_seal_t, engineer_sub), 0 },
    { "access_hash", offsetof(ngx_lockbox_seal_t, access_hash), 0 },
    { "text_hash", offsetof(ngx_lockbox_seal_t, text_hash), 0 },
    { "stage", offsetof(ngx_lockbox_seal_t, stage), 0 },
    { "decision", offsetof(ngx_lockbox_seal_t, decision), 0 },
    { "by_iss", offsetof(ngx_lockbox_seal_t, by_iss), 0 },
    { "sub", offsetof(ngx_lockbox_seal_t, by_sub), 0 },
    { "token_hash", offsetof(ngx_lockbox_seal_t, token_hash), 0 },
    { "acr", offsetof(ngx_lockbox_seal_t, acr), 1 },
    { "extends", offsetof(ngx_lockbox_seal_t, extends), 1 },
    { "policy_hash", offsetof(ngx_lockbox_seal_t, policy_hash), 1 },
    { "preapproval", offsetof(ngx_lockbox_seal_t, preapproval), 1 },
    { "prev", offsetof(ngx_lockbox_seal_t, prev), 1 },
    { NULL, 0, 0 }
};


static const ngx_lockbox_seal_member_t  ngx_lockbox_seal_numbers[] = {
    { "version", offsetof(ngx_lockbox_seal_t, version), 0 },
    { "duration", offsetof(ngx_lockbox_seal_t, duration), 0 },
    { "at", offsetof(ngx_lockbox_seal_t, at), 0 },
    { "auth_time", offsetof(ngx_lockbox_seal_t, auth_time), 1 },
    { "begins", offsetof(ngx_lockbox_seal_t, begins), 1 },
    { "policy_version", offsetof(ngx_lockbox_seal_t, policy_version), 1 },
    { "customers", offsetof(ngx_lockbox_seal_t, customers), 1 },
    { NULL, 0, 0 }
};


/* The steps behind a filing, whose they are, and what they can follow. */

typedef struct {
    const char  *decision;
    unsigned     engineer:1;
    const char  *after[5];
} ngx_lockbox_seal_order_t;


static const ngx_lockbox_seal_order_t  ngx_lockbox_seal_orders[] = {
    { "approve", 0, { "request", "approve", "answer", NULL } },
    { "deny", 0, { "request", "approve", "answer", "ask", NULL } },
    { "ask", 0, { "request", "approve", "answer", NULL } },
    { "answer", 1, { "ask", NULL } },
    { "cancel", 1, { "request", "approve", "answer", "ask", NULL } },
    { "complete", 1, { "approve", NULL } },
    { "revoke", 0, { "approve", NULL } },
    { NULL, 0, { NULL } }
};


static const char *const  ngx_lockbox_seal_stages[] = {
    "manager", "customer", NULL
};


ngx_int_t
ngx_lockbox_seal_sign(ngx_pool_t *pool, const ngx_lockbox_key_t *key,
    const ngx_str_t *issuer, const ngx_lockbox_seal_t *seal, ngx_str_t *text)
{
    json_t                           *claims;
    int64_t                           iat;
    const u_char                     *base;
    const int64_t                    *number;
    const ngx_str_t                  *member;
    const ngx_lockbox_seal_member_t  *m;

    claims = ngx_lockbox_json_own(pool, json_object());
    base = (const u_char *) seal;

    for (m = ngx_lockbox_seal_texts; m->claim != NULL; m++) {
        member = (const ngx_str_t *) (const void *) (base + m->offset);

        if (!(m->optional && member->len == 0)
            && ngx_lockbox_json_set(claims, m->claim,
                                    ngx_lockbox_json_text(member))
               != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    for (m = ngx_lockbox_seal_numbers; m->claim != NULL; m++) {
        number = (const int64_t *) (const void *) (base + m->offset);

        if (!(m->optional && *number == 0)
            && ngx_lockbox_json_set(claims, m->claim, json_integer(*number))
               != NGX_OK)
        {
            return NGX_ERROR;
        }
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
            || !ngx_lockbox_text_same(&seals[i].text_hash,
                                      &subject->text_hashes[i])
            || !(i == 0 ? ngx_lockbox_seal_filed(&seals[0], subject)
                        : ngx_lockbox_seal_follows(&seals[i], &seals[i - 1],
                                                   &hash))
            || (seals[i].begins != 0 && seals[0].extends.len == 0))
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
    int64_t                          *number;
    ngx_int_t                         rc;
    const ngx_lockbox_seal_member_t  *m;

    ngx_memzero(seal, sizeof(ngx_lockbox_seal_t));

    base = (u_char *) seal;

    for (m = ngx_lockbox_seal_texts; m->claim != NULL; m++) {
        rc = ngx_lockbox_json_string(claims, m->claim,
                              (ngx_str_t *) (void *) (base + m->offset));

        if (rc != NGX_OK && !(m->optional && rc == NGX_DECLINED)) {
            return NGX_DECLINED;
        }
    }

    for (m = ngx_lockbox_seal_numbers; m->claim != NULL; m++) {
        number = (int64_t *) (void *) (base + m->offset);
        rc = ngx_lockbox_json_integer(claims, m->claim, number);

        if (m->optional ? (rc == NGX_ERROR || (rc == NGX_OK && *number < 1))
                        : rc != NGX_OK)
        {
            return NGX_DECLINED;
        }
    }

    return seal->at >= 0 && seal->at <= NGX_LOCKBOX_SEAL_AT_MAX
           ? NGX_OK : NGX_DECLINED;
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
ngx_lockbox_seal_filed(const ngx_lockbox_seal_t *seal,
    const ngx_lockbox_seal_subject_t *subject)
{
    return seal->prev.len == 0
           && seal->version == 0
           && seal->begins == 0
           && seal->preapproval.len == 0
           && ngx_lockbox_text_is(&seal->decision, "request")
           && ngx_lockbox_seal_is_engineers(seal)
           && ngx_lockbox_text_same(&seal->extends, &subject->extends);
}


static ngx_uint_t
ngx_lockbox_seal_follows(const ngx_lockbox_seal_t *seal,
    const ngx_lockbox_seal_t *before, const ngx_str_t *hash)
{
    return ngx_lockbox_text_same(&seal->prev, hash)
           && seal->version > before->version
           && seal->at + NGX_LOCKBOX_SEAL_LEEWAY * 1000 >= before->at
           && seal->extends.len == 0
           && (seal->begins == 0
               || ngx_lockbox_text_is(&seal->decision, "approve"))
           && seal->policy_version >= before->policy_version
           && ngx_lockbox_seal_is_given(seal)
           && ngx_lockbox_seal_in_order(seal, before);
}


/* What was given beforehand is the customer's, and stands in a policy. */

static ngx_uint_t
ngx_lockbox_seal_is_given(const ngx_lockbox_seal_t *seal)
{
    return seal->preapproval.len == 0
           || (seal->policy_version != 0
               && ngx_lockbox_text_is(&seal->stage, "customer")
               && ngx_lockbox_text_is(&seal->decision, "approve"));
}


static ngx_uint_t
ngx_lockbox_seal_in_order(const ngx_lockbox_seal_t *seal,
    const ngx_lockbox_seal_t *before)
{
    const ngx_lockbox_seal_order_t  *order;

    for (order = ngx_lockbox_seal_orders; order->decision != NULL; order++) {
        if (ngx_lockbox_text_is(&seal->decision, order->decision)) {
            break;
        }
    }

    return order->decision != NULL
           && ngx_lockbox_text_among(&before->decision, order->after)
           && (order->engineer
               ? ngx_lockbox_seal_is_engineers(seal)
               : ngx_lockbox_text_among(&seal->stage,
                                        ngx_lockbox_seal_stages));
}


static ngx_uint_t
ngx_lockbox_seal_is_engineers(const ngx_lockbox_seal_t *seal)
{
    return ngx_lockbox_text_is(&seal->stage, "engineer")
           && ngx_lockbox_text_same(&seal->by_iss, &seal->engineer_iss)
           && ngx_lockbox_text_same(&seal->by_sub, &seal->engineer_sub);
}


const ngx_lockbox_seal_t *
ngx_lockbox_seal_approved(const ngx_lockbox_seal_t *seals, ngx_uint_t n,
    ngx_uint_t manager, ngx_uint_t customer)
{
    ngx_uint_t                 i, asked, approves, managers, customers;
    const ngx_lockbox_seal_t  *last;

    last = NULL;
    asked = 0;
    managers = 0;
    customers = 0;

    if (n != 0) {
        customer = ngx_max(customer, (ngx_uint_t) seals[n - 1].customers);
    }

    for (i = 1; i < n; i++) {

        if (asked) {
            if (!ngx_lockbox_text_is(&seals[i].decision, "answer")
                || !ngx_lockbox_seal_is_engineers(&seals[i]))
            {
                return NULL;
            }

            asked = 0;
            continue;
        }

        asked = ngx_lockbox_text_is(&seals[i].decision, "ask");
        approves = ngx_lockbox_text_is(&seals[i].decision, "approve");

        if (!(asked || approves) || ngx_lockbox_seal_repeated(seals, i)) {
            return NULL;
        }

        if (ngx_lockbox_text_is(&seals[i].stage, "manager") && customers == 0) {
            managers += approves;

        } else if (ngx_lockbox_text_is(&seals[i].stage, "customer")
                   && managers >= manager)
        {
            customers += approves;

        } else {
            return NULL;
        }

        if (approves) {
            last = &seals[i];
        }
    }

    return !asked && managers >= manager && customers >= customer ? last
                                                                  : NULL;
}


/* Whether the person of seal "n" is the engineer or has approved before. */

static ngx_uint_t
ngx_lockbox_seal_repeated(const ngx_lockbox_seal_t *seals, ngx_uint_t n)
{
    ngx_uint_t  i;

    for (i = 0; i < n; i++) {
        if ((i == 0 || ngx_lockbox_text_is(&seals[i].decision, "approve"))
            && ngx_lockbox_seal_same_person(&seals[i], &seals[n]))
        {
            return 1;
        }
    }

    return 0;
}


static ngx_uint_t
ngx_lockbox_seal_same_person(const ngx_lockbox_seal_t *a,
    const ngx_lockbox_seal_t *b)
{
    return ngx_lockbox_text_same(&a->by_iss, &b->by_iss)
           && ngx_lockbox_text_same(&a->by_sub, &b->by_sub);
}


int64_t
ngx_lockbox_seal_begins(const ngx_lockbox_seal_t *approval)
{
    return ngx_max(approval->begins, approval->at / 1000);
}
