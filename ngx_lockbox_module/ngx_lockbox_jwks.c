/*
 * Keys: JSON Web Keys (RFC 7517, RFC 7518) and PEM, parsed once at start.
 */

#include "ngx_lockbox_jwks.h"
#include "ngx_lockbox_base64url.h"
#include "ngx_lockbox_json.h"
#include "ngx_lockbox_text.h"

#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>


/* P-521 needs the most: two coordinates of 66 bytes each. */
#define NGX_LOCKBOX_FIELD_MAX      66
#define NGX_LOCKBOX_ECDSA_DER_MAX  (2 * NGX_LOCKBOX_FIELD_MAX + 16)
#define NGX_LOCKBOX_KID_MAX        255


static ngx_int_t ngx_lockbox_jwks_add(ngx_pool_t *pool, const json_t *jwk,
    ngx_lockbox_jwks_t *keys, const char **err);
static ngx_uint_t ngx_lockbox_jwk_signs(const json_t *jwk);
static EVP_PKEY *ngx_lockbox_jwk_pkey(ngx_pool_t *pool, const json_t *jwk,
    const char **err);
static ngx_int_t ngx_lockbox_jwk_alg(const json_t *jwk,
    ngx_lockbox_key_t *key, const char **err);
static ngx_int_t ngx_lockbox_jwk_kid(const json_t *jwk,
    const ngx_lockbox_jwks_t *keys, ngx_lockbox_key_t *key, const char **err);
static EVP_PKEY *ngx_lockbox_jwk_rsa(ngx_pool_t *pool, const json_t *jwk);
static EVP_PKEY *ngx_lockbox_jwk_ec(ngx_pool_t *pool, const json_t *jwk);
static ngx_int_t ngx_lockbox_jwk_bytes(ngx_pool_t *pool, const json_t *jwk,
    const char *name, ngx_str_t *bytes);
static EVP_PKEY *ngx_lockbox_pkey_build(const char *type,
    OSSL_PARAM_BLD *build);
static ngx_uint_t ngx_lockbox_pem_keys(const ngx_str_t *text);
static ngx_int_t ngx_lockbox_key_adopt(ngx_pool_t *pool, EVP_PKEY *pkey,
    ngx_lockbox_key_t *key, const char **err);
static const ngx_lockbox_alg_t *ngx_lockbox_key_default_alg(EVP_PKEY *pkey,
    const char **err);
static ngx_int_t ngx_lockbox_key_thumbprint(ngx_pool_t *pool,
    ngx_lockbox_key_t *key);
static ngx_int_t ngx_lockbox_key_pem(ngx_pool_t *pool,
    ngx_lockbox_key_t *key);
static json_t *ngx_lockbox_key_members(const ngx_lockbox_key_t *key);
static json_t *ngx_lockbox_key_number(const ngx_lockbox_key_t *key,
    const char *param, size_t width);
static ngx_int_t ngx_lockbox_ecdsa_der(const ngx_lockbox_alg_t *alg,
    const ngx_str_t *raw, u_char *der, size_t *len);
static void ngx_lockbox_pkey_cleanup(void *data);


/* The first row of a kind is what a JWK without "alg" stands for. */
static const ngx_lockbox_alg_t  ngx_lockbox_algs[] = {
    { ngx_string("RS256"), EVP_PKEY_RSA, NULL, NULL, "SHA256", 0 },
    { ngx_string("RS384"), EVP_PKEY_RSA, NULL, NULL, "SHA384", 0 },
    { ngx_string("RS512"), EVP_PKEY_RSA, NULL, NULL, "SHA512", 0 },
    { ngx_string("ES256"), EVP_PKEY_EC, "P-256", "prime256v1", "SHA256", 32 },
    { ngx_string("ES384"), EVP_PKEY_EC, "P-384", "secp384r1", "SHA384", 48 },
    { ngx_string("ES512"), EVP_PKEY_EC, "P-521", "secp521r1", "SHA512", 66 },
    { ngx_null_string, 0, NULL, NULL, NULL, 0 }
};


/* RFC 7518 sections 6.2.2, 6.3.2 and 6.4: members of private and shared keys */
static const char *const  ngx_lockbox_jwk_secrets[] = {
    "d", "p", "q", "dp", "dq", "qi", "oth", "k", NULL
};


ngx_int_t
ngx_lockbox_jwks_parse(ngx_pool_t *pool, const ngx_str_t *text,
    ngx_lockbox_jwks_t *keys, const char **err)
{
    size_t         i;
    json_t        *set, *jwk;
    const json_t  *list;

    set = ngx_lockbox_json_parse(pool, text->data, text->len);
    if (set == NULL) {
        *err = "it is not one JSON object without duplicate names";
        return NGX_ERROR;
    }

    list = json_object_get(set, "keys");
    if (!json_is_array(list)) {
        *err = "it has no \"keys\"";
        return NGX_ERROR;
    }

    json_array_foreach(list, i, jwk) {
        if (ngx_lockbox_jwks_add(pool, jwk, keys, err) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    if (keys->nelts == 0) {
        *err = "it has no key for signatures";
        return NGX_ERROR;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_lockbox_jwks_add(ngx_pool_t *pool, const json_t *jwk,
    ngx_lockbox_jwks_t *keys, const char **err)
{
    EVP_PKEY            *pkey;
    const char *const   *secret;
    ngx_lockbox_key_t    added, *key;

    if (!json_is_object(jwk)) {
        *err = "a key is not an object";
        return NGX_ERROR;
    }

    for (secret = ngx_lockbox_jwk_secrets; *secret != NULL; secret++) {
        if (json_object_get(jwk, *secret) != NULL) {
            *err = "a key is private or symmetric";
            return NGX_ERROR;
        }
    }

    if (!ngx_lockbox_jwk_signs(jwk)) {
        return NGX_OK;
    }

    pkey = ngx_lockbox_jwk_pkey(pool, jwk, err);

    if (pkey == NULL
        || ngx_lockbox_key_adopt(pool, pkey, &added, err) != NGX_OK
        || ngx_lockbox_jwk_alg(jwk, &added, err) != NGX_OK
        || ngx_lockbox_jwk_kid(jwk, keys, &added, err) != NGX_OK)
    {
        return NGX_ERROR;
    }

    key = ngx_array_push(keys);
    if (key == NULL) {
        *err = "there is no memory";
        return NGX_ERROR;
    }

    *key = added;

    return NGX_OK;
}


static EVP_PKEY *
ngx_lockbox_jwk_pkey(ngx_pool_t *pool, const json_t *jwk, const char **err)
{
    EVP_PKEY   *pkey;
    ngx_str_t   kty;

    if (ngx_lockbox_json_string(jwk, "kty", &kty) != NGX_OK) {
        *err = "a key has no \"kty\"";
        return NULL;
    }

    if (ngx_lockbox_text_is(&kty, "RSA")) {
        pkey = ngx_lockbox_jwk_rsa(pool, jwk);

    } else if (ngx_lockbox_text_is(&kty, "EC")) {
        pkey = ngx_lockbox_jwk_ec(pool, jwk);

    } else {
        *err = "a key is neither RSA nor EC";
        return NULL;
    }

    if (pkey == NULL) {
        *err = "the numbers of a key are missing or no such key";
    }

    return pkey;
}


static ngx_int_t
ngx_lockbox_jwk_alg(const json_t *jwk, ngx_lockbox_key_t *key,
    const char **err)
{
    ngx_int_t                 rc;
    ngx_str_t                 alg;
    const ngx_lockbox_alg_t  *row;

    rc = ngx_lockbox_json_string(jwk, "alg", &alg);

    if (rc == NGX_DECLINED) {
        return NGX_OK;
    }

    if (rc != NGX_OK) {
        *err = "the \"alg\" of a key is not a string";
        return NGX_ERROR;
    }

    for (row = ngx_lockbox_algs; row->digest != NULL; row++) {
        if (ngx_lockbox_text_same(&row->name, &alg)) {
            break;
        }
    }

    if (row->type != key->alg->type || row->field != key->alg->field) {
        *err = "the \"alg\" of a key is not one of its kind";
        return NGX_ERROR;
    }

    key->alg = row;

    return NGX_OK;
}


static ngx_int_t
ngx_lockbox_jwk_kid(const json_t *jwk, const ngx_lockbox_jwks_t *keys,
    ngx_lockbox_key_t *key, const char **err)
{
    ngx_uint_t          i;
    ngx_lockbox_key_t  *other;

    if (ngx_lockbox_json_string(jwk, "kid", &key->kid) == NGX_ERROR
        || key->kid.len > NGX_LOCKBOX_KID_MAX)
    {
        *err = "the \"kid\" of a key is no string of 1 to 255 bytes";
        return NGX_ERROR;
    }

    other = keys->elts;

    for (i = 0; i < keys->nelts; i++) {
        if (key->kid.len == 0 || other[i].kid.len == 0) {
            *err = "there are several keys, and one has no \"kid\"";
            return NGX_ERROR;
        }

        if (ngx_lockbox_text_same(&other[i].kid, &key->kid)) {
            *err = "two keys have the same \"kid\"";
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


/*
 * A set may serve several purposes (RFC 7517 sections 4.2 and 4.3): a key
 * made for encryption is no key for signatures.
 */

static ngx_uint_t
ngx_lockbox_jwk_signs(const json_t *jwk)
{
    size_t         i;
    json_t        *op;
    const json_t  *use, *ops;

    use = json_object_get(jwk, "use");

    if (use != NULL
        && (!json_is_string(use)
            || ngx_strcmp(json_string_value(use), "sig") != 0))
    {
        return 0;
    }

    ops = json_object_get(jwk, "key_ops");
    if (ops == NULL) {
        return 1;
    }

    json_array_foreach(ops, i, op) {
        if (json_is_string(op)
            && ngx_strcmp(json_string_value(op), "verify") == 0)
        {
            return 1;
        }
    }

    return 0;
}


static EVP_PKEY *
ngx_lockbox_jwk_rsa(ngx_pool_t *pool, const json_t *jwk)
{
    BIGNUM          *n, *e;
    EVP_PKEY        *pkey;
    ngx_str_t        modulus, exponent;
    OSSL_PARAM_BLD  *build;

    if (ngx_lockbox_jwk_bytes(pool, jwk, "n", &modulus) != NGX_OK
        || ngx_lockbox_jwk_bytes(pool, jwk, "e", &exponent) != NGX_OK)
    {
        return NULL;
    }

    if (modulus.len > NGX_LOCKBOX_RSA_BITS_MAX / 8 || exponent.len > 8) {
        return NULL;
    }

    pkey = NULL;
    n = BN_bin2bn(modulus.data, (int) modulus.len, NULL);
    e = BN_bin2bn(exponent.data, (int) exponent.len, NULL);
    build = OSSL_PARAM_BLD_new();

    if (n != NULL && e != NULL && build != NULL
        && OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_N, n)
        && OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_E, e))
    {
        pkey = ngx_lockbox_pkey_build("RSA", build);
    }

    OSSL_PARAM_BLD_free(build);
    BN_free(e);
    BN_free(n);

    return pkey;
}


static EVP_PKEY *
ngx_lockbox_jwk_ec(ngx_pool_t *pool, const json_t *jwk)
{
    u_char                    point[1 + 2 * NGX_LOCKBOX_FIELD_MAX];
    EVP_PKEY                 *pkey;
    ngx_str_t                 crv, x, y;
    OSSL_PARAM_BLD           *build;
    const ngx_lockbox_alg_t  *row;

    if (ngx_lockbox_json_string(jwk, "crv", &crv) != NGX_OK
        || ngx_lockbox_jwk_bytes(pool, jwk, "x", &x) != NGX_OK
        || ngx_lockbox_jwk_bytes(pool, jwk, "y", &y) != NGX_OK)
    {
        return NULL;
    }

    for (row = ngx_lockbox_algs; row->digest != NULL; row++) {
        if (row->crv != NULL && ngx_lockbox_text_is(&crv, row->crv)) {
            break;
        }
    }

    if (row->digest == NULL || x.len != row->field || y.len != row->field) {
        return NULL;
    }

    point[0] = POINT_CONVERSION_UNCOMPRESSED;
    ngx_memcpy(&point[1], x.data, x.len);
    ngx_memcpy(&point[1 + x.len], y.data, y.len);

    pkey = NULL;
    build = OSSL_PARAM_BLD_new();

    if (build != NULL
        && OSSL_PARAM_BLD_push_utf8_string(build, OSSL_PKEY_PARAM_GROUP_NAME,
                                           row->group, 0)
        && OSSL_PARAM_BLD_push_octet_string(build, OSSL_PKEY_PARAM_PUB_KEY,
                                            point, 1 + x.len + y.len))
    {
        pkey = ngx_lockbox_pkey_build("EC", build);
    }

    OSSL_PARAM_BLD_free(build);

    return pkey;
}


static ngx_int_t
ngx_lockbox_jwk_bytes(ngx_pool_t *pool, const json_t *jwk, const char *name,
    ngx_str_t *bytes)
{
    ngx_str_t  text;

    if (ngx_lockbox_json_string(jwk, name, &text) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_lockbox_base64url_decode(pool, &text, bytes);
}


static EVP_PKEY *
ngx_lockbox_pkey_build(const char *type, OSSL_PARAM_BLD *build)
{
    EVP_PKEY      *pkey;
    OSSL_PARAM    *params;
    EVP_PKEY_CTX  *ctx;

    pkey = NULL;
    params = OSSL_PARAM_BLD_to_param(build);
    ctx = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);

    if (params == NULL
        || ctx == NULL
        || EVP_PKEY_fromdata_init(ctx) != 1
        || EVP_PKEY_fromdata(ctx, &pkey, EVP_PKEY_PUBLIC_KEY, params) != 1)
    {
        EVP_PKEY_free(pkey);
        pkey = NULL;
        ERR_clear_error();
    }

    EVP_PKEY_CTX_free(ctx);
    OSSL_PARAM_free(params);

    return pkey;
}


ngx_int_t
ngx_lockbox_jwks_pem(ngx_pool_t *pool, const ngx_str_t *text,
    ngx_uint_t private, ngx_lockbox_jwks_t *keys, const char **err)
{
    BIO                *bio;
    size_t              rest;
    EVP_PKEY           *pkey;
    static const char   empty[] = "";
    ngx_lockbox_key_t   added, *key;

    bio = BIO_new_mem_buf(text->data, (int) text->len);
    if (bio == NULL) {
        *err = "there is no memory";
        return NGX_ERROR;
    }

    /* an empty passphrase keeps OpenSSL from asking for one on the terminal */

    pkey = private ? PEM_read_bio_PrivateKey(bio, NULL, NULL, (void *) empty)
                   : PEM_read_bio_PUBKEY(bio, NULL, NULL, NULL);

    rest = BIO_ctrl_pending(bio);

    while (rest > 0 && text->data[text->len - rest] <= ' ') {
        rest--;
    }

    BIO_free(bio);
    ERR_clear_error();

    if (pkey == NULL) {
        *err = private ? "it is no unencrypted private key in PEM"
                       : "it is no public key in PEM";
        return NGX_ERROR;
    }

    if (rest > 0 || ngx_lockbox_pem_keys(text) != 1) {
        EVP_PKEY_free(pkey);
        *err = "something stands beside the key";
        return NGX_ERROR;
    }

    if (ngx_lockbox_key_adopt(pool, pkey, &added, err) != NGX_OK) {
        return NGX_ERROR;
    }

    added.kid = added.thumbprint;

    key = ngx_array_push(keys);
    if (key == NULL) {
        *err = "there is no memory";
        return NGX_ERROR;
    }

    *key = added;

    return NGX_OK;
}


/*
 * OpenSSL passes over what it was not asked for, and so would take the second
 * of two keys.  Each key has two lines that end so; parameters of a curve,
 * which openssl writes in front of its key, have none.
 */

static ngx_uint_t
ngx_lockbox_pem_keys(const ngx_str_t *text)
{
    size_t             i, n;
    ngx_uint_t         lines;
    static const char  mark[] = "KEY-----";

    n = sizeof(mark) - 1;
    lines = 0;

    for (i = n; i <= text->len; i++) {
        if (ngx_memcmp(&text->data[i - n], mark, n) == 0) {
            lines++;
        }
    }

    return lines / 2;
}


/* Takes the EVP_PKEY over, also when the key is refused. */

static ngx_int_t
ngx_lockbox_key_adopt(ngx_pool_t *pool, EVP_PKEY *pkey,
    ngx_lockbox_key_t *key, const char **err)
{
    ngx_pool_cleanup_t  *cln;

    cln = ngx_pool_cleanup_add(pool, 0);
    if (cln == NULL) {
        EVP_PKEY_free(pkey);
        *err = "there is no memory";
        return NGX_ERROR;
    }

    cln->handler = ngx_lockbox_pkey_cleanup;
    cln->data = pkey;

    ngx_memzero(key, sizeof(ngx_lockbox_key_t));

    key->pkey = pkey;
    key->alg = ngx_lockbox_key_default_alg(pkey, err);

    if (key->alg == NULL) {
        ERR_clear_error();
        return NGX_ERROR;
    }

    if (ngx_lockbox_key_thumbprint(pool, key) != NGX_OK
        || ngx_lockbox_key_pem(pool, key) != NGX_OK)
    {
        *err = "a key cannot be kept";
        return NGX_ERROR;
    }

    return NGX_OK;
}


static const ngx_lockbox_alg_t *
ngx_lockbox_key_default_alg(EVP_PKEY *pkey, const char **err)
{
    int                       bits, good;
    char                      group[32];
    BIGNUM                   *e;
    EVP_PKEY_CTX             *ctx;
    const ngx_lockbox_alg_t  *row;

    if (EVP_PKEY_get_base_id(pkey) == EVP_PKEY_RSA) {
        e = NULL;
        bits = EVP_PKEY_get_bits(pkey);

        good = EVP_PKEY_get_bn_param(pkey, OSSL_PKEY_PARAM_RSA_E, &e) == 1
               && BN_is_odd(e) && !BN_is_one(e);

        BN_free(e);

        if (!good) {
            *err = "the public exponent of an RSA key is not an odd number "
                   "of 3 or more";
            return NULL;
        }

        if (bits < NGX_LOCKBOX_RSA_BITS_MIN || bits > NGX_LOCKBOX_RSA_BITS_MAX)
        {
            *err = "an RSA key has less than 2048 or more than 8192 bits";
            return NULL;
        }

        return &ngx_lockbox_algs[0];
    }

    if (EVP_PKEY_get_base_id(pkey) != EVP_PKEY_EC
        || EVP_PKEY_get_group_name(pkey, group, sizeof(group), NULL) != 1)
    {
        *err = "a key is neither RSA nor EC";
        return NULL;
    }

    for (row = ngx_lockbox_algs; row->digest != NULL; row++) {
        if (row->group != NULL && ngx_strcmp(row->group, group) == 0) {
            break;
        }
    }

    if (row->digest == NULL) {
        *err = "the curve of a key is none of P-256, P-384, P-521";
        return NULL;
    }

    ctx = EVP_PKEY_CTX_new_from_pkey(NULL, pkey, NULL);
    good = ctx != NULL && EVP_PKEY_public_check(ctx) == 1;
    EVP_PKEY_CTX_free(ctx);

    if (!good) {
        *err = "the point of a key is not on its curve";
        return NULL;
    }

    return row;
}


static ngx_int_t
ngx_lockbox_key_thumbprint(ngx_pool_t *pool, ngx_lockbox_key_t *key)
{
    json_t     *members;
    ngx_str_t   text;

    members = ngx_lockbox_json_own(pool, ngx_lockbox_key_members(key));

    if (members == NULL
        || ngx_lockbox_json_dump(pool, members, &text) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_lockbox_base64url_sha256(pool, &text, &key->thumbprint);
}


static ngx_int_t
ngx_lockbox_key_pem(ngx_pool_t *pool, ngx_lockbox_key_t *key)
{
    BIO   *bio;
    int    rc;
    long   len;
    char  *data;

    bio = BIO_new(BIO_s_mem());
    if (bio == NULL) {
        return NGX_ERROR;
    }

    rc = PEM_write_bio_PUBKEY(bio, key->pkey);
    len = BIO_get_mem_data(bio, &data);

    if (rc != 1 || len <= 0) {
        BIO_free(bio);
        return NGX_ERROR;
    }

    key->pem.len = (size_t) len;
    key->pem.data = ngx_pnalloc(pool, key->pem.len);

    if (key->pem.data == NULL) {
        BIO_free(bio);
        return NGX_ERROR;
    }

    ngx_memcpy(key->pem.data, data, key->pem.len);

    BIO_free(bio);

    return NGX_OK;
}


/* The members that RFC 7638 section 3.2 hashes. */

static json_t *
ngx_lockbox_key_members(const ngx_lockbox_key_t *key)
{
    json_t  *jwk;
    size_t   field;

    jwk = json_object();
    field = key->alg->field;

    if (field == 0) {
        if (ngx_lockbox_json_set(jwk, "kty", json_string("RSA")) == NGX_OK
            && ngx_lockbox_json_set(jwk, "n",
                     ngx_lockbox_key_number(key, OSSL_PKEY_PARAM_RSA_N, 0))
               == NGX_OK
            && ngx_lockbox_json_set(jwk, "e",
                     ngx_lockbox_key_number(key, OSSL_PKEY_PARAM_RSA_E, 0))
               == NGX_OK)
        {
            return jwk;
        }

    } else {
        if (ngx_lockbox_json_set(jwk, "kty", json_string("EC")) == NGX_OK
            && ngx_lockbox_json_set(jwk, "crv", json_string(key->alg->crv))
               == NGX_OK
            && ngx_lockbox_json_set(jwk, "x",
                  ngx_lockbox_key_number(key, OSSL_PKEY_PARAM_EC_PUB_X, field))
               == NGX_OK
            && ngx_lockbox_json_set(jwk, "y",
                  ngx_lockbox_key_number(key, OSSL_PKEY_PARAM_EC_PUB_Y, field))
               == NGX_OK)
        {
            return jwk;
        }
    }

    json_decref(jwk);

    return NULL;
}


/* "width" 0: as many bytes as the number takes (RFC 7518 section 2). */

static json_t *
ngx_lockbox_key_number(const ngx_lockbox_key_t *key, const char *param,
    size_t width)
{
    u_char      bytes[NGX_LOCKBOX_RSA_BITS_MAX / 8];
    u_char      text[ngx_lockbox_base64url_len(NGX_LOCKBOX_RSA_BITS_MAX / 8)];
    BIGNUM     *number;
    json_t     *value;
    ngx_str_t   encoded;

    number = NULL;
    value = NULL;

    if (EVP_PKEY_get_bn_param(key->pkey, param, &number) == 1) {

        if (width == 0) {
            width = (size_t) BN_num_bytes(number);
        }

        if (width <= sizeof(bytes)
            && BN_bn2binpad(number, bytes, (int) width) == (int) width)
        {
            encoded.data = text;
            ngx_lockbox_base64url_encode(&encoded, bytes, width);
            value = ngx_lockbox_json_text(&encoded);
        }
    }

    BN_free(number);

    return value;
}


ngx_lockbox_key_t *
ngx_lockbox_jwks_find(const ngx_lockbox_jwks_t *keys, const ngx_str_t *kid)
{
    ngx_uint_t          i;
    ngx_lockbox_key_t  *key;

    key = keys->elts;

    if (kid->len == 0) {
        return keys->nelts == 1 ? key : NULL;
    }

    for (i = 0; i < keys->nelts; i++) {
        if (ngx_lockbox_text_same(&key[i].kid, kid)) {
            return &key[i];
        }
    }

    return NULL;
}


ngx_uint_t
ngx_lockbox_jwks_verify(const ngx_lockbox_key_t *key, const ngx_str_t *data,
    const ngx_str_t *signature)
{
    return ngx_lockbox_jwks_check(key, data, signature) == NGX_OK;
}


ngx_int_t
ngx_lockbox_jwks_check(const ngx_lockbox_key_t *key, const ngx_str_t *data,
    const ngx_str_t *signature)
{
    int            good;
    size_t         len;
    u_char         der[NGX_LOCKBOX_ECDSA_DER_MAX];
    ngx_int_t      rc;
    EVP_MD_CTX    *ctx;
    const u_char  *sig;

    sig = signature->data;
    len = signature->len;

    if (key->alg->field != 0) {
        rc = ngx_lockbox_ecdsa_der(key->alg, signature, der, &len);
        if (rc != NGX_OK) {
            return rc;
        }

        sig = der;
    }

    good = -1;
    ctx = EVP_MD_CTX_new();

    if (ctx != NULL
        && EVP_DigestVerifyInit_ex(ctx, NULL, key->alg->digest, NULL, NULL,
                                   key->pkey, NULL) == 1)
    {
        good = EVP_DigestVerify(ctx, sig, len, data->data, data->len);
    }

    EVP_MD_CTX_free(ctx);

    if (good == 1) {
        return NGX_OK;
    }

    /* or the next user of the error queue would report it as his own */
    ERR_clear_error();

    return good == 0 ? NGX_DECLINED : NGX_ERROR;
}


static ngx_int_t
ngx_lockbox_ecdsa_der(const ngx_lockbox_alg_t *alg, const ngx_str_t *raw,
    u_char *der, size_t *len)
{
    int         n;
    u_char     *p;
    BIGNUM     *r, *s;
    ECDSA_SIG  *sig;

    if (raw->len != 2 * alg->field) {
        return NGX_DECLINED;
    }

    sig = ECDSA_SIG_new();
    r = BN_bin2bn(raw->data, (int) alg->field, NULL);
    s = BN_bin2bn(raw->data + alg->field, (int) alg->field, NULL);

    if (sig == NULL || r == NULL || s == NULL
        || ECDSA_SIG_set0(sig, r, s) != 1)
    {
        BN_free(r);
        BN_free(s);
        ECDSA_SIG_free(sig);
        return NGX_ERROR;
    }

    p = der;
    n = i2d_ECDSA_SIG(sig, NULL);

    if (n > 0 && n <= NGX_LOCKBOX_ECDSA_DER_MAX) {
        n = i2d_ECDSA_SIG(sig, &p);

    } else {
        n = 0;
    }

    ECDSA_SIG_free(sig);

    *len = (size_t) n;

    return n > 0 ? NGX_OK : NGX_ERROR;
}


ngx_int_t
ngx_lockbox_jwks_sign(ngx_pool_t *pool, const ngx_lockbox_key_t *key,
    const ngx_str_t *data, ngx_str_t *signature)
{
    int            good;
    size_t         len, field;
    u_char        *der;
    const u_char  *p;
    EVP_MD_CTX    *ctx;
    ECDSA_SIG     *sig;

    len = (size_t) EVP_PKEY_get_size(key->pkey);
    field = key->alg->field;

    der = ngx_pnalloc(pool, len);
    ctx = EVP_MD_CTX_new();

    good = der != NULL && ctx != NULL
           && EVP_DigestSignInit_ex(ctx, NULL, key->alg->digest, NULL, NULL,
                                    key->pkey, NULL) == 1
           && EVP_DigestSign(ctx, der, &len, data->data, data->len) == 1;

    EVP_MD_CTX_free(ctx);

    if (!good) {
        ERR_clear_error();
        return NGX_ERROR;
    }

    if (field == 0) {
        signature->data = der;
        signature->len = len;
        return NGX_OK;
    }

    /* RFC 7518 section 3.4 wants R || S, OpenSSL gives DER */

    p = der;
    sig = d2i_ECDSA_SIG(NULL, &p, (long) len);

    signature->len = 2 * field;
    signature->data = ngx_pnalloc(pool, signature->len);

    good = sig != NULL && signature->data != NULL
           && BN_bn2binpad(ECDSA_SIG_get0_r(sig), signature->data,
                           (int) field) == (int) field
           && BN_bn2binpad(ECDSA_SIG_get0_s(sig), signature->data + field,
                           (int) field) == (int) field;

    ECDSA_SIG_free(sig);

    return good ? NGX_OK : NGX_ERROR;
}


json_t *
ngx_lockbox_jwks_json(const ngx_lockbox_jwks_t *keys)
{
    json_t             *set, *list, *jwk;
    ngx_uint_t          i;
    ngx_lockbox_key_t  *key;

    set = json_object();
    list = json_array();

    if (json_object_set_new(set, "keys", list) != 0) {
        json_decref(set);
        return NULL;
    }

    key = keys->elts;

    for (i = 0; i < keys->nelts; i++) {
        jwk = ngx_lockbox_key_members(&key[i]);

        if (ngx_lockbox_json_set(jwk, "kid",
                                 ngx_lockbox_json_text(&key[i].kid)) != NGX_OK
            || ngx_lockbox_json_set(jwk, "alg",
                                    ngx_lockbox_json_text(&key[i].alg->name))
               != NGX_OK
            || ngx_lockbox_json_set(jwk, "use", json_string("sig")) != NGX_OK
            || json_array_append(list, jwk) != 0)
        {
            json_decref(jwk);
            json_decref(set);
            return NULL;
        }

        json_decref(jwk);
    }

    return set;
}


static void
ngx_lockbox_pkey_cleanup(void *data)
{
    EVP_PKEY_free(data);
}
