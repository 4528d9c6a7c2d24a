/*
 * Characters of texts that people read.
 */

#include "ngx_lockbox_unicode.h"


/*
 * Code points that a terminal or a browser acts on instead of showing: C1
 * controls, soft hyphen, Arabic letter mark, zero-width and bidirectional
 * marks, embeddings, isolates, invisible operators, line and paragraph
 * separators, variation selectors, byte order mark, interlinear annotations,
 * shorthand and musical format controls, tags.
 */

typedef struct {
    uint32_t  first;
    uint32_t  last;
} ngx_lockbox_range_t;


static const ngx_lockbox_range_t  ngx_lockbox_unicode_ranges[] = {
    { 0x007f, 0x009f }, { 0x00ad, 0x00ad }, { 0x034f, 0x034f },
    { 0x061c, 0x061c }, { 0x115f, 0x1160 }, { 0x17b4, 0x17b5 },
    { 0x180b, 0x180f }, { 0x200b, 0x200f }, { 0x2028, 0x202e },
    { 0x2060, 0x206f }, { 0x3164, 0x3164 }, { 0xfe00, 0xfe0f },
    { 0xfeff, 0xfeff }, { 0xffa0, 0xffa0 }, { 0xfff0, 0xfffb },
    { 0x1bca0, 0x1bca3 }, { 0x1d173, 0x1d17a }, { 0xe0000, 0xe0fff },
    { 0, 0 }
};


size_t
ngx_lockbox_unicode_decode(const u_char *s, const u_char *end, uint32_t *code)
{
    size_t    i, n;
    uint32_t  u, min;

    u = *s;

    if (u < 0x80) {
        *code = u;
        return 1;
    }

    if (u >= 0xc2 && u <= 0xdf) {
        n = 2;
        min = 0x80;
        u &= 0x1f;

    } else if (u >= 0xe0 && u <= 0xef) {
        n = 3;
        min = 0x800;
        u &= 0x0f;

    } else if (u >= 0xf0 && u <= 0xf4) {
        n = 4;
        min = 0x10000;
        u &= 0x07;

    } else {
        *code = NGX_LOCKBOX_UNICODE_NONE;
        return 1;
    }

    if ((size_t) (end - s) < n) {
        *code = NGX_LOCKBOX_UNICODE_NONE;
        return 1;
    }

    for (i = 1; i < n; i++) {
        if ((s[i] & 0xc0) != 0x80) {
            *code = NGX_LOCKBOX_UNICODE_NONE;
            return 1;
        }

        u = (u << 6) | (s[i] & 0x3f);
    }

    if (u < min || u > 0x10ffff || (u >= 0xd800 && u <= 0xdfff)) {
        *code = NGX_LOCKBOX_UNICODE_NONE;
        return 1;
    }

    *code = u;

    return n;
}


ngx_uint_t
ngx_lockbox_unicode_hidden(uint32_t code)
{
    const ngx_lockbox_range_t  *range;

    for (range = ngx_lockbox_unicode_ranges; range->last != 0; range++) {
        if (code >= range->first && code <= range->last) {
            return 1;
        }
    }

    return 0;
}
