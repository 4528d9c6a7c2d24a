/*
 * The names and identifiers that everything else is built from.
 */

#include <ngx_config.h>
#include <ngx_core.h>

#include <openssl/rand.h>

#include "ngx_lockbox_name.h"


#define NGX_LOCKBOX_TENANT_MAX  64
#define NGX_LOCKBOX_NAME_MAX    64
#define NGX_LOCKBOX_METHOD_MAX  32


static ngx_int_t ngx_lockbox_random(ngx_lockbox_random_t *stock, u_char *raw,
    size_t len);
static ngx_uint_t ngx_lockbox_name_listed(const ngx_str_t *text,
    const ngx_str_t *names);
static ngx_uint_t ngx_lockbox_name_lower(u_char c);
static ngx_uint_t ngx_lockbox_name_upper(u_char c);
static ngx_uint_t ngx_lockbox_name_digit(u_char c);
static ngx_uint_t ngx_lockbox_name_mark(u_char c);
static ngx_uint_t ngx_lockbox_name_hex(u_char c);


static const ngx_str_t  ngx_lockbox_dot_segments[] = {
    ngx_string("."),
    ngx_string(".."),
    ngx_null_string
};


static const ngx_str_t  ngx_lockbox_unlisted_methods[] = {
    ngx_string("CONNECT"),
    ngx_string("HEAD"),
    ngx_string("TRACE"),
    ngx_null_string
};


/* RFC 9562 section 5.7: 'x' any digit, 'v' a digit of the variant 10. */
static const u_char  ngx_lockbox_id_form[] =
    "xxxxxxxx-xxxx-7xxx-vxxx-xxxxxxxxxxxx";


ngx_uint_t
ngx_lockbox_name_same(const ngx_str_t *a, const ngx_str_t *b)
{
    /* an empty text may have no data, which memcmp() must not be given */

    return a->len == b->len
           && (a->len == 0 || ngx_memcmp(a->data, b->data, a->len) == 0);
}


ngx_uint_t
ngx_lockbox_tenant_valid(const ngx_str_t *text)
{
    u_char  c;
    size_t  i;

    if (text->len == 0 || text->len > NGX_LOCKBOX_TENANT_MAX) {
        return 0;
    }

    for (i = 0; i < text->len; i++) {
        c = text->data[i];

        if (!ngx_lockbox_name_lower(c) && !ngx_lockbox_name_upper(c)
            && !ngx_lockbox_name_digit(c) && !ngx_lockbox_name_mark(c))
        {
            return 0;
        }
    }

    return !ngx_lockbox_name_listed(text, ngx_lockbox_dot_segments);
}


ngx_uint_t
ngx_lockbox_name_valid(const ngx_str_t *text)
{
    u_char  c;
    size_t  i;

    if (text->len == 0 || text->len > NGX_LOCKBOX_NAME_MAX
        || ngx_lockbox_name_mark(text->data[0]))
    {
        return 0;
    }

    for (i = 0; i < text->len; i++) {
        c = text->data[i];

        if (!ngx_lockbox_name_lower(c) && !ngx_lockbox_name_digit(c)
            && !ngx_lockbox_name_mark(c))
        {
            return 0;
        }
    }

    return 1;
}


ngx_uint_t
ngx_lockbox_method_valid(const ngx_str_t *text)
{
    u_char  c;
    size_t  i;

    if (text->len == 0 || text->len > NGX_LOCKBOX_METHOD_MAX) {
        return 0;
    }

    for (i = 0; i < text->len; i++) {
        c = text->data[i];

        if (!ngx_lockbox_name_upper(c) && c != '-' && c != '_') {
            return 0;
        }
    }

    return !ngx_lockbox_name_listed(text, ngx_lockbox_unlisted_methods);
}


ngx_uint_t
ngx_lockbox_id_valid(const ngx_str_t *text)
{
    u_char      c;
    size_t      i;
    ngx_uint_t  good;

    if (text->len != NGX_LOCKBOX_ID_LEN) {
        return 0;
    }

    for (i = 0; i < NGX_LOCKBOX_ID_LEN; i++) {
        c = text->data[i];

        switch (ngx_lockbox_id_form[i]) {

        case 'x':
            good = ngx_lockbox_name_hex(c);
            break;

        case 'v':
            good = (c == '8' || c == '9' || c == 'a' || c == 'b');
            break;

        default:
            good = (c == ngx_lockbox_id_form[i]);
        }

        if (!good) {
            return 0;
        }
    }

    return 1;
}


ngx_int_t
ngx_lockbox_id_create(u_char *id, uint64_t msec, ngx_lockbox_random_t *stock)
{
    u_char               raw[16];
    size_t               i;
    static const u_char  hex[] = "0123456789abcdef";

    if (ngx_lockbox_random(stock, raw, sizeof(raw)) != NGX_OK) {
        return NGX_ERROR;
    }

    for (i = 0; i < 6; i++) {
        raw[i] = (u_char) (msec >> (40 - 8 * i));
    }

    raw[6] = (u_char) (0x70 | (raw[6] & 0x0f));
    raw[8] = (u_char) (0x80 | (raw[8] & 0x3f));

    for (i = 0; i < sizeof(raw); i++) {
        *id++ = hex[raw[i] >> 4];
        *id++ = hex[raw[i] & 0x0f];

        if (i == 3 || i == 5 || i == 7 || i == 9) {
            *id++ = '-';
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_lockbox_random(ngx_lockbox_random_t *stock, u_char *raw, size_t len)
{
    if (stock == NULL) {
        return RAND_bytes(raw, (int) len) == 1 ? NGX_OK : NGX_ERROR;
    }

    if (stock->left < len) {
        stock->left = 0;

        if (RAND_bytes(stock->bytes, sizeof(stock->bytes)) != 1) {
            return NGX_ERROR;
        }

        stock->left = sizeof(stock->bytes);
    }

    stock->left -= len;
    ngx_memcpy(raw, stock->bytes + stock->left, len);

    return NGX_OK;
}


static ngx_uint_t
ngx_lockbox_name_listed(const ngx_str_t *text, const ngx_str_t *names)
{
    for ( /* void */ ; names->len; names++) {
        if (ngx_lockbox_name_same(text, names)) {
            return 1;
        }
    }

    return 0;
}


static ngx_uint_t
ngx_lockbox_name_lower(u_char c)
{
    return c >= 'a' && c <= 'z';
}


static ngx_uint_t
ngx_lockbox_name_upper(u_char c)
{
    return c >= 'A' && c <= 'Z';
}


static ngx_uint_t
ngx_lockbox_name_digit(u_char c)
{
    return c >= '0' && c <= '9';
}


static ngx_uint_t
ngx_lockbox_name_mark(u_char c)
{
    return c == '.' || c == '_' || c == '-';
}


static ngx_uint_t
ngx_lockbox_name_hex(u_char c)
{
    return ngx_lockbox_name_digit(c) || (c >= 'a' && c <= 'f');
}
