/*
 * Base64url without padding (RFC 4648 section 5), in its one canonical form.
 * nginx's own decoder skips the check of unused bits and takes either
 * alphabet's length rules, which gives one token several spellings.
 */

#include <ngx_config.h>
#include <ngx_core.h>

#include <openssl/evp.h>

#include "ngx_lockbox_base64url.h"


#define NGX_LOCKBOX_BASE64URL_BAD  0xff


static u_char ngx_lockbox_base64url_value(u_char c);


void
ngx_lockbox_base64url_encode(ngx_str_t *dst, const u_char *src, size_t len)
{
    u_char               *p;
    size_t                i;
    uint32_t              acc;
    ngx_uint_t            bits;
    static const u_char   alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

    p = dst->data;
    acc = 0;
    bits = 0;

    for (i = 0; i < len; i++) {
        acc = (acc << 8 | src[i]) & 0xffff;
        bits += 8;

        while (bits >= 6) {
            bits -= 6;
            *p++ = alphabet[acc >> bits & 0x3f];
        }
    }

    if (bits) {
        *p++ = alphabet[acc << (6 - bits) & 0x3f];
    }

    dst->len = p - dst->data;
}


ngx_int_t
ngx_lockbox_base64url_decode(ngx_pool_t *pool, const ngx_str_t *src,
    ngx_str_t *dst)
{
    u_char      *p, *data, value;
    size_t       i;
    uint32_t     acc;
    ngx_uint_t   bits;

    if (src->len % 4 == 1) {
        return NGX_DECLINED;
    }

    data = ngx_pnalloc(pool, src->len / 4 * 3 + src->len % 4 + 1);
    if (data == NULL) {
        return NGX_ERROR;
    }

    p = data;
    acc = 0;
    bits = 0;

    for (i = 0; i < src->len; i++) {
        value = ngx_lockbox_base64url_value(src->data[i]);

        if (value == NGX_LOCKBOX_BASE64URL_BAD) {
            return NGX_DECLINED;
        }

        acc = (acc << 6 | value) & 0xffff;
        bits += 6;

        if (bits >= 8) {
            bits -= 8;
            *p++ = (u_char) (acc >> bits);
        }
    }

    /* set bits here would be a second spelling of the same bytes */

    if (acc & ((1U << bits) - 1)) {
        return NGX_DECLINED;
    }

    *p = '\0';

    dst->data = data;
    dst->len = p - data;

    return NGX_OK;
}


ngx_int_t
ngx_lockbox_base64url_sha256(ngx_pool_t *pool, const ngx_str_t *text,
    ngx_str_t *dst)
{
    u_char        md[EVP_MAX_MD_SIZE];
    unsigned int  len;

    if (EVP_Digest(text->data, text->len, md, &len, EVP_sha256(), NULL) != 1) {
        return NGX_ERROR;
    }

    dst->data = ngx_pnalloc(pool, ngx_lockbox_base64url_len(len));
    if (dst->data == NULL) {
        return NGX_ERROR;
    }

    ngx_lockbox_base64url_encode(dst, md, len);

    return NGX_OK;
}


static u_char
ngx_lockbox_base64url_value(u_char c)
{
    if (c >= 'A' && c <= 'Z') {
        return c - 'A';
    }

    if (c >= 'a' && c <= 'z') {
        return c - 'a' + 26;
    }

    if (c >= '0' && c <= '9') {
        return c - '0' + 52;
    }

    switch (c) {

    case '-':
        return 62;

    case '_':
        return 63;

    default:
        return NGX_LOCKBOX_BASE64URL_BAD;
    }
}
