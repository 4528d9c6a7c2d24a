/*
 * Why: two parsers that read one text differently are how forged claims get
 * past a check; so a text has one reading here, or none.
 */

/* links: ngx_lockbox_json.c */

#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_lockbox_json.h"
#include "ngx_shim.h"
#include "tap.h"


typedef struct {
    const char  *text;
    size_t       len;
    const char  *what;
} row_t;


#define row(text, what)  { text, sizeof(text) - 1, what }


static const row_t  accepted[] = {
    row("{}", "empty object"),
    row(" \t\r\n{ } \n", "blanks around"),
    row("{\"a\":1,\"b\":2}", "two names"),
    row("{\"a\":1,\"A\":2}", "names that differ in case"),
    row("{\"a\":{\"a\":1}}", "one name on two levels"),
    row("{\"a\":\"\\ud83d\\ude00\"}", "surrogate pair"),
    row("{\"a\":\"\xf0\x9f\x98\x80\"}", "four bytes of UTF-8"),
    row("{\"a\":\"\\u0001\"}", "escaped control"),
    row("{\"a\":1e308}", "large real"),
    row("{\"a\":9223372036854775807}", "2^63 - 1"),
    row("{\"a\":-9223372036854775808}", "-2^63"),
    row("{\"a\":[1,2]}", "list"),
    row("{\"a\":\"}]{[\"}", "brackets in a text"),
    row("{\"\":1}", "empty name"),
    row("{\"a\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"}", "all short escapes"),
    row("{\"a\":\"\\u007F\\u0080\\u07ff\\u0800\\uD7FF\\ue000\\uFFFF\"}",
        "each length of UTF-8"),
    row("{\"a\":\"\\ud800\\udc00\\uDBFF\\uDFFF\"}",
        "first and last surrogate pair"),
    row("{\"a\" : [ true , false , null ] }", "words and blanks"),
    row("{\"a\":[0,-0,-1,10,0.5,-0.5,1E2,1e+2,1e-2,0e0,12.5e3]}", "numbers"),
    row("{\"a\":1e-400}", "a real too small")
};


static const row_t  refused[] = {
    row("", "nothing"),
    row(" ", "blank"),
    row("{", "cut off"),
    row("{\"a\":1", "cut off"),
    row("[]", "list at the root"),
    row("[{}]", "list at the root"),
    row("\"a\"", "text at the root"),
    row("1", "number at the root"),
    row("null", "null at the root"),
    row("{\"a\":1,\"a\":2}", "duplicate"),
    row("{\"a\":1,\"a\":1}", "duplicate with the same value"),
    row("{\"a\":1,\"a\"}", "duplicate without a value"),
    row("{\"a\":1,\"\\u0061\":2}", "duplicate by escape"),
    row("{\"tenant\":\"x\",\"ten\\u0061nt\":\"y\"}", "duplicate by escape"),
    row("{\"b\":{\"a\":1,\"a\":2}}", "duplicate further down"),
    row("{\"b\":[{\"a\":1,\"a\":2}]}", "duplicate within a list"),
    row("\xef\xbb\xbf{}", "byte order mark"),
    row("{\0\"\0a\0\"\0:\0" "1\0}\0", "UTF-16LE"),
    row("\0{\0}", "UTF-16BE"),
    row("\xff\xfe{\0}\0", "UTF-16LE with mark"),
    row("{\"a\":\"\xc0\xaf\"}", "overlong slash"),
    row("{\"a\":\"\xe0\x80\xaf\"}", "overlong slash of three bytes"),
    row("{\"a\":\"\xed\xa0\x80\"}", "surrogate in UTF-8"),
    row("{\"a\":\"\xf4\x90\x80\x80\"}", "beyond U+10FFFF"),
    row("{\"a\":\"\xff\"}", "bad UTF-8"),
    row("{\"\xff\":1}", "bad UTF-8 in a name"),
    row("{\"a\":\"\xc3\"}", "cut UTF-8"),
    row("{\"a\":\"\\ud800\"}", "lone high surrogate"),
    row("{\"a\":\"\\udc00\"}", "lone low surrogate"),
    row("{\"a\":\"\\ud800\\ud800\"}", "two high surrogates"),
    row("{\"a\":\"\\u0000\"}", "NUL in a value"),
    row("{\"a\\u0000b\":1}", "NUL in a name"),
    row("{\"a\":\"x\0y\"}", "raw NUL in a value"),
    row("{\"a\":1}\0{\"a\":2}", "NUL and another object"),
    row("{\"a\":1}\0", "NUL behind"),
    row("{\"a\":\"\n\"}", "raw newline in a text"),
    row("{\"a\":\"\n}", "raw newline at its end"),
    row("{\"a\":\"\\q}", "no such escape at its end"),
    row("{\"a\":NaN}", "NaN"),
    row("{\"a\":Infinity}", "Infinity"),
    row("{\"a\":1e400}", "1e400"),
    row("{\"a\":-1e400}", "-1e400"),
    row("{\"a\":9223372036854775808}", "2^63"),
    row("{\"a\":-9223372036854775809}", "-2^63 - 1"),
    row("{\"a\":100000000000000000000}", "10^20"),
    row("{\"a\":01}", "leading zero"),
    row("{\"a\":+1}", "plus sign"),
    row("{\"a\":.5}", "bare fraction"),
    row("{\"a\":0x1}", "hexadecimal"),
    row("{\"a\":1}x", "trailing byte"),
    row("{\"a\":1},", "trailing comma"),
    row("{\"a\":1,}", "comma at the end"),
    row("{\"a\":[1,]}", "comma at the end of a list"),
    row("{}{}", "two objects"),
    row("{} {}", "two objects"),
    row("{}]", "bracket too many"),
    row("]{}", "bracket in front"),
    row("{\"a\":1/* */}", "comment"),
    row("{\"a\":1//\n}", "comment"),
    row("#\n{}", "comment"),
    row("{'a':1}", "single quotes"),
    row("{a:1}", "bare name"),
    row("{\"a\":True}", "True"),
    row("{\"a\" 1}", "no colon"),
    row("{\"a\":\"\\x41\"}", "unknown escape"),
    row("\\{}", "backslash outside of a text"),
    row("{\"a\":\"\\ud800\\udbff\"}", "low surrogate too low"),
    row("{\"a\":\"\\ud800\\ue000\"}", "low surrogate too high"),
    row("{\"a\":\"\\udfff\"}", "last low surrogate alone"),
    row("{\"a\":\"\\ud800\\n\"}", "high surrogate and another escape"),
    row("{\"a\":\"\\ud800xudc00\"}", "high surrogate and no escape"),
    row("{\"a\":\"\\ud800", "high surrogate at the end"),
    row("{\"a\":\"\\ud800\\", "backslash at the end of a pair"),
    row("{\"a\":\"\\ud800\\u", "cut pair"),
    row("{\"a\":\"\\udc00\\udc00\"}", "two low surrogates"),
    row("{\"a\":\"\x01}", "no quote behind a control character"),
    row("{\"a\":\"\\x}", "no quote behind an unknown escape"),
    row("{\"a\":\"\\u00g0\"}", "no hexadecimal digit"),
    row("{\"a\":\"\\u00`0\"}", "no hexadecimal digit"),
    row("{\"a\":\"\\u00/0\"}", "no hexadecimal digit"),
    row("{\"a\":\"\\u00:0\"}", "no hexadecimal digit"),
    row("{\"a\":\"\\u00@0\"}", "no hexadecimal digit"),
    row("{\"a\":\"\\u12\"}", "short escape"),
    row("{\"a\":\"\\u123", "cut escape"),
    row("{\"a\":\"\\", "cut behind a backslash"),
    row("{\"a\":\"\\U0041\"}", "capital U"),
    row("{\"a\":\"\x1f\"}", "last control character"),
    row("{\"a\":\"x", "cut text"),
    row("{\"a", "cut name"),
    row("{\"a\"", "no colon at the end"),
    row("{\"a\":", "no value at the end"),
    row("{\"a\":}", "no value"),
    row("{1:2}", "number as a name"),
    row("{,}", "comma alone"),
    row("{\"a\":1 \"b\":2}", "no comma"),
    row("{\"a\":[1 2]}", "no comma in a list"),
    row("{\"a\":[}", "list ended as an object"),
    row("{\"a\":{]}", "object ended as a list"),
    row("{\"a\":tru}", "cut word"),
    row("{\"a\":truee}", "word with a tail"),
    row("{\"a\":nul", "cut word at the end"),
    row("{\"a\":-}", "sign alone"),
    row("{\"a\":1.}", "dot at the end"),
    row("{\"a\":1.e5}", "dot without a digit"),
    row("{\"a\":1e}", "exponent without a digit"),
    row("{\"a\":1e+}", "exponent without a digit"),
    row("{\"a\":--1}", "two signs"),
    row("{\"a\":1", "number at the end"),
    row("{\"a\":00}", "two zeros"),
    row("{\"a\":1\f}", "form feed is no blank"),
    row("{\"a\":1\v}", "nor is a vertical tab"),
    row("\xc2\xa0{}", "nor is a no-break space")
};


/* Parses a copy of just the size of the text, so that overruns show. */

static json_t *
parse(ngx_pool_t *pool, const char *text, size_t len)
{
    u_char  *copy;
    json_t  *root;

    copy = ngx_pnalloc(pool, len);
    memcpy(copy, text, len);

    root = ngx_lockbox_json_parse(pool, copy, len);

    (void) ngx_pfree(pool, copy);

    return root;
}


/* 1 if jansson's own reader makes the same of the text. */

static ngx_uint_t
agrees(const json_t *root, const char *text, size_t len)
{
    json_t      *other;
    ngx_uint_t   rc;

    other = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);

    if (!json_is_object(other)) {
        json_decref(other);
        return root == NULL;
    }

    rc = json_equal(root, other);
    json_decref(other);

    return rc;
}


static void
test_parse(ngx_pool_t *pool)
{
    size_t        i;
    json_t       *root;
    const row_t  *row;

    for (i = 0; i < sizeof(accepted) / sizeof(row_t); i++) {
        row = &accepted[i];

        root = parse(pool, row->text, row->len);

        ok(root != NULL, "accepted: %s", row->what);
        ok(agrees(root, row->text, row->len), "as jansson reads it");
    }

    for (i = 0; i < sizeof(refused) / sizeof(row_t); i++) {
        row = &refused[i];

        ok(parse(pool, row->text, row->len) == NULL, "refused: %s",
           row->what);
        ok(agrees(NULL, row->text, row->len), "as jansson refuses it");
    }

    /* here jansson's reader skips the NUL */

    ok(parse(pool, "{\"a\":1\0}", 8) == NULL, "NUL behind a number");
    ok(parse(pool, "{\"a\":null\0}", 11) == NULL, "NUL behind a word");
}


typedef struct {
    const char  *text;
    const char  *member;    /* NULL: nothing is there twice */
} told_t;


static const told_t  told[] = {
    { "{\"a\":1,\"a\":2}", "/a" },
    { "{\"a\":1,\"b\":2,\"b\":3,\"a\":4}", "/b" },
    { "{\"tenant\":1,\"ten\\u0061nt\":2}", "/tenant" },
    { "{\"\":1,\"\":2}", "/" },
    { "{\"a\":{\"\":{\"b\":1,\"b\":2}}}", "/a//b" },
    { "{\"a\":[{\"b\":1,\"b\":2}]}", "/a/0/b" },
    { "{\"z\":{\"b\":1},\"a\":[{\"b\":1},[],[[],1,{\"b\":1,\"b\":2}]]}",
      "/a/2/2/b" },
    { "{\"a\":[0,1,2,3,4,5,6,7,8,9,{\"b\":1,\"b\":2}]}", "/a/10/b" },
    { "{\"a\":1,\"a\":2", "/a" },
    { "{\"a\":1,\"a\"}", "/a" },
    { "{\"~\":{\"x/y\":[{\"/~1\":1,\"/~1\":2}]}}", "/~0/x~1y/0/~1~01" },
    { "{\"\xc3\xa9\":{\"%s\":1,\"%s\":2}}", "/\xc3\xa9/%s" },
    { "{\"a\":1,\"A\":2}", NULL },
    { "{\"a\":1,\"b\":[{\"a\":1},{\"a\":1}]}", NULL },
    { "{\"a\":[{\"b\":1,}]}", NULL },
    { "{\"a\":{\"b\" 1}}", NULL },
    { "{\"a\":1}{\"a\":1}", NULL },
    { "[1]", NULL }
};


static void
test_told(ngx_pool_t *pool)
{
    size_t                i;
    json_t               *root;
    ngx_lockbox_fault_t   fault;

    for (i = 0; i < sizeof(told) / sizeof(told_t); i++) {
        fault.reason = "an old one";

        root = ngx_lockbox_json_parse_told(pool, (u_char *) told[i].text,
                                           strlen(told[i].text), &fault);

        if (told[i].member == NULL) {
            ok(fault.reason == NULL, "%s: nothing twice", told[i].text);
            ok(agrees(root, told[i].text, strlen(told[i].text)),
               "as jansson reads it");
            continue;
        }

        ok(root == NULL, "%s: refused", told[i].text);
        ok(fault.reason
           && strcmp(fault.reason, "The member is there twice.") == 0,
           "for being there twice");
        is_text(&fault.member, told[i].member, "by its pointer");
    }
}


/*
 * Where a text is changed at random, jansson's reader (which has all the
 * memory it wants here) must make the same of it.
 */

static void
test_like_jansson(void)
{
    char         text[256];
    size_t       len;
    json_t      *root;
    uint32_t     seed;
    ngx_uint_t   i, n, differ, good;
    ngx_pool_t  *pool;
    static const char  start[] =
        "{\"a\":[1,-20.5e+1,true,{\"b\":\"x\\n\\u00e9\\ud83d\\ude00\"}],"
        "\"\\u0062\":null, \"c\":\"\xc3\xa9\xe2\x82\xac\"}";
    static const char  bytes[] =
        "\"\"\"\\\\\\{}[]:,,0019.eE+-tfnuabAdD8 \n\x01\xc3\xa9\xe2\x82\xed/";

    seed = 1;
    differ = 0;
    good = 0;

    for (i = 0; i < 30000; i++) {
        memcpy(text, start, sizeof(start));
        len = sizeof(start) - 1;

        for (n = 0; n <= i % 3; n++) {
            seed = seed * 1664525 + 1013904223;
            text[(seed >> 8) % len] =
                bytes[(seed >> 20) % (sizeof(bytes) - 1)];

            if (i % 7 == 6) {
                len -= (seed >> 4) % 3;
            }
        }

        pool = ngx_create_pool(0, NULL);
        root = parse(pool, text, len);

        good += root != NULL;
        differ += !agrees(root, text, len);

        ngx_destroy_pool(pool);
    }

    is(differ, 0, "no changed text is read in another way");
    ok(good > 1000, "%d of them were good", (int) good);
}


/*
 * {"a":[[..]]} of "depth" levels in all, or {"a":{"a":..}}; "before" stands
 * in front of the nest in the root.
 */

static ngx_uint_t
parses_nest(ngx_pool_t *pool, size_t depth, ngx_uint_t objects,
    const char *before)
{
    size_t   i, len;
    u_char  *text, *p;
    json_t  *root;

    text = ngx_pnalloc(pool, strlen(before) + 6 * depth + 10);
    p = ngx_cpymem(text, "{", 1);
    p = ngx_cpymem(p, before, strlen(before));
    p = ngx_cpymem(p, "\"a\":", 4);

    for (i = 1; i < depth; i++) {
        len = objects ? 5 : 1;
        p = ngx_cpymem(p, objects ? "{\"a\":" : "[", len);
    }

    *p++ = '1';

    for (i = 1; i < depth; i++) {
        *p++ = objects ? '}' : ']';
    }

    *p++ = '}';

    root = ngx_lockbox_json_parse(pool, text, p - text);
    (void) ngx_pfree(pool, text);

    return root != NULL;
}


static void
test_depth(ngx_pool_t *pool)
{
    is(parses_nest(pool, 1, 0, ""), 1, "one level");
    is(parses_nest(pool, 16, 0, ""), 1, "16 levels of lists");
    is(parses_nest(pool, 17, 0, ""), 0, "17 levels of lists");
    is(parses_nest(pool, 16, 1, ""), 1, "16 levels of objects");
    is(parses_nest(pool, 17, 1, ""), 0, "17 levels of objects");
    is(parses_nest(pool, 3000, 0, ""), 0, "3000 levels of lists");
    is(parses_nest(pool, 50000, 0, ""), 0, "50000 levels of lists");
    is(parses_nest(pool, 50000, 1, ""), 0, "50000 levels of objects");

    is(parses_nest(pool, 16, 0, "\"b\":[[]],\"c\":{},"), 1,
       "what is closed does not count");
    is(parses_nest(pool, 16, 0, "\"b\":\"[{[{[{\","), 1,
       "nor does a bracket in a text");
    is(parses_nest(pool, 17, 0, "\"b\":\"]}]}]}\","), 0,
       "a closing one in a text takes nothing off");
    is(parses_nest(pool, 17, 0, "\"b\":\"\\\"]]\","), 0,
       "nor behind an escaped quote");
    is(parses_nest(pool, 17, 0, "\"b\":\"\\\\\","), 0,
       "an escaped backslash does not escape the quote");
    is(parses_nest(pool, 16, 0, "\"b\":\"\\\\\","), 1,
       "an escaped backslash at the limit");
    is(parses_nest(pool, 17, 0, "\"b\":[],"), 0, "a list beside the nest");
}


static void
test_strings(ngx_pool_t *pool)
{
    json_t     *root;
    ngx_str_t   text;
    static const char  doc[] =
        "{\"s\":\"x\",\"e\":\"\",\"n\":null,\"i\":1,\"l\":[\"x\"],\"t\":true}";

    root = ngx_lockbox_json_parse(pool, (u_char *) doc, sizeof(doc) - 1);

    is(ngx_lockbox_json_string(root, "s", &text), NGX_OK, "a text");
    is_text(&text, "x", "its bytes");
    is(ngx_lockbox_json_string(root, "none", &text), NGX_DECLINED, "no text");
    is(ngx_lockbox_json_string(root, "e", &text), NGX_ERROR, "empty text");
    is(ngx_lockbox_json_string(root, "n", &text), NGX_ERROR, "null as text");
    is(ngx_lockbox_json_string(root, "i", &text), NGX_ERROR, "1 as text");
    is(ngx_lockbox_json_string(root, "l", &text), NGX_ERROR, "list as text");
    is(ngx_lockbox_json_string(root, "t", &text), NGX_ERROR, "true as text");
    is(ngx_lockbox_json_string(NULL, "s", &text), NGX_DECLINED,
       "no object, no text");
}


static void
test_integers(ngx_pool_t *pool)
{
    size_t    i;
    json_t   *root;
    int64_t   n;
    static const char  doc[] =
        "{\"i\":42,\"max\":9223372036854775807,"
        "\"min\":-9223372036854775808,\"zero\":0,\"real\":1.0,\"exp\":1e3,"
        "\"true\":true,\"text\":\"1\",\"null\":null,\"list\":[1],"
        "\"object\":{}}";
    static const char *const  bad[] = {
        "real", "exp", "true", "text", "null", "list", "object"
    };

    root = ngx_lockbox_json_parse(pool, (u_char *) doc, sizeof(doc) - 1);

    is(ngx_lockbox_json_integer(root, "i", &n), NGX_OK, "an integer");
    is(n, 42, "its value");
    is(ngx_lockbox_json_integer(root, "max", &n), NGX_OK, "2^63 - 1");
    is(n, INT64_MAX, "its value");
    is(ngx_lockbox_json_integer(root, "min", &n), NGX_OK, "-2^63");
    is(n, INT64_MIN, "its value");
    is(ngx_lockbox_json_integer(root, "zero", &n), NGX_OK, "0");
    is(n, 0, "its value");
    is(ngx_lockbox_json_integer(root, "none", &n), NGX_DECLINED, "absent");

    /* an old error must not read as an overflow of this one */

    errno = ERANGE;
    root = parse(pool, "{\"i\":42}", 8);
    is(ngx_lockbox_json_integer(root, "i", &n), NGX_OK, "an integer again");

    root = parse(pool, doc, sizeof(doc) - 1);
    n = 7;

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        is(ngx_lockbox_json_integer(root, bad[i], &n), NGX_ERROR,
           "%s is no integer", bad[i]);
    }

    is(n, 7, "no refusal writes a value");
}


typedef struct {
    const char  *pointer;
    const char  *want;      /* the text found, or NULL */
} pointer_t;


static const pointer_t  pointers[] = {
    { "/realm_access/roles", "r" },
    { "/realm_access/role", NULL },
    { "/realm_access/roles2", NULL },
    { "/realm_access/roles/x", NULL },
    { "/realm_access//roles", NULL },
    { "/realm_access/roles/", NULL },
    { "/top", "t" },
    { "/to", NULL },
    { "/topp", NULL },
    { "top", "t" },
    { "to", NULL },
    { "topp", NULL },
    { "a~1b", "literal" },
    { "/a~1b", "slash" },
    { "/a/b", NULL },
    { "a/b", "slash" },
    { "/a~01b", "literal" },
    { "/a~0b", "tilde" },
    { "a~b", "tilde" },
    { "/a~b", NULL },
    { "/a~2b", NULL },
    { "/a~", NULL },
    { "/", "empty" },
    { "", "empty" },
    { "/deep/", "deeper" },
    { "/deep//", NULL },
    { "/list/0", NULL },
    { "https://x.example/roles", "url" },
    { "/https:~1~1x.example~1roles", "url" }
};


static void
test_pointers(ngx_pool_t *pool)
{
    size_t      i;
    json_t     *root, *value;
    ngx_str_t   text;
    static const char  doc[] =
        "{\"realm_access\":{\"roles\":\"r\"},\"top\":\"t\","
        "\"a/b\":\"slash\",\"a~1b\":\"literal\",\"a~b\":\"tilde\","
        "\"\":\"empty\",\"deep\":{\"\":\"deeper\"},\"list\":[\"zero\"],"
        "\"https://x.example/roles\":\"url\"}";

    root = ngx_lockbox_json_parse(pool, (u_char *) doc, sizeof(doc) - 1);

    for (i = 0; i < sizeof(pointers) / sizeof(pointer_t); i++) {
        text = ngx_shim_str(pointers[i].pointer);
        value = ngx_lockbox_json_pointer(root, &text);

        if (pointers[i].want == NULL) {
            ok(value == NULL, "\"%s\" leads nowhere", pointers[i].pointer);
            continue;
        }

        ok(value && strcmp(json_string_value(value), pointers[i].want) == 0,
           "\"%s\" leads to \"%s\"", pointers[i].pointer, pointers[i].want);
    }

    text.data = (u_char *) "/top\0";
    text.len = 5;
    ok(ngx_lockbox_json_pointer(root, &text) == NULL, "NUL behind a name");

    text.data = (u_char *) "top\0";
    text.len = 4;
    ok(ngx_lockbox_json_pointer(root, &text) == NULL, "NUL behind a name");

    text = ngx_shim_str("/top");
    ok(ngx_lockbox_json_pointer(NULL, &text) == NULL, "nothing in nothing");
}


static void
test_dump(ngx_pool_t *pool)
{
    json_t     *root;
    ngx_str_t   text;
    static const char  doc[] =
        " {\"b\": [1, {\"d\": null, \"c\": \"\\u00e9/\\n\"}], \"a\": true} ";

    root = ngx_lockbox_json_parse(pool, (u_char *) doc, sizeof(doc) - 1);

    is(ngx_lockbox_json_dump(pool, root, &text), NGX_OK, "dump");
    is_text(&text,
            "{\"a\":true,\"b\":[1,{\"c\":\"\xc3\xa9/\\n\",\"d\":null}]}",
            "compact and sorted");

    is(ngx_lockbox_json_dump(pool, json_object_get(root, "a"), &text), NGX_OK,
       "dump of a bare value");
    is_text(&text, "true", "its text");

    is(ngx_lockbox_json_dump(pool, NULL, &text), NGX_ERROR, "dump of nothing");
}


static void
test_build(ngx_pool_t *pool)
{
    json_t     *object, *value;
    ngx_str_t   text;

    object = ngx_lockbox_json_own(pool, json_object());

    text = ngx_shim_str("x\xc3\xa9");
    is(ngx_lockbox_json_set(object, "a", ngx_lockbox_json_text(&text)), NGX_OK,
       "set a text");

    text.len = 2;
    ok(ngx_lockbox_json_text(&text) == NULL, "no JSON text of bad UTF-8");
    is(ngx_lockbox_json_set(object, "b", ngx_lockbox_json_text(&text)),
       NGX_ERROR, "nor a member");

    text.len = 1;
    is(ngx_lockbox_json_set(object, "c", ngx_lockbox_json_text(&text)), NGX_OK,
       "the length counts, not the NUL");

    ngx_str_null(&text);
    is(ngx_lockbox_json_set(object, "d", ngx_lockbox_json_text(&text)), NGX_OK,
       "a null text is an empty one");

    is(ngx_lockbox_json_dump(pool, object, &text), NGX_OK, "dump");
    is_text(&text, "{\"a\":\"x\xc3\xa9\",\"c\":\"x\",\"d\":\"\"}",
            "what was set");

    is(ngx_lockbox_json_set(NULL, "a", json_true()), NGX_ERROR,
       "no object to set in");

    /* a failing set must consume the value too: "live" at the end tells */

    value = json_string("lost");
    is(ngx_lockbox_json_set(NULL, "a", value), NGX_ERROR, "value consumed");

    ok(ngx_lockbox_json_own(pool, NULL) == NULL, "NULL goes through");
}


static void
test_only(ngx_pool_t *pool)
{
    json_t               *root;
    ngx_lockbox_fault_t   fault;
    static const char     doc[] = "{\"a\":1,\"b\":2}";
    static const char     odd[] = "{\"b\":1,\"x/y~z\":2}";
    static const char *const  both[] = { "a", "b", NULL };
    static const char *const  more[] = { "c", "b", "a", NULL };
    static const char *const  first[] = { "a", NULL };
    static const char *const  second[] = { "b", NULL };
    static const char *const  none[] = { NULL };

    root = ngx_lockbox_json_parse(pool, (u_char *) doc, sizeof(doc) - 1);

    is(ngx_lockbox_json_only(pool, root, both, "", &fault), NGX_OK,
       "all members are known");
    is(ngx_lockbox_json_only(pool, root, more, "", &fault), NGX_OK,
       "members may be absent");

    is(ngx_lockbox_json_only(pool, root, first, "", &fault), NGX_DECLINED,
       "the second is not known");
    is_text(&fault.member, "/b", "its pointer");
    ok(strcmp(fault.reason, "is not a known member") == 0, "the reason");

    is(ngx_lockbox_json_only(pool, root, second, "/p/0", &fault), NGX_DECLINED,
       "the first is not known");
    is_text(&fault.member, "/p/0/a", "its pointer");

    is(ngx_lockbox_json_only(pool, root, none, "", NULL), NGX_DECLINED,
       "no fault wanted");

    root = ngx_lockbox_json_parse(pool, (u_char *) odd, sizeof(odd) - 1);

    is(ngx_lockbox_json_only(pool, root, second, "", &fault), NGX_DECLINED,
       "a name with marks of its own");
    is_text(&fault.member, "/x~1y~0z", "its pointer is escaped");

    root = parse(pool, "{\"~/\":2}", 8);
    is(ngx_lockbox_json_only(pool, root, none, "", &fault), NGX_DECLINED,
       "a name with nothing but such marks");
    is_text(&fault.member, "/~0~1", "its pointer");
}


static void
test_fault(ngx_pool_t *pool)
{
    ngx_lockbox_fault_t  fault;

    is(ngx_lockbox_json_fault(pool, &fault, "is wrong", "/a/%d/%s", 12, "b"),
       NGX_DECLINED, "a fault");
    is_text(&fault.member, "/a/12/b", "its pointer");
    ok(strcmp(fault.reason, "is wrong") == 0, "its reason");

    is(ngx_lockbox_json_fault(pool, &fault, "is wrong", "%s", ""),
       NGX_DECLINED, "a fault of the whole document");
    is_text(&fault.member, "", "its pointer");

    is(ngx_lockbox_json_fault(pool, NULL, "is wrong", "/%d", 1), NGX_DECLINED,
       "a fault nobody wants");

    /* the locale "C" has no form for it, so that printf fails */

    is(ngx_lockbox_json_fault(pool, &fault, "is wrong", "/%ls", L"\x20ac"),
       NGX_ERROR, "a fault that cannot be written");
}


static const char  run_text[] =
    "{\"b\":[1,{\"c\":\"long enough to grow a buffer once or twice\"}],"
    "\"a\":1.5,\"d\":true}";


static ngx_int_t
parse_run(ngx_pool_t *pool, const void *text)
{
    json_t  *root;

    root = ngx_lockbox_json_parse(pool, text, sizeof(run_text) - 1);

    if (root && ngx_shim_failed()) {
        return NGX_DECLINED;
    }

    return root ? NGX_OK : NGX_ERROR;
}


/* Without memory for the values the pointer may still be had, and right. */

static ngx_int_t
told_run(ngx_pool_t *pool, const void *text)
{
    ngx_lockbox_fault_t  fault;
    static const char    member[] = "/b/1/c";

    if (ngx_lockbox_json_parse_told(pool, text, ngx_strlen(text), &fault)) {
        return NGX_DECLINED;
    }

    if (fault.reason
        && (fault.member.len != sizeof(member) - 1
            || memcmp(fault.member.data, member, sizeof(member) - 1) != 0))
    {
        return NGX_DECLINED;
    }

    return fault.reason && !ngx_shim_failed() ? NGX_OK : NGX_ERROR;
}


static ngx_int_t
dump_run(ngx_pool_t *pool, const void *root)
{
    ngx_str_t  text;

    return ngx_lockbox_json_dump(pool, root, &text);
}


static ngx_int_t
build_run(ngx_pool_t *pool, const void *name)
{
    json_t     *object;
    ngx_str_t   text;

    object = ngx_lockbox_json_own(pool, json_object());
    if (object == NULL) {
        return NGX_ERROR;
    }

    text = ngx_shim_str("x");

    return ngx_lockbox_json_set(object, name, ngx_lockbox_json_text(&text));
}


static ngx_int_t
only_run(ngx_pool_t *pool, const void *root)
{
    ngx_int_t             rc;
    ngx_lockbox_fault_t   fault;
    static const char *const  known[] = { "b", NULL };

    rc = ngx_lockbox_json_only(pool, root, known, "", &fault);

    return rc == NGX_DECLINED ? NGX_OK : rc;
}


static void
test_no_memory(ngx_pool_t *pool)
{
    json_t  *root;

    ok(ngx_shim_walk(parse_run, run_text) > 15, "each failure to parse");
    ok(ngx_shim_walk(told_run, "{\"b\":[1,{\"c\":1,\"c\":2}]}") > 15,
       "each failure to tell what is there twice");

    root = parse(pool, run_text, sizeof(run_text) - 1);
    ok(ngx_shim_walk(dump_run, root) > 5, "each failure to dump");
    ok(ngx_shim_walk(build_run, "a") > 3, "each failure to build");
    ok(ngx_shim_walk(only_run, root) == 2, "each failure to find fault");
}


int
main(void)
{
    ngx_pool_t  *pool;

    pool = ngx_create_pool(0, NULL);

    test_parse(pool);
    test_told(pool);
    test_like_jansson();
    test_depth(pool);
    test_strings(pool);
    test_integers(pool);
    test_pointers(pool);
    test_dump(pool);
    test_build(pool);
    test_only(pool);
    test_fault(pool);
    test_no_memory(pool);

    ngx_destroy_pool(pool);

    is(ngx_shim_live(), 0, "nothing is left behind");

    return tap_done();
}
