/*
 * Keys, rules and tokens for the targets behind the strict door, and a second
 * opinion on what it has to let in.  Mutated headers and payloads are signed
 * again, or nothing behind the signature would ever be reached.
 */

#ifndef _DOOR_H_INCLUDED_
#define _DOOR_H_INCLUDED_


#include "ngx_lockbox_token.h"
#include "jose.h"
#include "json.h"
#include "keys.h"


#define DOOR_NOW      1700000000
#define DOOR_SIGNERS  4
#define DOOR_FOREIGN  3             /* the signer that nobody knows */
#define DOOR_TEXT     16384         /* more than any token may have */


static ngx_lockbox_key_t   door_signers[DOOR_SIGNERS];

static ngx_lockbox_jwks_t  door_pair;       /* the first two */
static ngx_lockbox_jwks_t  door_single;     /* the third */


static void
door_keys(ngx_pool_t *pool)
{
    size_t                    i;
    ngx_str_t                 pem;
    const char               *err;
    ngx_lockbox_key_t        *key;
    ngx_lockbox_jwks_t        all;
    static const char *const  kids[] = { "ec", "rsa", "single", "foreign" };

    json_object_seed(1);

    jose_set(pool, &all);
    jose_set(pool, &door_pair);
    jose_set(pool, &door_single);

    for (i = 0; i < DOOR_SIGNERS; i++) {
        pem = ngx_shim_str(keys_pem[i]);
        fuzz_check(ngx_lockbox_jwks_pem(pool, &pem, 1, &all, &err) == NGX_OK);

        key = all.elts;
        key[i].kid = ngx_shim_str(kids[i]);
        door_signers[i] = key[i];

        if (i != DOOR_FOREIGN) {
            key = ngx_array_push(i < 2 ? &door_pair : &door_single);
            *key = door_signers[i];
        }
    }
}


static ngx_str_t
door_base64url(ngx_pool_t *pool, const u_char *data, size_t len)
{
    size_t     i;
    ngx_str_t  text;

    /* OpenSSL's, so that ours is not compared with itself */

    text.data = ngx_pnalloc(pool, (len + 2) / 3 * 4 + 1);
    fuzz_check(text.data != NULL);

    (void) EVP_EncodeBlock(text.data, data, (int) len);
    text.len = (len * 4 + 2) / 3;

    for (i = 0; i < text.len; i++) {
        if (text.data[i] == '+') {
            text.data[i] = '-';

        } else if (text.data[i] == '/') {
            text.data[i] = '_';
        }
    }

    return text;
}


/*
 * The text with "$PREV" replaced by "prev" and "$<number>" by so many bytes,
 * so that a small input can be a chain, or as long as is allowed and longer.
 */

static ngx_str_t
door_expand(ngx_pool_t *pool, ngx_str_t text, const ngx_str_t *prev)
{
    size_t     n;
    ngx_str_t  out;

    out.data = ngx_pnalloc(pool, DOOR_TEXT);
    out.len = 0;
    fuzz_check(out.data != NULL);

    while (text.len && out.len < DOOR_TEXT) {

        if (*text.data == '$' && prev && text.len >= 5
            && ngx_memcmp(text.data, "$PREV", 5) == 0)
        {
            n = ngx_min(prev->len, DOOR_TEXT - out.len);

            if (n) {
                ngx_memcpy(out.data + out.len, prev->data, n);
            }

            out.len += n;
            text.data += 5;
            text.len -= 5;
            continue;
        }

        if (*text.data == '$') {
            text.data++;
            text.len--;

            n = fuzz_number(&text);
            n = ngx_min(n, DOOR_TEXT - out.len);
            ngx_memset(out.data + out.len, 'x', n);
            out.len += n;
            continue;
        }

        out.data[out.len++] = *text.data++;
        text.len--;
    }

    return fuzz_copy(pool, out.data, out.len);
}


/* The compact JWS of these texts, exactly as long as its memory. */

static ngx_str_t
door_sign(ngx_pool_t *pool, const ngx_lockbox_key_t *signer,
    const ngx_str_t *header, const ngx_str_t *payload)
{
    ngx_str_t  head, body, input, raw, signature, text, dot;

    dot = ngx_shim_str(".");
    head = door_base64url(pool, header->data, header->len);
    body = door_base64url(pool, payload->data, payload->len);
    input = jose_join(pool, &head, &dot, &body, NULL);

    fuzz_check(ngx_lockbox_jwks_sign(pool, signer, &input, &raw) == NGX_OK);

    signature = door_base64url(pool, raw.data, raw.len);
    text = jose_join(pool, &input, &dot, &signature, NULL);

    return fuzz_copy(pool, text.data, text.len);
}


/* 1 if the member is an integer that a time may be. */

static ngx_uint_t
door_has_time(const json_t *claims, const char *name)
{
    json_t  *member;

    member = json_object_get(claims, name);

    return json_is_integer(member)
           && json_integer_value(member) >= 0
           && json_integer_value(member) <= (json_int_t) 1 << 53;
}


static json_int_t
door_time(const json_t *claims, const char *name)
{
    return json_integer_value(json_object_get(claims, name));
}


static ngx_uint_t
door_header_good(const ngx_lockbox_token_rule_t *rule, const json_t *header)
{
    size_t                    i;
    json_t                   *typ;
    static const char *const  foreign[] = {
        "crit", "b64", "zip", "enc", "cty", "jku", "x5u", "x5c", "jwk"
    };

    for (i = 0; i < sizeof(foreign) / sizeof(foreign[0]); i++) {
        if (json_object_get(header, foreign[i])) {
            return 0;
        }
    }

    typ = json_object_get(header, "typ");

    if (!json_has_text(header, "alg")
        || (json_object_get(header, "kid") && !json_has_text(header, "kid"))
        || (typ && !json_has_text(header, "typ")))
    {
        return 0;
    }

    if (rule->typ) {
        return json_is_text(header, "typ", rule->typ);
    }

    return typ == NULL
           || strcasecmp(json_string_value(typ), "JWT") == 0
           || strcasecmp(json_string_value(typ), "at+jwt") == 0;
}


/* 1 if the rule's key that the header names is this signer. */

static ngx_uint_t
door_key_good(const ngx_lockbox_token_rule_t *rule, const json_t *header,
    const ngx_lockbox_key_t *signer)
{
    size_t                    i;
    ngx_str_t                 kid;
    const ngx_lockbox_key_t  *key, *named;

    key = rule->keys->elts;
    kid = json_text_of(header, "kid");
    named = NULL;

    if (kid.len == 0 && rule->typ == NULL && rule->keys->nelts == 1) {
        named = key;
    }

    for (i = 0; i < rule->keys->nelts; i++) {
        if (kid.len && fuzz_same(&key[i].kid, &kid)) {
            named = &key[i];
        }
    }

    return named && named->pkey == signer->pkey
           && json_is_text(header, "alg",
                           named->alg->type == EVP_PKEY_RSA ? "RS256"
                                                            : "ES256");
}


static ngx_uint_t
door_audience_good(const ngx_lockbox_token_rule_t *rule, const json_t *claims)
{
    size_t      i;
    ngx_str_t   text;
    json_t     *aud, *value;
    ngx_uint_t  found;

    aud = json_object_get(claims, "aud");

    if (json_is_string(aud)) {
        text = json_text_of(claims, "aud");
        return fuzz_same(&text, &rule->audience);
    }

    if (rule->typ || !json_is_array(aud)) {
        return 0;
    }

    found = 0;

    json_array_foreach(aud, i, value) {

        if (!json_is_string(value)) {
            return 0;
        }

        text.data = (u_char *) json_string_value(value);
        text.len = json_string_length(value);
        found |= fuzz_same(&text, &rule->audience);
    }

    return found;
}


static ngx_uint_t
door_claims_good(const ngx_lockbox_token_rule_t *rule, const json_t *claims)
{
    size_t      i;
    ngx_str_t   sub;
    json_int_t  exp, iat;

    sub = json_text_of(claims, "sub");

    for (i = 0; i < sub.len; i++) {
        if (sub.data[i] < ' ' || sub.data[i] == 0x7f) {
            return 0;
        }
    }

    if (sub.len == 0 || sub.len > 255
        || !door_has_time(claims, "exp") || !door_has_time(claims, "iat")
        || (json_object_get(claims, "nbf") && !door_has_time(claims, "nbf")))
    {
        return 0;
    }

    exp = door_time(claims, "exp");
    iat = door_time(claims, "iat");

    return door_audience_good(rule, claims)
           && exp > DOOR_NOW
           && exp - iat <= rule->max_life
           && iat - rule->leeway <= DOOR_NOW
           && door_time(claims, "nbf") - rule->leeway <= DOOR_NOW;
}


/*
 * The second opinion: the claims if a token of these texts, signed by this
 * signer, is to be let in, else NULL.
 */

static json_t *
door_agreed(ngx_pool_t *pool, const ngx_lockbox_token_rule_t *rules,
    ngx_uint_t nrules, const ngx_lockbox_key_t *signer,
    const ngx_str_t *header_text, const ngx_str_t *payload_text,
    const ngx_str_t *token)
{
    size_t      i;
    json_t     *header, *claims;
    ngx_str_t   iss;

    header = json_agreed(pool, header_text);
    claims = json_agreed(pool, payload_text);

    if (header == NULL || claims == NULL || token->len > 8192
        || (header_text->len * 4 + 2) / 3 > 1024)
    {
        return NULL;
    }

    iss = json_text_of(claims, "iss");

    for (i = 0; i < nrules; i++) {
        if (iss.len && fuzz_same(&rules[i].issuer, &iss)) {
            return door_header_good(&rules[i], header)
                   && door_key_good(&rules[i], header, signer)
                   && door_claims_good(&rules[i], claims) ? claims : NULL;
        }
    }

    return NULL;
}


#endif /* _DOOR_H_INCLUDED_ */
