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

/* what stands around a name and a value, and a number or a time */
#define NGX_LOCKBOX_FRAME                                                     \
    (sizeof("\"\":[\"\"],") + NGX_INT64_LEN + NGX_LOCKBOX_TIME_LEN)

/* a byte, eight times */
#define NGX_LOCKBOX_BYTES     0x0101010101010101ULL

#define NGX_LOCKBOX_CUT_LEN                                                   \
    (sizeof("... [18446744073709551615 bytes, sha256 ]") + 64)


static size_t ngx_lockbox_record_bound(const ngx_lockbox_field_t *fields,
    ngx_uint_t n);
static size_t ngx_lockbox_record_taken(const ngx_str_t *text);
static u_char *ngx_lockbox_record_fields(u_char *p,
    const ngx_lockbox_field_t *fields, ngx_uint_t n);
static ngx_uint_t ngx_lockbox_record_empty(const ngx_lockbox_field_t *field);
static u_char *ngx_lockbox_record_field(u_char *p,
    const ngx_lockbox_field_t *field);
static u_char *ngx_lockbox_record_quote(u_char *p, const ngx_str_t *text);
static u_char *ngx_lockbox_record_mangle(u_char *p, const ngx_str_t *text)
    __attribute__((noinline));
static ngx_uint_t ngx_lockbox_record_plain(u_char *p, const u_char *s,
    size_t len);
static ngx_uint_t ngx_lockbox_record_printable(u_char c);
static uint64_t ngx_lockbox_record_marked(uint64_t w);
static u_char *ngx_lockbox_record_escape(u_char *p, const u_char *s,
    const u_char *end);
static ngx_uint_t ngx_lockbox_record_hidden(uint32_t code);
static u_char *ngx_lockbox_record_unicode(u_char *p, uint32_t code);
static u_char *ngx_lockbox_record_cut(u_char *p, const ngx_str_t *text);
static u_char *ngx_lockbox_record_number(u_char *p, int64_t number);
static u_char *ngx_lockbox_record_pair(u_char *p, uint32_t number);


ngx_int_t
ngx_lockbox_record_write(ngx_pool_t *pool, const ngx_str_t *room,
    const ngx_lockbox_field_t *fields, ngx_uint_t n, ngx_str_t *line)
{
    size_t   size;
    u_char  *p;

    size = sizeof("{}\n") + ngx_lockbox_record_bound(fields, n);

    p = room != NULL && room->len >= size ? room->data
                                          : ngx_pnalloc(pool, size);
    if (p == NULL) {
        return NGX_ERROR;
    }

    line->data = p;

    *p++ = '{';
    p = ngx_lockbox_record_fields(p, fields, n);
    *p++ = '}';
    *p++ = '\n';

    line->len = (size_t) (p - line->data);

    return NGX_OK;
}


ngx_int_t
ngx_lockbox_record_part(ngx_pool_t *pool, const ngx_lockbox_field_t *fields,
    ngx_uint_t n, ngx_str_t *part)
{
    part->data = ngx_pnalloc(pool, ngx_lockbox_record_bound(fields, n));

    if (part->data == NULL) {
        return NGX_ERROR;
    }

    part->len = (size_t) (ngx_lockbox_record_fields(part->data, fields, n)
                          - part->data);

    return NGX_OK;
}


/* What the fields take at most, and never nothing. */

static size_t
ngx_lockbox_record_bound(const ngx_lockbox_field_t *fields, ngx_uint_t n)
{
    size_t                      texts, rest;
    int64_t                     i;
    const ngx_lockbox_field_t  *field, *last;

    texts = 0;
    rest = 1;
    last = fields + n;

    for (field = fields; field < last; field++) {
        rest += field->name.len + NGX_LOCKBOX_FRAME;

        if (field->text == NULL) {
            continue;
        }

        if (field->type == NGX_LOCKBOX_FIELD_TEXT) {
            texts += ngx_lockbox_record_taken(field->text);

        } else if (field->type == NGX_LOCKBOX_FIELD_PART) {
            rest += field->text->len;

        } else if (field->type == NGX_LOCKBOX_FIELD_TEXTS) {

            for (i = 0; i < field->number; i++) {
                texts += ngx_lockbox_record_taken(&field->text[i])
                         + sizeof("\"\",");
            }
        }
    }

    return texts * NGX_LOCKBOX_ESCAPED + rest;
}


/* How many bytes may have to be escaped; the mark of a cut is less by far. */

static size_t
ngx_lockbox_record_taken(const ngx_str_t *text)
{
    return text->len <= NGX_LOCKBOX_RECORD_TEXT_MAX
           ? text->len : NGX_LOCKBOX_RECORD_TEXT_MAX + NGX_LOCKBOX_CUT_LEN;
}


static u_char *
ngx_lockbox_record_fields(u_char *p, const ngx_lockbox_field_t *fields,
    ngx_uint_t n)
{
    u_char                     *start;
    const ngx_lockbox_field_t  *field, *last;

    start = p;
    last = fields + n;

    for (field = fields; field < last; field++) {
        if (ngx_lockbox_record_empty(field)) {
            continue;
        }

        if (p != start) {
            *p++ = ',';
        }

        p = ngx_lockbox_record_field(p, field);
    }

    return p;
}


static ngx_uint_t
ngx_lockbox_record_empty(const ngx_lockbox_field_t *field)
{
    if (field->type == NGX_LOCKBOX_FIELD_TEXT
        || field->type == NGX_LOCKBOX_FIELD_PART)
    {
        return field->text == NULL || field->text->len == 0;
    }

    return field->type == NGX_LOCKBOX_FIELD_TEXTS && field->number == 0;
}


static u_char *
ngx_lockbox_record_field(u_char *p, const ngx_lockbox_field_t *field)
{
    int64_t  i;

    if (field->type == NGX_LOCKBOX_FIELD_PART) {
        return ngx_cpymem(p, field->text->data, field->text->len);
    }

    *p++ = '"';
    p = ngx_cpymem(p, field->name.data, field->name.len);
    *p++ = '"';
    *p++ = ':';

    if (field->type == NGX_LOCKBOX_FIELD_TEXT) {
        return ngx_lockbox_record_quote(p, field->text);
    }

    switch (field->type) {

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

    len = text->len;

    if (len > NGX_LOCKBOX_RECORD_TEXT_MAX
        || !ngx_lockbox_record_plain(p + 1, text->data, len))
    {
        return ngx_lockbox_record_mangle(p, text);
    }

    p[0] = '"';
    p[len + 1] = '"';

    return p + len + 2;
}


/*
 * What is too long is cut, and what is not plain is escaped.  Not inlined, as
 * it would cost the many plain texts a frame for the few others.
 */

static u_char *
ngx_lockbox_record_mangle(u_char *p, const ngx_str_t *text)
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


/*
 * Copies a text; 1 if all of it is printable ASCII that JSON does not escape,
 * or else what was copied is worth nothing.  Most texts are, and eight bytes
 * at a time make that cheap; the last ones overlap those before them.
 */

static ngx_uint_t
ngx_lockbox_record_plain(u_char *p, const u_char *s, size_t len)
{
    size_t    i;
    uint32_t  first, last;
    uint64_t  w, marked;

    if (len < sizeof(uint32_t)) {

        for (i = 0; i < len; i++) {
            if (!ngx_lockbox_record_printable(s[i])) {
                return 0;
            }

            p[i] = s[i];
        }

        return 1;
    }

    if (len < sizeof(uint64_t)) {
        i = len - sizeof(uint32_t);

        ngx_memcpy(&first, s, sizeof(uint32_t));
        ngx_memcpy(&last, s + i, sizeof(uint32_t));
        ngx_memcpy(p, &first, sizeof(uint32_t));
        ngx_memcpy(p + i, &last, sizeof(uint32_t));

        return !ngx_lockbox_record_marked((uint64_t) first << 32 | last);
    }

    marked = 0;

    for (i = 0; i + sizeof(uint64_t) < len; i += sizeof(uint64_t)) {
        ngx_memcpy(&w, s + i, sizeof(uint64_t));
        ngx_memcpy(p + i, &w, sizeof(uint64_t));

        marked |= ngx_lockbox_record_marked(w);
    }

    i = len - sizeof(uint64_t);

    ngx_memcpy(&w, s + i, sizeof(uint64_t));
    ngx_memcpy(p + i, &w, sizeof(uint64_t));

    return !(marked | ngx_lockbox_record_marked(w));
}


static ngx_uint_t
ngx_lockbox_record_printable(u_char c)
{
    return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
}


/*
 * Not 0 if one of eight bytes is not printable.  What is taken off or put on
 * sets the highest bit of a byte that is not, and of none that is: only the
 * former borrow from the byte above them or carry into it.  Where the second
 * bit is turned over, the controls keep among themselves, and the quote is the
 * next one behind them.
 */

static uint64_t
ngx_lockbox_record_marked(uint64_t w)
{
    uint64_t  marked;

    marked = w
             | ((w ^ (NGX_LOCKBOX_BYTES * 0x02)) - NGX_LOCKBOX_BYTES * 0x21)
             | (w + NGX_LOCKBOX_BYTES)
             | ((w ^ (NGX_LOCKBOX_BYTES * '\\')) - NGX_LOCKBOX_BYTES);

    return marked & (NGX_LOCKBOX_BYTES * 0x80);
}


static u_char *
ngx_lockbox_record_escape(u_char *p, const u_char *s, const u_char *end)
{
    size_t    n;
    uint32_t  code;

    while (s < end) {

        if (ngx_lockbox_record_printable(*s)) {
            *p++ = *s++;
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
    uint32_t  rest, secs, quarters, century, year, yday, month, day;

    msec = ngx_max(msec, 0);
    msec = ngx_min(msec, NGX_LOCKBOX_MSEC_MAX);

    rest = (uint32_t) (msec % 86400000);
    secs = rest / 1000;

    /*
     * Civil date from the number of days: years that begin in March have
     * their leap day last.  In quarters of a day, each century is 146097 long
     * and each year of it 1461: a day is of those in which its last quarter
     * is.  A month's length follows from a line of slope 153 / 5.
     */

    quarters = ((uint32_t) (msec / 86400000) + 719468) * 4 + 3;
    century = quarters / 146097;
    quarters = quarters % 146097 / 4 * 4 + 3;
    year = century * 100 + quarters / 1461;
    yday = quarters % 1461 / 4;
    month = (5 * yday + 2) / 153;
    day = yday - (153 * month + 2) / 5 + 1;
    month = month < 10 ? month + 3 : month - 9;
    year += (month <= 2);

    p = ngx_lockbox_record_pair(p, year / 100);
    p = ngx_lockbox_record_pair(p, year % 100);
    *p++ = '-';
    p = ngx_lockbox_record_pair(p, month);
    *p++ = '-';
    p = ngx_lockbox_record_pair(p, day);
    *p++ = 'T';
    p = ngx_lockbox_record_pair(p, secs / 3600);
    *p++ = ':';
    p = ngx_lockbox_record_pair(p, secs / 60 % 60);
    *p++ = ':';
    p = ngx_lockbox_record_pair(p, secs % 60);
    *p++ = '.';
    p = ngx_lockbox_record_pair(p, rest % 1000 / 10);
    *p++ = (u_char) ('0' + rest % 10);
    *p++ = 'Z';

    return p;
}


static u_char *
ngx_lockbox_record_pair(u_char *p, uint32_t number)
{
    static const u_char  digits[] =
        "00010203040506070809" "10111213141516171819"
        "20212223242526272829" "30313233343536373839"
        "40414243444546474849" "50515253545556575859"
        "60616263646566676869" "70717273747576777879"
        "80818283848586878889" "90919293949596979899";

    return ngx_cpymem(p, &digits[2 * number], 2);
}


static u_char *
ngx_lockbox_record_number(u_char *p, int64_t number)
{
    u_char    digits[NGX_INT64_LEN], *first;
    uint64_t  value;

    value = (uint64_t) number;

    if (number < 0) {
        *p++ = '-';
        value = -value;
    }

    first = digits + NGX_INT64_LEN;

    do {
        *--first = (u_char) ('0' + value % 10);
        value /= 10;
    } while (value != 0);

    return ngx_cpymem(p, first, (size_t) (digits + NGX_INT64_LEN - first));
}
