/*
 * The strict door, and the pen: compact JWS in and out.
 */

#include "ngx_lockbox_token.h"
#include "ngx_lockbox_base64url.h"
#include "ngx_lockbox_json.h"
#include "ngx_lockbox_text.h"


/* above it a NumericDate has no exact value in other people's JSON readers */
#define NGX_LOCKBOX_TIME_MAX  ((int64_t) 1 << 53)

#define NGX_LOCKBOX_TEXT_MAX  255


typedef struct {
    ngx_str_t   header;         /* as sent, base64url */
    ngx_str_t   payload;
    ngx_str_t   signature;
    ngx_str_t   signed_text;    /* header "." payload */

    ngx_str_t   alg;
    ngx_str_t   kid;            /* empty: none */
    ngx_str_t   typ;            /* empty: none */
    ngx_str_t   iss;
} ngx_lockbox_jws_t;


static ngx_lockbox_decision_t ngx_lockbox_token_admit(ngx_pool_t *pool,
    const ngx_lockbox_token_rule_t *rules, ngx_uint_t nrules,
    const ngx_str_t *text, time_t now, ngx_lockbox_token_t *token);
static ngx_int_t ngx_lockbox_token_split(const ngx_str_t *text,
    ngx_lockbox_jws_t *jws);
static ngx_lockbox_decision_t ngx_lockbox_token_header(ngx_pool_t *pool,
    ngx_lockbox_jws_t *jws);
static json_t *ngx_lockbox_token_payload(ngx_pool_t *pool,
    ngx_lockbox_jws_t *jws);
static ngx_lockbox_decision_t ngx_lockbox_token_type(
    const ngx_lockbox_token_rule_t *rule, const ngx_lockbox_jws_t *jws,
    ngx_lockbox_token_t *token);
static ngx_lockbox_decision_t ngx_lockbox_token_signature(ngx_pool_t *pool,
    const ngx_lockbox_token_rule_t *rule, const ngx_lockbox_jws_t *jws,
    ngx_lockbox_token_t *token);
static ngx_lockbox_decision_t ngx_lockbox_token_claims(
    const ngx_lockbox_token_rule_t *rule, time_t now,
    ngx_lockbox_token_t *token);
static ngx_lockbox_decision_t ngx_lockbox_token_audience(
    const ngx_lockbox_token_rule_t *rule, const json_t *claims);
static ngx_int_t ngx_lockbox_token_time(const json_t *claims,
    const char *name, int64_t *value);
static ngx_int_t ngx_lockbox_token_encode(ngx_pool_t *pool,
    const json_t *value, ngx_str_t *encoded);


/*
 * Members that change what the rest means, or that bring a key along (RFC 7515
 * section 4.1, RFC 7516, RFC 7797): a token that has one is not understood.
 */
static const char *const  ngx_lockbox_token_foreign[] = {
    "crit", "b64", "zip", "enc", "cty", "jku", "x5u", "x5c", "jwk", NULL
};


ngx_lockbox_decision_t
ngx_lockbox_token_open(ngx_pool_t *pool,
    const ngx_lockbox_token_rule_t *rules, ngx_uint_t nrules,
    const ngx_str_t *text, time_t now, ngx_lockbox_token_t *token)
{
    ngx_memzero(token, sizeof(ngx_lockbox_token_t));

    token->decision = ngx_lockbox_token_admit(pool, rules, nrules, text, now,
                                              token);
    if (!token->genuine) {
        token->claims = NULL;
    }

    return token->decision;
}


static ngx_lockbox_decision_t
ngx_lockbox_token_admit(ngx_pool_t *pool,
    const ngx_lockbox_token_rule_t *rules, ngx_uint_t nrules,
    const ngx_str_t *text, time_t now, ngx_lockbox_token_t *token)
{
    ngx_uint_t              i;
    ngx_lockbox_jws_t       jws;
    ngx_lockbox_decision_t  decision;

    ngx_memzero(&jws, sizeof(ngx_lockbox_jws_t));

    if (nrules == 0 || ngx_lockbox_token_split(text, &jws) != NGX_OK) {
        return NGX_LOCKBOX_MALFORMED_TOKEN;
    }

    decision = ngx_lockbox_token_header(pool, &jws);
    if (decision != NGX_LOCKBOX_ALLOW) {
        return decision;
    }

    decision = ngx_lockbox_token_type(&rules[0], &jws, token);
    if (decision != NGX_LOCKBOX_ALLOW) {
        return decision;
    }

    token->claims = ngx_lockbox_token_payload(pool, &jws);
    if (token->claims == NULL) {
        return NGX_LOCKBOX_MALFORMED_TOKEN;
    }

    for (i = 0; i < nrules; i++) {
        if (ngx_lockbox_text_same(&rules[i].issuer, &jws.iss)) {
            break;
        }
    }

    if (i == nrules) {
        return NGX_LOCKBOX_WRONG_ISSUER;
    }

    token->rule = i;

    decision = ngx_lockbox_token_signature(pool, &rules[i], &jws, token);
    if (decision != NGX_LOCKBOX_ALLOW) {
        return decision;
    }

    token->genuine = 1;

    return ngx_lockbox_token_claims(&rules[i], now, token);
}


static ngx_int_t
ngx_lockbox_token_split(const ngx_str_t *text, ngx_lockbox_jws_t *jws)
{
    u_char  *first, *second, *end;

    if (text->len == 0 || text->len > NGX_LOCKBOX_TOKEN_MAX) {
        return NGX_DECLINED;
    }

    end = text->data + text->len;

    first = ngx_strlchr(text->data, end, '.');
    if (first == NULL) {
        return NGX_DECLINED;
    }

    second = ngx_strlchr(first + 1, end, '.');
    if (second == NULL) {
        return NGX_DECLINED;
    }

    jws->header.data = text->data;
    jws->header.len = (size_t) (first - text->data);

    jws->payload.data = first + 1;
    jws->payload.len = (size_t) (second - first - 1);

    jws->signature.data = second + 1;
    jws->signature.len = (size_t) (end - second - 1);

    jws->signed_text.data = text->data;
    jws->signed_text.len = (size_t) (second - text->data);

    if (jws->header.len == 0
        || jws->header.len > NGX_LOCKBOX_TOKEN_HEADER_MAX
        || jws->payload.len == 0
        || jws->signature.len == 0)
    {
        return NGX_DECLINED;
    }

    return NGX_OK;
}


static ngx_lockbox_decision_t
ngx_lockbox_token_header(ngx_pool_t *pool, ngx_lockbox_jws_t *jws)
{
    json_t             *header;
    ngx_str_t           text;
    const char *const  *name;

    switch (ngx_lockbox_base64url_decode(pool, &jws->header, &text)) {
    case NGX_OK:
        break;
    case NGX_ERROR:
        return NGX_LOCKBOX_INTERNAL_ERROR;
    default:
        return NGX_LOCKBOX_MALFORMED_TOKEN;
    }

    header = ngx_lockbox_json_parse(pool, text.data, text.len);
    if (header == NULL) {
        return NGX_LOCKBOX_MALFORMED_TOKEN;
    }

    for (name = ngx_lockbox_token_foreign; *name != NULL; name++) {
        if (json_object_get(header, *name) != NULL) {
            return NGX_LOCKBOX_MALFORMED_TOKEN;
        }
    }

    if (ngx_lockbox_json_string(header, "alg", &jws->alg) != NGX_OK
        || ngx_lockbox_json_string(header, "kid", &jws->kid) == NGX_ERROR
        || ngx_lockbox_json_string(header, "typ", &jws->typ) == NGX_ERROR)
    {
        return NGX_LOCKBOX_MALFORMED_TOKEN;
    }

    return NGX_LOCKBOX_ALLOW;
}


static json_t *
ngx_lockbox_token_payload(ngx_pool_t *pool, ngx_lockbox_jws_t *jws)
{
    json_t     *claims;
    ngx_str_t   text;

    if (ngx_lockbox_base64url_decode(pool, &jws->payload, &text) != NGX_OK) {
        return NULL;
    }

    claims = ngx_lockbox_json_parse(pool, text.data, text.len);

    if (claims == NULL
        || ngx_lockbox_json_string(claims, "iss", &jws->iss) != NGX_OK)
    {
        return NULL;
    }

    return claims;
}


static ngx_lockbox_decision_t
ngx_lockbox_token_type(const ngx_lockbox_token_rule_t *rule,
    const ngx_lockbox_jws_t *jws, ngx_lockbox_token_t *token)
{
    if (rule->typ != NULL) {
        return ngx_lockbox_text_is(&jws->typ, rule->typ)
               ? NGX_LOCKBOX_ALLOW : NGX_LOCKBOX_WRONG_TYPE;
    }

    if (jws->typ.len == 0
        || (jws->typ.len == 3
            && ngx_strncasecmp(jws->typ.data, (u_char *) "JWT", 3) == 0))
    {
        return NGX_LOCKBOX_ALLOW;
    }

    if (jws->typ.len == 6
        && ngx_strncasecmp(jws->typ.data, (u_char *) "at+jwt", 6) == 0)
    {
        token->at_jwt = 1;
        return NGX_LOCKBOX_ALLOW;
    }

    return NGX_LOCKBOX_WRONG_TYPE;
}


static ngx_lockbox_decision_t
ngx_lockbox_token_signature(ngx_pool_t *pool,
    const ngx_lockbox_token_rule_t *rule, const ngx_lockbox_jws_t *jws,
    ngx_lockbox_token_t *token)
{
    ngx_str_t  signature;

    if (rule->typ != NULL && jws->kid.len == 0) {
        return NGX_LOCKBOX_UNKNOWN_KEY;
    }

    token->key = ngx_lockbox_jwks_find(rule->keys, &jws->kid);
    if (token->key == NULL) {
        return NGX_LOCKBOX_UNKNOWN_KEY;
    }

    /* RFC 8725 section 3.1: the key says the algorithm, the token repeats it */

    if (!ngx_lockbox_text_same(&token->key->alg->name, &jws->alg)) {
        return NGX_LOCKBOX_BAD_SIGNATURE;
    }

    switch (ngx_lockbox_base64url_decode(pool, &jws->signature, &signature)) {
    case NGX_OK:
        break;
    case NGX_ERROR:
        return NGX_LOCKBOX_INTERNAL_ERROR;
    default:
        return NGX_LOCKBOX_MALFORMED_TOKEN;
    }

    return ngx_lockbox_jwks_verify(token->key, &jws->signed_text, &signature)
           ? NGX_LOCKBOX_ALLOW : NGX_LOCKBOX_BAD_SIGNATURE;
}


/*
 * All times lie between 0 and 2^53 and the leeway within a minute, so that no
 * sum or difference here can overflow 64 bits.
 */

static ngx_lockbox_decision_t
ngx_lockbox_token_claims(const ngx_lockbox_token_rule_t *rule, time_t now,
    ngx_lockbox_token_t *token)
{
    int64_t                 exp, iat, nbf;
    ngx_str_t               sub;
    ngx_lockbox_decision_t  decision;

    nbf = 0;

    if (ngx_lockbox_token_time(token->claims, "exp", &exp) != NGX_OK
        || ngx_lockbox_token_time(token->claims, "iat", &iat) != NGX_OK
        || ngx_lockbox_token_time(token->claims, "nbf", &nbf) == NGX_ERROR
        || ngx_lockbox_json_string(token->claims, "sub", &sub) != NGX_OK
        || !ngx_lockbox_token_text_valid(&sub))
    {
        return NGX_LOCKBOX_MALFORMED_TOKEN;
    }

    token->issued = (time_t) iat;
    token->expires = (time_t) exp;

    decision = ngx_lockbox_token_audience(rule, token->claims);
    if (decision != NGX_LOCKBOX_ALLOW) {
        return decision;
    }

    if (exp - iat > (int64_t) rule->max_life) {
        return NGX_LOCKBOX_TOO_LONG_LIVED;
    }

    if (nbf > (int64_t) now + rule->leeway
        || iat > (int64_t) now + rule->leeway)
    {
        return NGX_LOCKBOX_NOT_YET_VALID;
    }

    if (exp <= (int64_t) now) {
        return NGX_LOCKBOX_EXPIRED;
    }

    return NGX_LOCKBOX_ALLOW;
}


static ngx_lockbox_decision_t
ngx_lockbox_token_audience(const ngx_lockbox_token_rule_t *rule,
    const json_t *claims)
{
    size_t         i;
    ngx_str_t      text;
    ngx_uint_t     found;
    const json_t  *aud, *value;

    aud = json_object_get(claims, "aud");

    if (json_is_string(aud)) {
        text.data = (u_char *) json_string_value(aud);
        text.len = json_string_length(aud);

        return ngx_lockbox_text_same(&rule->audience, &text)
               ? NGX_LOCKBOX_ALLOW : NGX_LOCKBOX_WRONG_AUDIENCE;
    }

    if (rule->typ != NULL || !json_is_array(aud)) {
        return NGX_LOCKBOX_MALFORMED_TOKEN;
    }

    found = 0;

    for (i = 0; i < json_array_size(aud); i++) {
        value = json_array_get(aud, i);

        if (!json_is_string(value)) {
            return NGX_LOCKBOX_MALFORMED_TOKEN;
        }

        text.data = (u_char *) json_string_value(value);
        text.len = json_string_length(value);

        found |= ngx_lockbox_text_same(&rule->audience, &text);
    }

    return found ? NGX_LOCKBOX_ALLOW : NGX_LOCKBOX_WRONG_AUDIENCE;
}


static ngx_int_t
ngx_lockbox_token_time(const json_t *claims, const char *name,
    int64_t *value)
{
    ngx_int_t  rc;

    rc = ngx_lockbox_json_integer(claims, name, value);

    if (rc == NGX_OK && (*value < 0 || *value > NGX_LOCKBOX_TIME_MAX)) {
        return NGX_ERROR;
    }

    return rc;
}


ngx_uint_t
ngx_lockbox_token_text_valid(const ngx_str_t *text)
{
    size_t  i;

    if (text->len == 0 || text->len > NGX_LOCKBOX_TEXT_MAX) {
        return 0;
    }

    for (i = 0; i < text->len; i++) {
        if (text->data[i] < 0x20 || text->data[i] == 0x7f) {
            return 0;
        }
    }

    return 1;
}


ngx_int_t
ngx_lockbox_token_sign(ngx_pool_t *pool, const ngx_lockbox_key_t *key,
    const char *typ, const json_t *claims, ngx_str_t *text)
{
    u_char     *p;
    json_t     *header;
    ngx_str_t   head, body, input, signature, encoded;

    header = ngx_lockbox_json_own(pool, json_object());

    if (ngx_lockbox_json_set(header, "typ", json_string(typ)) != NGX_OK
        || ngx_lockbox_json_set(header, "alg",
                                ngx_lockbox_json_text(&key->alg->name))
           != NGX_OK
        || ngx_lockbox_json_set(header, "kid",
                                ngx_lockbox_json_text(&key->kid)) != NGX_OK
        || ngx_lockbox_token_encode(pool, header, &head) != NGX_OK
        || ngx_lockbox_token_encode(pool, claims, &body) != NGX_OK)
    {
        return NGX_ERROR;
    }

    input.len = head.len + 1 + body.len;
    input.data = ngx_pnalloc(pool, input.len);
    if (input.data == NULL) {
        return NGX_ERROR;
    }

    p = ngx_cpymem(input.data, head.data, head.len);
    *p++ = '.';
    ngx_memcpy(p, body.data, body.len);

    /*
     * OpenSSL 3.0 without memory to renew the blinding of an RSA key says that
     * all is well, and makes wrong signatures from then on until the next time.
     */

    if (ngx_lockbox_jwks_sign(pool, key, &input, &signature) != NGX_OK
        || !ngx_lockbox_jwks_verify(key, &input, &signature))
    {
        return NGX_ERROR;
    }

    text->data = ngx_pnalloc(pool, input.len + 1
                             + ngx_lockbox_base64url_len(signature.len));
    if (text->data == NULL) {
        return NGX_ERROR;
    }

    p = ngx_cpymem(text->data, input.data, input.len);
    *p++ = '.';

    encoded.data = p;
    ngx_lockbox_base64url_encode(&encoded, signature.data, signature.len);

    text->len = input.len + 1 + encoded.len;

    return NGX_OK;
}


static ngx_int_t
ngx_lockbox_token_encode(ngx_pool_t *pool, const json_t *value,
    ngx_str_t *encoded)
{
    ngx_str_t  text;

    if (ngx_lockbox_json_dump(pool, value, &text) != NGX_OK) {
        return NGX_ERROR;
    }

    encoded->data = ngx_pnalloc(pool, ngx_lockbox_base64url_len(text.len));
    if (encoded->data == NULL) {
        return NGX_ERROR;
    }

    ngx_lockbox_base64url_encode(encoded, text.data, text.len);

    return NGX_OK;
}
