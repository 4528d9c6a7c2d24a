/*
 * Base64url without padding.  nginx's own decoder ignores unused bits, and
 * whatever follows a '=', which would give one token several spellings.
 */

#include <ngx_config.h>
#include <ngx_core.h>

#include <openssl/evp.h>

#include "ngx_lockbox_base64url.h"


static const u_char  ngx_lockbox_base64url_alphabet[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";


/*
 * The place of each byte in the alphabet, from 1; 0 is none.  What follows
 * ASCII has none.
 */
static const u_char  ngx_lockbox_base64url_places[256] = {
     0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,
     0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,
     0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0, 63,  0,  0,
    53, 54, 55, 56, 57, 58, 59, 60, 61, 62,  0,  0,  0,  0,  0,  0,
     0,  1,  2,  3,  4,  5,  6,  7,  8,  9, 10, 11, 12, 13, 14, 15,
    16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26,  0,  0,  0,  0, 64,
     0, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41,
    42, 43, 44, 45, 46, 47, 48, 49, 50, 51, 52,  0,  0,  0,  0,  0
};


void
ngx_lockbox_base64url_encode(ngx_str_t *dst, const u_char *src, size_t len)
{
    u_char        *p;
    size_t         i;
    uint32_t       acc;
    ngx_uint_t     bits;
    const u_char  *alphabet;

    alphabet = ngx_lockbox_base64url_alphabet;

    p = dst->data;
    acc = 0;
    bits = 0;

    for (i = 0; i < len; i++) {
        acc = acc << 8 | src[i];
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
    u_char      *p, *data, place;
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
        place = ngx_lockbox_base64url_places[src->data[i]];

        if (place == 0) {
            return NGX_DECLINED;
        }

        acc = acc << 6 | (uint32_t) (place - 1);
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
