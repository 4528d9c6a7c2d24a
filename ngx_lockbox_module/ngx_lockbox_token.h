/*
 * The strict door: the one function that reads a token, be it a grant, an
 * identity token or a seal, and the one that writes them (RFC 7515, RFC 7519,
 * RFC 8725).
 */

#ifndef _NGX_LOCKBOX_TOKEN_H_INCLUDED_
#define _NGX_LOCKBOX_TOKEN_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include <jansson.h>

#include "ngx_lockbox_decision.h"
#include "ngx_lockbox_jwks.h"


#define NGX_LOCKBOX_TOKEN_MAX         8192
#define NGX_LOCKBOX_TOKEN_HEADER_MAX  1024

#define NGX_LOCKBOX_GRANT_TYP  "lockbox-grant+jwt"
#define NGX_LOCKBOX_SEAL_TYP   "lockbox-seal+jwt"


/*
 * What the door asks of tokens of one issuer.  "typ" names the one type that
 * is accepted, exactly, and such tokens must have a kid; NULL stands for
 * identity tokens: typ absent, "JWT" or "at+jwt" in any case, aud a string or
 * an array, kid not needed where the set has one key.
 */
typedef struct {
    const char               *typ;
    ngx_str_t                 issuer;
    ngx_str_t                 audience;
    const ngx_lockbox_jwks_t *keys;
    time_t                    leeway;     /* for nbf and iat; never for exp */
    time_t                    max_life;   /* longest exp - iat, seconds */
} ngx_lockbox_token_rule_t;


typedef struct {
    ngx_lockbox_decision_t    decision;

    /*
     * 1 once the signature has verified: only then may a refusal say more
     * than its word, and only then are the claims anybody's.
     */
    ngx_uint_t                genuine;

    ngx_uint_t                at_jwt;     /* typ was "at+jwt" (RFC 9068) */
    json_t                   *claims;     /* owned by the pool; else NULL */
    ngx_uint_t                rule;       /* index of the issuer's rule */
    const ngx_lockbox_key_t  *key;
    time_t                    issued;     /* iat */
    time_t                    expires;    /* exp */
} ngx_lockbox_token_t;


/*
 * Lets a compact JWS in, or names what it failed on.  "rules" has one entry
 * for each issuer that is accepted; iss picks the one.  "now" is Unix
 * seconds.  The order: form and sizes, header, payload as JSON, iss, kid,
 * algorithm, signature, then what the signed claims say.
 *
 * Returns token->decision: ALLOW, MALFORMED_TOKEN, WRONG_TYPE, WRONG_ISSUER,
 * UNKNOWN_KEY, BAD_SIGNATURE, WRONG_AUDIENCE, NOT_YET_VALID, EXPIRED,
 * TOO_LONG_LIVED, or INTERNAL_ERROR without memory.
 */
ngx_lockbox_decision_t ngx_lockbox_token_open(ngx_pool_t *pool,
    const ngx_lockbox_token_rule_t *rules, ngx_uint_t nrules,
    const ngx_str_t *text, time_t now, ngx_lockbox_token_t *token);

/*
 * Signs the claims with the key: a compact JWS (RFC 7515 section 7.1) whose
 * header has alg, kid and the given typ.  The text is pool memory.  NGX_ERROR
 * without memory, when OpenSSL refuses, or when the signature that it made
 * does not verify.
 */
ngx_int_t ngx_lockbox_token_sign(ngx_pool_t *pool,
    const ngx_lockbox_key_t *key, const char *typ, const json_t *claims,
    ngx_str_t *text);

/*
 * 1 if the text can be a subject or an issuer: 1 to 255 bytes without control
 * characters, else 0.
 */
ngx_uint_t ngx_lockbox_token_text_valid(const ngx_str_t *text);


#endif /* _NGX_LOCKBOX_TOKEN_H_INCLUDED_ */
