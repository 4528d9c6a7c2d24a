/*
 * Keys, and tokens signed with them whatever they say.
 */

#ifndef _JOSE_H_INCLUDED_
#define _JOSE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include "ngx_lockbox_base64url.h"
#include "ngx_lockbox_jwks.h"
#include "ngx_shim.h"


__attribute__((unused))
static EVP_PKEY *
jose_load(const char *path)
{
    FILE      *file;
    EVP_PKEY  *pkey;

    file = fopen(path, "r");
    if (file == NULL) {
        return NULL;
    }

    pkey = PEM_read_PrivateKey(file, NULL, NULL, NULL);

    (void) fclose(file);
    ERR_clear_error();

    return pkey;
}


/* Others may do the same at the same time: what has the name is a whole key. */

__attribute__((unused))
static void
jose_save(const char *path, EVP_PKEY *pkey)
{
    int    good;
    char   temporary[NGX_MAX_PATH + 32];
    FILE  *file;

    (void) snprintf(temporary, sizeof(temporary), "%s.%d", path,
                    (int) getpid());

    file = fopen(temporary, "w");
    if (file == NULL) {
        return;
    }

    good = PEM_write_PrivateKey(file, pkey, NULL, NULL, 0, NULL, NULL);
    good &= fclose(file) == 0;

    if (!good || rename(temporary, path) != 0) {
        (void) unlink(temporary);
    }
}


/*
 * RSA keys take long to make: each that a program asks for is kept in the
 * directory LOCKBOX_KEYS, if there is one, for the next run.
 */

__attribute__((unused))
static EVP_PKEY *
jose_rsa(unsigned int bits)
{
    char                 path[NGX_MAX_PATH];
    EVP_PKEY            *pkey;
    const char          *keys;
    static unsigned int  n;

    keys = getenv("LOCKBOX_KEYS");
    if (keys == NULL) {
        return EVP_RSA_gen(bits);
    }

    (void) snprintf(path, sizeof(path), "%s/rsa-%u-%u.pem", keys, bits, ++n);

    pkey = jose_load(path);
    if (pkey == NULL) {
        pkey = EVP_RSA_gen(bits);
        jose_save(path, pkey);
    }

    return pkey;
}


/* Another key each time: "RSA" and its bits, or an elliptic curve and 0. */

__attribute__((unused))
static EVP_PKEY *
jose_pkey(const char *type, unsigned int bits)
{
    EVP_PKEY  *pkey;

    pkey = bits ? jose_rsa(bits) : EVP_EC_gen(type);
    if (pkey == NULL) {
        abort();
    }

    return pkey;
}


/* The private or the public half in PEM, in pool memory. */

__attribute__((unused))
static ngx_str_t
jose_pem(ngx_pool_t *pool, EVP_PKEY *pkey, ngx_uint_t private)
{
    BIO        *bio;
    char       *data;
    long        len;
    ngx_str_t   pem;

    bio = BIO_new(BIO_s_mem());

    if (private) {
        (void) PEM_write_bio_PrivateKey(bio, pkey, NULL, NULL, 0, NULL, NULL);

    } else {
        (void) PEM_write_bio_PUBKEY(bio, pkey);
    }

    len = BIO_get_mem_data(bio, &data);

    pem.len = (size_t) len;
    pem.data = ngx_pnalloc(pool, pem.len);
    ngx_memcpy(pem.data, data, pem.len);

    BIO_free(bio);

    return pem;
}


/* An empty set. */

__attribute__((unused))
static void
jose_set(ngx_pool_t *pool, ngx_lockbox_jwks_t *keys)
{
    if (ngx_array_init(keys, pool, 4, sizeof(ngx_lockbox_key_t)) != NGX_OK) {
        abort();
    }
}


/* Adds the private key, which signs and verifies, and returns its place. */

__attribute__((unused))
static ngx_lockbox_key_t *
jose_add(ngx_pool_t *pool, ngx_lockbox_jwks_t *keys, EVP_PKEY *pkey)
{
    ngx_str_t           pem;
    const char         *err;
    ngx_lockbox_key_t  *key;

    pem = jose_pem(pool, pkey, 1);

    if (ngx_lockbox_jwks_pem(pool, &pem, 1, keys, &err) != NGX_OK) {
        abort();
    }

    key = keys->elts;

    return &key[keys->nelts - 1];
}


__attribute__((unused))
static ngx_str_t
jose_encode(ngx_pool_t *pool, const void *data, size_t len)
{
    ngx_str_t  text;

    text.data = ngx_pnalloc(pool, ngx_lockbox_base64url_len(len) + 1);
    ngx_lockbox_base64url_encode(&text, data, len);

    return text;
}


/* All texts of a NULL-terminated list in a row, in pool memory. */

__attribute__((unused, sentinel))
static ngx_str_t
jose_join(ngx_pool_t *pool, const ngx_str_t *first, ...)
{
    u_char           *p;
    va_list           args;
    ngx_str_t         text;
    const ngx_str_t  *part;

    text.len = 0;

    va_start(args, first);
    for (part = first; part; part = va_arg(args, const ngx_str_t *)) {
        text.len += part->len;
    }
    va_end(args);

    text.data = ngx_pnalloc(pool, text.len + 1);
    p = text.data;

    va_start(args, first);
    for (part = first; part; part = va_arg(args, const ngx_str_t *)) {
        p = part->len ? ngx_cpymem(p, part->data, part->len) : p;
    }
    va_end(args);

    return text;
}


/* A compact JWS of these very segments, which are encoded already. */

__attribute__((unused))
static ngx_str_t
jose_seal(ngx_pool_t *pool, const ngx_lockbox_key_t *key,
    const ngx_str_t *header, const ngx_str_t *payload)
{
    ngx_str_t  input, raw, signature, dot;

    dot = ngx_shim_str(".");
    input = jose_join(pool, header, &dot, payload, NULL);

    if (ngx_lockbox_jwks_sign(pool, key, &input, &raw) != NGX_OK) {
        abort();
    }

    signature = jose_encode(pool, raw.data, raw.len);

    return jose_join(pool, &input, &dot, &signature, NULL);
}


/* A compact JWS of a header and a payload that are C strings. */

__attribute__((unused))
static ngx_str_t
jose_sign(ngx_pool_t *pool, const ngx_lockbox_key_t *key, const char *header,
    const char *payload)
{
    ngx_str_t  head, body;

    head = jose_encode(pool, header, ngx_strlen(header));
    body = jose_encode(pool, payload, ngx_strlen(payload));

    return jose_seal(pool, key, &head, &body);
}


/* Makes its signature another one, which is base64url as well. */

__attribute__((unused))
static void
jose_spoil(ngx_str_t *token)
{
    u_char  *p;

    p = token->data + token->len - 9;
    *p = *p == 'A' ? 'B' : 'A';
}


#endif /* _JOSE_H_INCLUDED_ */
