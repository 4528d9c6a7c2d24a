/*
 * Keys: JSON Web Keys (RFC 7517, RFC 7518) and PEM, parsed once at start.
 */

#ifndef _NGX_LOCKBOX_JWKS_H_INCLUDED_
#define _NGX_LOCKBOX_JWKS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include <jansson.h>
#include <openssl/evp.h>


#define NGX_LOCKBOX_RSA_BITS_MIN  2048
#define NGX_LOCKBOX_RSA_BITS_MAX  8192


/* A signature algorithm of RFC 7518 section 3.1; there are no others here. */
typedef struct {
    ngx_str_t                name;        /* "ES256" */
    int                      type;        /* EVP_PKEY_RSA, EVP_PKEY_EC */
    const char              *crv;         /* RFC 7518 6.2.1.1, NULL for RSA */
    const char              *group;       /* OpenSSL's name of the curve */
    const char              *digest;
    size_t                   field;       /* bytes of a coordinate, 0: RSA */
} ngx_lockbox_alg_t;


typedef struct {
    ngx_str_t                kid;         /* empty: the JWK has none */
    ngx_str_t                thumbprint;  /* RFC 7638, SHA-256, base64url */
    const ngx_lockbox_alg_t *alg;         /* the only one it is used with */
    EVP_PKEY                *pkey;
    ngx_str_t                pem;         /* the public half, for libjwt */
} ngx_lockbox_key_t;


/* A key set: array of ngx_lockbox_key_t. */
typedef ngx_array_t  ngx_lockbox_jwks_t;


/*
 * Adds the signature keys of a JWK Set (RFC 7517 section 5) to "keys".  Keys
 * for encryption ("use" or "key_ops" say so) are left out; whatever else is
 * not a public RSA key of 2048 to 8192 bits with an odd public exponent of 3
 * or more, or a point on P-256, P-384 or P-521, with the algorithm of its
 * kind, refuses the whole set, as do private members, symmetric keys, a kid
 * used twice and a set without keys.  A JWK without "alg" is RS256 or the
 * curve's own.
 *
 * NGX_OK; NGX_ERROR with a static reason in "err".  Keys belong to the pool.
 */
ngx_int_t ngx_lockbox_jwks_parse(ngx_pool_t *pool, const ngx_str_t *text,
    ngx_lockbox_jwks_t *keys, const char **err);

/*
 * Adds a key in PEM to "keys", with its RFC 7638 thumbprint as kid: RSA signs
 * RS256, EC the algorithm of its curve.  "private" says which half the text
 * must be; the other one is refused, and so is a text with both or two.
 */
ngx_int_t ngx_lockbox_jwks_pem(ngx_pool_t *pool, const ngx_str_t *text,
    ngx_uint_t private, ngx_lockbox_jwks_t *keys, const char **err);

/*
 * The key of this kid.  Without a kid: the only key of the set, or NULL when
 * there are several.
 */
ngx_lockbox_key_t *ngx_lockbox_jwks_find(const ngx_lockbox_jwks_t *keys,
    const ngx_str_t *kid);

/*
 * 1 if a signature of the algorithm over "data" verifies (RFC 7515 section
 * 5.2, ECDSA as R || S of RFC 7518 section 3.4), else 0.
 */
ngx_uint_t ngx_lockbox_jwks_verify(const ngx_lockbox_key_t *key,
    const ngx_str_t *data, const ngx_str_t *signature);

/*
 * The same for who must tell a wrong signature from one that could not be
 * judged: NGX_OK, NGX_DECLINED for the former, NGX_ERROR for the latter
 * (without memory, or when OpenSSL refuses key or algorithm; where OpenSSL
 * takes its own lack of memory for a wrong signature, so does this).
 */
ngx_int_t ngx_lockbox_jwks_check(const ngx_lockbox_key_t *key,
    const ngx_str_t *data, const ngx_str_t *signature);

/*
 * Signs "data" with a private key and its algorithm; the signature, in the
 * form of RFC 7515 (ECDSA as R || S), is pool memory.  NGX_ERROR without
 * memory or when OpenSSL refuses.
 */
ngx_int_t ngx_lockbox_jwks_sign(ngx_pool_t *pool,
    const ngx_lockbox_key_t *key, const ngx_str_t *data,
    ngx_str_t *signature);

/* The public keys as a JWK Set, a new reference, or NULL. */
json_t *ngx_lockbox_jwks_json(const ngx_lockbox_jwks_t *keys);


#endif /* _NGX_LOCKBOX_JWKS_H_INCLUDED_ */
