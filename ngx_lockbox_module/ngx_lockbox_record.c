/*
 * One audit record: a flat JSON object on a line of its own.
 */

#include "ngx_lockbox_record.h"
#include "ngx_lockbox_unicode.h"

#include <openssl/evp.h>


/* 9999-12-31T23:59:59.999Z, the last time with a year of four digits */
#define NGX_LOCKBOX_MSEC_MAX  253402300799999

/* a byte of a text becomes at most "\uXXXX" */
#define NGX_LOCKBOX_ESCAPED   6

#define NGX_LOCKBOX_CUT_LEN                                                   \
    (sizeof("... [18446744073709551615 bytes, sha256 ]") + 64)


static size_t ngx_lockbox_record_bound(const ngx_lockbox_field_t *field);
static u_char *ngx_lockbox_record_field(u_char *p,
    const ngx_lockbox_field_t *field);
static ngx_uint_t ngx_lockbox_record_empty(const ngx_lockbox_field_t *field);
static u_char *ngx_lockbox_record_quote(u_char *p, const ngx_str_t *text);
static u_char *ngx_lockbox_record_escape(u_char *p, const u_char *s,
    const u_char *end);
static ngx_uint_t ngx_lockbox_record_hidden(uint32_t code);
static u_char *ngx_lockbox_record_unicode(u_char *p, uint32_t code);
static u_char *ngx_lockbox_record_cut(u_char *p, const ngx_str_t *text);
static u_char *ngx_lockbox_record_number(u_char *p, int64_t number);
static u_char *ngx_lockbox_record_digits(u_char *p, uint64_t number,
    int width);


ngx_int_t
ngx_lockbox_record_write(ngx_pool_t *pool, const ngx_lockbox_field_t *fields,
    ngx_uint_t n, ngx_str_t *line)
{
    size_t       size;
    u_char      *p;
    ngx_uint_t   i;

    size = sizeof("{}\n");

    for (i = 0; i < n; i++) {
        size += ngx_lockbox_record_bound(&fields[i]);
    }

    p = ngx_pnalloc(pool, size);
    if (p == NULL) {
        return NGX_ERROR;
    }

    line->data = p;
    *p++ = '{';

    for (i = 0; i < n; i++) {
        if (ngx_lockbox_record_empty(&fields[i])) {
            continue;
        }

        if (p != line->data + 1) {
            *p++ = ',';
        }

        p = ngx_lockbox_record_field(p, &fields[i]);
    }

    *p++ = '}';
    *p++ = '\n';

    line->len = (size_t) (p - line->data);

    return NGX_OK;
}


static size_t
ngx_lockbox_record_bound(const ngx_lockbox_field_t *field)
{
    size_t   size;
    int64_t  i, n;

    if (ngx_lockbox_record_empty(field)) {
        return 0;
    }

    size = ngx_strlen(field->name) + sizeof("\"\":[],") + NGX_INT64_LEN
           + NGX_LOCKBOX_TIME_LEN;

    n = field->type == NGX_LOCKBOX_FIELD_TEXT ? 1
        : field->type == NGX_LOCKBOX_FIELD_TEXTS ? field->number : 0;

    for (i = 0; i < n; i++) {
        size += ngx_min(field->text[i].len, NGX_LOCKBOX_RECORD_TEXT_MAX)
                * NGX_LOCKBOX_ESCAPED + NGX_LOCKBOX_CUT_LEN + sizeof("\"\",");
    }

    return size;
}


static ngx_uint_t
ngx_lockbox_record_empty(const ngx_lockbox_field_t *field)
{
    switch (field->type) {
    case NGX_LOCKBOX_FIELD_TEXT:
        return field->text == NULL || field->text->len == 0;
    case NGX_LOCKBOX_FIELD_TEXTS:
        return field->number == 0;
    default:
        return 0;
    }
}


static u_char *
ngx_lockbox_record_field(u_char *p, const ngx_lockbox_field_t *field)
{
    int64_t  i;

    *p++ = '"';
    p = ngx_cpymem(p, field->name, ngx_strlen(field->name));
    *p++ = '"';
    *p++ = ':';

    switch (field->type) {

    case NGX_LOCKBOX_FIELD_TEXT:
        return ngx_lockbox_record_quote(p, field->text);

    case NGX_LOCKBOX_FIELD_INTEGER:
        return ngx_lockbox_record_number(p, field->number);

    case NGX_LOCKBOX_FIELD_TIME:
        *p++ = '"';
        p = ngx_lockbox_record_time(p, field->number);
        *p++ = '"';
        return p;

    default: /* NGX_LOCKBOX_FIELD_TEXTS */
        break;
    }

    *p++ = '[';

    for (i = 0; i < field->number; i++) {
        if (i != 0) {
            *p++ = ',';
        }

        p = ngx_lockbox_record_quote(p, &field->text[i]);
    }

    *p++ = ']';

    return p;
}


static u_char *
ngx_lockbox_record_quote(u_char *p, const ngx_str_t *text)
{
    size_t  len;

    len = ngx_min(text->len, NGX_LOCKBOX_RECORD_TEXT_MAX);

    *p++ = '"';
    p = ngx_lockbox_record_escape(p, text->data, text->data + len);

    if (len != text->len) {
        p = ngx_lockbox_record_cut(p, text);
    }

    *p++ = '"';

    return p;
}


static u_char *
ngx_lockbox_record_escape(u_char *p, const u_char *s, const u_char *end)
{
    size_t         n;
    uint32_t       code;
    const u_char  *plain;

    while (s < end) {

        /* most texts are nothing else */

        for (plain = s;
             s < end && *s >= 0x20 && *s < 0x7f && *s != '"' && *s != '\\';
             s++)
        {
            /* void */
        }

        if (s != plain) {
            p = ngx_cpymem(p, plain, (size_t) (s - plain));
            continue;
        }

        if (*s == '"' || *s == '\\') {
            *p++ = '\\';
            *p++ = *s++;
            continue;
        }

        n = ngx_lockbox_unicode_decode(s, end, &code);

        if (ngx_lockbox_record_hidden(code)) {
            p = ngx_lockbox_record_unicode(p, code);

        } else {
            p = ngx_cpymem(p, s, n);
        }

        s += n;
    }

    return p;
}


/* U+FFFD is written escaped too, so that a wrong byte is never copied. */

static ngx_uint_t
ngx_lockbox_record_hidden(uint32_t code)
{
    return code < 0x20 || code == NGX_LOCKBOX_UNICODE_NONE
           || ngx_lockbox_unicode_hidden(code);
}


/* RFC 8259 section 7: beyond U+FFFF as a pair of surrogates */

static u_char *
ngx_lockbox_record_unicode(u_char *p, uint32_t code)
{
    int                  shift;
    static const u_char  hex[] = "0123456789abcdef";

    if (code > 0xffff) {
        code -= 0x10000;
        p = ngx_lockbox_record_unicode(p, 0xd800 + (code >> 10));
        code = 0xdc00 + (code & 0x3ff);
    }

    *p++ = '\\';
    *p++ = 'u';

    for (shift = 12; shift >= 0; shift -= 4) {
        *p++ = hex[(code >> shift) & 0xf];
    }

    return p;
}


static u_char *
ngx_lockbox_record_cut(u_char *p, const ngx_str_t *text)
{
    u_char               digest[EVP_MAX_MD_SIZE];
    unsigned int         i, len;
    static const u_char  hex[] = "0123456789abcdef";

    len = 0;

    if (EVP_Digest(text->data, text->len, digest, &len, EVP_sha256(), NULL)
        != 1)
    {
        len = 0;
    }

    p = ngx_cpymem(p, "... [", sizeof("... [") - 1);
    p = ngx_lockbox_record_number(p, (int64_t) text->len);
    p = ngx_cpymem(p, " bytes, sha256 ", sizeof(" bytes, sha256 ") - 1);

    for (i = 0; i < len; i++) {
        *p++ = hex[digest[i] >> 4];
        *p++ = hex[digest[i] & 0xf];
    }

    *p++ = ']';

    return p;
}


u_char *
ngx_lockbox_record_time(u_char *p, int64_t msec)
{
    int64_t   days, secs, year, yday, era;
    uint64_t  month, day;

    msec = ngx_max(msec, 0);
    msec = ngx_min(msec, NGX_LOCKBOX_MSEC_MAX);

    secs = msec / 1000;
    days = secs / 86400;
    secs %= 86400;

    /*
     * Civil date from the number of days: years that begin in March have
     * their leap day last, and a month's length follows from a line of slope
     * 153 / 5.
     */

    days += 719468;
    era = days / 146097;
    days -= era * 146097;
    year = (days - days / 1460 + days / 36524 - days / 146096) / 365;
    yday = days - (365 * year + year / 4 - year / 100);
    month = (uint64_t) (5 * yday + 2) / 153;
    day = (uint64_t) yday - (153 * month + 2) / 5 + 1;
    month = month < 10 ? month + 3 : month - 9;
    year += era * 400 + (month <= 2);

    p = ngx_lockbox_record_digits(p, (uint64_t) year, 4);
    *p++ = '-';
    p = ngx_lockbox_record_digits(p, month, 2);
    *p++ = '-';
    p = ngx_lockbox_record_digits(p, day, 2);
    *p++ = 'T';
    p = ngx_lockbox_record_digits(p, (uint64_t) secs / 3600, 2);
    *p++ = ':';
    p = ngx_lockbox_record_digits(p, (uint64_t) secs / 60 % 60, 2);
    *p++ = ':';
    p = ngx_lockbox_record_digits(p, (uint64_t) secs % 60, 2);
    *p++ = '.';
    p = ngx_lockbox_record_digits(p, (uint64_t) (msec % 1000), 3);
    *p++ = 'Z';

    return p;
}


static u_char *
ngx_lockbox_record_number(u_char *p, int64_t number)
{
    int       width;
    uint64_t  rest, value;

    value = (uint64_t) number;

    if (number < 0) {
        *p++ = '-';
        value = -value;
    }

    for (width = 1, rest = value; rest > 9; rest /= 10) {
        width++;
    }

    return ngx_lockbox_record_digits(p, value, width);
}


static u_char *
ngx_lockbox_record_digits(u_char *p, uint64_t number, int width)
{
    int  i;

    for (i = width - 1; i >= 0; i--) {
        p[i] = (u_char) ('0' + number % 10);
        number /= 10;
    }

    return p + width;
}
