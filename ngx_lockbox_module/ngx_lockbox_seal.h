/*
 * Seals: each step of a request is signed by the module over what was decided,
 * so that whoever can write to Redis can neither mint nor widen access.
 */

#ifndef _NGX_LOCKBOX_SEAL_H_INCLUDED_
#define _NGX_LOCKBOX_SEAL_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_lockbox_jwks.h"
#include "ngx_lockbox_token.h"


/*
 * Seconds a seal counts: longer than any request can wait for people (three
 * times 14 days), then for the end of the one that it extends (14), and run
 * (14).
 */
#define NGX_LOCKBOX_SEAL_LIFE    (75 * 24 * 3600)

/* Seconds by which the clocks of two proxies may differ (twice 5 s). */
#define NGX_LOCKBOX_SEAL_LEEWAY  10


typedef struct {
    ngx_str_t    request;        /* id */
    ngx_str_t    tenant;
    ngx_str_t    engineer_iss;
    ngx_str_t    engineer_sub;
    int64_t      version;        /* the one decided on; 0 for the filing */
    ngx_str_t    access_hash;    /* ngx_lockbox_scope_hash(), after the step */
    int64_t      duration;       /* seconds, after the step */
    ngx_str_t    text_hash;      /* base64url SHA-256 of what was written */
    ngx_str_t    stage;          /* "engineer", "manager", "customer" */
    ngx_str_t    decision;       /* "request", "approve", "deny", ... */
    ngx_str_t    by_iss;
    ngx_str_t    by_sub;
    ngx_str_t    token_hash;     /* of the identity token that said so */
    int64_t      auth_time;      /* of that token, Unix seconds; 0: none */
    ngx_str_t    acr;            /* of that token; empty: none */
    int64_t      at;             /* Unix milliseconds */
    ngx_str_t    extends;        /* filing: the request before; may be empty */
    int64_t      begins;         /* approval: Unix seconds; 0: with it */
    int64_t      policy_version; /* tenant's policy gone by; 0: none */
    ngx_str_t    policy_hash;    /* of its canonical text; empty: none */
    int64_t      customers;      /* approvals it needs of them; may be 0 */
    ngx_str_t    preapproval;    /* approval given beforehand; may be empty */
    ngx_str_t    prev;           /* hash of the seal before; empty: first */
} ngx_lockbox_seal_t;


/* What a chain of seals must show before a grant may be issued. */
typedef struct {
    ngx_str_t    request;
    ngx_str_t    tenant;
    ngx_str_t    engineer_iss;
    ngx_str_t    engineer_sub;
    ngx_str_t    access_hash;    /* of the access at hand */
    int64_t      duration;
    ngx_str_t    extends;        /* empty: nothing */
    ngx_str_t   *text_hashes;    /* of the texts at hand, one for each seal */
} ngx_lockbox_seal_subject_t;


/*
 * Signs a seal: a JWS of the type "lockbox-seal+jwt" with the seal as claims.
 * "issuer" is the grant issuer.  The text is pool memory.  NGX_ERROR without
 * memory or when OpenSSL refuses.
 */
ngx_int_t ngx_lockbox_seal_sign(ngx_pool_t *pool,
    const ngx_lockbox_key_t *key, const ngx_str_t *issuer,
    const ngx_lockbox_seal_t *seal, ngx_str_t *text);

/*
 * Opens the chain of a request, first seal first, into "seals" (memory for
 * "n" of the caller's; texts are borrowed from the pool).  Each must be
 * genuine, be about this request, tenant and engineer and over the text that
 * came with it, name its predecessor, have a higher version and no earlier
 * time, and be a step that can follow the one before; the first must be the
 * engineer's own filing, and the last one must be over the access and duration
 * at hand.  Only an approval of a request that extends another one says when
 * its window begins.  No step goes by an older policy than the one before, and
 * only a customer's approval can have been given beforehand, by a policy.
 *
 * NGX_OK; NGX_DECLINED when the chain is not what it must be; NGX_ERROR
 * without memory.
 */
ngx_int_t ngx_lockbox_seal_open(ngx_pool_t *pool,
    const ngx_lockbox_jwks_t *keys, const ngx_str_t *issuer,
    const ngx_str_t *texts, ngx_uint_t n, time_t now,
    const ngx_lockbox_seal_subject_t *subject, ngx_lockbox_seal_t *seals);

/*
 * The last approval that the request needed, or NULL when approvals are
 * missing: at least "manager" approvals of the manager's stage and after them
 * "customer" approvals of the customer's stage, or what the last seal says that
 * the tenant's policy requires if that is more, each by another person, none
 * by the engineer, and among the seals nothing besides but questions of these
 * stages with the engineer's answers behind them.  Whoever asks may approve.
 */
const ngx_lockbox_seal_t *ngx_lockbox_seal_approved(
    const ngx_lockbox_seal_t *seals, ngx_uint_t n, ngx_uint_t manager,
    ngx_uint_t customer);

/* When the window begins that the approval opens, Unix seconds. */
int64_t ngx_lockbox_seal_begins(const ngx_lockbox_seal_t *approval);


#endif /* _NGX_LOCKBOX_SEAL_H_INCLUDED_ */
