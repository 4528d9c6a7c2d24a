/*
 * Seals of policies: each version of a tenant's policy is signed by the
 * module, so that whoever can write to Redis can set none.
 */

#ifndef _NGX_LOCKBOX_POLICY_SEAL_H_INCLUDED_
#define _NGX_LOCKBOX_POLICY_SEAL_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_lockbox_jwks.h"
#include "ngx_lockbox_token.h"


#define NGX_LOCKBOX_POLICY_TYP  "lockbox-policy+jwt"

/* Seconds: a policy holds until it is replaced, which nobody may have to. */
#define NGX_LOCKBOX_POLICY_LIFE  ((time_t) 100 * 365 * 24 * 3600)


typedef struct {
    ngx_str_t    tenant;
    int64_t      version;        /* 1 for the first */
    ngx_str_t    hash;           /* of the canonical text, base64url */
    ngx_str_t    by_iss;
    ngx_str_t    by_sub;
    ngx_str_t    token_hash;     /* of the identity token that said so */
    int64_t      auth_time;      /* of that token, Unix seconds; 0: none */
    ngx_str_t    acr;            /* of that token; empty: none */
    int64_t      at;             /* Unix milliseconds */
    ngx_str_t    prev;           /* hash of the seal before; empty: none */
} ngx_lockbox_policy_seal_t;


/*
 * Signs a version: a JWS of the type NGX_LOCKBOX_POLICY_TYP with the seal as
 * claims.  "issuer" is the grant issuer.  The text is pool memory.  NGX_ERROR
 * without memory or when OpenSSL refuses.
 */
ngx_int_t ngx_lockbox_policy_seal_sign(ngx_pool_t *pool,
    const ngx_lockbox_key_t *key, const ngx_str_t *issuer,
    const ngx_lockbox_policy_seal_t *seal, ngx_str_t *text);

/*
 * Opens the seal of one version; texts are borrowed from the pool.  It must
 * be genuine and be about this tenant, version and hash, and its author must
 * be the one who is said to be: those members of "said" that the seal is
 * compared with are tenant, version, hash, by_iss and by_sub.
 *
 * NGX_OK; NGX_DECLINED when it is not what it must be; NGX_ERROR without
 * memory.
 */
ngx_int_t ngx_lockbox_policy_seal_open(ngx_pool_t *pool,
    const ngx_lockbox_jwks_t *keys, const ngx_str_t *issuer,
    const ngx_str_t *text, time_t now, const ngx_lockbox_policy_seal_t *said,
    ngx_lockbox_policy_seal_t *seal);


#endif /* _NGX_LOCKBOX_POLICY_SEAL_H_INCLUDED_ */
