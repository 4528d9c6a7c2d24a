/*
 * Why: names become parts of Redis keys, paths and log lines, where one byte
 * too many means something.
 */

/* links: ngx_lockbox_name.c */

#include <ngx_config.h>
#include <ngx_core.h>

#include <openssl/rand.h>

#include "ngx_lockbox_name.h"
#include "ngx_shim.h"
#include "tap.h"


#define A16  "aaaaaaaaaaaaaaaa"
#define A63  A16 A16 A16 "aaaaaaaaaaaaaaa"
#define B31  "BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB"


typedef ngx_uint_t (*valid_pt)(const ngx_str_t *text);


typedef struct {
    const char  *text;
    ngx_uint_t   valid;
} row_t;


static const row_t  tenants[] = {
    { "acme", 1 },
    { "Acme", 1 },
    { "ACME-2.eu_west", 1 },
    { "0", 1 },
    { "z", 1 },
    { "Z", 1 },
    { "9", 1 },
    { "a", 1 },
    { "A", 1 },
    { "-", 1 },
    { "_", 1 },
    { "...", 1 },
    { ".a", 1 },
    { "..a", 1 },
    { "a..", 1 },
    { "-.", 1 },
    { A63 "a", 1 },
    { A63 "aa", 0 },
    { "", 0 },
    { ".", 0 },
    { "..", 0 },
    { "a/b", 0 },
    { "a b", 0 },
    { " acme", 0 },
    { "acme ", 0 },
    { "acme\n", 0 },
    { "a:b", 0 },
    { "a@b", 0 },
    { "a[b", 0 },
    { "a`b", 0 },
    { "a{b", 0 },
    { "a}b", 0 },
    { "a*b", 0 },
    { "a,b", 0 },
    { "a^b", 0 },
    { "a%b", 0 },
    { "a\\b", 0 },
    { "a\x7f", 0 },
    { "\xc3\xa9", 0 },
    { "a\xff", 0 }
};


static const row_t  names[] = {
    { "mail", 1 },
    { "a", 1 },
    { "z", 1 },
    { "0", 1 },
    { "9", 1 },
    { "0.a_b-c", 1 },
    { "a.", 1 },
    { "a..b", 1 },
    { "az09", 1 },
    { A63 "a", 1 },
    { A63 "aa", 0 },
    { "", 0 },
    { ".a", 0 },
    { "_a", 0 },
    { "-a", 0 },
    { "Mail", 0 },
    { "maiL", 0 },
    { "aA", 0 },
    { "aZ", 0 },
    { "a b", 0 },
    { "a/b", 0 },
    { "a:b", 0 },
    { "a`b", 0 },
    { "a{b", 0 },
    { "a\n", 0 },
    { "\xc3\xa9", 0 }
};


static const row_t  methods[] = {
    { "GET", 1 },
    { "POST", 1 },
    { "OPTIONS", 1 },
    { "M-SEARCH", 1 },
    { "VERSION_CONTROL", 1 },
    { "A", 1 },
    { "Z", 1 },
    { "HEADS", 1 },
    { "HEA", 1 },
    { "TRACER", 1 },
    { "CONNECT-UDP", 1 },
    { B31 "B", 1 },
    { B31 "BB", 0 },
    { "HEAD", 0 },
    { "CONNECT", 0 },
    { "TRACE", 0 },
    { "", 0 },
    { "get", 0 },
    { "GeT", 0 },
    { "GET ", 0 },
    { " GET", 0 },
    { "GET1", 0 },
    { "G.T", 0 },
    { "G@T", 0 },
    { "G[T", 0 },
    { "*", 0 },
    { "GET\n", 0 },
    { "G\xc9T", 0 }
};


static const row_t  ids[] = {
    { "01920000-0000-7000-8000-000000000000", 1 },
    { "0192f3a4-b5c6-7d8e-9f01-23456789abcd", 1 },
    { "ffffffff-ffff-7fff-bfff-ffffffffffff", 1 },
    { "01920000-0000-7000-a000-000000000000", 1 },
    { "01920000-0000-7000-7000-000000000000", 0 },
    { "01920000-0000-7000-c000-000000000000", 0 },
    { "01920000-0000-7000-0000-000000000000", 0 },
    { "01920000-0000-4000-8000-000000000000", 0 },
    { "01920000-0000-6000-8000-000000000000", 0 },
    { "01920000-0000-8000-8000-000000000000", 0 },
    { "01920000-0000-7000-8000-00000000000", 0 },
    { "01920000-0000-7000-8000-0000000000000", 0 },
    { "01920000-0000-7000-8000-00000000000g", 0 },
    { "g1920000-0000-7000-8000-000000000000", 0 },
    { "01920000-0000-7000-8000-00000000000`", 0 },
    { "01920000-0000-7000-8000-00000000000/", 0 },
    { "01920000-0000-7000-8000-00000000000:", 0 },
    { "01920000-0000-7000-8000-00000000000A", 0 },
    { "01920000-0000-7000-B000-000000000000", 0 },
    { "0192000000000-7000-8000-000000000000", 0 },
    { "01920000-000007000-8000-000000000000", 0 },
    { "01920000-0000-700008000-000000000000", 0 },
    { "01920000-0000-7000-80000000000000000", 0 },
    { "0192-0000000-7000-8000-000000000000-", 0 },
    { "{1920000-0000-7000-8000-00000000000}", 0 },
    { "01920000-0000-7000-8000-0000000000\r\n", 0 },
    { "*", 0 },
    { "", 0 }
};


static void
test_rows(const char *what, valid_pt valid, const row_t *rows, size_t n)
{
    size_t     i;
    ngx_str_t  text;

    for (i = 0; i < n; i++) {
        text = ngx_shim_str(rows[i].text);
        is(valid(&text), rows[i].valid, "%s \"%s\"", what, rows[i].text);
    }

    text.data = (u_char *) "a\0b";
    text.len = 3;
    is(valid(&text), 0, "%s with NUL", what);

    ngx_str_null(&text);
    is(valid(&text), 0, "%s without data", what);
}


static void
test_same(void)
{
    ngx_str_t  a, b, none;

    a = ngx_shim_str("acme");
    b = ngx_shim_str("acme2");
    ngx_str_null(&none);

    is(ngx_lockbox_name_same(&a, &a), 1, "a text is the same as itself");
    is(ngx_lockbox_name_same(&a, &b), 0, "but not as a longer one");
    is(ngx_lockbox_name_same(&b, &a), 0, "nor as a shorter one");

    b.len = 4;
    is(ngx_lockbox_name_same(&a, &b), 1, "the length counts");

    b = ngx_shim_str("acmf");
    is(ngx_lockbox_name_same(&a, &b), 0, "not as one that differs at the end");

    b = ngx_shim_str("Acme");
    is(ngx_lockbox_name_same(&a, &b), 0, "nor in case");

    b.len = 0;
    is(ngx_lockbox_name_same(&none, &b), 1, "nothing is the same as nothing");
    is(ngx_lockbox_name_same(&none, &a), 0, "but not as something");
}


/* of each class, how many single bytes are in it */

static void
test_alphabet(const char *what, valid_pt valid, u_char first, ngx_uint_t want)
{
    u_char      buf[2];
    ngx_str_t   text;
    ngx_uint_t  c, taken;

    buf[0] = first;
    text.data = buf;
    text.len = 2;
    taken = 0;

    for (c = 0; c < 256; c++) {
        buf[1] = (u_char) c;
        taken += valid(&text);
    }

    is(taken, want, "%s: bytes taken", what);
}


static void
test_id_create(void)
{
    u_char       id[NGX_LOCKBOX_ID_LEN + 1], other[NGX_LOCKBOX_ID_LEN];
    ngx_str_t    text;
    ngx_uint_t   i, good, variants;

    id[NGX_LOCKBOX_ID_LEN] = '#';
    text.data = id;
    text.len = NGX_LOCKBOX_ID_LEN;

    /* RFC 9562 appendix A.6: 2022-02-22 19:22:22 UTC */

    is(ngx_lockbox_id_create(id, 1645557742000, NULL), NGX_OK, "an id");
    ok(memcmp(id, "017f22e2-79b0-7", 15) == 0, "the time comes first");
    is(id[NGX_LOCKBOX_ID_LEN], '#', "nothing written behind");

    is(ngx_lockbox_id_create(other, 1645557742000, NULL), NGX_OK, "another id");
    ok(memcmp(id, other, NGX_LOCKBOX_ID_LEN) != 0, "two ids differ");

    is(ngx_lockbox_id_create(other, 1645557742001, NULL), NGX_OK, "a later id");
    ok(memcmp(other, id, NGX_LOCKBOX_ID_LEN) > 0, "ids sort by time");

    variants = 0;

    for (i = 0, good = 0; i < 1000; i++) {
        if (ngx_lockbox_id_create(id, i * 0xf0f0f0f0fULL, NULL) == NGX_OK) {
            good += ngx_lockbox_id_valid(&text);
            variants |= 1 << (id[19] == '8' ? 0 : id[19] == '9' ? 1
                              : id[19] == 'a' ? 2 : 3);
        }
    }

    is(good, 1000, "1000 ids are valid");
    is(variants, 15, "all four digits of the variant occur");
}


static int
counting_bytes(unsigned char *buf, int num)
{
    int  i;

    for (i = 0; i < num; i++) {
        buf[i] = (u_char) (i * 0x11);
    }

    return 1;
}


static int
full_bytes(unsigned char *buf, int num)
{
    memset(buf, 0xff, num);

    return 1;
}


static int
no_bytes(unsigned char *buf, int num)
{
    memset(buf, 0, num);

    return 0;
}


/* "msec" is the time of RFC 9562's example */

static void
test_random(void)
{
    u_char               id[NGX_LOCKBOX_ID_LEN];
    uint64_t             msec;
    ngx_str_t            text;
    const RAND_METHOD   *saved;
    static RAND_METHOD   method;
    ngx_uint_t           i, seen;
    static ngx_lockbox_random_t  stock;

    msec = 1645557742000;
    text.data = id;
    text.len = NGX_LOCKBOX_ID_LEN;

    saved = RAND_get_rand_method();
    method = *saved;
    (void) RAND_set_rand_method(&method);

    method.bytes = counting_bytes;
    is(ngx_lockbox_id_create(id, msec, NULL), NGX_OK, "an id of known bytes");
    is_text(&text, "017f22e2-79b0-7677-8899-aabbccddeeff", "its digits");

    method.bytes = full_bytes;
    is(ngx_lockbox_id_create(id, msec, NULL), NGX_OK, "an id of full bytes");
    is_text(&text, "017f22e2-79b0-7fff-bfff-ffffffffffff", "its digits");

    method.bytes = counting_bytes;
    memset(&stock, 0, sizeof(stock));
    seen = 0;

    for (i = 0; i < 128; i++) {
        if (ngx_lockbox_id_create(id, msec, &stock) == NGX_OK) {
            seen += ngx_lockbox_id_valid(&text);
        }
    }

    is(seen, 128, "as many ids as there are in stock");
    is(stock.left, 0, "and then it is used up");
    is_text(&text, "017f22e2-79b0-7677-8899-aabbccddeeff", "the last of it");

    method.bytes = no_bytes;
    stock.left = 1;
    is(ngx_lockbox_id_create(id, msec, &stock), NGX_ERROR,
       "no id without another stock");
    is(stock.left, 0, "and none of the old one");

    method.bytes = no_bytes;
    is(ngx_lockbox_id_create(id, msec, NULL), NGX_ERROR,
       "no id without random bytes");

    (void) RAND_set_rand_method(saved);
}


int
main(void)
{
    test_same();

    test_rows("tenant", ngx_lockbox_tenant_valid, tenants,
              sizeof(tenants) / sizeof(row_t));
    test_rows("name", ngx_lockbox_name_valid, names,
              sizeof(names) / sizeof(row_t));
    test_rows("method", ngx_lockbox_method_valid, methods,
              sizeof(methods) / sizeof(row_t));
    test_rows("id", ngx_lockbox_id_valid, ids, sizeof(ids) / sizeof(row_t));

    test_alphabet("tenant", ngx_lockbox_tenant_valid, 'a', 65);
    test_alphabet("name", ngx_lockbox_name_valid, 'a', 39);
    test_alphabet("method", ngx_lockbox_method_valid, 'A', 28);

    test_id_create();
    test_random();

    return tap_done();
}
