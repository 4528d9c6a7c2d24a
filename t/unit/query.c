/*
 * Why: a parameter that is read otherwise than its sender meant it, or not at
 * all, shows a list that is taken for another.
 */

/* links: ngx_lockbox_query.c ngx_lockbox_json.c ngx_lockbox_name.c */

#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_lockbox_query.h"
#include "ngx_shim.h"
#include "tap.h"


#define ID  "0192f3c4-5a6b-7c8d-9e0f-a1b2c3d4e5f6"

#define A10  "aaaaaaaaaa"

#define UNKNOWN  "The parameter is unknown."
#define TWICE    "The parameter is given twice."
#define MISSING  "The parameter has no value."
#define SPELT    "The value is not percent-encoded as it must be."


typedef struct {
    ngx_str_t    word;
    ngx_str_t    text;
    ngx_str_t    id;
    ngx_str_t    tenant;
    uint64_t     words;
    int64_t      time;
    int64_t      number;
} values_t;


/* A query, and the parameter that is at fault in it; NULL: it is read. */

typedef struct {
    const char  *query;
    const char  *fault;
    const char  *reason;     /* NULL: any */
} row_t;


typedef struct {
    const char  *text;
    int64_t      msec;       /* NGX_ERROR: no time */
} time_row_t;


static const char *const  words[] = { "open", "ended", "all", NULL };


static const ngx_lockbox_query_parameter_t  table[] = {
    { "word", NGX_LOCKBOX_QUERY_WORD, offsetof(values_t, word), words, 0, 0 },
    { "words", NGX_LOCKBOX_QUERY_WORDS, offsetof(values_t, words), words, 0,
      0 },
    { "text", NGX_LOCKBOX_QUERY_TEXT, offsetof(values_t, text), NULL, 0, 10 },
    { "time", NGX_LOCKBOX_QUERY_TIME, offsetof(values_t, time), NULL, 0, 0 },
    { "id", NGX_LOCKBOX_QUERY_ID, offsetof(values_t, id), NULL, 0, 0 },
    { "tenant", NGX_LOCKBOX_QUERY_TENANT, offsetof(values_t, tenant), NULL, 0,
      0 },
    { "number", NGX_LOCKBOX_QUERY_NUMBER, offsetof(values_t, number), NULL, 2,
      300 },
    { NULL, NGX_LOCKBOX_QUERY_WORD, 0, NULL, 0, 0 }
};


static const row_t  queries[] = {

    /* names */
    { "", NULL, NULL },
    { "word=all", NULL, NULL },
    { "Word=all", "Word", UNKNOWN },
    { "wor=all", "wor", UNKNOWN },
    { "wordy=all", "wordy", UNKNOWN },
    { "%77ord=all", "%77ord", UNKNOWN },
    { "word[]=all", "word[]", UNKNOWN },
    { "other", "other", UNKNOWN },
    { "=all", "", UNKNOWN },
    { "&", "", UNKNOWN },
    { "word=all&", "", UNKNOWN },
    { "&word=all", "", UNKNOWN },
    { "word=all&&number=2", "", UNKNOWN },
    { "word=all&number=2", NULL, NULL },
    { "word=all;number=2", "word", NULL },
    { "number=2&other=1", "other", UNKNOWN },

    /* once, and with a value */
    { "word=all&word=all", "word", TWICE },
    { "word=all&word=open", "word", TWICE },
    { "word=all&word", "word", TWICE },
    { "number=2&word=all&number=3", "number", TWICE },
    { "word", "word", MISSING },
    { "word=", "word", MISSING },
    { "text=", "text", MISSING },
    { "words=&number=2", "words", MISSING },

    /* spelling */
    { "text=%20", NULL, NULL },
    { "text=%2b", NULL, NULL },
    { "text=%2B", NULL, NULL },
    { "text=+", "text", SPELT },
    { "text=a+b", "text", SPELT },
    { "text=a%2Bb", NULL, NULL },
    { "text=%", "text", SPELT },
    { "text=%2", "text", SPELT },
    { "text=%2&number=2", "text", SPELT },
    { "text=%zz", "text", SPELT },
    { "text=%2z", "text", SPELT },
    { "text=%z2", "text", SPELT },
    { "text=%+2", "text", SPELT },
    { "text=%00", "text", SPELT },
    { "text=%1f", "text", SPELT },
    { "text=%0a", "text", SPELT },
    { "text=%7f", "text", SPELT },
    { "text=%7E", "text", SPELT },
    { "text=~", NULL, NULL },
    { "text=%7d", NULL, NULL },
    { "text=%61", "text", SPELT },
    { "text=%7A", "text", SPELT },
    { "text=%41", "text", SPELT },
    { "text=%5A", "text", SPELT },
    { "text=%30", "text", SPELT },
    { "text=%39", "text", SPELT },
    { "text=%2d", "text", SPELT },
    { "text=%2e", "text", SPELT },
    { "text=%5f", "text", SPELT },
    { "text=%40%5b", NULL, NULL },
    { "text=%60%7b", NULL, NULL },
    { "text=%2f%3a", NULL, NULL },
    { "text=%25", NULL, NULL },
    { "text=%26%3D%23", NULL, NULL },
    { "text=a=b", NULL, NULL },
    { "text=!$'()*,;:", NULL, NULL },
    { "text=@/?", NULL, NULL },
    { "text= ", "text", SPELT },
    { "text=\"", "text", SPELT },
    { "text=<", "text", SPELT },
    { "text=[", "text", SPELT },
    { "text={", "text", SPELT },
    { "text=|", "text", SPELT },
    { "text=\\", "text", SPELT },
    { "text=^", "text", SPELT },
    { "text=`", "text", SPELT },
    { "text=\x01", "text", SPELT },
    { "text=\x7f", "text", SPELT },
    { "text=\xc3\xa9", "text", SPELT },
    { "text=%c3%a9", NULL, NULL },
    { "word=%61ll", "word", SPELT },
    { "number=1%30", "number", SPELT },

    /* texts */
    { "text=" A10, NULL, NULL },
    { "text=" A10 "a", "text", NULL },
    { "text=" A10 "%20", "text", NULL },
    { "text=%20%20%20%20%20%20%20%20%20%20", NULL, NULL },
    { "text=%c2%a0", NULL, NULL },
    { "text=%c2%9f", "text", NULL },
    { "text=%c2%80", "text", NULL },
    { "text=a%c2%85", "text", NULL },
    { "text=%c3%80", NULL, NULL },
    { "text=%c2", "text", NULL },
    { "text=%c0%af", "text", NULL },
    { "text=%ff", "text", NULL },
    { "text=%ed%a0%80", "text", NULL },
    { "text=%e2%82%ac", NULL, NULL },

    /* words */
    { "word=open", NULL, NULL },
    { "word=Open", "word", NULL },
    { "word=ope", "word", NULL },
    { "word=openn", "word", NULL },
    { "word=open,all", "word", NULL },
    { "words=open", NULL, NULL },
    { "words=open,all", NULL, NULL },
    { "words=all%2Copen", NULL, NULL },
    { "words=open,ended,all", NULL, NULL },
    { "words=open,open", "words", NULL },
    { "words=open,all,open", "words", NULL },
    { "words=open,", "words", NULL },
    { "words=,open", "words", NULL },
    { "words=,", "words", NULL },
    { "words=open,,all", "words", NULL },
    { "words=open,none", "words", NULL },
    { "words=open, all", "words", SPELT },
    { "words=open%20", "words", NULL },

    /* numbers */
    { "number=2", NULL, NULL },
    { "number=300", NULL, NULL },
    { "number=1", "number", NULL },
    { "number=0", "number", NULL },
    { "number=301", "number", NULL },
    { "number=02", "number", NULL },
    { "number=00", "number", NULL },
    { "number=-2", "number", NULL },
    { "number=2.0", "number", NULL },
    { "number=2e1", "number", NULL },
    { "number=0x10", "number", NULL },
    { "number=2:", "number", NULL },
    { "number=2/", "number", NULL },
    { "number=%202", "number", NULL },
    { "number=18446744073709551618", "number", NULL },
    { "number=1000000000000000", "number", NULL },

    /* ids and tenants */
    { "id=" ID, NULL, NULL },
    { "id=" ID "0", "id", NULL },
    { "id=x", "id", NULL },
    { "id=0192F3C4-5A6B-7C8D-9E0F-A1B2C3D4E5F6", "id", NULL },
    { "tenant=acme", NULL, NULL },
    { "tenant=..", "tenant", NULL },
    { "tenant=a%2fb", "tenant", NULL },
    { "tenant=a%20b", "tenant", NULL },

    /* times */
    { "time=1970-01-01T00:00:00Z", NULL, NULL },
    { "time=1970-01-01T00%3A00%3A00Z", NULL, NULL },
    { "time=1970-01-01T00:00:00%2B00:00", NULL, NULL },
    { "time=1970-01-01T00:00:00+00:00", "time", SPELT },
    { "time=0", "time", NULL }
};


static const time_row_t  times[] = {
    { "1970-01-01T00:00:00Z", 0 },
    { "1970-01-01T00:00:00.000Z", 0 },
    { "1970-01-01T00:00:00.001Z", 1 },
    { "1970-01-01T00:00:00.1Z", 100 },
    { "1970-01-01T00:00:00.12Z", 120 },
    { "1970-01-01T00:00:00.123Z", 123 },
    { "1970-01-01T00:00:00.1230Z", 123 },
    { "1970-01-01T00:00:00.1231Z", 124 },
    { "1970-01-01T00:00:00.1230000001Z", 124 },
    { "1970-01-01T00:00:00.9999Z", 1000 },
    { "1970-01-01T00:00:00.00000000000000000000Z", 0 },
    { "1970-01-01T00:00:01Z", 1000 },
    { "1970-01-01T00:01:00Z", 60000 },
    { "1970-01-01T01:00:00Z", 3600000 },
    { "1970-01-02T00:00:00Z", 86400000 },
    { "1970-01-01T23:59:59Z", 86399000 },
    { "1970-01-01t00:00:00z", 0 },
    { "1970-01-01T01:00:00+01:00", 0 },
    { "1970-01-01T00:00:00-01:00", 3600000 },
    { "1970-01-01T00:00:00-00:00", 0 },
    { "1970-01-01T00:00:00.5-00:01", 60500 },
    { "1970-01-02T00:00:00+23:59", 60000 },
    { "1970-01-01T00:00:00+00:01", NGX_ERROR },
    { "1970-01-01T00:00:59+00:01", NGX_ERROR },
    { "1970-01-01T00:01:00+00:01", 0 },
    { "1970-03-01T00:00:00Z", INT64_C(59) * 86400000 },
    { "1972-02-29T00:00:00Z", INT64_C(789) * 86400000 },
    { "1972-03-01T00:00:00Z", INT64_C(790) * 86400000 },
    { "2000-02-29T12:34:56.789Z", INT64_C(951827696789) },
    { "2026-01-31T12:00:00Z", INT64_C(1769860800000) },
    { "2026-12-31T23:59:59.999Z", INT64_C(1798761599999) },
    { "2100-03-01T00:00:00Z", INT64_C(4107542400000) },
    { "9999-12-31T23:59:59.999Z", INT64_C(253402300799999) },

    { "1969-12-31T23:59:59Z", NGX_ERROR },
    { "1969-12-31T23:59:59-01:00", NGX_ERROR },
    { "0000-01-01T00:00:00Z", NGX_ERROR },
    { "1970-00-01T00:00:00Z", NGX_ERROR },
    { "1970-13-01T00:00:00Z", NGX_ERROR },
    { "1970-12-31T00:00:00Z", INT64_C(364) * 86400000 },
    { "1970-12-32T00:00:00Z", NGX_ERROR },
    { "1970-01-00T00:00:00Z", NGX_ERROR },
    { "1970-01-32T00:00:00Z", NGX_ERROR },
    { "1970-04-31T00:00:00Z", NGX_ERROR },
    { "1970-04-30T00:00:00Z", INT64_C(119) * 86400000 },
    { "1970-02-29T00:00:00Z", NGX_ERROR },
    { "1972-02-30T00:00:00Z", NGX_ERROR },
    { "2100-02-29T00:00:00Z", NGX_ERROR },
    { "1970-01-01T24:00:00Z", NGX_ERROR },
    { "1970-01-01T00:60:00Z", NGX_ERROR },
    { "1970-01-01T00:00:60Z", NGX_ERROR },
    { "1970-01-01T00:00:00.Z", NGX_ERROR },
    { "1970-01-01T00:00:00,5Z", NGX_ERROR },
    { "1970-01-01T00:00:00", NGX_ERROR },
    { "1970-01-01T00:00:00.5", NGX_ERROR },
    { "1970-01-01T00:00:00ZZ", NGX_ERROR },
    { "1970-01-01T00:00:00Z ", NGX_ERROR },
    { " 1970-01-01T00:00:00Z", NGX_ERROR },
    { "1970-01-01 00:00:00Z", NGX_ERROR },
    { "1970-01-01T00:00Z", NGX_ERROR },
    { "1970-01-01", NGX_ERROR },
    { "19700101T000000Z", NGX_ERROR },
    { "1970/01/01T00:00:00Z", NGX_ERROR },
    { "1970-01-01T00:00:00+", NGX_ERROR },
    { "1970-01-01T00:00:00+01", NGX_ERROR },
    { "1970-01-01T00:00:00-0100", NGX_ERROR },
    { "1970-01-01T00:00:00-01:0", NGX_ERROR },
    { "1970-01-01T00:00:00-01:000", NGX_ERROR },
    { "1970-01-01T00:00:00-24:00", NGX_ERROR },
    { "1970-01-01T00:00:00-23:60", NGX_ERROR },
    { "1970-01-01T00:00:00=01:00", NGX_ERROR },
    { "1970-01-01T00:00:00X", NGX_ERROR },
    { "+970-01-01T00:00:00Z", NGX_ERROR },
    { "197:-01-01T00:00:00Z", NGX_ERROR },
    { "197/-01-01T00:00:00Z", NGX_ERROR },
    { "", NGX_ERROR },
    { "Z", NGX_ERROR }
};


static ngx_int_t
read_query(ngx_pool_t *pool, const char *query, values_t *values,
    ngx_lockbox_fault_t *fault)
{
    ngx_str_t  text, copy;

    /* what is read beyond the end shows */

    text = ngx_shim_str(query);
    copy.len = text.len;
    copy.data = ngx_pnalloc(pool, text.len + (text.len == 0));

    if (copy.data == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(copy.data, text.data, text.len);

    return ngx_lockbox_query_read(pool, &copy, table, values, fault);
}


static void
check_queries(ngx_pool_t *pool)
{
    values_t              values;
    ngx_int_t             rc;
    ngx_uint_t            i;
    const row_t          *row;
    ngx_lockbox_fault_t   fault;

    for (i = 0; i < sizeof(queries) / sizeof(queries[0]); i++) {
        row = &queries[i];
        ngx_memzero(&values, sizeof(values_t));

        rc = read_query(pool, row->query, &values, &fault);

        if (row->fault == NULL) {
            is(rc, NGX_OK, "\"%s\"", row->query);
            continue;
        }

        is(rc, NGX_DECLINED, "\"%s\" is refused", row->query);

        if (rc == NGX_DECLINED) {
            is_text(&fault.member, row->fault, "... for \"%s\"", row->fault);
            ok(row->reason == NULL || strcmp(fault.reason, row->reason) == 0,
               "... because: %s", fault.reason);
        }
    }
}


static void
check_values(ngx_pool_t *pool)
{
    values_t             values;
    ngx_lockbox_fault_t  fault;

    ngx_memzero(&values, sizeof(values_t));
    values.number = 50;
    values.time = -1;
    values.words = 7;

    is(read_query(pool, "", &values, &fault), NGX_OK, "nothing is given");
    is(values.number, 50, "... a number stays");
    is(values.time, -1, "... a time");
    is(values.words, 7, "... words");
    is(values.word.len, 0, "... a word");

    is(read_query(pool, "id=" ID "&time=1970-01-01T00:00:01Z&words=all,open"
                  "&word=ended&number=10&tenant=Acme-1&text=a%2f%C3%a9=%25",
                  &values, &fault),
       NGX_OK, "all are given");
    is_text(&values.id, ID, "... an id");
    is(values.time, 1000, "... a time");
    is(values.words, 5, "... words");
    is_text(&values.word, "ended", "... a word");
    is(values.number, 10, "... a number");
    is_text(&values.tenant, "Acme-1", "... a tenant");
    is_text(&values.text, "a/\xc3\xa9=%", "... a text");

    is(read_query(pool, "words=ended&number=9", &values, &fault), NGX_OK,
       "others");
    is(values.words, 2, "... replace words");
    is(values.number, 9, "... and a number");
}


static void
check_times(ngx_pool_t *pool)
{
    ngx_str_t          text, copy;
    ngx_uint_t         i;
    const time_row_t  *row;

    for (i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
        row = &times[i];
        text = ngx_shim_str(row->text);
        copy.len = text.len;
        copy.data = ngx_pnalloc(pool, text.len + (text.len == 0));
        ngx_memcpy(copy.data, text.data, text.len);

        is(ngx_lockbox_query_time(&copy), row->msec, "\"%s\"", row->text);
    }
}


static ngx_int_t
read_all(ngx_pool_t *pool, const void *data)
{
    values_t             values;
    ngx_lockbox_fault_t  fault;

    return read_query(pool, data, &values, &fault);
}


int
main(void)
{
    ngx_pool_t  *pool;

    pool = ngx_create_pool(0, NULL);

    check_queries(pool);
    check_values(pool);
    check_times(pool);

    ngx_destroy_pool(pool);

    ok(ngx_shim_walk(read_all, "word=all&id=" ID "&number=10") >= 4,
       "without memory");
    is(ngx_shim_live(), 0, "nothing is left");

    return tap_done();
}
