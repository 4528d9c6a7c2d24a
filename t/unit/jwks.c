/*
 * Why: whoever gets a key of his own kind accepted, or a signature taken for
 * another's, is everybody.
 */

/* links: ngx_lockbox_jwks.c ngx_lockbox_json.c ngx_lockbox_base64url.c */

#include <ngx_config.h>
#include <ngx_core.h>

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/param_build.h>

#include <dlfcn.h>

#include "ngx_lockbox_json.h"
#include "ngx_lockbox_jwks.h"
#include "jose.h"
#include "oom.h"
#include "ngx_shim.h"
#include "tap.h"


/* RFC 7638 section 3.1 */
#define N                                                                    \
    "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7" \
    "aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXA" \
    "rwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7" \
    "d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lF" \
    "d2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"
#define N_THUMBPRINT  "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"

/* RFC 7515 appendix A.3 */
#define X      "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU"
#define Y      "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"
#define XY_THUMBPRINT  "oKIywvGUpTVTyxMQ3bwIIeQUudfr_CkLMjCE19ECD-U"
#define XY_INPUT                                                             \
    "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQog"  \
    "Imh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
#define XY_SIGNATURE                                                         \
    "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfK"\
    "TUJqPP3-Kg6NU1Q"

#define RSA_KEY  "\"kty\":\"RSA\",\"n\":\"" N "\",\"e\":\"AQAB\""
#define EC_KEY   "\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"" X               \
                 "\",\"y\":\"" Y "\""

#define set(keys)  "{\"keys\":[" keys "]}"


/* A key of that type; RSA keys take long to make, so one must do for all. */

static EVP_PKEY *
some_pkey(const char *type, unsigned int bits)
{
    static EVP_PKEY  *rsa;

    if (bits != 2048) {
        return jose_pkey(type, bits);
    }

    if (rsa == NULL) {
        rsa = jose_pkey(type, bits);
    }

    (void) EVP_PKEY_up_ref(rsa);

    return rsa;
}


static ngx_int_t
parse(ngx_pool_t *pool, const char *text, ngx_lockbox_jwks_t *keys,
    const char **err)
{
    ngx_str_t  str;

    str = ngx_shim_str(text);
    *err = "";
    jose_set(pool, keys);

    return ngx_lockbox_jwks_parse(pool, &str, keys, err);
}


typedef struct {
    const char  *text;
    ngx_uint_t   count;
    const char  *alg;       /* of the first key */
    const char  *what;
} good_t;


static const good_t  good[] = {
    { set("{" RSA_KEY "}"), 1, "RS256", "RSA" },
    { set("{" EC_KEY "}"), 1, "ES256", "EC" },
    { set("{" RSA_KEY ",\"alg\":\"RS256\"}"), 1, "RS256", "RS256" },
    { set("{" RSA_KEY ",\"alg\":\"RS384\"}"), 1, "RS384", "RS384" },
    { set("{" RSA_KEY ",\"alg\":\"RS512\"}"), 1, "RS512", "RS512" },
    { set("{" EC_KEY ",\"alg\":\"ES256\"}"), 1, "ES256", "ES256" },
    { set("{" EC_KEY ",\"use\":\"sig\"}"), 1, "ES256", "use sig" },
    { set("{" EC_KEY ",\"key_ops\":[\"verify\"]}"), 1, "ES256", "verify" },
    { set("{" EC_KEY ",\"key_ops\":[\"x\",\"verify\"]}"), 1, "ES256",
      "verify among others" },
    { set("{" EC_KEY ",\"x5t\":\"abc\",\"ext\":true}"), 1, "ES256",
      "members that do not matter" },
    { set("{" EC_KEY ",\"kid\":\"a\"},{" RSA_KEY ",\"kid\":\"b\"}"), 2,
      "ES256", "two keys" },
    { set("{" EC_KEY ",\"kid\":\"a\"},{" RSA_KEY ",\"kid\":\"A\"}"), 2,
      "ES256", "kids that differ in case" },
    { set("{" EC_KEY ",\"use\":\"enc\"},{" RSA_KEY "}"), 1, "RS256",
      "a key for encryption is left out" },
    { set("{" EC_KEY ",\"key_ops\":[\"wrapKey\"]},{" RSA_KEY "}"), 1, "RS256",
      "a key for other operations is left out" },
    { set("{\"kty\":\"OKP\",\"use\":\"enc\"},{" RSA_KEY "}"), 1, "RS256",
      "even if its kind is unknown" },
    { "{\"x\":1,\"keys\":[{" EC_KEY "}]}", 1, "ES256", "members beside keys" }
};


static void
test_good(ngx_pool_t *pool)
{
    size_t               i;
    const char          *err;
    ngx_lockbox_key_t   *key;
    ngx_lockbox_jwks_t   keys;

    for (i = 0; i < sizeof(good) / sizeof(good_t); i++) {
        is(parse(pool, good[i].text, &keys, &err), NGX_OK, "%s",
           good[i].what);

        if (is(keys.nelts, good[i].count, "%s: keys", good[i].what)) {
            key = keys.elts;
            is_text(&key[0].alg->name, good[i].alg, "%s: algorithm",
                    good[i].what);
        }
    }
}


#define NUMBERS  "the numbers of a key are missing or no such key"
#define KIND     "the \"alg\" of a key is not one of its kind"
#define SECRET   "a key is private or symmetric"
#define NEITHER  "a key is neither RSA nor EC"
#define CURVE    "the curve of a key is none of P-256, P-384, P-521"
#define BESIDE   "something stands beside the key"
#define NO_PUBLIC   "it is no public key in PEM"
#define NO_PRIVATE  "it is no unencrypted private key in PEM"
#define NOT_KEPT "a key cannot be kept"
#define NO_KEY   "it has no key for signatures"
#define NO_KEYS  "it has no \"keys\""
#define NO_JSON  "it is not one JSON object without duplicate names"
#define NO_KID   "there are several keys, and one has no \"kid\""
#define KID      "the \"kid\" of a key is no string of 1 to 255 bytes"
#define SIZE     "an RSA key has less than 2048 or more than 8192 bits"
#define NO_MEMORY  "there is no memory"
#define EXPONENT                                                             \
    "the public exponent of an RSA key is not an odd number of 3 or more"

#define ec(crv, x, y)                                                        \
    set("{\"kty\":\"EC\",\"crv\":\"" crv "\",\"x\":\"" x "\",\"y\":\"" y     \
        "\"}")
#define rsa(e)                                                               \
    set("{\"kty\":\"RSA\",\"n\":\"" N "\",\"e\":\"" e "\"}")


typedef struct {
    const char  *text;
    const char  *err;
} bad_t;


static const bad_t  bad[] = {
    { "", NO_JSON },
    { "garbage", NO_JSON },
    { "-----BEGIN PUBLIC KEY-----\n", NO_JSON },
    { "[]", NO_JSON },
    { "{\"keys\":[],\"keys\":[{" EC_KEY "}]}", NO_JSON },
    { set("{" EC_KEY ",\"kid\":\"a\",\"kid\":\"b\"}"), NO_JSON },
    { set("{" EC_KEY "}") "x", NO_JSON },
    { "{}", NO_KEYS },
    { "{\"keys\":{}}", NO_KEYS },
    { "{" EC_KEY "}", NO_KEYS },
    { set(""), NO_KEY },
    { set("{" EC_KEY ",\"use\":\"enc\"}"), NO_KEY },
    { set("{" EC_KEY ",\"use\":1}"), NO_KEY },
    { set("{" EC_KEY ",\"key_ops\":[]}"), NO_KEY },
    { set("{" EC_KEY ",\"key_ops\":\"verify\"}"), NO_KEY },
    { set("{" EC_KEY ",\"key_ops\":[\"sign\",1]}"), NO_KEY },
    { set("1"), "a key is not an object" },
    { set("{" EC_KEY ",\"kid\":\"a\"},null"), "a key is not an object" },
    { set("{}"), "a key has no \"kty\"" },
    { set("{\"kty\":1}"), "a key has no \"kty\"" },
    { set("{\"kty\":\"\"}"), "a key has no \"kty\"" },

    /* private and shared keys, also where they would be left out */
    { set("{\"kty\":\"oct\",\"k\":\"c2VjcmV0\"}"), SECRET },
    { set("{\"kty\":\"oct\",\"k\":\"c2VjcmV0\",\"use\":\"enc\"}"), SECRET },
    { set("{" EC_KEY ",\"d\":\"AQAB\"}"), SECRET },
    { set("{" RSA_KEY ",\"d\":\"AQAB\"}"), SECRET },
    { set("{" RSA_KEY ",\"p\":\"AQAB\"}"), SECRET },
    { set("{" RSA_KEY ",\"q\":\"AQAB\"}"), SECRET },
    { set("{" RSA_KEY ",\"dp\":\"AQAB\"}"), SECRET },
    { set("{" RSA_KEY ",\"dq\":\"AQAB\"}"), SECRET },
    { set("{" RSA_KEY ",\"qi\":\"AQAB\"}"), SECRET },
    { set("{" RSA_KEY ",\"oth\":[]}"), SECRET },
    { set("{" RSA_KEY "},{" EC_KEY ",\"d\":\"AQAB\"}"), SECRET },

    /* kinds */
    { set("{\"kty\":\"oct\"}"), NEITHER },
    { set("{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"" X "\"}"), NEITHER },
    { set("{\"kty\":\"rsa\",\"n\":\"" N "\",\"e\":\"AQAB\"}"), NEITHER },
    { set("{\"kty\":\"EC2\"}"), NEITHER },
    { set("{" EC_KEY ",\"alg\":\"ES384\"}"), KIND },
    { set("{" EC_KEY ",\"alg\":\"ES512\"}"), KIND },
    { set("{" EC_KEY ",\"alg\":\"RS256\"}"), KIND },
    { set("{" EC_KEY ",\"alg\":\"es256\"}"), KIND },
    { set("{" EC_KEY ",\"alg\":\"ES2567\"}"), KIND },
    { set("{" EC_KEY ",\"alg\":\"HS256\"}"), KIND },
    { set("{" RSA_KEY ",\"alg\":\"ES256\"}"), KIND },
    { set("{" RSA_KEY ",\"alg\":\"PS256\"}"), KIND },
    { set("{" RSA_KEY ",\"alg\":\"HS256\"}"), KIND },
    { set("{" RSA_KEY ",\"alg\":\"none\"}"), KIND },
    { set("{" RSA_KEY ",\"alg\":1}"),
      "the \"alg\" of a key is not a string" },
    { set("{" RSA_KEY ",\"alg\":\"\"}"),
      "the \"alg\" of a key is not a string" },

    /* numbers */
    { set("{\"kty\":\"RSA\",\"n\":\"" N "\"}"), NUMBERS },
    { set("{\"kty\":\"RSA\",\"e\":\"AQAB\"}"), NUMBERS },
    { set("{\"kty\":\"RSA\",\"n\":1,\"e\":\"AQAB\"}"), NUMBERS },
    { set("{\"kty\":\"RSA\",\"n\":\"" N "=\",\"e\":\"AQAB\"}"), NUMBERS },
    { set("{\"kty\":\"RSA\",\"n\":\"" N "/+\",\"e\":\"AQAB\"}"), NUMBERS },
    { rsa("AQAAAAAAAAAB"), NUMBERS },
    { rsa("AA"), EXPONENT },
    { rsa("AQ"), EXPONENT },
    { rsa("Ag"), EXPONENT },
    { rsa("AQAA"), EXPONENT },
    { set("{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"" X "\"}"), NUMBERS },
    { set("{\"kty\":\"EC\",\"x\":\"" X "\",\"y\":\"" Y "\"}"), NUMBERS },
    { ec("P-256", Y, X), NUMBERS },
    { ec("P-256", X, X), NUMBERS },
    { ec("P-256", X, "AQAB"), NUMBERS },
    { ec("P-256", X Y, Y), NUMBERS },
    { ec("P-256", X X X X, Y), NUMBERS },
    { ec("P-256", X, Y Y Y Y), NUMBERS },
    { ec("P-384", X, Y), NUMBERS },
    { ec("P-25", X, Y), NUMBERS },
    { ec("p-256", X, Y), NUMBERS },
    { ec("secp256k1", X, Y), NUMBERS },
    { ec("prime256v1", X, Y), NUMBERS },

    /* kid */
    { set("{" EC_KEY ",\"kid\":1}"), KID },
    { set("{" EC_KEY ",\"kid\":\"\"}"), KID },
    { set("{" EC_KEY ",\"kid\":\"a\"},{" RSA_KEY ",\"kid\":\"a\"}"),
      "two keys have the same \"kid\"" },
    { set("{" EC_KEY "},{" RSA_KEY ",\"kid\":\"a\"}"), NO_KID },
    { set("{" EC_KEY ",\"kid\":\"a\"},{" RSA_KEY "}"), NO_KID },
    { set("{" EC_KEY "},{" RSA_KEY "}"), NO_KID }
};


static void
test_bad(ngx_pool_t *pool)
{
    size_t               i;
    ngx_str_t            got;
    const char          *err;
    ngx_lockbox_jwks_t   keys;

    for (i = 0; i < sizeof(bad) / sizeof(bad_t); i++) {
        is(parse(pool, bad[i].text, &keys, &err), NGX_ERROR, "bad set %d: %s",
           (int) i, bad[i].err);

        got = ngx_shim_str(err);
        is_text(&got, bad[i].err, "bad set %d: its reason", (int) i);
    }

    is(ERR_peek_error(), 0, "OpenSSL has nothing left to complain of");
}


/* A set with one RSA key whose modulus has so many bits, and three of them. */

static ngx_int_t
parse_rsa(ngx_pool_t *pool, size_t bits, const char **err)
{
    char                *text;
    size_t               len;
    u_char               modulus[1026];
    ngx_str_t            n;
    ngx_lockbox_jwks_t   keys;

    len = (bits + 7) / 8;
    ngx_memzero(modulus, sizeof(modulus));
    modulus[0] = (u_char) (1 << (bits - 1) % 8);
    modulus[len / 2] |= 0x10;
    modulus[len - 1] |= 1;

    n = jose_encode(pool, modulus, len);
    text = ngx_palloc(pool, n.len + 128);
    (void) sprintf(text, set("{\"kty\":\"RSA\",\"n\":\"%.*s\","
                             "\"e\":\"AQAB\"}"), (int) n.len, n.data);

    return parse(pool, text, &keys, err);
}


static void
test_sizes(ngx_pool_t *pool)
{
    char                 text[1024], kid[257];
    size_t               i;
    const char          *err;
    ngx_lockbox_jwks_t   keys;

    static const struct {
        size_t     bits;
        ngx_int_t  want;
    } sizes[] = {
        { 512, NGX_ERROR }, { 1024, NGX_ERROR }, { 2047, NGX_ERROR },
        { 2048, NGX_OK }, { 2049, NGX_OK }, { 3072, NGX_OK },
        { 8192, NGX_OK }, { 8193, NGX_ERROR }, { 8200, NGX_ERROR }
    };

    for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        is(parse_rsa(pool, sizes[i].bits, &err), sizes[i].want,
           "RSA of %d bits", (int) sizes[i].bits);
    }

    is(parse(pool, rsa("Aw"), &keys, &err), NGX_OK, "an exponent of 3");
    is(parse(pool, rsa("AQAAAAAAAAE"), &keys, &err), NGX_OK,
       "an exponent of eight bytes");

    ngx_memset(kid, 'k', sizeof(kid));
    kid[255] = '\0';
    (void) sprintf(text, set("{" EC_KEY ",\"kid\":\"%s\"}"), kid);
    is(parse(pool, text, &keys, &err), NGX_OK, "kid of 255 bytes");

    kid[255] = 'k';
    kid[256] = '\0';
    (void) sprintf(text, set("{" EC_KEY ",\"kid\":\"%s\"}"), kid);
    is(parse(pool, text, &keys, &err), NGX_ERROR, "kid of 256 bytes");
}


/* Before OpenSSL sees it: what is longer than any key may be is none. */

static void
test_long_modulus(ngx_pool_t *pool)
{
    ngx_str_t    got;
    const char  *err;

    (void) parse_rsa(pool, 8192, &err);
    got = ngx_shim_str(err);
    is_text(&got, "", "RSA of 1024 bytes: no reason");

    (void) parse_rsa(pool, 8193, &err);
    got = ngx_shim_str(err);
    is_text(&got, NUMBERS, "RSA of 1025 bytes: the reason");
}


static void
test_thumbprint(ngx_pool_t *pool)
{
    const char          *err;
    ngx_lockbox_key_t   *key;
    ngx_lockbox_jwks_t   keys;

    (void) parse(pool, set("{" RSA_KEY ",\"kid\":\"2011-04-29\"}"), &keys,
                 &err);
    key = keys.elts;
    is_text(&key->thumbprint, N_THUMBPRINT, "the thumbprint of RFC 7638");
    is_text(&key->kid, "2011-04-29", "the kid is what the JWK says");

    (void) parse(pool, set("{" EC_KEY "}"), &keys, &err);
    key = keys.elts;
    is_text(&key->thumbprint, XY_THUMBPRINT, "the thumbprint of an EC key");
    is(key->kid.len, 0, "and no kid");
    ok(ngx_strncmp(key->pem.data, "-----BEGIN PUBLIC KEY-----", 26) == 0,
       "its public half in PEM");
}


static void
test_find(ngx_pool_t *pool)
{
    size_t               i;
    ngx_str_t            kid;
    const char          *err;
    ngx_lockbox_key_t   *found;
    ngx_lockbox_jwks_t   one, two, none;

    static const struct {
        const char  *kid;
        const char  *alg;       /* of the one that is found among two */
    } rows[] = {
        { "abc", "ES256" }, { "abd", "RS256" }, { "ab", NULL },
        { "abcd", NULL }, { "ABC", NULL }, { "", NULL }
    };

    jose_set(pool, &none);
    (void) parse(pool, set("{" EC_KEY ",\"kid\":\"abc\"}"), &one, &err);
    (void) parse(pool, set("{" EC_KEY ",\"kid\":\"abc\"},"
                           "{" RSA_KEY ",\"kid\":\"abd\"}"), &two, &err);

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        kid = ngx_shim_str(rows[i].kid);
        found = ngx_lockbox_jwks_find(&two, &kid);

        if (rows[i].alg) {
            ok(found && ngx_strcmp(found->alg->name.data, rows[i].alg) == 0,
               "\"%s\" is found", rows[i].kid);
        } else {
            ok(found == NULL, "\"%s\" is not found", rows[i].kid);
        }

        ok(ngx_lockbox_jwks_find(&none, &kid) == NULL,
           "\"%s\" in an empty set", rows[i].kid);
    }

    kid = ngx_shim_str("");
    ok(ngx_lockbox_jwks_find(&one, &kid) == one.elts,
       "no kid means the only key");
    kid = ngx_shim_str("xyz");
    ok(ngx_lockbox_jwks_find(&one, &kid) == NULL,
       "but another one does not");

    kid = ngx_shim_str("abd");
    two.nelts = 1;
    ok(ngx_lockbox_jwks_find(&two, &kid) == NULL,
       "what stands behind the last key is none of the set");
}


/* PEM */

static ngx_int_t
read_pem(ngx_pool_t *pool, const ngx_str_t *pem, ngx_uint_t private,
    const char **err)
{
    ngx_int_t            rc;
    ngx_lockbox_key_t   *key;
    ngx_lockbox_jwks_t   keys;

    *err = "";
    jose_set(pool, &keys);

    rc = ngx_lockbox_jwks_pem(pool, pem, private, &keys, err);

    if (rc == NGX_OK) {
        key = keys.elts;

        if (keys.nelts != 1
            || key->kid.len != 43
            || key->kid.data != key->thumbprint.data)
        {
            return NGX_DONE;
        }
    }

    return rc;
}


/* The text is a key, or is refused for that reason. */

static void
reads(ngx_pool_t *pool, const ngx_str_t *pem, ngx_uint_t private,
    const char *want, const char *what)
{
    ngx_str_t    got;
    const char  *err;

    is(read_pem(pool, pem, private, &err), *want ? NGX_ERROR : NGX_OK,
       "%s key: %s", private ? "private" : "public", what);

    got = ngx_shim_str(err);
    is_text(&got, want, "%s: the reason", what);
}


static void
test_pem_kinds(ngx_pool_t *pool)
{
    size_t       i;
    EVP_PKEY    *pkey;
    ngx_str_t    private, public;

    static const struct {
        const char    *type;
        unsigned int   bits;
        const char    *err;         /* "": none */
    } rows[] = {
        { "RSA", 1024, SIZE },
        { "RSA", 2048, "" },
        { "P-256", 0, "" },
        { "P-384", 0, "" },
        { "P-521", 0, "" },
        { "secp256k1", 0, CURVE },
        { "P-224", 0, CURVE },
        { "ED25519", 1, NEITHER },
        { "X25519", 1, NEITHER }
    };

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        pkey = rows[i].bits == 1
               ? EVP_PKEY_Q_keygen(NULL, NULL, rows[i].type)
               : some_pkey(rows[i].type, rows[i].bits);

        private = jose_pem(pool, pkey, 1);
        public = jose_pem(pool, pkey, 0);

        reads(pool, &private, 1, rows[i].err, rows[i].type);
        reads(pool, &public, 0, rows[i].err, rows[i].type);
        reads(pool, &private, 0, NO_PUBLIC, rows[i].type);
        reads(pool, &public, 1, NO_PRIVATE, rows[i].type);

        EVP_PKEY_free(pkey);
    }
}


static ngx_str_t
encrypted(ngx_pool_t *pool, EVP_PKEY *pkey)
{
    BIO        *bio;
    char       *data;
    ngx_str_t   pem;

    bio = BIO_new(BIO_s_mem());
    (void) PEM_write_bio_PrivateKey(bio, pkey, EVP_aes_128_cbc(),
                                    (const unsigned char *) "password", 8,
                                    NULL, NULL);

    pem.len = (size_t) BIO_get_mem_data(bio, &data);
    pem.data = ngx_palloc(pool, pem.len);
    ngx_memcpy(pem.data, data, pem.len);

    BIO_free(bio);

    return pem;
}


static ngx_str_t
with_crlf(ngx_pool_t *pool, const ngx_str_t *text)
{
    size_t     i;
    u_char    *p;
    ngx_str_t  out;

    out.data = ngx_palloc(pool, text->len * 2);
    p = out.data;

    for (i = 0; i < text->len; i++) {
        if (text->data[i] == '\n') {
            *p++ = '\r';
        }

        *p++ = text->data[i];
    }

    out.len = (size_t) (p - out.data);

    return out;
}


static void
test_pem_texts(ngx_pool_t *pool)
{
    size_t       i;
    EVP_PKEY    *pkey, *other;
    ngx_str_t    a, b, c, blank, word, half, nothing, text;
    const char  *none;

    pkey = jose_pkey("P-256", 0);
    other = jose_pkey("P-256", 0);

    blank = ngx_shim_str(" \r\n\t\n");
    word = ngx_shim_str("x");
    nothing = ngx_shim_str("");

    for (i = 0; i < 2; i++) {
        a = jose_pem(pool, pkey, i);
        b = jose_pem(pool, other, i);
        c = jose_pem(pool, pkey, !i);
        none = i ? NO_PRIVATE : NO_PUBLIC;

        reads(pool, &a, i, "", "alone");

        text = jose_join(pool, &blank, &a, &blank, NULL);
        reads(pool, &text, i, "", "blanks around");

        text = with_crlf(pool, &a);
        reads(pool, &text, i, "", "CR LF");

        half = a;
        half.len /= 2;
        reads(pool, &half, i, none, "half");
        reads(pool, &nothing, i, none, "empty");
        reads(pool, &word, i, none, "garbage");

        text = jose_join(pool, &a, &word, NULL);
        reads(pool, &text, i, BESIDE, "a word behind");

        text = jose_join(pool, &a, &b, NULL);
        reads(pool, &text, i, BESIDE, "two");

        text = jose_join(pool, &a, &c, NULL);
        reads(pool, &text, i, BESIDE, "the other half behind");

        text = jose_join(pool, &c, &a, NULL);
        reads(pool, &text, i, BESIDE, "the other half in front");
    }

    text = encrypted(pool, pkey);
    reads(pool, &text, 1, NO_PRIVATE, "encrypted");

    word = ngx_shim_str("-----BEGIN EC PARAMETERS-----\n"
                        "BggqhkjOPQMBBw==\n"
                        "-----END EC PARAMETERS-----\n");
    a = jose_pem(pool, pkey, 1);
    text = jose_join(pool, &word, &a, NULL);
    reads(pool, &text, 1, "", "parameters in front");

    is(ERR_peek_error(), 0, "OpenSSL has nothing left to complain of");

    EVP_PKEY_free(pkey);
    EVP_PKEY_free(other);
}


/* What OpenSSL reads as a key, and is none. */

static void
test_pem_infinity(ngx_pool_t *pool)
{
    ngx_str_t  pem;

    /* RFC 5480 with the one byte of SEC 1 section 2.3.3 that is no point */

    pem = ngx_shim_str("-----BEGIN PUBLIC KEY-----\n"
                       "MBkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDAgAA\n"
                       "-----END PUBLIC KEY-----\n");

    reads(pool, &pem, 0, "the point of a key is not on its curve",
          "the point at infinity");

    is(ERR_peek_error(), 0, "OpenSSL has nothing left to complain of");
}


/* What may stand around a key, and what must not. */

static void
test_pem_beside(ngx_pool_t *pool)
{
    size_t       i;
    EVP_PKEY    *pkey;
    ngx_str_t    pem, part, text;

    pkey = jose_pkey("P-256", 0);

    for (i = 0; i < 2; i++) {
        pem = jose_pem(pool, pkey, i);

        text = pem;
        text.len--;
        reads(pool, &text, i, "", "no newline at its end");

        part = ngx_shim_str("!");
        text = jose_join(pool, &pem, &part, NULL);
        reads(pool, &text, i, BESIDE, "the first byte that is no blank");

        part = ngx_shim_str("KEY----\nKEY----\n");
        text = jose_join(pool, &part, &pem, NULL);
        reads(pool, &text, i, "", "lines with a dash too few in front");

        part = ngx_shim_str("KEY-----\n");
        text = jose_join(pool, &part, &pem, NULL);
        reads(pool, &text, i, "", "one line that ends like a key's in front");

        part = ngx_shim_str("KEY-----\nKEY-----\n");
        text = jose_join(pool, &part, &pem, NULL);
        reads(pool, &text, i, BESIDE, "two of them");
    }

    EVP_PKEY_free(pkey);
}


/* A number of so many bits, the first and the last of which are set. */

static BIGNUM *
number_of(int bits)
{
    BIGNUM  *n;

    n = BN_new();
    (void) BN_set_bit(n, bits - 1);
    (void) BN_set_bit(n, 0);

    return n;
}


/* A public RSA key, of numbers which are released. */

static ngx_str_t
rsa_pem(ngx_pool_t *pool, BIGNUM *n, BIGNUM *e)
{
    EVP_PKEY        *pkey;
    ngx_str_t        pem;
    OSSL_PARAM      *params;
    EVP_PKEY_CTX    *ctx;
    OSSL_PARAM_BLD  *build;

    build = OSSL_PARAM_BLD_new();
    (void) OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_N, n);
    (void) OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_E, e);
    params = OSSL_PARAM_BLD_to_param(build);

    pkey = NULL;
    ctx = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);
    (void) EVP_PKEY_fromdata_init(ctx);
    (void) EVP_PKEY_fromdata(ctx, &pkey, EVP_PKEY_PUBLIC_KEY, params);

    pem = jose_pem(pool, pkey, 0);

    EVP_PKEY_free(pkey);
    EVP_PKEY_CTX_free(ctx);
    OSSL_PARAM_free(params);
    OSSL_PARAM_BLD_free(build);
    BN_free(e);
    BN_free(n);

    return pem;
}


/* A JWK of eight bytes at most; PEM has no such limit. */

static void
test_pem_exponents(ngx_pool_t *pool)
{
    size_t     i;
    ngx_str_t  text, modulus, pem;

    static const struct {
        int          bits;
        const char  *err;           /* "": none */
        const char  *what;
    } rows[] = {
        { 17, "", "an exponent of 17 bits" },
        { NGX_LOCKBOX_RSA_BITS_MAX + 1, NOT_KEPT,
          "an exponent longer than any modulus" }
    };

    text = ngx_shim_str(N);
    (void) ngx_lockbox_base64url_decode(pool, &text, &modulus);

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        pem = rsa_pem(pool, BN_bin2bn(modulus.data, (int) modulus.len, NULL),
                      number_of(rows[i].bits));
        reads(pool, &pem, 0, rows[i].err, rows[i].what);
    }

    is(ERR_peek_error(), 0, "OpenSSL has nothing left to complain of");
}


static void
test_pem_sizes(ngx_pool_t *pool)
{
    size_t     i;
    ngx_str_t  pem;

    static const struct {
        int          bits;
        const char  *err;           /* "": none */
        const char  *what;
    } rows[] = {
        { 2047, SIZE, "2047 bits" }, { 2048, "", "2048 bits" },
        { 8192, "", "8192 bits" }, { 8193, SIZE, "8193 bits" }
    };

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        pem = rsa_pem(pool, number_of(rows[i].bits), number_of(17));
        reads(pool, &pem, 0, rows[i].err, rows[i].what);
    }
}


/* Signatures */

typedef struct {
    const char    *type;
    unsigned int   bits;
    const char    *alg;
    size_t         len;
} alg_t;


static const alg_t  algs[] = {
    { "RSA", 2048, "RS256", 256 },
    { "RSA", 2048, "RS384", 256 },
    { "RSA", 2048, "RS512", 256 },
    { "P-256", 0, "ES256", 64 },
    { "P-384", 0, "ES384", 96 },
    { "P-521", 0, "ES512", 132 }
};


/*
 * A key as a set brings it, with that "alg", and its private half; the set
 * is our own JWK of the key.
 */

static ngx_int_t
make_pair(ngx_pool_t *pool, EVP_PKEY *pkey, const char *alg,
    ngx_lockbox_key_t *signs, ngx_lockbox_key_t **verifies)
{
    json_t              *json;
    ngx_int_t            rc;
    ngx_str_t            text;
    const char          *err;
    static ngx_lockbox_jwks_t   private, public;

    jose_set(pool, &private);
    jose_set(pool, &public);

    *signs = *jose_add(pool, &private, pkey);

    json = ngx_lockbox_jwks_json(&private);
    (void) json_object_set_new(json_array_get(json_object_get(json, "keys"),
                                              0), "alg", json_string(alg));
    rc = ngx_lockbox_json_dump(pool, json, &text);
    json_decref(json);

    if (rc != NGX_OK
        || ngx_lockbox_jwks_parse(pool, &text, &public, &err) != NGX_OK)
    {
        return NGX_ERROR;
    }

    *verifies = public.elts;
    signs->alg = (*verifies)->alg;

    return NGX_OK;
}


static void
test_signatures(ngx_pool_t *pool)
{
    size_t              i;
    EVP_PKEY           *pkey;
    ngx_str_t           data, other, sig, shorter, longer, empty, der;
    ngx_lockbox_alg_t   row;
    ngx_lockbox_key_t   signs, *verifies;

    data = ngx_shim_str("what is signed");
    other = ngx_shim_str("what is signeD");
    empty = ngx_shim_str("");

    for (i = 0; i < sizeof(algs) / sizeof(alg_t); i++) {
        pkey = some_pkey(algs[i].type, algs[i].bits);

        if (!is(make_pair(pool, pkey, algs[i].alg, &signs, &verifies), NGX_OK,
                "%s: a key", algs[i].alg))
        {
            EVP_PKEY_free(pkey);
            continue;
        }

        is(ngx_lockbox_jwks_sign(pool, &signs, &data, &sig), NGX_OK,
           "%s: signs", algs[i].alg);
        is(sig.len, algs[i].len, "%s: length of a signature", algs[i].alg);
        is(ngx_lockbox_jwks_verify(verifies, &data, &sig), 1, "%s: verifies",
           algs[i].alg);
        is(ngx_lockbox_jwks_verify(verifies, &other, &sig), 0,
           "%s: other data", algs[i].alg);

        shorter = sig;
        shorter.len--;
        is(ngx_lockbox_jwks_verify(verifies, &data, &shorter), 0,
           "%s: a byte less", algs[i].alg);

        longer = jose_join(pool, &sig, &empty, NULL);
        longer.data[longer.len++] = 0;
        is(ngx_lockbox_jwks_verify(verifies, &data, &longer), 0,
           "%s: a byte more", algs[i].alg);

        is(ngx_lockbox_jwks_verify(verifies, &data, &empty), 0, "%s: none",
           algs[i].alg);

        der = jose_join(pool, &sig, NULL);
        ngx_memzero(der.data, der.len);
        is(ngx_lockbox_jwks_verify(verifies, &data, &der), 0, "%s: zeros",
           algs[i].alg);

        ngx_memset(der.data, 0xff, der.len);
        is(ngx_lockbox_jwks_verify(verifies, &data, &der), 0, "%s: ones",
           algs[i].alg);

        sig.data[sig.len / 2] ^= 1;
        is(ngx_lockbox_jwks_verify(verifies, &data, &sig), 0,
           "%s: another bit", algs[i].alg);

        is(ngx_lockbox_jwks_check(verifies, &data, &sig), NGX_DECLINED,
           "%s: which is wrong", algs[i].alg);
        is(ngx_lockbox_jwks_check(verifies, &data, &shorter), NGX_DECLINED,
           "%s: a byte less is wrong", algs[i].alg);

        row = *verifies->alg;
        row.digest = "no such digest";
        verifies->alg = &row;
        is(ngx_lockbox_jwks_check(verifies, &data, &sig), NGX_ERROR,
           "%s: but not what OpenSSL cannot judge", algs[i].alg);
        is(ngx_lockbox_jwks_verify(verifies, &data, &sig), 0,
           "%s: nor is that right", algs[i].alg);

        EVP_PKEY_free(pkey);
    }

    is(ERR_peek_error(), 0, "OpenSSL has nothing left to complain of");
}


/* The hash is part of the algorithm, so the key alone is not enough. */

static void
test_other_hash(ngx_pool_t *pool)
{
    size_t              i, j;
    EVP_PKEY           *pkey;
    ngx_str_t           data, sig;
    ngx_lockbox_key_t   signs, *verifies;

    pkey = some_pkey("RSA", 2048);
    data = ngx_shim_str("what is signed");

    for (i = 0; i < 3; i++) {
        (void) make_pair(pool, pkey, algs[i].alg, &signs, &verifies);
        (void) ngx_lockbox_jwks_sign(pool, &signs, &data, &sig);

        for (j = 0; j < 3; j++) {
            (void) make_pair(pool, pkey, algs[j].alg, &signs, &verifies);
            is(ngx_lockbox_jwks_verify(verifies, &data, &sig), i == j,
               "a signature of %s taken for %s", algs[i].alg, algs[j].alg);
        }
    }

    EVP_PKEY_free(pkey);
}


/* RFC 7515 appendix A.3, and its (r, n - s) twin, which is as good */

static void
test_rfc7515(ngx_pool_t *pool)
{
    BN_CTX              *ctx;
    BIGNUM              *n, *s;
    ngx_str_t            input, text, sig;
    const char          *err;
    ngx_lockbox_key_t   *key;
    ngx_lockbox_jwks_t   keys;

    static const char  order[] =
        "FFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551";

    (void) parse(pool, set("{" EC_KEY "}"), &keys, &err);
    key = keys.elts;

    input = ngx_shim_str(XY_INPUT);
    text = ngx_shim_str(XY_SIGNATURE);
    (void) ngx_lockbox_base64url_decode(pool, &text, &sig);

    is(ngx_lockbox_jwks_verify(key, &input, &sig), 1,
       "the signature of RFC 7515");

    n = NULL;
    ctx = BN_CTX_new();
    (void) BN_hex2bn(&n, order);
    s = BN_bin2bn(sig.data + 32, 32, NULL);
    (void) BN_sub(s, n, s);
    (void) BN_bn2binpad(s, sig.data + 32, 32);

    is(ngx_lockbox_jwks_verify(key, &input, &sig), 1, "and its twin");

    sig.data[0] ^= 0x80;
    is(ngx_lockbox_jwks_verify(key, &input, &sig), 0, "but not any other");

    BN_free(s);
    BN_free(n);
    BN_CTX_free(ctx);
}


static void
test_json(ngx_pool_t *pool)
{
    json_t              *json, *want;
    const char          *err;
    ngx_lockbox_jwks_t   keys;

    (void) parse(pool, set("{" EC_KEY ",\"kid\":\"a\",\"x5t\":\"z\"},"
                           "{" RSA_KEY ",\"kid\":\"b\",\"alg\":\"RS512\"}"),
                 &keys, &err);

    json = ngx_lockbox_jwks_json(&keys);
    want = json_loads(
        set("{" EC_KEY ",\"kid\":\"a\",\"alg\":\"ES256\",\"use\":\"sig\"},"
            "{" RSA_KEY ",\"kid\":\"b\",\"alg\":\"RS512\",\"use\":\"sig\"}"),
        0, NULL);
    ok(json_equal(json, want), "the public keys, and nothing else");

    json_decref(json);
    json_decref(want);

    jose_set(pool, &keys);
    json = ngx_lockbox_jwks_json(&keys);
    want = json_loads("{\"keys\":[]}", 0, NULL);
    ok(json_equal(json, want), "an empty set");

    json_decref(json);
    json_decref(want);
}


/* What is published of a private key must be its public half alone. */

static void
test_json_private(ngx_pool_t *pool)
{
    size_t               i;
    json_t              *json, *jwk;
    EVP_PKEY            *pkey;
    ngx_lockbox_jwks_t   keys;

    static const size_t  members[] = { 6, 6, 6, 7, 7, 7 };

    for (i = 0; i < sizeof(algs) / sizeof(alg_t); i++) {
        pkey = some_pkey(algs[i].type, algs[i].bits);
        jose_set(pool, &keys);
        (void) jose_add(pool, &keys, pkey);

        json = ngx_lockbox_jwks_json(&keys);
        jwk = json_array_get(json_object_get(json, "keys"), 0);

        is(json_object_size(jwk), members[i], "%s: members", algs[i].type);
        ok(json_object_get(jwk, "d") == NULL, "%s: no private one",
           algs[i].type);

        json_decref(json);
        EVP_PKEY_free(pkey);
    }
}


/* OpenSSL fails: what stands here stands before the function of its name */

typedef enum {
    SOUND = 0,
    NO_BIO,
    HALF_PEM,
    EMPTY_PEM,
    NO_SIG,
    DER_LENGTH,
    DER_WRITING
} fault_t;


static fault_t     fault;
static int         der_length;
static ngx_uint_t  der_written;
static ngx_uint_t  judged;


BIO *
BIO_new(const BIO_METHOD *method)
{
    static BIO  *(*real)(const BIO_METHOD *);

    if (real == NULL) {
        *(void **) &real = dlsym(RTLD_NEXT, "BIO_new");
    }

    return fault == NO_BIO ? NULL : real(method);
}


int
PEM_write_bio_PUBKEY(BIO *bio, const EVP_PKEY *pkey)
{
    static int  (*real)(BIO *, const EVP_PKEY *);

    if (real == NULL) {
        *(void **) &real = dlsym(RTLD_NEXT, "PEM_write_bio_PUBKEY");
    }

    switch (fault) {

    case HALF_PEM:
        (void) BIO_puts(bio, "-----BEGIN PUBLIC KEY-----\n");
        return 0;

    case EMPTY_PEM:
        return 1;

    default:
        return real(bio, pkey);
    }
}


ECDSA_SIG *
ECDSA_SIG_new(void)
{
    static ECDSA_SIG  *(*real)(void);

    if (real == NULL) {
        *(void **) &real = dlsym(RTLD_NEXT, "ECDSA_SIG_new");
    }

    return fault == NO_SIG ? NULL : real();
}


int
i2d_ECDSA_SIG(const ECDSA_SIG *sig, unsigned char **der)
{
    static int  (*real)(const ECDSA_SIG *, unsigned char **);

    if (real == NULL) {
        *(void **) &real = dlsym(RTLD_NEXT, "i2d_ECDSA_SIG");
    }

    der_written += der != NULL;

    if (fault == DER_LENGTH || (fault == DER_WRITING && der != NULL)) {
        return der_length;
    }

    return real(sig, der);
}


int
EVP_DigestVerify(EVP_MD_CTX *ctx, const unsigned char *sig, size_t len,
    const unsigned char *text, size_t text_len)
{
    static int  (*real)(EVP_MD_CTX *, const unsigned char *, size_t,
                        const unsigned char *, size_t);

    if (real == NULL) {
        *(void **) &real = dlsym(RTLD_NEXT, "EVP_DigestVerify");
    }

    judged++;

    return real(ctx, sig, len, text, text_len);
}


/* A key without its text is none, for libjwt would have nothing to read. */

static void
test_unwritten(ngx_pool_t *pool)
{
    size_t               i;
    ngx_int_t            rc;
    ngx_str_t            got;
    const char          *err;
    ngx_lockbox_jwks_t   keys;

    static const struct {
        fault_t      fault;
        const char  *what;
    } rows[] = {
        { NO_BIO, "nowhere to write a key to" },
        { HALF_PEM, "a key that is written by half" },
        { EMPTY_PEM, "a key of which nothing is written" }
    };

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        fault = rows[i].fault;
        rc = parse(pool, set("{" EC_KEY "}"), &keys, &err);
        fault = SOUND;

        is(rc, NGX_ERROR, "%s", rows[i].what);

        got = ngx_shim_str(err);
        is_text(&got, NOT_KEPT, "%s: the reason", rows[i].what);
    }

    is(parse(pool, set("{" EC_KEY "}"), &keys, &err), NGX_OK,
       "a key that is written");
}


/*
 * A signature that cannot be put into DER is neither right nor wrong, and
 * whatever stands in the place of the DER is shown to nobody.
 */

static void
test_no_der(ngx_pool_t *pool)
{
    size_t               i;
    ngx_int_t            rc;
    ngx_str_t            input, text, sig;
    const char          *err;
    ngx_lockbox_jwks_t   keys;

    static const struct {
        fault_t      fault;
        int          length;
        ngx_uint_t   written;
        const char  *what;
    } rows[] = {
        { NO_SIG, 0, 0, "no memory for two numbers" },
        { DER_LENGTH, -1, 0, "no length" },
        { DER_LENGTH, 0, 0, "the length 0" },
        { DER_LENGTH, 1000, 0, "more than there is room for" },
        { DER_WRITING, -1, 1, "a failure to write" },
        { DER_WRITING, 0, 1, "nothing written" }
    };

    (void) parse(pool, set("{" EC_KEY "}"), &keys, &err);

    input = ngx_shim_str(XY_INPUT);
    text = ngx_shim_str(XY_SIGNATURE);
    (void) ngx_lockbox_base64url_decode(pool, &text, &sig);

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        fault = rows[i].fault;
        der_length = rows[i].length;
        der_written = 0;
        judged = 0;

        rc = ngx_lockbox_jwks_check(keys.elts, &input, &sig);
        fault = SOUND;

        is(rc, NGX_ERROR, "DER: %s", rows[i].what);
        is(der_written, rows[i].written, "%s: asked to write", rows[i].what);
        is(judged, 0, "%s: nothing is judged", rows[i].what);
    }

    is(ngx_lockbox_jwks_check(keys.elts, &input, &sig), NGX_OK,
       "DER: the signature as it is");
    is(judged, 1, "which is judged");
}


/* Without memory */

/* after so many signatures OpenSSL renews the blinding of an RSA key */
#define RENEWAL  32

#define PAIR                                                                 \
    set("{" EC_KEY ",\"alg\":\"ES256\",\"use\":\"sig\",\"kid\":\"a\"},"         \
        "{" RSA_KEY ",\"alg\":\"RS256\",\"use\":\"sig\",\"kid\":\"b\"}")


static ngx_int_t
walk_parse(ngx_pool_t *pool, const void *data)
{
    int                  same;
    json_t              *json;
    ngx_str_t            text;
    const char          *err;
    ngx_lockbox_jwks_t   keys;

    if (ngx_array_init(&keys, pool, 1, sizeof(ngx_lockbox_key_t)) != NGX_OK) {
        return NGX_ERROR;
    }

    text = ngx_shim_str(PAIR);

    if (ngx_lockbox_jwks_parse(pool, &text, &keys, &err) != NGX_OK) {
        return NGX_ERROR;
    }

    json = ngx_lockbox_jwks_json(&keys);
    if (json == NULL) {
        return NGX_ERROR;
    }

    same = json_equal(json, data);
    json_decref(json);

    return same ? NGX_OK : NGX_DECLINED;
}


static ngx_int_t
walk_pem(ngx_pool_t *pool, const void *data)
{
    const char          *err;
    ngx_lockbox_key_t   *key;
    ngx_lockbox_jwks_t   keys;

    if (ngx_array_init(&keys, pool, 1, sizeof(ngx_lockbox_key_t)) != NGX_OK
        || ngx_lockbox_jwks_pem(pool, data, 1, &keys, &err) != NGX_OK)
    {
        return NGX_ERROR;
    }

    key = keys.elts;

    return keys.nelts == 1 && key->kid.len == 43 && key->pem.len > 100
           ? NGX_OK : NGX_DECLINED;
}


/* Adds the key, in PEM or in a set, to a set that has one and is full. */

static ngx_int_t
add_to_full(ngx_pool_t *pool, const ngx_str_t *text, ngx_uint_t pem,
    ngx_uint_t n, ngx_lockbox_jwks_t *keys, const char **err)
{
    ngx_int_t           rc;
    ngx_lockbox_key_t  *key;

    *err = "";

    (void) ngx_array_init(keys, pool, 1, sizeof(ngx_lockbox_key_t));
    key = ngx_array_push(keys);
    ngx_memzero(key, sizeof(ngx_lockbox_key_t));
    key->kid = ngx_shim_str("the one that is there");

    ngx_shim_fail(n);
    rc = pem ? ngx_lockbox_jwks_pem(pool, text, 1, keys, err)
             : ngx_lockbox_jwks_parse(pool, text, keys, err);
    n = ngx_shim_failed();
    ngx_shim_fail(0);

    return n || rc != NGX_OK ? rc : NGX_DONE;
}


/* The last allocation is the one for its place in the set. */

static void
no_place(ngx_pool_t *pool, const ngx_str_t *text, ngx_uint_t pem,
    const char *what)
{
    ngx_int_t            rc;
    ngx_str_t            got;
    ngx_uint_t           n;
    const char          *err, *last;
    ngx_lockbox_jwks_t   keys;

    n = 0;
    err = "";

    do {
        last = err;
        rc = add_to_full(pool, text, pem, ++n, &keys, &err);
    } while (rc == NGX_ERROR && keys.nelts == 1);

    is(rc, NGX_DONE, "%s: added, or an error", what);
    is(keys.nelts, 2, "%s: two keys then", what);

    got = ngx_shim_str(last);
    is_text(&got, NO_MEMORY, "%s: why there is no place for it", what);
}


typedef struct {
    const ngx_str_t     *pem;
    ngx_lockbox_jwks_t  *keys;
    const char         **err;
} pem_t;


static ngx_int_t
run_pem(ngx_pool_t *pool, const void *data)
{
    const pem_t  *p = data;

    return ngx_lockbox_jwks_pem(pool, p->pem, 1, p->keys, p->err);
}


static void
test_no_place(ngx_pool_t *pool)
{
    pem_t                p;
    EVP_PKEY            *pkey;
    ngx_str_t            pem, text, got;
    const char          *err;
    ngx_lockbox_jwks_t   keys;

    pkey = jose_pkey("P-256", 0);
    pem = jose_pem(pool, pkey, 1);
    EVP_PKEY_free(pkey);

    text = ngx_shim_str(set("{" EC_KEY ",\"kid\":\"a\"}"));

    no_place(pool, &text, 0, "a set");
    no_place(pool, &pem, 1, "a key");

    err = "";
    p.pem = &pem;
    p.keys = &keys;
    p.err = &err;

    /* the first is OpenSSL's, for the text itself */

    jose_set(pool, &keys);
    is(oom_run(run_pem, &p, 1), NGX_ERROR, "a key without its text");
    is(keys.nelts, 0, "is not there");

    got = ngx_shim_str(err);
    is_text(&got, NO_MEMORY, "a key without its text: the reason");

    is(oom_run(run_pem, &p, 0), NGX_OK, "a key with it");
    is(keys.nelts, 1, "is there");

    ERR_clear_error();
}


/*
 * Without memory for its numbers there is no key, and none to be of a wrong
 * kind; that can only be said later, of one that is built.  "data" is the
 * place of the last one, from 1, of which it was.
 */

static ngx_int_t
walk_reason(ngx_pool_t *pool, const void *data)
{
    ngx_str_t             text;
    const char           *err;
    ngx_uint_t *const    *built = data;
    ngx_lockbox_jwks_t    keys;

    if (ngx_array_init(&keys, pool, 2, sizeof(ngx_lockbox_key_t)) != NGX_OK) {
        return NGX_ERROR;
    }

    err = "";
    text = ngx_shim_str(PAIR);

    if (ngx_lockbox_jwks_parse(pool, &text, &keys, &err) == NGX_OK) {
        return NGX_OK;
    }

    if (ngx_strcmp(err, NEITHER) == 0) {
        **built = keys.nelts + 1;
    }

    return ngx_strcmp(err, NUMBERS) == 0 && **built == keys.nelts + 1
           ? NGX_DECLINED : NGX_ERROR;
}


static void
test_no_numbers(void)
{
    ngx_uint_t  built, *p;

    built = 0;
    p = &built;

    ok(oom_walk(walk_reason, &p, 1) > 100, "a set without memory: the reason");
}


typedef struct {
    const ngx_lockbox_key_t  *key;
    ngx_str_t                 input;
    ngx_str_t                 sig;
} signed_t;


/*
 * A signature is right, or none; the failure may be in the first of two that
 * verify it, but not in both.
 */

static ngx_int_t
sign_once(ngx_pool_t *pool, const signed_t *s)
{
    ngx_str_t  sig;

    if (ngx_lockbox_jwks_sign(pool, s->key, &s->input, &sig) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_lockbox_jwks_verify(s->key, &s->input, &sig)
           || ngx_lockbox_jwks_verify(s->key, &s->input, &sig)
           ? NGX_OK : NGX_DECLINED;
}


/*
 * OpenSSL 3.0 gets the blinding of an RSA key wrong without memory, and signs
 * wrongly until it is renewed: that is no fault here, but must have an end
 * before the next run.
 */

static ngx_int_t
walk_sign(ngx_pool_t *pool, const void *data)
{
    ngx_int_t        rc;
    ngx_uint_t       i;
    const signed_t  *s = data;

    rc = sign_once(pool, s);

    if (rc == NGX_OK || s->key->alg->field != 0) {
        return rc;
    }

    for (i = 0; i < RENEWAL; i++) {
        if (sign_once(pool, s) == NGX_OK) {
            return NGX_ERROR;
        }
    }

    return NGX_DECLINED;
}


static ngx_int_t
walk_verify(ngx_pool_t *pool, const void *data)
{
    const signed_t  *s = data;

    (void) pool;

    return ngx_lockbox_jwks_verify(s->key, &s->input, &s->sig) ? NGX_OK
                                                              : NGX_ERROR;
}


static ngx_int_t
walk_forged(ngx_pool_t *pool, const void *data)
{
    return walk_verify(pool, data) == NGX_OK ? NGX_DECLINED : NGX_OK;
}


/* Who is refused is told why. */

static ngx_int_t
walk_told(ngx_pool_t *pool, const void *data)
{
    ngx_str_t            text;
    const char          *err;
    ngx_lockbox_jwks_t   keys;

    if (ngx_array_init(&keys, pool, 1, sizeof(ngx_lockbox_key_t)) != NGX_OK) {
        return NGX_ERROR;
    }

    err = "";
    text = ngx_shim_str(data);

    if (ngx_lockbox_jwks_parse(pool, &text, &keys, &err) != NGX_OK) {
        return *err ? NGX_ERROR : NGX_DECLINED;
    }

    return NGX_OK;
}


static ngx_int_t
walk_sign_result(ngx_pool_t *pool, const void *data)
{
    ngx_str_t        sig;
    const signed_t  *s = data;

    return ngx_lockbox_jwks_sign(pool, s->key, &s->input, &sig);
}


/* What the functions say is what their header says, not only no NGX_OK. */

static void
test_no_memory_results(ngx_pool_t *pool)
{
    size_t               i;
    EVP_PKEY            *pkey;
    signed_t             s;
    const char          *name;
    ngx_lockbox_jwks_t   keys;

    ok(ngx_shim_walk(walk_told, set("{" EC_KEY "}")) > 20,
       "the reason, without memory");

    for (i = 0; i < sizeof(algs) / sizeof(alg_t); i++) {
        name = algs[i].alg;
        pkey = some_pkey(algs[i].type, algs[i].bits);
        jose_set(pool, &keys);
        s.key = jose_add(pool, &keys, pkey);
        s.input = ngx_shim_str("what is signed");
        EVP_PKEY_free(pkey);

        ok(ngx_shim_walk(walk_sign_result, &s) > 0,
           "%s: NGX_ERROR for no signature", name);
    }
}


static void
test_no_memory(ngx_pool_t *pool)
{
    size_t               i;
    json_t              *json;
    EVP_PKEY            *pkey;
    signed_t             s;
    ngx_str_t            pem;
    const char          *name;
    ngx_lockbox_jwks_t   keys;

    json = json_loads(PAIR, 0, NULL);

    ok(ngx_shim_walk(walk_parse, json) > 50, "a set without memory");
    ok(oom_walk(walk_parse, json, 1) > 100, "a set, and OpenSSL without");

    json_decref(json);

    pkey = jose_pkey("P-256", 0);
    pem = jose_pem(pool, pkey, 1);
    EVP_PKEY_free(pkey);

    ok(ngx_shim_walk(walk_pem, &pem) > 10, "a key without memory");
    ok(oom_walk(walk_pem, &pem, 23) > 1000, "a key, and OpenSSL without");

    for (i = 0; i < sizeof(algs) / sizeof(alg_t); i++) {
        name = algs[i].alg;
        pkey = some_pkey(algs[i].type, algs[i].bits);
        jose_set(pool, &keys);
        s.key = jose_add(pool, &keys, pkey);
        s.input = ngx_shim_str("what is signed");
        EVP_PKEY_free(pkey);

        ok(ngx_shim_walk(walk_sign, &s) > 0, "%s: a signature without memory",
           name);
        ok(oom_walk(walk_sign, &s, 1) > 50, "%s: and OpenSSL without", name);

        (void) ngx_lockbox_jwks_sign(pool, s.key, &s.input, &s.sig);
        ok(oom_walk(walk_verify, &s, 1) > 20, "%s: verified without", name);

        s.sig.data[s.sig.len / 2] ^= 1;
        ok(oom_walk(walk_forged, &s, 1) > 20,
           "%s: a forgery is refused without", name);
    }
}


int
main(void)
{
    ngx_pool_t  *pool;

    pool = ngx_create_pool(0, NULL);

    test_good(pool);
    test_bad(pool);
    test_sizes(pool);
    test_long_modulus(pool);
    test_thumbprint(pool);
    test_find(pool);
    test_pem_kinds(pool);
    test_pem_texts(pool);
    test_pem_infinity(pool);
    test_pem_beside(pool);
    test_pem_exponents(pool);
    test_pem_sizes(pool);
    test_signatures(pool);
    test_other_hash(pool);
    test_rfc7515(pool);
    test_json(pool);
    test_json_private(pool);
    test_unwritten(pool);
    test_no_der(pool);

    test_no_place(pool);
    test_no_numbers();
    test_no_memory(pool);
    test_no_memory_results(pool);

    ngx_destroy_pool(pool);

    is(ngx_shim_live(), 0, "nothing is left behind");

    return tap_done();
}
