/*
 * The self-test of keys, through the functions that tokens are signed and
 * verified with.
 */

#include "ngx_lockbox_selftest.h"
#include "ngx_lockbox_base64url.h"
#include "ngx_lockbox_text.h"

#include <openssl/err.h>
#include <openssl/rsa.h>


#define NGX_LOCKBOX_SELFTEST_TEXT  "lockbox self-test"
#define NGX_LOCKBOX_SELFTEST_MAX   (NGX_LOCKBOX_RSA_BITS_MAX / 8)


/* A key set with one public key, and what its owner signed. */
typedef struct {
    ngx_str_t   alg;
    ngx_str_t   set;
    ngx_str_t   text;
    ngx_str_t   signature;           /* base64url */
} ngx_lockbox_selftest_vector_t;


static const char *ngx_lockbox_selftest_known(ngx_pool_t *pool,
    const ngx_lockbox_alg_t *alg);
static ngx_int_t ngx_lockbox_selftest_key(ngx_pool_t *pool,
    const ngx_lockbox_selftest_vector_t *vector, ngx_lockbox_key_t *key);
static const char *ngx_lockbox_selftest_wrong(const ngx_lockbox_key_t *key);
static ngx_uint_t ngx_lockbox_selftest_computes(const ngx_lockbox_key_t *key,
    const ngx_str_t *signature);
static const char *ngx_lockbox_selftest_private(ngx_pool_t *pool,
    const ngx_lockbox_key_t *key);
static const char *ngx_lockbox_selftest_bits(ngx_pool_t *pool,
    const ngx_lockbox_key_t *key, const ngx_str_t *text,
    const ngx_str_t *signature);


/* The RSA key of RFC 7515 appendix A.2. */
#define NGX_LOCKBOX_SELFTEST_RSA(alg)                                        \
    ngx_string("{\"keys\":[{\"kty\":\"RSA\",\"alg\":\"" alg "\","            \
    "\"e\":\"AQAB\",\"n\":\""                                                \
    "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw"   \
    "-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b3269"   \
    "0r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS"   \
    "-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aG"   \
    "hyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXp"   \
    "oQ\"}]}")

#define NGX_LOCKBOX_SELFTEST_EC(crv, x, y)                                   \
    ngx_string("{\"keys\":[{\"kty\":\"EC\",\"crv\":\"" crv "\","             \
               "\"x\":\"" x "\",\"y\":\"" y "\"}]}")

/* The claims of RFC 7515 appendices A.2 and A.3. */
#define NGX_LOCKBOX_SELFTEST_CLAIMS                                          \
    "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxl"   \
    "LmNvbS9pc19yb290Ijp0cnVlfQ"


static const ngx_lockbox_selftest_vector_t
    ngx_lockbox_selftest_vectors[] = {

    /* RFC 7515 appendix A.2 */

    { ngx_string("RS256"),
      NGX_LOCKBOX_SELFTEST_RSA("RS256"),
      ngx_string("eyJhbGciOiJSUzI1NiJ9." NGX_LOCKBOX_SELFTEST_CLAIMS),
      ngx_string(
      "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuH"
      "Im4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdi"
      "uB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN"
      "9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2"
      "w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77"
      "Rw") },

    /*
     * Nobody has published these two.  With the private key of RFC 7515
     * appendix A.2 they come of
     *
     *     printf sample | openssl dgst -sha384 -sign key.pem
     *
     * and -sha512, always the same (RFC 8017 section 8.2.1 is deterministic).
     */

    { ngx_string("RS384"),
      NGX_LOCKBOX_SELFTEST_RSA("RS384"),
      ngx_string("sample"),
      ngx_string(
      "ARcPLlYIV_BLwZVO3SO1dFjV3BeBcCiH2BgrfRZlJJAMp_9kfoQa8yXv2WqF7xBo-dt2"
      "OcmwP8lhtsmcdA4Zq6jC3Ckw6QGz2CBek8Rc95Kui3FWZlQcuVReS7MyyESHRvdLkWYl"
      "xtnhwPtYK6hbQ4TaCrea8SKJabcAhhD4c2teRInZpJTf1lFAUST5t_5wl_rP1IBewHK8"
      "CrV8mspnQcXTvjOptasJD7gwkcM2PLRYeJXD26ijeqB3VjIU_eHJTPObRx-dAzDtFNns"
      "XU68UoQcOxjCy8rj5HsN7z3akQMY410XvblyPxWuVGoa8fpGyWxxCX9iwYX5ObpGoaAn"
      "yw") },

    { ngx_string("RS512"),
      NGX_LOCKBOX_SELFTEST_RSA("RS512"),
      ngx_string("sample"),
      ngx_string(
      "SvlqLVB5o7Pq_JAQYofvLZCFHM4zwjbzXAQA1T5TXdfhA2viXT0ezE_ZAgHSa2ZNdVMH"
      "d1kgOlh7mnUXpP0Oh3KExJNRpzCEVmfHAUAuiTWRAzKMi5V6vOVlHIJ4tybiTdhsJOpC"
      "g3Kxpd0iKWGCNzejX4mZiVBxui06KIArKUvGzuAL3iW7p_spL_rB3t1_m-8JOZJ6H6sN"
      "msqsNUN6f1saAlMGyGzmsZrKBThIpSpbcMgrD5hRdUR8X9WDifCk2vsHl88tSLIejnFT"
      "rvj0QUl2b5nC2Zxl-2bdXeIobVTA1alZq8A0M9O7GycJIwlRvFdvcGax4rDZgNG58FDQ"
      "ow") },

    /* RFC 7515 appendix A.3 */

    { ngx_string("ES256"),
      NGX_LOCKBOX_SELFTEST_EC("P-256",
      "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
      "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"),
      ngx_string("eyJhbGciOiJFUzI1NiJ9." NGX_LOCKBOX_SELFTEST_CLAIMS),
      ngx_string(
      "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQ"
      "xfKTUJqPP3-Kg6NU1Q") },

    /* RFC 6979 appendix A.2.6, with SHA-384 */

    { ngx_string("ES384"),
      NGX_LOCKBOX_SELFTEST_EC("P-384",
      "7DpOQVtOGaRWhhgCn0J_pdqai8SukuAuBqrlKGswDGTe-PDqkFWGYGSiVFFUgLwT",
      "gBXZty19VyROqO-awMYhiWcIpZNn-d-59UyoSz8cnbEoiyMcOuDU_nNE_SUzJkcg"),
      ngx_string("sample"),
      ngx_string(
      "lO27kqXsuKrUc25WxpGRaz-IFAZmzp-nPWTE6pWtEzyBpkgVLkSs-W423R6A-r5Gme9K"
      "6xXxeM6h_kDbJgMTjxMOdAoZYkUmIDtjUdCjqU-jKcFFeG5nnnuCxxo4YorI") },

    /* RFC 7515 appendix A.4 */

    { ngx_string("ES512"),
      NGX_LOCKBOX_SELFTEST_EC("P-521",
      "AekpBQ8ST8a8VcfVOTNl353vSrDCLLJXmPk06wTjxrrjcBpXp5EOnYG_NjFZ6OvLFV1j"
      "SfS9tsz4qUxcWceqwQGk",
      "ADSmRA43Z1DSNx_RvcLI87cdL07l6jQyyBXMoxVg_l2Th-x3S1WDhjDly79ajL4Kkd0A"
      "ZMaZmh9ubmf63e3kyMj2"),
      ngx_string("eyJhbGciOiJFUzUxMiJ9.UGF5bG9hZA"),
      ngx_string(
      "AdwMgeerwtHoh-l192l60hp9wAHZFVJbLfD_UxMi70cwnZOYaRI1bKPWROc-mZZqwqT2"
      "SI-KGDKB34XO0aw_7XdtAG8GaSwFKdCAPZgoXD2YBJZCPEX3xKpRwcdOO8KpEHwJjyqO"
      "gzDO7iKvU8vcnwNrmxYbSW9ERBXukOXolLzeO_Jn") },

    { ngx_null_string, ngx_null_string, ngx_null_string, ngx_null_string }
};


ngx_int_t
ngx_lockbox_selftest(ngx_pool_t *pool, const ngx_lockbox_jwks_t *keys,
    ngx_uint_t private, const ngx_lockbox_key_t **failed, const char **err)
{
    ngx_uint_t                i, j;
    const ngx_lockbox_key_t  *key;

    key = keys->elts;

    for (i = 0; i < keys->nelts; i++) {
        *failed = &key[i];
        *err = NULL;

        for (j = 0; j < i; j++) {
            if (key[j].alg == key[i].alg) {
                break;
            }
        }

        if (j == i) {
            *err = ngx_lockbox_selftest_known(pool, key[i].alg);
        }

        if (*err == NULL) {
            *err = ngx_lockbox_selftest_wrong(&key[i]);
        }

        if (*err == NULL && private) {
            *err = ngx_lockbox_selftest_private(pool, &key[i]);
        }

        if (*err != NULL) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


ngx_uint_t
ngx_lockbox_selftest_any(ngx_pool_t *pool)
{
    ngx_lockbox_key_t                     key;
    const ngx_lockbox_selftest_vector_t  *vector;

    for (vector = ngx_lockbox_selftest_vectors; vector->alg.len; vector++) {
        if (ngx_lockbox_selftest_key(pool, vector, &key) == NGX_OK
            && ngx_lockbox_selftest_known(pool, key.alg) == NULL)
        {
            return 1;
        }
    }

    return 0;
}


/* NULL if the known answer of the algorithm comes out, or what is wrong. */

static const char *
ngx_lockbox_selftest_known(ngx_pool_t *pool, const ngx_lockbox_alg_t *alg)
{
    ngx_str_t                             signature;
    ngx_lockbox_key_t                     key;
    const ngx_lockbox_selftest_vector_t  *vector;

    for (vector = ngx_lockbox_selftest_vectors; vector->alg.len; vector++) {
        if (ngx_lockbox_text_same(&vector->alg, &alg->name)) {
            break;
        }
    }

    if (vector->alg.len == 0
        || ngx_lockbox_selftest_key(pool, vector, &key) != NGX_OK
        || ngx_lockbox_base64url_decode(pool, &vector->signature, &signature)
           != NGX_OK)
    {
        return "has an algorithm whose known answer cannot be tested";
    }

    /* what is proven is how the key at hand will be used */
    key.alg = alg;

    if (!ngx_lockbox_jwks_verify(&key, &vector->text, &signature)) {
        return "has an algorithm that does not give its known answer";
    }

    return ngx_lockbox_selftest_bits(pool, &key, &vector->text, &signature);
}


static ngx_int_t
ngx_lockbox_selftest_key(ngx_pool_t *pool,
    const ngx_lockbox_selftest_vector_t *vector, ngx_lockbox_key_t *key)
{
    const char          *err;
    ngx_lockbox_jwks_t   keys;

    if (ngx_array_init(&keys, pool, 1, sizeof(ngx_lockbox_key_t)) != NGX_OK
        || ngx_lockbox_jwks_parse(pool, &vector->set, &keys, &err) != NGX_OK)
    {
        return NGX_ERROR;
    }

    *key = *(ngx_lockbox_key_t *) keys.elts;

    return NGX_OK;
}


/*
 * Nobody here can sign for a public key, but everybody can write a number as
 * long as a signature: 2, or r = s = 2.  It has to be judged, and wrong.
 */

static const char *
ngx_lockbox_selftest_wrong(const ngx_lockbox_key_t *key)
{
    u_char     number[NGX_LOCKBOX_SELFTEST_MAX];
    size_t     field;
    ngx_str_t  text, signature;

    field = key->alg->field;

    ngx_memzero(number, sizeof(number));

    signature.data = number;
    signature.len = field != 0 ? 2 * field
                               : (size_t) EVP_PKEY_get_size(key->pkey);

    if (signature.len == 0 || signature.len > sizeof(number)) {
        return "has no signatures of a known length";
    }

    number[signature.len - 1] = 2;

    if (field != 0) {
        number[field - 1] = 2;
    }

    ngx_str_set(&text, NGX_LOCKBOX_SELFTEST_TEXT);

    switch (ngx_lockbox_jwks_check(key, &text, &signature)) {

    case NGX_OK:
        return "takes a wrong signature for a right one";

    case NGX_DECLINED:
        return field != 0 || ngx_lockbox_selftest_computes(key, &signature)
               ? NULL : "cannot verify any signature";

    default:
        return "cannot verify any signature";
    }
}


/*
 * OpenSSL tells a wrong RSA signature and an RSA key that it cannot compute
 * with, such as one with an even modulus, by the same answer; so the public
 * operation (RFC 8017 section 5.2.2) must succeed alone, too.
 */

static ngx_uint_t
ngx_lockbox_selftest_computes(const ngx_lockbox_key_t *key,
    const ngx_str_t *signature)
{
    int            good;
    u_char         message[NGX_LOCKBOX_SELFTEST_MAX];
    size_t         len;
    EVP_PKEY_CTX  *ctx;

    len = sizeof(message);
    ctx = EVP_PKEY_CTX_new_from_pkey(NULL, key->pkey, NULL);

    good = ctx != NULL
           && EVP_PKEY_verify_recover_init(ctx) == 1
           && EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_NO_PADDING) == 1
           && EVP_PKEY_verify_recover(ctx, message, &len, signature->data,
                                      signature->len) == 1;

    EVP_PKEY_CTX_free(ctx);

    if (!good) {
        ERR_clear_error();
    }

    return (ngx_uint_t) good;
}


static const char *
ngx_lockbox_selftest_private(ngx_pool_t *pool, const ngx_lockbox_key_t *key)
{
    ngx_str_t  text, signature;

    ngx_str_set(&text, NGX_LOCKBOX_SELFTEST_TEXT);

    if (ngx_lockbox_jwks_sign(pool, key, &text, &signature) != NGX_OK) {
        return "cannot sign";
    }

    if (!ngx_lockbox_jwks_verify(key, &text, &signature)) {
        return "does not verify what it has signed";
    }

    return ngx_lockbox_selftest_bits(pool, key, &text, &signature);
}


/* A signature that verifies must no longer do so after any change. */

static const char *
ngx_lockbox_selftest_bits(ngx_pool_t *pool, const ngx_lockbox_key_t *key,
    const ngx_str_t *text, const ngx_str_t *signature)
{
    ngx_str_t  changed;

    changed = *signature;
    changed.data = ngx_pstrdup(pool, &changed);

    if (changed.data == NULL) {
        return "cannot be tested without memory";
    }

    changed.data[changed.len - 1] ^= 1;

    if (ngx_lockbox_jwks_check(key, text, &changed) != NGX_DECLINED) {
        return "does not refuse a signature with a changed bit";
    }

    changed = *text;
    changed.data = ngx_pstrdup(pool, &changed);

    if (changed.data == NULL) {
        return "cannot be tested without memory";
    }

    changed.data[changed.len - 1] ^= 1;

    if (ngx_lockbox_jwks_check(key, &changed, signature) != NGX_DECLINED) {
        return "does not refuse a text with a changed bit";
    }

    return NULL;
}
