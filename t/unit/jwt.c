/*
 * Why: a second opinion that always agrees is none; and libjwt left alone lets
 * the token say how it is to be checked.
 */

/* links: ngx_lockbox_jwt.c ngx_lockbox_jwks.c ngx_lockbox_json.c */
/* links: ngx_lockbox_base64url.c */

#include <ngx_config.h>
#include <ngx_core.h>

#include <openssl/err.h>
#include <openssl/hmac.h>

#include "ngx_lockbox_jwt.h"
#include "jose.h"
#include "oom.h"
#include "ngx_shim.h"
#include "tap.h"


#define CLAIMS  "{\"iss\":\"https://a\",\"sub\":\"b\",\"exp\":4102444800}"


typedef struct {
    const char    *type;
    unsigned int   bits;
    const char    *alg;
} alg_t;


static const alg_t  algs[] = {
    { "RSA", 2048, "RS256" },
    { "P-256", 0, "ES256" },
    { "P-384", 0, "ES384" },
    { "P-521", 0, "ES512" }
};


#define ALGS  (sizeof(algs) / sizeof(algs[0]))


static ngx_lockbox_key_t *
new_key(ngx_pool_t *pool, const alg_t *alg)
{
    EVP_PKEY            *pkey;
    ngx_lockbox_key_t   *key;
    ngx_lockbox_jwks_t   keys;

    pkey = jose_pkey(alg->type, alg->bits);
    jose_set(pool, &keys);
    key = jose_add(pool, &keys, pkey);
    EVP_PKEY_free(pkey);

    return key;
}


static void
test_algorithms(ngx_pool_t *pool)
{
    char                header[64];
    size_t              i;
    ngx_str_t           text;
    ngx_lockbox_key_t  *key, *other;

    for (i = 0; i < ALGS; i++) {
        key = new_key(pool, &algs[i]);
        other = new_key(pool, &algs[i]);

        (void) snprintf(header, sizeof(header),
                        "{\"alg\":\"%s\",\"typ\":\"JWT\"}", algs[i].alg);
        text = jose_sign(pool, key, header, CLAIMS);

        is(ngx_lockbox_jwt_verify(pool, key, &text), 1, "%s", algs[i].alg);
        is(ngx_lockbox_jwt_verify(pool, other, &text), 0, "%s: another key",
           algs[i].alg);

        jose_spoil(&text);
        is(ngx_lockbox_jwt_verify(pool, key, &text), 0,
           "%s: another signature", algs[i].alg);
        is(ERR_peek_error(), 0, "%s: OpenSSL's complaints are gone",
           algs[i].alg);
    }
}


/* The public key is no secret; and "none" is signed by nobody. */

static void
test_confusion(ngx_pool_t *pool)
{
    size_t              i;
    u_char              mac[EVP_MAX_MD_SIZE];
    ngx_str_t           head, body, dot, input, signature, text;
    unsigned int        len;
    ngx_lockbox_key_t  *key;

    static const char  hs256[] = "{\"alg\":\"HS256\",\"typ\":\"JWT\"}";
    static const char  none[] = "{\"alg\":\"none\",\"typ\":\"JWT\"}";

    dot = ngx_shim_str(".");
    body = jose_encode(pool, CLAIMS, sizeof(CLAIMS) - 1);

    for (i = 0; i < ALGS; i++) {
        key = new_key(pool, &algs[i]);

        head = jose_encode(pool, hs256, sizeof(hs256) - 1);
        input = jose_join(pool, &head, &dot, &body, NULL);
        (void) HMAC(EVP_sha256(), key->pem.data, (int) key->pem.len,
                    input.data, input.len, mac, &len);
        signature = jose_encode(pool, mac, len);
        text = jose_join(pool, &input, &dot, &signature, NULL);

        is(ngx_lockbox_jwt_verify(pool, key, &text), 0,
           "%s: HS256 with the public key as the secret", algs[i].alg);

        head = jose_encode(pool, none, sizeof(none) - 1);
        text = jose_join(pool, &head, &dot, &body, &dot, NULL);
        is(ngx_lockbox_jwt_verify(pool, key, &text), 0, "%s: none",
           algs[i].alg);
    }
}


/* RS384 by a key that is for RS256 */

static void
test_other_hash(ngx_pool_t *pool)
{
    ngx_str_t           text;
    const char         *err;
    ngx_lockbox_key_t  *key, *longer;
    ngx_lockbox_jwks_t  set;

    static const char  jwk[] =
        "{\"keys\":[{\"kty\":\"RSA\",\"alg\":\"RS384\",\"e\":\"AQAB\",\"n\":\""
        "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1R"
        "K7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9"
        "yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZg"
        "nYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6We"
        "Zu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDK"
        "gw\"}]}";

    text = ngx_shim_str(jwk);
    jose_set(pool, &set);
    (void) ngx_lockbox_jwks_parse(pool, &text, &set, &err);

    key = new_key(pool, &algs[0]);
    longer = new_key(pool, &algs[0]);
    *longer = *key;
    longer->alg = ((ngx_lockbox_key_t *) set.elts)->alg;

    text = jose_sign(pool, longer, "{\"alg\":\"RS384\",\"typ\":\"JWT\"}",
                     CLAIMS);

    is(ngx_lockbox_jwt_verify(pool, longer, &text), 1, "RS384 by its key");
    is(ngx_lockbox_jwt_verify(pool, key, &text), 0, "by one for RS256");
}


/*
 * libjwt forgets a signature that it has no memory to go on with.  There is
 * nothing of OpenSSL that is ours here.
 */

const char  *__lsan_default_suppressions(void);
const char  *__lsan_default_options(void);


const char *
__lsan_default_suppressions(void)
{
    return "leak:CRYPTO_zalloc";
}


const char *
__lsan_default_options(void)
{
    return "print_suppressions=0";
}


typedef struct {
    ngx_lockbox_key_t  *key;
    ngx_str_t           text;
} verify_t;


static ngx_int_t
verify(ngx_pool_t *pool, const void *data)
{
    const verify_t  *v = data;

    return ngx_lockbox_jwt_verify(pool, v->key, &v->text) ? NGX_OK : NGX_ERROR;
}


static ngx_int_t
forged(ngx_pool_t *pool, const void *data)
{
    return verify(pool, data) == NGX_OK ? NGX_DECLINED : NGX_OK;
}


int
main(void)
{
    verify_t     v;
    ngx_pool_t  *pool;

    pool = ngx_create_pool(0, NULL);

    test_algorithms(pool);
    test_confusion(pool);
    test_other_hash(pool);

    v.key = new_key(pool, &algs[1]);
    v.text = jose_sign(pool, v.key, "{\"alg\":\"ES256\"}", CLAIMS);
    ok(ngx_shim_walk(verify, &v) > 5, "without memory nothing is verified");
    ok(oom_walk(verify, &v, 23) > 1000, "and libjwt and OpenSSL without");

    jose_spoil(&v.text);
    ok(oom_walk(forged, &v, 23) > 1000, "a forgery is refused all the same");

    is(ERR_peek_error(), 0, "OpenSSL has nothing left to complain of");

    ngx_destroy_pool(pool);

    is(ngx_shim_live(), 0, "nothing is left behind");

    return tap_done();
}
