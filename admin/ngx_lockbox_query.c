/*
 * Query strings: one reading, or none.
 */

#include "ngx_lockbox_query.h"
#include "ngx_lockbox_name.h"
#include "ngx_lockbox_text.h"


#define NGX_LOCKBOX_QUERY_DIGITS  15      /* are a number anywhere */
#define NGX_LOCKBOX_QUERY_DAY     86400   /* seconds */


/* Reads a decoded value that is not empty: NGX_OK or NGX_DECLINED. */
typedef ngx_int_t (*ngx_lockbox_query_read_pt)(const ngx_str_t *text,
    const ngx_lockbox_query_parameter_t *parameter, void *place);


typedef struct {
    ngx_lockbox_query_read_pt   read;
    const char                 *reason;     /* when it is declined */
} ngx_lockbox_query_reader_t;


static ngx_int_t ngx_lockbox_query_pair(ngx_pool_t *pool,
    const u_char *p, const u_char *end,
    const ngx_lockbox_query_parameter_t *parameters, uint64_t *given,
    void *values, ngx_lockbox_fault_t *fault);
static ngx_int_t ngx_lockbox_query_fault(ngx_lockbox_fault_t *fault,
    const char *reason);
static ngx_int_t ngx_lockbox_query_decode(const ngx_str_t *spelt,
    ngx_str_t *text);
static u_char ngx_lockbox_query_unescape(const u_char *p, const u_char *end);
static ngx_uint_t ngx_lockbox_query_unreserved(u_char c);
static ngx_uint_t ngx_lockbox_query_bare(u_char c);
static ngx_int_t ngx_lockbox_query_word(const ngx_str_t *text,
    const ngx_lockbox_query_parameter_t *parameter, void *place);
static ngx_int_t ngx_lockbox_query_words(const ngx_str_t *text,
    const ngx_lockbox_query_parameter_t *parameter, void *place);
static ngx_int_t ngx_lockbox_query_text(const ngx_str_t *text,
    const ngx_lockbox_query_parameter_t *parameter, void *place);
static ngx_int_t ngx_lockbox_query_moment(const ngx_str_t *text,
    const ngx_lockbox_query_parameter_t *parameter, void *place);
static ngx_int_t ngx_lockbox_query_id(const ngx_str_t *text,
    const ngx_lockbox_query_parameter_t *parameter, void *place);
static ngx_int_t ngx_lockbox_query_tenant(const ngx_str_t *text,
    const ngx_lockbox_query_parameter_t *parameter, void *place);
static ngx_int_t ngx_lockbox_query_number(const ngx_str_t *text,
    const ngx_lockbox_query_parameter_t *parameter, void *place);
static const u_char *ngx_lockbox_query_form(const ngx_str_t *text,
    const char *form, int64_t *numbers);
static const u_char *ngx_lockbox_query_fraction(const u_char *p,
    const u_char *end, int64_t *msec);
static ngx_int_t ngx_lockbox_query_offset(const u_char *p, const u_char *end,
    int64_t *seconds);
static int64_t ngx_lockbox_query_days(int64_t year, int64_t month);


/* In the order of the types. */

static const ngx_lockbox_query_reader_t  ngx_lockbox_query_readers[] = {
    { ngx_lockbox_query_word,
      "It must be one of the words that the parameter takes." },
    { ngx_lockbox_query_words,
      "It must be words that the parameter takes, each once, with commas "
      "between them." },
    { ngx_lockbox_query_text,
      "It must be a text, no longer than the parameter takes." },
    { ngx_lockbox_query_moment,
      "It must be a time like 2026-01-31T12:00:00Z (RFC 3339)." },
    { ngx_lockbox_query_id,
      "It must be the id of a request." },
    { ngx_lockbox_query_tenant,
      "It must be the name of a tenant." },
    { ngx_lockbox_query_number,
      "It must be a whole number that the parameter takes." }
};


ngx_int_t
ngx_lockbox_query_read(ngx_pool_t *pool, const ngx_str_t *query,
    const ngx_lockbox_query_parameter_t *parameters, void *values,
    ngx_lockbox_fault_t *fault)
{
    u_char     *p, *end, *next;
    uint64_t    given;
    ngx_int_t   rc;

    given = 0;

    if (query->len == 0) {
        return NGX_OK;
    }

    p = query->data;
    end = p + query->len;

    for ( ;; ) {
        next = ngx_strlchr(p, end, '&');

        rc = ngx_lockbox_query_pair(pool, p, next != NULL ? next : end,
                                    parameters, &given, values, fault);
        if (rc != NGX_OK || next == NULL) {
            return rc;
        }

        p = next + 1;
    }
}


static ngx_int_t
ngx_lockbox_query_pair(ngx_pool_t *pool, const u_char *p, const u_char *end,
    const ngx_lockbox_query_parameter_t *parameters, uint64_t *given,
    void *values, ngx_lockbox_fault_t *fault)
{
    uint64_t                              bit;
    ngx_str_t                             spelt, text;
    const u_char                         *eq;
    const ngx_lockbox_query_reader_t     *reader;
    const ngx_lockbox_query_parameter_t  *parameter;

    eq = ngx_strlchr((u_char *) p, (u_char *) end, '=');

    fault->member.data = (u_char *) p;
    fault->member.len = (size_t) ((eq != NULL ? eq : end) - p);

    for (parameter = parameters; parameter->name != NULL; parameter++) {
        if (ngx_lockbox_text_is(&fault->member, parameter->name)) {
            break;
        }
    }

    if (parameter->name == NULL) {
        return ngx_lockbox_query_fault(fault, "The parameter is unknown.");
    }

    bit = (uint64_t) 1 << (parameter - parameters);

    if (*given & bit) {
        return ngx_lockbox_query_fault(fault,
                                       "The parameter is given twice.");
    }

    *given |= bit;

    if (eq == NULL || eq + 1 == end) {
        return ngx_lockbox_query_fault(fault, "The parameter has no value.");
    }

    spelt.data = (u_char *) eq + 1;
    spelt.len = (size_t) (end - spelt.data);

    text.data = ngx_pnalloc(pool, spelt.len);
    if (text.data == NULL) {
        return NGX_ERROR;
    }

    if (ngx_lockbox_query_decode(&spelt, &text) != NGX_OK) {
        return ngx_lockbox_query_fault(fault,
                                       "The value is not percent-encoded as "
                                       "it must be.");
    }

    reader = &ngx_lockbox_query_readers[parameter->type];

    if (reader->read(&text, parameter, (u_char *) values + parameter->offset)
        != NGX_OK)
    {
        return ngx_lockbox_query_fault(fault, reader->reason);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_lockbox_query_fault(ngx_lockbox_fault_t *fault, const char *reason)
{
    fault->reason = reason;

    return NGX_DECLINED;
}


/* Control characters are no part of any value. */

static ngx_int_t
ngx_lockbox_query_decode(const ngx_str_t *spelt, ngx_str_t *text)
{
    u_char         c, *out;
    const u_char  *p, *end;

    p = spelt->data;
    end = p + spelt->len;
    out = text->data;

    while (p < end) {
        c = *p;

        if (c == '%') {
            c = ngx_lockbox_query_unescape(p, end);

            if (c < 0x20 || c == 0x7f || ngx_lockbox_query_unreserved(c)) {
                return NGX_DECLINED;
            }

            p += 3;

        } else if (ngx_lockbox_query_unreserved(c)
                   || ngx_lockbox_query_bare(c))
        {
            p++;

        } else {
            return NGX_DECLINED;
        }

        *out++ = c;
    }

    text->len = (size_t) (out - text->data);

    return NGX_OK;
}


/* The byte that is encoded at "p"; NUL, which no value may have, if none. */

static u_char
ngx_lockbox_query_unescape(const u_char *p, const u_char *end)
{
    ngx_int_t  n;

    if (end - p < 3) {
        return '\0';
    }

    n = ngx_hextoi((u_char *) p + 1, 2);

    return n != NGX_ERROR ? (u_char) n : '\0';
}


/* RFC 3986 section 2.3 */

static ngx_uint_t
ngx_lockbox_query_unreserved(u_char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')
           || (c >= '0' && c <= '9')
           || c == '-' || c == '.' || c == '_' || c == '~';
}


/* What else RFC 3986 section 3.4 lets stand, but for what parts parameters. */

static ngx_uint_t
ngx_lockbox_query_bare(u_char c)
{
    static const u_char  bare[] = "!$'()*,;=:@/?";

    return ngx_strlchr((u_char *) bare, (u_char *) bare + sizeof(bare) - 1, c)
           != NULL;
}


static ngx_int_t
ngx_lockbox_query_word(const ngx_str_t *text,
    const ngx_lockbox_query_parameter_t *parameter, void *place)
{
    if (!ngx_lockbox_text_among(text, parameter->words)) {
        return NGX_DECLINED;
    }

    *(ngx_str_t *) place = *text;

    return NGX_OK;
}


static ngx_int_t
ngx_lockbox_query_words(const ngx_str_t *text,
    const ngx_lockbox_query_parameter_t *parameter, void *place)
{
    u_char      *p, *end, *next;
    uint64_t     bit, *words;
    ngx_str_t    word;
    ngx_uint_t   i;

    words = place;
    *words = 0;

    p = text->data;
    end = p + text->len;

    for ( ;; ) {
        next = ngx_strlchr(p, end, ',');

        word.data = p;
        word.len = (size_t) ((next != NULL ? next : end) - p);

        for (i = 0; parameter->words[i] != NULL; i++) {
            if (ngx_lockbox_text_is(&word, parameter->words[i])) {
                break;
            }
        }

        if (parameter->words[i] == NULL) {
            return NGX_DECLINED;
        }

        bit = (uint64_t) 1 << i;

        if (*words & bit) {
            return NGX_DECLINED;
        }

        *words |= bit;

        if (next == NULL) {
            return NGX_OK;
        }

        p = next + 1;
    }
}


/* Without memory to make sure that it is UTF-8 the text is declined, too. */

static ngx_int_t
ngx_lockbox_query_text(const ngx_str_t *text,
    const ngx_lockbox_query_parameter_t *parameter, void *place)
{
    size_t   i;
    json_t  *value;

    if ((int64_t) text->len > parameter->max) {
        return NGX_DECLINED;
    }

    value = ngx_lockbox_json_text(text);
    if (value == NULL) {
        return NGX_DECLINED;
    }

    json_decref(value);

    /* in UTF-8 the controls beyond ASCII all begin with this byte */

    for (i = 0; i + 1 < text->len; i++) {
        if (text->data[i] == 0xc2 && text->data[i + 1] < 0xa0) {
            return NGX_DECLINED;
        }
    }

    *(ngx_str_t *) place = *text;

    return NGX_OK;
}


static ngx_int_t
ngx_lockbox_query_moment(const ngx_str_t *text,
    const ngx_lockbox_query_parameter_t *parameter, void *place)
{
    int64_t  msec;

    msec = ngx_lockbox_query_time(text);
    if (msec == NGX_ERROR) {
        return NGX_DECLINED;
    }

    *(int64_t *) place = msec;

    return NGX_OK;
}


static ngx_int_t
ngx_lockbox_query_id(const ngx_str_t *text,
    const ngx_lockbox_query_parameter_t *parameter, void *place)
{
    if (!ngx_lockbox_id_valid(text)) {
        return NGX_DECLINED;
    }

    *(ngx_str_t *) place = *text;

    return NGX_OK;
}


static ngx_int_t
ngx_lockbox_query_tenant(const ngx_str_t *text,
    const ngx_lockbox_query_parameter_t *parameter, void *place)
{
    if (!ngx_lockbox_tenant_valid(text)) {
        return NGX_DECLINED;
    }

    *(ngx_str_t *) place = *text;

    return NGX_OK;
}


/* A number is written without zeros in front, like in JSON. */

static ngx_int_t
ngx_lockbox_query_number(const ngx_str_t *text,
    const ngx_lockbox_query_parameter_t *parameter, void *place)
{
    size_t   i;
    int64_t  n;

    if (text->len > NGX_LOCKBOX_QUERY_DIGITS
        || (text->len > 1 && text->data[0] == '0'))
    {
        return NGX_DECLINED;
    }

    n = 0;

    for (i = 0; i < text->len; i++) {
        if (text->data[i] < '0' || text->data[i] > '9') {
            return NGX_DECLINED;
        }

        n = n * 10 + (text->data[i] - '0');
    }

    if (n < parameter->min || n > parameter->max) {
        return NGX_DECLINED;
    }

    *(int64_t *) place = n;

    return NGX_OK;
}


int64_t
ngx_lockbox_query_time(const ngx_str_t *text)
{
    int64_t        msec, offset, seconds, n[6];
    const u_char  *p, *end;

    enum { year = 0, month, day, hour, minute, second };

    p = ngx_lockbox_query_form(text, "dddd-dd-ddTdd:dd:dd", n);
    end = text->data + text->len;

    if (p == NULL
        || n[year] < 1970 || n[month] < 1 || n[month] > 12 || n[day] < 1
        || n[day] > ngx_lockbox_query_days(n[year], n[month] + 1)
                    - ngx_lockbox_query_days(n[year], n[month])
        || n[hour] > 23 || n[minute] > 59 || n[second] > 59)
    {
        return NGX_ERROR;
    }

    p = ngx_lockbox_query_fraction(p, end, &msec);

    if (p == NULL || ngx_lockbox_query_offset(p, end, &offset) != NGX_OK) {
        return NGX_ERROR;
    }

    seconds = (ngx_lockbox_query_days(n[year], n[month]) + n[day] - 1)
              * NGX_LOCKBOX_QUERY_DAY
              + n[hour] * 3600 + n[minute] * 60 + n[second] - offset;

    return seconds >= 0 ? seconds * 1000 + msec : NGX_ERROR;
}


/*
 * Reads the beginning of the text in a form where each run of "d" is a number
 * of that many digits, and "T" is "t" as well.  Where it ends, or NULL.
 */

static const u_char *
ngx_lockbox_query_form(const ngx_str_t *text, const char *form,
    int64_t *numbers)
{
    const u_char  *p;

    if (text->len < ngx_strlen(form)) {
        return NULL;
    }

    *numbers = 0;

    for (p = text->data; *form != '\0'; p++, form++) {

        if (*form != 'd') {
            if (*p != (u_char) *form && !(*form == 'T' && *p == 't')) {
                return NULL;
            }

            *++numbers = 0;
            continue;
        }

        if (*p < '0' || *p > '9') {
            return NULL;
        }

        *numbers = *numbers * 10 + (*p - '0');
    }

    return p;
}


/* A fraction of a second, if there is one, in milliseconds. */

static const u_char *
ngx_lockbox_query_fraction(const u_char *p, const u_char *end, int64_t *msec)
{
    int64_t        unit;
    ngx_uint_t     more;
    const u_char  *start;

    *msec = 0;
    more = 0;

    if (p == end || *p != '.') {
        return p;
    }

    start = ++p;

    for (unit = 100; p < end && *p >= '0' && *p <= '9'; p++, unit /= 10) {
        *msec += (*p - '0') * unit;
        more |= unit == 0 && *p != '0';
    }

    *msec += (int64_t) more;

    return p != start ? p : NULL;
}


/* The rest of a time: how far its clock is ahead of UTC. */

static ngx_int_t
ngx_lockbox_query_offset(const u_char *p, const u_char *end, int64_t *seconds)
{
    int64_t    n[2];
    ngx_str_t  rest;

    enum { hour = 0, minute };

    *seconds = 0;

    if (end - p == 1 && (*p == 'Z' || *p == 'z')) {
        return NGX_OK;
    }

    if (p == end || (*p != '+' && *p != '-')) {
        return NGX_DECLINED;
    }

    rest.data = (u_char *) p + 1;
    rest.len = (size_t) (end - rest.data);

    if (ngx_lockbox_query_form(&rest, "dd:dd", n) != end
        || n[hour] > 23 || n[minute] > 59)
    {
        return NGX_DECLINED;
    }

    *seconds = n[hour] * 3600 + n[minute] * 60;

    if (*p == '-') {
        *seconds = -*seconds;
    }

    return NGX_OK;
}


/*
 * Days from 1970 to the first of that month in the Gregorian calendar; 13 is
 * January of the next year.
 */

static int64_t
ngx_lockbox_query_days(int64_t year, int64_t month)
{
    /* years that begin in March have the day that may be missing at the end */

    if (month < 3) {
        year--;
        month += 12;
    }

    return year * 365 + year / 4 - year / 100 + year / 400
           + (153 * month - 457) / 5 - 719468;
}
