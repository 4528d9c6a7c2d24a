/*
 * Why: every path an upstream may read in two ways is a way around a grant.
 */

/* links: ngx_lockbox_path.c */

#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_lockbox_path.h"
#include "ngx_shim.h"
#include "tap.h"


#define PATH_MAX_LEN  1024


typedef struct {
    const char  *path;
    ngx_uint_t   canonical;
} row_t;


/* twins stand next to each other */

static const row_t  rows[] = {
    { "/", 1 },
    { "", 0 },
    { "/a", 1 },
    { "a", 0 },
    { "a/b", 0 },
    { ".", 0 },
    { "*", 0 },
    { "/v1/tenants/acme/", 1 },
    { "/v1/tenants/acme", 1 },
    { "//", 0 },
    { "//v1", 0 },
    { "/v1//a", 0 },
    { "/v1/a//", 0 },
    { "/v1/a/", 1 },
    { "/.", 0 },
    { "/./", 0 },
    { "/..", 0 },
    { "/../", 0 },
    { "/...", 1 },
    { "/.../", 1 },
    { "/....", 1 },
    { "/a/.", 0 },
    { "/a/./b", 0 },
    { "/a/..", 0 },
    { "/a/../b", 0 },
    { "/a/.../b", 1 },
    { "/a/.b", 1 },
    { "/a/..b", 1 },
    { "/a/b.", 1 },
    { "/a/b..", 1 },
    { "/a/a..b/c", 1 },
    { "/a/a.b..c", 1 },
    { "/.well-known/x", 1 },
    { "/a\\b", 0 },
    { "/a/..\\evil", 0 },
    { "/a%b", 0 },
    { "/a/%2e%2e/b", 0 },
    { "/a;b", 0 },
    { "/a/..;/b", 0 },
    { "/a;x=1/b", 0 },
    { "/a:b", 1 },
    { "/a#b", 0 },
    { "/a\"b", 1 },
    { "/a?b", 0 },
    { "/a@b", 1 },
    { "/a b", 1 },
    { "/a\x1f" "b", 0 },
    { "/a\nb", 0 },
    { "/a\r\nb", 0 },
    { "/a\tb", 0 },
    { "/a\x7f", 0 },
    { "/a~", 1 },
    { "/a$&'()*+,=!b", 1 },
    { "/a<b>|^`{}[]", 1 },

    /* names in other scripts */
    { "/\xe2\x82\xac", 1 },
    { "/\xc3\xa9t\xc3\xa9/x", 1 },
    { "/\xd0\xb4\xd0\xbe\xd0\xba", 1 },
    { "/\xe6\x97\xa5\xe6\x9c\xac", 1 },
    { "/\xf0\x9f\x98\x80", 1 },
    { "/\xc2\xa0", 1 },
    { "/\xef\xbf\xbd", 1 },
    { "/\xf4\x8f\xbf\xbf", 1 },

    /* no UTF-8 */
    { "/\xf4\x90\x80\x80", 0 },
    { "/\xf5\x80\x80\x80", 0 },
    { "/\xf8\x88\x80\x80\x80", 0 },
    { "/\x80", 0 },
    { "/\xbf", 0 },
    { "/\xff", 0 },
    { "/\xfe", 0 },
    { "/\xc3", 0 },
    { "/\xc3/", 0 },
    { "/\xe2\x82", 0 },
    { "/\xe2\x82/", 0 },
    { "/\xf0\x9f\x98", 0 },
    { "/\xf0\x9f\x98/", 0 },
    { "/\xe9t\xe9", 0 },
    { "/\xc3\xc3\xa9", 0 },
    { "/\xc3\xa9\xa9", 0 },
    { "/\xe2\xc2\xac", 0 },
    { "/\xe2\x82\x2c", 0 },
    { "/\xe2\x82\xec", 0 },
    { "/\xc0\xaf", 0 },
    { "/\xc1\x81", 0 },
    { "/\xe0\x80\xaf", 0 },
    { "/\xf0\x80\x80\xaf", 0 },
    { "/\xc0\xae\xc0\xae/", 0 },
    { "/\xc0\x80", 0 },
    { "/\xed\xa0\x80", 0 },
    { "/\xed\xbf\xbf", 0 },
    { "/\xed\x9f\xbf", 1 },
    { "/\xee\x80\x80", 1 },

    /* C1 controls */
    { "/\xc2\x80", 0 },
    { "/\xc2\x85", 0 },
    { "/\xc2\x9f", 0 },

    /* what normalises to a separator, beside its neighbours */
    { "/\xe2\x80\xa3", 1 },
    { "/\xe2\x80\xa4", 0 },
    { "/\xe2\x80\xa5", 0 },
    { "/\xe2\x80\xa6", 0 },
    { "/\xe2\x80\xa7", 1 },
    { "/\xef\xbc\x8d", 1 },
    { "/\xef\xbc\x8e", 0 },
    { "/\xef\xbc\x8f", 0 },
    { "/\xef\xbc\x90", 1 },
    { "/a/\xef\xbc\x8f..\xef\xbc\x8f" "evil", 0 },
    { "/\xef\xbc\xbb", 1 },
    { "/\xef\xbc\xbc", 0 },
    { "/\xef\xbc\xbd", 1 },
    { "/\xef\xb9\x92", 0 },
    { "/\xef\xb9\xa8", 0 },
    { "/\xef\xbc\x85", 0 },
    { "/\xef\xbc\x9b", 0 },
    { "/\xe2\x84\x80", 0 },
    { "/\xe2\x84\x81", 0 },
    { "/\xe2\x84\x82", 1 },
    { "/\xe2\x84\x85", 0 },
    { "/\xe2\x84\x86", 0 },
    { "/\xe2\x81\x88", 0 },

    /* what only looks like one: normalisation leaves it alone */
    { "/\xe2\x88\x95", 1 },
    { "/\xe2\x81\x84", 1 },
    { "/\xe2\x9f\x8b", 1 }
};


static ngx_uint_t
canonical(const u_char *text, size_t len)
{
    u_char      *copy;
    ngx_str_t    path;
    ngx_uint_t   rc;

    /* memory of just this size, so that reading behind it shows */

    copy = malloc(len);
    memcpy(copy, text, len);

    path.data = copy;
    path.len = len;
    rc = ngx_lockbox_path_canonical(&path);

    free(copy);

    return rc;
}


static void
test_rows(void)
{
    size_t  i;

    for (i = 0; i < sizeof(rows) / sizeof(row_t); i++) {
        is(canonical((u_char *) rows[i].path, strlen(rows[i].path)),
           rows[i].canonical, "row %zu \"%s\"", i, rows[i].path);
    }
}


static void
test_ascii(void)
{
    u_char      text[3];
    ngx_uint_t  c, wrong;

    memcpy(text, "/xx", 3);
    wrong = 0;

    for (c = 0; c < 0x80; c++) {
        text[1] = (u_char) c;

        wrong += canonical(text, 3)
                 != (c >= ' ' && c < 0x7f && !strchr("/\\%;#?", (int) c));
    }

    is(wrong, 0, "each ASCII byte");
}


/* Writes the code in "len" bytes, even if it needs fewer. */

static void
encode(u_char *p, uint32_t code, ngx_uint_t len)
{
    ngx_uint_t           i;
    static const u_char  leads[] = { 0, 0, 0xc0, 0xe0, 0xf0 };

    for (i = len - 1; i; i--) {
        p[i] = (u_char) (0x80 | (code & 0x3f));
        code >>= 6;
    }

    p[0] = (u_char) (leads[len] | code);
}


/* Of all codes from "first" on that "len" bytes can hold, how many pass. */

static ngx_uint_t
count(uint32_t first, uint32_t last, ngx_uint_t len, uint32_t *hash)
{
    u_char      text[5];
    uint32_t    code;
    ngx_str_t   path;
    ngx_uint_t  n;

    n = 0;
    text[0] = '/';
    path.data = text;
    path.len = len + 1;

    for (code = first; code <= last; code++) {
        encode(text + 1, code, len);

        if (ngx_lockbox_path_canonical(&path)) {
            n++;

        } else if (hash) {
            *hash = *hash * 31 + code;
        }
    }

    return n;
}


static void
test_code_points(void)
{
    uint32_t    hash;
    ngx_uint_t  n;

    hash = 0;
    n = count(0x80, 0x7ff, 2, &hash);
    n += count(0x800, 0xd7ff, 3, &hash);
    n += count(0xe000, 0xffff, 3, &hash);
    n += count(0x10000, 0x10ffff, 4, &hash);

    /* both figures from Python's unicodedata, over the same code points */

    is(n, 0x110000 - 0x800 - 0x80 - 84, "84 code points are refused");
    is(hash, 390371751, "they are the ones that Unicode's data say");

    is(count(0xd800, 0xdfff, 3, NULL), 0, "no surrogate");
    is(count(0x110000, 0x1fffff, 4, NULL), 0, "nothing beyond Unicode");
    is(count(0, 0x7f, 2, NULL), 0, "nothing overlong in two bytes");
    is(count(0, 0x7ff, 3, NULL), 0, "nothing overlong in three bytes");
    is(count(0, 0xffff, 4, NULL), 0, "nothing overlong in four bytes");
}


static void
test_length(void)
{
    u_char  text[PATH_MAX_LEN + 1];

    memset(text, 'a', sizeof(text));
    text[0] = '/';

    is(canonical(text, PATH_MAX_LEN - 1), 1, "1023 bytes");
    is(canonical(text, PATH_MAX_LEN), 1, "1024 bytes");
    is(canonical(text, PATH_MAX_LEN + 1), 0, "1025 bytes");
    is(canonical((u_char *) "/a\0b", 4), 0, "NUL inside");
    is(canonical((u_char *) "/a\0", 3), 0, "NUL at the end");
}


typedef struct {
    const char  *prefix;
    const char  *path;
    ngx_uint_t   covers;
} cover_t;


static const cover_t  covers[] = {
    { "/", "/", 1 },
    { "/", "/a", 1 },
    { "/", "/a/b/c", 1 },
    { "/a", "/a", 1 },
    { "/a", "/a/", 1 },
    { "/a", "/a/b", 1 },
    { "/a", "/ab", 0 },
    { "/a", "/a.b", 0 },
    { "/a", "/a0", 0 },
    { "/a", "/", 0 },
    { "/a", "/b", 0 },
    { "/a", "/A", 0 },
    { "/a/b", "/a/b", 1 },
    { "/a/b", "/a/b/", 1 },
    { "/a/b", "/a/b/c", 1 },
    { "/a/b", "/a/bc", 0 },
    { "/a/b", "/a/", 0 },
    { "/a/b", "/a", 0 },
    { "/a/b", "/a/c", 0 },
    { "/a/b", "/b/b", 0 },
    { "/a/b/", "/a/b/", 1 },
    { "/a/b/", "/a/b/c", 1 },
    { "/a/b/", "/a/b", 0 },
    { "/a/b/", "/a/bc", 0 },
    { "/a/b/", "/a/c/d", 0 },
    { "/v1/tenants/acme/", "/v1/tenants/acme", 0 },
    { "/v1/tenants/acme/", "/v1/tenants/acme2/x", 0 },
    { "/v1/tenants/acme/", "/v1/tenants/acme/x", 1 },
    { "/a/b", "/x/a/b", 0 },
    { "", "/", 0 },
    { "", "", 0 }
};


static void
test_covers(void)
{
    size_t     i;
    ngx_str_t  prefix, path;

    for (i = 0; i < sizeof(covers) / sizeof(cover_t); i++) {
        prefix = ngx_shim_str(covers[i].prefix);
        path = ngx_shim_str(covers[i].path);

        is(ngx_lockbox_path_covers(&prefix, &path), covers[i].covers,
           "\"%s\" %s \"%s\"", covers[i].prefix,
           covers[i].covers ? "covers" : "does not cover", covers[i].path);
    }

    /* what lies behind a path's end must not count */

    prefix = ngx_shim_str("/a/b");
    path.data = (u_char *) "/a/b";
    path.len = 3;
    is(ngx_lockbox_path_covers(&prefix, &path), 0, "a path cut short");

    ngx_str_null(&prefix);
    is(ngx_lockbox_path_covers(&prefix, &path), 0, "a prefix without data");
    ngx_str_null(&path);
    is(ngx_lockbox_path_canonical(&path), 0, "a path without data");
}


/* the path is what nginx makes of the target */

typedef struct {
    const char  *target;
    const char  *path;
    ngx_uint_t   spelt;
} spelt_t;


static const spelt_t  spellings[] = {
    { "/", "/", 1 },
    { "/a/b", "/a/b", 1 },
    { "/a/b?c=/../d", "/a/b", 1 },
    { "/a/b?", "/a/b", 1 },
    { "/a/b?c#d", "/a/b", 1 },
    { "/a/b/", "/a/b", 0 },
    { "/a/b", "/a/b/", 0 },
    { "/a/bc", "/a/b", 0 },
    { "/a", "/a/b", 0 },
    { "/A", "/a", 0 },
    { "", "/", 0 },
    { "?a", "/", 0 },

    /* merged, resolved, dropped */
    { "//a", "/a", 0 },
    { "/a//b", "/a/b", 0 },
    { "/a/./b", "/a/b", 0 },
    { "/a/../b", "/b", 0 },
    { "/a/b/..", "/a/", 0 },
    { "/a#b", "/a", 0 },

    /* escapes that must be, and those that need not */
    { "/a%20b", "/a b", 1 },
    { "/a%22b", "/a\"b", 1 },
    { "/%E2%82%AC", "/\xe2\x82\xac", 1 },
    { "/%e2%82%ac", "/\xe2\x82\xac", 1 },
    { "/a%3A", "/a:", 1 },
    { "/a%40", "/a@", 1 },
    { "/a%2fb", "/a/b", 0 },
    { "/a%2Fb", "/a/b", 0 },
    { "/a%2eb", "/a.b", 0 },
    { "/%61", "/a", 0 },
    { "/%7A", "/z", 0 },
    { "/%41", "/A", 0 },
    { "/%5a", "/Z", 0 },
    { "/%30", "/0", 0 },
    { "/%39", "/9", 0 },
    { "/%2d", "/-", 0 },
    { "/%5F", "/_", 0 },
    { "/%7e", "/~", 0 },
    { "/%60", "/`", 1 },
    { "/%7b", "/{", 1 },
    { "/%5b", "/[", 1 },
    { "/%3a", "/:", 1 },
    { "/a%20b", "/a%20b", 0 },
    { "/a%252fb", "/a/b", 0 },

    /* what nginx would not have let in */
    { "/%", "/%", 0 },
    { "/%2", "/\x02", 0 },
    { "/%2g", "/\x02g", 0 },
    { "/%g0", "/g0", 0 },
    { "/% 2", "/\x02", 0 },
    { "/\xe2\x82\xac", "/\xe2\x82\xac", 0 },
    { "/a\x7f", "/a\x7f", 0 },
    { "/a~", "/a~", 1 },

    /* no escape that is refused stands for a byte by accident */
    { "/%zz", "/\x01", 0 },
    { "/%zz", "/\xff", 0 },
    { "/%", "/\x01", 0 },
    { "/%2f", "/\x01", 0 },
    { "/%2f", "/\xff", 0 },
    { "/%61", "/\x01", 0 },
    { "/%61", "/\xff", 0 }
};


/* The target is a copy of just its size, so that reading behind it shows. */

static ngx_uint_t
spelt(const char *text, size_t len, const char *path)
{
    ngx_str_t   target, canonical_path;
    ngx_uint_t  rc;

    target.data = malloc(len);
    target.len = len;
    memcpy(target.data, text, len);

    canonical_path = ngx_shim_str(path);
    rc = ngx_lockbox_path_spelt(&target, &canonical_path);

    free(target.data);

    return rc;
}


static void
test_spelt(void)
{
    size_t  i;

    for (i = 0; i < sizeof(spellings) / sizeof(spelt_t); i++) {
        is(spelt(spellings[i].target, strlen(spellings[i].target),
                 spellings[i].path), spellings[i].spelt,
           "\"%s\" is %sthe one spelling of \"%s\"", spellings[i].target,
           spellings[i].spelt ? "" : "not ", spellings[i].path);
    }

    /* an escape that ends beyond the end */

    for (i = 0; i < 5; i++) {
        is(spelt("/%20", i, "/ "), i == 4, "%zu bytes of \"/%%20\"", i);
    }
}


typedef struct {
    const char  *target;
    const char  *host;
    ngx_uint_t   same;
} authority_t;


static const authority_t  authorities[] = {
    { "a.example/x HTTP/1.1", "a.example", 1 },
    { "a.example?x HTTP/1.1", "a.example", 1 },
    { "a.example HTTP/1.1", "a.example", 1 },
    { "a.example#x", "a.example", 1 },
    { "a.example", "a.example", 1 },
    { "A.exaMPLE/", "a.Example", 1 },
    { "AZaz09-_:8080/", "azAZ09-_:8080", 1 },
    { "[::FFFF:1]:80/", "[::ffff:1]:80", 1 },
    { "a/", "a", 1 },

    { "a.example/", "b.example", 0 },
    { "b.example/", "a.example", 0 },
    { "a.example/", "a.exampl", 0 },
    { "a.exampl/", "a.example", 0 },
    { "a.example/", "a.example.", 0 },
    { "a.example./", "a.example", 0 },
    { "a.example/", "a.example:80", 0 },
    { "a.example:80/", "a.example", 0 },
    { "a.example:80/", "a.example:8080", 0 },
    { "a.example:80/", "a.example:81", 0 },
    { "x@a.example/", "a.example", 0 },
    { "a.example/", "a.example/", 0 },
    { "a.example/b", "a.example/b", 0 },
    { "a.example/", "", 0 },
    { "/a.example", "a.example", 0 },
    { "/a.example", "", 0 },
    { "//", "/", 0 },
    { "", "", 0 },
    { "", "a", 0 },

    /* what 0x20 makes of each other, but no letters are */
    { "a[b/", "a{b", 0 },
    { "a@b/", "a`b", 0 },
    { "a^b/", "a~b", 0 },
    { "a\rb/", "a-b", 0 },
    { "a\xc0/", "a\xe0", 0 }
};


/* Copies of just their size again. */

static ngx_uint_t
authority(const char *target, size_t target_len, const char *host,
    size_t host_len)
{
    ngx_str_t   texts[2];
    ngx_uint_t  rc;

    texts[0].data = malloc(target_len);
    texts[0].len = target_len;
    memcpy(texts[0].data, target, target_len);

    texts[1].data = malloc(host_len);
    texts[1].len = host_len;
    memcpy(texts[1].data, host, host_len);

    rc = ngx_lockbox_path_authority(&texts[0], &texts[1]);

    free(texts[0].data);
    free(texts[1].data);

    return rc;
}


static void
test_authority(void)
{
    size_t              i;
    const authority_t  *row;

    for (i = 0; i < sizeof(authorities) / sizeof(authority_t); i++) {
        row = &authorities[i];

        is(authority(row->target, strlen(row->target), row->host,
                     strlen(row->host)), row->same,
           "\"%s\" %s \"%s\"", row->target,
           row->same ? "is at" : "is not at", row->host);
    }

    /* a NUL ends nothing */

    is(authority("a\0b/", 4, "a\0c", 3), 0, "behind a NUL");
    is(authority("a\0b/", 4, "A\0B", 3), 1, "the same behind a NUL");
}


int
main(void)
{
    test_rows();
    test_ascii();
    test_code_points();
    test_length();
    test_covers();
    test_spelt();
    test_authority();

    return tap_done();
}
