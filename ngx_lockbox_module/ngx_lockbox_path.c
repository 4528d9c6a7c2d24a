/*
 * One spelling of a path: what is judged is what the upstream will read.
 */

#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_lockbox_path.h"


#define NGX_LOCKBOX_PATH_MAX       1024

#define NGX_LOCKBOX_CODE_POINTS    0x110000
#define NGX_LOCKBOX_NO_CODE_POINT  NGX_MAX_UINT32_VALUE


/* One form of a UTF-8 sequence (RFC 3629 section 3). */
typedef struct {
    u_char      mask;       /* of the first byte */
    u_char      lead;       /* what the first byte is under the mask */
    u_char      tail;       /* how many bytes follow */
    uint32_t    min;        /* less is overlong */
} ngx_lockbox_path_utf8_t;


typedef struct {
    uint32_t    first;
    uint32_t    last;
} ngx_lockbox_path_range_t;


static ngx_uint_t ngx_lockbox_path_segment(const u_char *p,
    const u_char *last);
static ngx_uint_t ngx_lockbox_path_ascii(u_char c);
static ngx_uint_t ngx_lockbox_path_beyond(uint32_t code);
static uint32_t ngx_lockbox_path_decode(const u_char **pos,
    const u_char *last);
static u_char ngx_lockbox_path_unescape(const u_char **pos,
    const u_char *last);
static ngx_uint_t ngx_lockbox_path_unreserved(u_char c);
static ngx_uint_t ngx_lockbox_path_delimiter(u_char c);


static const ngx_lockbox_path_utf8_t  ngx_lockbox_path_utf8[] = {
    { 0xe0, 0xc0, 1, 0x80 },
    { 0xf0, 0xe0, 2, 0x800 },
    { 0xf8, 0xf0, 3, 0x10000 }
};

#define NGX_LOCKBOX_PATH_FORMS                                                \
    (sizeof(ngx_lockbox_path_utf8) / sizeof(ngx_lockbox_path_utf8[0]))


/*
 * In order: C1 controls, surrogates, and every code point whose NFKC form has
 * a '.', '/', '\\', '%', ';', '#' or '?', which an upstream that normalises
 * would read as such.  The last kind is what the data of Unicode 14 say, where
 * the normalisation of an assigned code point never changes; in Python:
 *
 *     [c for c in range(0x80, 0x110000)
 *      if set(unicodedata.normalize("NFKC", chr(c))) & set("./\\%;#?")]
 */

static const ngx_lockbox_path_range_t  ngx_lockbox_path_refused[] = {
    { 0x0080, 0x009f },     /* C1 controls */
    { 0x037e, 0x037e },     /* Greek question mark: ; */
    { 0x2024, 0x2026 },     /* dot leaders, ellipsis: . */
    { 0x2047, 0x2049 },     /* double question mark and the like: ? */
    { 0x2100, 0x2101 },     /* account of, addressed to: / */
    { 0x2105, 0x2106 },     /* care of, cada una: / */
    { 0x2488, 0x249b },     /* digit one to number twenty with full stop: . */
    { 0x33c2, 0x33c2 },     /* square a.m. */
    { 0x33c7, 0x33c7 },     /* square Co. */
    { 0x33d8, 0x33d8 },     /* square p.m. */
    { 0xd800, 0xdfff },     /* surrogates */
    { 0xfe14, 0xfe14 },     /* vertical semicolon */
    { 0xfe16, 0xfe16 },     /* vertical question mark */
    { 0xfe19, 0xfe19 },     /* vertical ellipsis: . */
    { 0xfe30, 0xfe30 },     /* vertical two dot leader: . */
    { 0xfe52, 0xfe52 },     /* small full stop */
    { 0xfe54, 0xfe54 },     /* small semicolon */
    { 0xfe56, 0xfe56 },     /* small question mark */
    { 0xfe5f, 0xfe5f },     /* small number sign */
    { 0xfe68, 0xfe68 },     /* small reverse solidus */
    { 0xfe6a, 0xfe6a },     /* small percent sign */
    { 0xff03, 0xff03 },     /* fullwidth number sign */
    { 0xff05, 0xff05 },     /* fullwidth percent sign */
    { 0xff0e, 0xff0f },     /* fullwidth full stop, solidus */
    { 0xff1b, 0xff1b },     /* fullwidth semicolon */
    { 0xff1f, 0xff1f },     /* fullwidth question mark */
    { 0xff3c, 0xff3c },     /* fullwidth reverse solidus */
    { 0x1f100, 0x1f100 },   /* digit zero with full stop */

    /* what is no code point at all; it ends the search, too */
    { NGX_LOCKBOX_CODE_POINTS, NGX_LOCKBOX_NO_CODE_POINT }
};


ngx_uint_t
ngx_lockbox_path_canonical(const ngx_str_t *path)
{
    const u_char  *p, *last;

    if (path->len == 0 || path->len > NGX_LOCKBOX_PATH_MAX
        || path->data[0] != '/')
    {
        return 0;
    }

    p = path->data;
    last = p + path->len;

    while (p < last) {

        if (*p >= 0x80) {
            if (!ngx_lockbox_path_beyond(ngx_lockbox_path_decode(&p, last))) {
                return 0;
            }

            continue;
        }

        if (!ngx_lockbox_path_ascii(*p)) {
            return 0;
        }

        if (*p++ == '/' && !ngx_lockbox_path_segment(p, last)) {
            return 0;
        }
    }

    return 1;
}


/*
 * 1 if the segment that begins at "p" says where it is: not "." or "..", and
 * empty only at the end of the path.
 */

static ngx_uint_t
ngx_lockbox_path_segment(const u_char *p, const u_char *last)
{
    const u_char  *start;

    start = p;

    while (p < last && *p == '.') {
        p++;
    }

    if (p < last && *p != '/') {
        return 1;
    }

    switch (p - start) {

    case 0:
        return p == last;

    case 1:
    case 2:
        return 0;

    default:
        return 1;
    }
}


static ngx_uint_t
ngx_lockbox_path_ascii(u_char c)
{
    switch (c) {

    case '\\':
    case '%':
    case ';':
    case '#':
    case '?':
    case 0x7f:
        return 0;

    default:
        return c >= 0x20;
    }
}


static ngx_uint_t
ngx_lockbox_path_beyond(uint32_t code)
{
    const ngx_lockbox_path_range_t  *range;

    range = ngx_lockbox_path_refused;

    while (code > range->last) {
        range++;
    }

    return code < range->first;
}


/*
 * The code point of the sequence at "pos", which is then moved behind it;
 * NGX_LOCKBOX_NO_CODE_POINT if the sequence is cut, overlong, or none.
 */

static uint32_t
ngx_lockbox_path_decode(const u_char **pos, const u_char *last)
{
    size_t                          i;
    uint32_t                        code;
    const u_char                   *p, *end;
    const ngx_lockbox_path_utf8_t  *form;

    p = *pos;

    for (i = 0; i < NGX_LOCKBOX_PATH_FORMS; i++) {
        if ((*p & ngx_lockbox_path_utf8[i].mask)
            == ngx_lockbox_path_utf8[i].lead)
        {
            break;
        }
    }

    if (i == NGX_LOCKBOX_PATH_FORMS) {
        return NGX_LOCKBOX_NO_CODE_POINT;
    }

    form = &ngx_lockbox_path_utf8[i];

    if (last - p <= form->tail) {
        return NGX_LOCKBOX_NO_CODE_POINT;
    }

    code = *p++ & (u_char) ~form->mask;
    end = p + form->tail;

    while (p < end) {

        if ((*p & 0xc0) != 0x80) {
            return NGX_LOCKBOX_NO_CODE_POINT;
        }

        code = code << 6 | (*p++ & 0x3f);
    }

    *pos = p;

    return code < form->min ? NGX_LOCKBOX_NO_CODE_POINT : code;
}


ngx_uint_t
ngx_lockbox_path_spelt(const ngx_str_t *target, const ngx_str_t *path)
{
    u_char         c;
    size_t         i;
    const u_char  *p, *last;

    p = target->data;
    last = p + target->len;

    for (i = 0; i < path->len; i++) {

        if (p == last || *p >= 0x7f) {
            return 0;
        }

        c = *p++;

        if (c == '%') {
            c = ngx_lockbox_path_unescape(&p, last);
        }

        if (c != path->data[i]) {
            return 0;
        }
    }

    return p == last || *p == '?';
}


/*
 * What the two digits at "pos" stand for, which is then moved behind them; 0,
 * which no canonical path has, if they are none or need not be there.
 */

static u_char
ngx_lockbox_path_unescape(const u_char **pos, const u_char *last)
{
    u_char     c;
    ngx_int_t  value;

    if (last - *pos < 2) {
        return 0;
    }

    value = ngx_hextoi((u_char *) *pos, 2);
    *pos += 2;

    if (value == NGX_ERROR) {
        return 0;
    }

    c = (u_char) value;

    return c == '/' || ngx_lockbox_path_unreserved(c) ? 0 : c;
}


/* RFC 3986 section 2.3 */

static ngx_uint_t
ngx_lockbox_path_unreserved(u_char c)
{
    return (c >= 'a' && c <= 'z')
           || (c >= 'A' && c <= 'Z')
           || (c >= '0' && c <= '9')
           || c == '-' || c == '.' || c == '_' || c == '~';
}


ngx_uint_t
ngx_lockbox_path_authority(const ngx_str_t *target, const ngx_str_t *host)
{
    size_t  i, len;

    for (len = 0; len < target->len; len++) {
        if (ngx_lockbox_path_delimiter(target->data[len])) {
            break;
        }
    }

    if (len == 0 || len != host->len) {
        return 0;
    }

    for (i = 0; i < len; i++) {
        if (ngx_tolower(target->data[i]) != ngx_tolower(host->data[i])) {
            return 0;
        }
    }

    return 1;
}


/* RFC 3986 section 3.2, and the blank behind a target. */

static ngx_uint_t
ngx_lockbox_path_delimiter(u_char c)
{
    return c == '/' || c == '?' || c == '#' || c == ' ';
}


ngx_uint_t
ngx_lockbox_path_covers(const ngx_str_t *prefix, const ngx_str_t *path)
{
    if (prefix->len == 0 || path->len < prefix->len
        || ngx_memcmp(path->data, prefix->data, prefix->len) != 0)
    {
        return 0;
    }

    return path->len == prefix->len
           || path->data[prefix->len] == '/'
           || prefix->data[prefix->len - 1] == '/';
}
