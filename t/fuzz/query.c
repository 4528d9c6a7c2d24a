/*
 * Query strings.  The first line of the input is a query, what is behind it a
 * time.
 */

/* links: ngx_lockbox_query.c ngx_lockbox_json.c ngx_lockbox_name.c */

#define _GNU_SOURCE

#include <time.h>

#include "ngx_lockbox_query.h"
#include "fuzz.h"


#define TEXT_MAX    20
#define NUMBER_MIN  3
#define NUMBER_MAX  1000


typedef struct {
    ngx_str_t    word;
    ngx_str_t    text;
    ngx_str_t    id;
    ngx_str_t    tenant;
    uint64_t     words;
    int64_t      time;
    int64_t      number;
} values_t;


static const char *const  words[] = { "open", "ended", "all", NULL };


static const ngx_lockbox_query_parameter_t  table[] = {
    { "word", NGX_LOCKBOX_QUERY_WORD, offsetof(values_t, word), words, 0, 0 },
    { "words", NGX_LOCKBOX_QUERY_WORDS, offsetof(values_t, words), words, 0,
      0 },
    { "text", NGX_LOCKBOX_QUERY_TEXT, offsetof(values_t, text), NULL, 0,
      TEXT_MAX },
    { "time", NGX_LOCKBOX_QUERY_TIME, offsetof(values_t, time), NULL, 0, 0 },
    { "id", NGX_LOCKBOX_QUERY_ID, offsetof(values_t, id), NULL, 0, 0 },
    { "tenant", NGX_LOCKBOX_QUERY_TENANT, offsetof(values_t, tenant), NULL, 0,
      0 },
    { "number", NGX_LOCKBOX_QUERY_NUMBER, offsetof(values_t, number), NULL,
      NUMBER_MIN, NUMBER_MAX },
    { NULL, NGX_LOCKBOX_QUERY_WORD, 0, NULL, 0, 0 }
};


int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void) argc;
    (void) argv;

    return 0;
}


/* Adds a parameter, each byte of the value in its one spelling. */

static u_char *
spell(u_char *p, const u_char *start, const char *name, const ngx_str_t *value)
{
    size_t  i;

    if (value->len == 0) {
        return p;
    }

    p += sprintf((char *) p, "%s%s=", p != start ? "&" : "", name);

    for (i = 0; i < value->len; i++) {
        p += sprintf((char *) p, isalnum(value->data[i])
                                 || memchr("-._~", value->data[i], 4)
                                 ? "%c" : "%%%02X", value->data[i]);
    }

    return p;
}


static ngx_str_t
spelling(ngx_pool_t *pool, const values_t *values)
{
    char        number[32];
    u_char     *p;
    ngx_str_t   out, digits;

    out.data = ngx_pnalloc(pool, 1024);
    p = out.data;

    p = spell(p, out.data, "word", &values->word);
    p = spell(p, out.data, "text", &values->text);
    p = spell(p, out.data, "id", &values->id);
    p = spell(p, out.data, "tenant", &values->tenant);

    if (values->number >= 0) {
        sprintf(number, "%lld", (long long) values->number);
        digits = ngx_shim_str(number);
        p = spell(p, out.data, "number", &digits);
    }

    out.len = p - out.data;

    return out;
}


static void
clear(values_t *values)
{
    ngx_memzero(values, sizeof(values_t));
    values->time = -1;
    values->number = -1;
}


static ngx_uint_t
is_parameter(const ngx_str_t *name)
{
    const ngx_lockbox_query_parameter_t  *parameter;

    for (parameter = table; parameter->name; parameter++) {
        if (fuzz_is(name, parameter->name)) {
            return 1;
        }
    }

    return 0;
}


static void
check_query(ngx_pool_t *pool, const ngx_str_t *query)
{
    values_t             values, again;
    ngx_int_t            rc;
    ngx_str_t            text;
    ngx_lockbox_fault_t  fault;

    clear(&values);

    rc = ngx_lockbox_query_read(pool, query, table, &values, &fault);

    fuzz_check(rc == NGX_OK || rc == NGX_DECLINED);

    if (rc == NGX_DECLINED) {
        fuzz_check(fault.reason != NULL);
        fuzz_check(fault.member.len <= query->len);
        fuzz_check(is_parameter(&fault.member)
                   == (strcmp(fault.reason, "The parameter is unknown.") != 0));
        return;
    }

    fuzz_check(values.text.len <= TEXT_MAX);
    fuzz_check(values.words < 8);
    fuzz_check(values.number == -1 || (values.number >= NUMBER_MIN
                                       && values.number <= NUMBER_MAX));

    /* what was read is read again from any spelling of it */

    clear(&again);
    text = spelling(pool, &values);

    fuzz_check(ngx_lockbox_query_read(pool, &text, table, &again, &fault)
               == NGX_OK);
    fuzz_check(fuzz_same(&again.word, &values.word));
    fuzz_check(fuzz_same(&again.text, &values.text));
    fuzz_check(fuzz_same(&again.id, &values.id));
    fuzz_check(fuzz_same(&again.tenant, &values.tenant));
    fuzz_check(again.number == values.number);
}


/* A time is what libc makes of it. */

static void
check_time(ngx_pool_t *pool, const ngx_str_t *text)
{
    int        hours, minutes, at;
    char       sign;
    int64_t    msec, offset;
    struct tm  tm;
    ngx_str_t  line;

    msec = ngx_lockbox_query_time(text);

    if (msec == NGX_ERROR) {
        return;
    }

    line.data = ngx_pnalloc(pool, text->len + 1);
    ngx_memcpy(line.data, text->data, text->len);
    line.data[text->len] = '\0';

    ngx_memzero(&tm, sizeof(struct tm));
    at = 0;
    fuzz_check(sscanf((char *) line.data, "%4d-%2d-%2d%*1[Tt]%2d:%2d:%2d%n",
                      &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &tm.tm_hour,
                      &tm.tm_min, &tm.tm_sec, &at)
               == 6 && at == 19);

    tm.tm_year -= 1900;
    tm.tm_mon--;
    offset = 0;

    if (sscanf((char *) line.data + text->len - 6, "%c%2d:%2d", &sign, &hours,
               &minutes)
        == 3 && (sign == '+' || sign == '-'))
    {
        offset = (hours * 3600 + minutes * 60) * (sign == '-' ? -1 : 1);
    }

    fuzz_check(msec >= (timegm(&tm) - offset) * 1000);
    fuzz_check(msec <= (timegm(&tm) - offset) * 1000 + 1000);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ngx_str_t    input, query, text;
    ngx_pool_t  *pool;

    pool = fuzz_pool();
    input = fuzz_copy(pool, data, size);

    query = fuzz_line(&input);
    query = fuzz_copy(pool, query.data, query.len);
    text = fuzz_line(&input);
    text = fuzz_copy(pool, text.data, text.len);

    check_query(pool, &query);
    check_time(pool, &text);

    fuzz_pool_end(pool);

    return 0;
}
