/*
 * Why: a line that can be split, hidden or forged by what a client sends is no
 * evidence.
 */

/* links: ngx_lockbox_record.c ngx_lockbox_unicode.c */

#include <ngx_config.h>
#include <ngx_core.h>

#include <time.h>

#include <jansson.h>
#include <openssl/evp.h>
#include <openssl/sha.h>

#include "ngx_lockbox_record.h"
#include "ngx_shim.h"
#include "tap.h"


#define TEXT_MAX  1024
#define DAY       86400000LL
#define END       253402300799999LL


/* The line of one text, as a C string in pool memory. */

static const char *
line_of(ngx_pool_t *pool, const u_char *data, size_t len)
{
    char                 *line;
    ngx_str_t             text, out;
    ngx_lockbox_field_t   field;

    text.data = (u_char *) data;
    text.len = len;

    field.type = NGX_LOCKBOX_FIELD_TEXT;
    ngx_str_set(&field.name, "t");
    field.text = &text;
    field.number = 0;

    if (ngx_lockbox_record_write(pool, NULL, &field, 1, &out) != NGX_OK) {
        return "";
    }

    line = ngx_palloc(pool, out.len + 1);
    ngx_memcpy(line, out.data, out.len);
    line[out.len] = '\0';

    return line;
}


typedef struct {
    const char  *text;
    size_t       len;
    const char  *want;
} text_t;


#define row(text, want)  { text, sizeof(text) - 1, want }


static const text_t  texts[] = {
    row("plain", "plain"),
    row("a b/c?d=e&f", "a b/c?d=e&f"),
    row("\"", "\\\""),
    row("\\", "\\\\"),
    row("\"}\n{\"a\":\"b", "\\\"}\\u000a{\\\"a\\\":\\\"b"),
    row("a\r\nb", "a\\u000d\\u000ab"),
    row("\0", "\\u0000"),
    row("\t", "\\u0009"),
    row("\x1b[2J", "\\u001b[2J"),
    row("\x1f", "\\u001f"),
    row(" ", " "),
    row("~", "~"),
    row("\x7f", "\\u007f"),

    /* UTF-8, its forms and borders (RFC 3629) */
    row("\xc2\x80", "\\u0080"),
    row("\xc2\x9f", "\\u009f"),
    row("\xc2\xa0", "\xc2\xa0"),
    row("\xc3\xa9", "\xc3\xa9"),
    row("\xdf\xbf", "\xdf\xbf"),
    row("\xe0\xa0\x80", "\xe0\xa0\x80"),
    row("\xe2\x82\xac", "\xe2\x82\xac"),
    row("\xed\x9f\xbf", "\xed\x9f\xbf"),
    row("\xee\x80\x80", "\xee\x80\x80"),
    row("\xef\xbf\xbf", "\xef\xbf\xbf"),
    row("\xf0\x90\x80\x80", "\xf0\x90\x80\x80"),
    row("\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80"),
    row("\xf4\x8f\xbf\xbf", "\xf4\x8f\xbf\xbf"),
    row("\xef\xbf\xbd", "\\ufffd"),

    /* what is none: each wrong byte is one mark, the next one is read anew */
    row("\x80", "\\ufffd"),
    row("\xbf", "\\ufffd"),
    row("\xc0\xaf", "\\ufffd\\ufffd"),
    row("\xc1\xbf", "\\ufffd\\ufffd"),
    row("\xe0\x80\xaf", "\\ufffd\\ufffd\\ufffd"),
    row("\xe0\x9f\xbf", "\\ufffd\\ufffd\\ufffd"),
    row("\xed\xa0\x80", "\\ufffd\\ufffd\\ufffd"),
    row("\xed\xbf\xbf", "\\ufffd\\ufffd\\ufffd"),
    row("\xf0\x8f\xbf\xbf", "\\ufffd\\ufffd\\ufffd\\ufffd"),
    row("\xf4\x90\x80\x80", "\\ufffd\\ufffd\\ufffd\\ufffd"),
    row("\xf5\x80\x80\x80", "\\ufffd\\ufffd\\ufffd\\ufffd"),
    row("\x81\x80\x80\x80", "\\ufffd\\ufffd\\ufffd\\ufffd"),
    row("\xf9\x80\x80\x80", "\\ufffd\\ufffd\\ufffd\\ufffd"),
    row("\xff", "\\ufffd"),
    row("\xc3", "\\ufffd"),
    { "\xc3\xa9", 1, "\\ufffd" },
    { "\xe2\x82\xac", 2, "\\ufffd\\ufffd" },
    row("\xe2\x82", "\\ufffd\\ufffd"),
    row("\xf0\x9f\x98", "\\ufffd\\ufffd\\ufffd"),
    row("\xc3\"", "\\ufffd\\\""),
    row("\xe2\x82\n", "\\ufffd\\ufffd\\u000a"),
    row("\xc3\xc3\xa9", "\\ufffd\xc3\xa9"),
    row("\xe2\x28\xa1", "\\ufffd(\\ufffd"),
    row("\xe2\x82\xc0", "\\ufffd\\ufffd\\ufffd"),
    row("\xc3\xa9\xff", "\xc3\xa9\\ufffd"),
    row("\xc3\xa9\xc3", "\xc3\xa9\\ufffd"),
    row("\xc3\xa9\xc3(", "\xc3\xa9\\ufffd("),
    row("\xc3\xa9\xe0\x80\x80", "\xc3\xa9\\ufffd\\ufffd\\ufffd"),

    /* what a reader does not see, or sees elsewhere */
    row("\xe2\x80\xae", "\\u202e"),
    row("\xe2\x80\xa8", "\\u2028"),
    row("\xef\xbb\xbf", "\\ufeff"),
    row("\xf3\xa0\x80\xa0", "\\udb40\\udc20"),
    row("\xf0\x9b\xb2\xa0", "\\ud82f\\udca0")
};


static void
test_texts(ngx_pool_t *pool)
{
    char        want[128];
    size_t      i;
    ngx_str_t   line;

    for (i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        (void) snprintf(want, sizeof(want), "{\"t\":\"%s\"}\n",
                        texts[i].want);
        line = ngx_shim_str(line_of(pool, (const u_char *) texts[i].text,
                                    texts[i].len));
        is_text(&line, want, "text %d", (int) i);
    }
}


/*
 * Unicode 14: Default_Ignorable_Code_Point, Bidi_Control, Cc, Zl, Zp; and the
 * interlinear annotations, which no terminal shows.
 */

typedef struct {
    uint32_t  first;
    uint32_t  last;
} range_t;


static const range_t  hidden[] = {
    { 0x00, 0x1f }, { 0x7f, 0x9f }, { 0xad, 0xad }, { 0x34f, 0x34f },
    { 0x61c, 0x61c }, { 0x115f, 0x1160 }, { 0x17b4, 0x17b5 },
    { 0x180b, 0x180f }, { 0x200b, 0x200f }, { 0x2028, 0x202e },
    { 0x2060, 0x206f }, { 0x3164, 0x3164 }, { 0xfe00, 0xfe0f },
    { 0xfeff, 0xfeff }, { 0xffa0, 0xffa0 }, { 0xfff0, 0xfff8 },
    { 0xfff9, 0xfffb }, { 0xfffd, 0xfffd }, { 0x1bca0, 0x1bca3 },
    { 0x1d173, 0x1d17a }, { 0xe0000, 0xe0fff }
};


static int
is_hidden(uint32_t code)
{
    size_t  i;

    for (i = 0; i < sizeof(hidden) / sizeof(hidden[0]); i++) {
        if (code >= hidden[i].first && code <= hidden[i].last) {
            return 1;
        }
    }

    return 0;
}


static size_t
utf8(u_char *p, uint32_t code)
{
    if (code < 0x80) {
        p[0] = (u_char) code;
        return 1;
    }

    if (code < 0x800) {
        p[0] = (u_char) (0xc0 | code >> 6);
        p[1] = (u_char) (0x80 | (code & 0x3f));
        return 2;
    }

    if (code < 0x10000) {
        p[0] = (u_char) (0xe0 | code >> 12);
        p[1] = (u_char) (0x80 | (code >> 6 & 0x3f));
        p[2] = (u_char) (0x80 | (code & 0x3f));
        return 3;
    }

    p[0] = (u_char) (0xf0 | code >> 18);
    p[1] = (u_char) (0x80 | (code >> 12 & 0x3f));
    p[2] = (u_char) (0x80 | (code >> 6 & 0x3f));
    p[3] = (u_char) (0x80 | (code & 0x3f));
    return 4;
}


static int
is_ascii(const char *text)
{
    for ( /* void */ ; *text; text++) {
        if (*text < ' ' && *text != '\n') {
            return 0;
        }
    }

    return 1;
}


/* Every code point there is, read back by a parser of somebody else. */

static void
test_code_points(void)
{
    size_t        len;
    u_char        text[4];
    json_t       *json;
    uint32_t      code;
    ngx_uint_t    wrong, raw;
    ngx_pool_t   *pool;
    const char   *line, *value;

    wrong = 0;
    raw = 0;

    for (code = 1; code <= 0x10ffff; code += code < 0x3200 ? 1 : 29) {

        if (code >= 0xd800 && code <= 0xdfff) {
            continue;
        }

        pool = ngx_create_pool(0, NULL);
        len = utf8(text, code);
        line = line_of(pool, text, len);
        json = json_loads(line, 0, NULL);
        value = json_string_value(json_object_get(json, "t"));

        wrong += value == NULL || strlen(value) != len
                 || memcmp(value, text, len) != 0;
        raw += is_hidden(code) ? !is_ascii(line)
                               : code >= 0x80 && is_ascii(line);

        json_decref(json);
        ngx_destroy_pool(pool);
    }

    is(wrong, 0, "a parser reads each code point back");
    is(raw, 0, "what is not seen, and nothing else, is escaped");
}


static void
test_hidden_borders(ngx_pool_t *pool)
{
    int        got;
    size_t     i, j;
    u_char     text[4];
    uint32_t   around[4];

    for (i = 0; i < sizeof(hidden) / sizeof(hidden[0]); i++) {
        around[0] = hidden[i].first;
        around[1] = hidden[i].last;
        around[2] = hidden[i].first - 1;
        around[3] = hidden[i].last + 1;

        for (j = 0; j < 4; j++) {
            if (around[j] > 0x10ffff || around[j] < 0x80) {
                continue;
            }

            got = is_ascii(line_of(pool, text, utf8(text, around[j])));
            is(got, is_hidden(around[j]), "U+%04X", around[j]);
        }
    }
}


typedef struct {
    size_t       len;
    u_char       fill;
    const char  *cut;       /* printf format of what stands behind the cut */
} cut_t;


static const cut_t  cuts[] = {
    { TEXT_MAX - 1, 'a', NULL },
    { TEXT_MAX, 'a', NULL },
    { TEXT_MAX + 1, 'a', "... [1025 bytes, sha256 %s]" },
    { 65536, 'a', "... [65536 bytes, sha256 %s]" },
    { TEXT_MAX, 0xff, NULL },
    { 65536, 0xff, "... [65536 bytes, sha256 %s]" },
    { 65536, '"', "... [65536 bytes, sha256 %s]" }
};


static void
hex_digest(const u_char *data, size_t len, char *hex)
{
    size_t  i;
    u_char  digest[SHA256_DIGEST_LENGTH];

    (void) SHA256(data, len, digest);

    for (i = 0; i < sizeof(digest); i++) {
        (void) sprintf(hex + 2 * i, "%02x", digest[i]);
    }
}


static void
test_cuts(ngx_pool_t *pool)
{
    char        mark[128], hex[2 * SHA256_DIGEST_LENGTH + 1];
    u_char     *text;
    size_t      i, len, want, unit;
    json_t     *json;
    ngx_str_t   got;
    const char *value;

    for (i = 0; i < sizeof(cuts) / sizeof(cuts[0]); i++) {
        text = ngx_palloc(pool, cuts[i].len);
        ngx_memset(text, cuts[i].fill, cuts[i].len);
        mark[0] = '\0';

        if (cuts[i].cut) {
            hex_digest(text, cuts[i].len, hex);
            (void) snprintf(mark, sizeof(mark), cuts[i].cut, hex);
        }

        json = json_loads(line_of(pool, text, cuts[i].len), 0, NULL);
        value = json_string_value(json_object_get(json, "t"));
        len = value ? strlen(value) : 0;

        /* U+FFFD takes three bytes */
        unit = cuts[i].fill == 0xff ? 3 : 1;
        want = ngx_min(cuts[i].len, TEXT_MAX) * unit;

        is(len, want + strlen(mark), "%d times %02x: length",
           (int) cuts[i].len, cuts[i].fill);

        if (len >= want) {
            got = ngx_shim_str(value + want);
            is_text(&got, mark, "%d times %02x: its mark", (int) cuts[i].len,
                    cuts[i].fill);
        }

        json_decref(json);
    }
}


/* A cut within a character leaves a mark, never half a character. */

static void
test_cut_character(ngx_pool_t *pool)
{
    size_t      at;
    u_char      text[TEXT_MAX + 8];
    json_t     *json;
    const char *value;

    for (at = TEXT_MAX - 4; at <= TEXT_MAX; at++) {
        ngx_memset(text, 'a', sizeof(text));
        ngx_memcpy(text + at, "\xf0\x9f\x98\x80", 4);

        json = json_loads(line_of(pool, text, sizeof(text)), 0, NULL);
        value = json_string_value(json_object_get(json, "t"));

        ok(value && strncmp(value, (char *) text, at) == 0
           && strstr(value, "... [1032 bytes, sha256 "),
           "cut %d bytes into a character", (int) (TEXT_MAX - at));

        json_decref(json);
    }
}


static void
test_no_sha256(ngx_pool_t *pool)
{
    u_char      text[TEXT_MAX + 1];
    json_t     *json;
    ngx_str_t   got;

    ngx_memset(text, 'a', sizeof(text));

    /* asks for a provider that is not there */

    (void) EVP_set_default_properties(NULL, "provider=none");
    json = json_loads(line_of(pool, text, sizeof(text)), 0, NULL);
    (void) EVP_set_default_properties(NULL, "");

    got = ngx_shim_str(json_string_value(json_object_get(json, "t")));

    if (ok(got.len > TEXT_MAX, "a text is cut without SHA-256 as well")) {
        got.data += TEXT_MAX;
        got.len -= TEXT_MAX;
        is_text(&got, "... [1025 bytes, sha256 ]", "and says so");
    }

    json_decref(json);
}


static void
test_types(ngx_pool_t *pool)
{
    size_t      i;
    ngx_str_t   line, text[3], none;

    ngx_lockbox_field_t  fields[] = {
        { NGX_LOCKBOX_FIELD_TIME, ngx_string("@timestamp"), NULL, 0 },
        { NGX_LOCKBOX_FIELD_TEXT, ngx_string("none"), &none, 0 },
        { NGX_LOCKBOX_FIELD_TEXT, ngx_string("null"), NULL, 0 },
        { NGX_LOCKBOX_FIELD_TEXT, ngx_string("event.type"), &text[0], 0 },
        { NGX_LOCKBOX_FIELD_TEXTS, ngx_string("nothing"), NULL, 0 },
        { NGX_LOCKBOX_FIELD_TEXTS, ngx_string("one"), &text[1], 1 },
        { NGX_LOCKBOX_FIELD_TEXTS, ngx_string("three"), text, 3 },
        { NGX_LOCKBOX_FIELD_INTEGER, ngx_string("zero"), NULL, 0 },
        { NGX_LOCKBOX_FIELD_INTEGER, ngx_string("nine"), NULL, 9 },
        { NGX_LOCKBOX_FIELD_INTEGER, ngx_string("ten"), NULL, 10 },
        { NGX_LOCKBOX_FIELD_INTEGER, ngx_string("minus"), NULL, -1 },
        { NGX_LOCKBOX_FIELD_INTEGER, ngx_string("max"), NULL, INT64_MAX },
        { NGX_LOCKBOX_FIELD_INTEGER, ngx_string("min"), NULL, INT64_MIN }
    };

    static const char  want[] =
        "{\"@timestamp\":\"1970-01-01T00:00:00.000Z\","
        "\"event.type\":\"end\",\"one\":[\"a\\\"b\"],"
        "\"three\":[\"end\",\"a\\\"b\",\"\"],\"zero\":0,\"nine\":9,"
        "\"ten\":10,\"minus\":-1,\"max\":9223372036854775807,"
        "\"min\":-9223372036854775808}\n";

    ngx_str_null(&none);
    text[0] = ngx_shim_str("end");
    text[1] = ngx_shim_str("a\"b");
    text[2] = none;

    is(ngx_lockbox_record_write(pool, NULL, fields, 13, &line), NGX_OK,
       "written");
    is_text(&line, want, "all types, and what is empty left out");

    is(ngx_lockbox_record_write(pool, NULL, fields, 0, &line), NGX_OK,
       "no field");
    is_text(&line, "{}\n", "is an empty object");

    for (i = 1; i < 3; i++) {
        is(ngx_lockbox_record_write(pool, NULL, &fields[i], 1, &line), NGX_OK,
           "one field without a value");
        is_text(&line, "{}\n", "is an empty object, too");
    }
}


/* Whatever is looked at in larger steps, each byte of it counts. */

static void
test_each_place(const char *around)
{
    char         want[64];
    size_t       len, at;
    u_char       text[24], alone[1];
    ngx_uint_t   c, wrong;
    ngx_pool_t  *pool;
    const char  *line;

    wrong = 0;

    for (c = 0; c < 256; c++) {
        pool = ngx_create_pool(0, NULL);
        alone[0] = (u_char) c;

        /* {"t":"..."} */
        line = line_of(pool, alone, 1);
        *(char *) strrchr(line, '"') = '\0';
        line += 6;

        for (len = 1; len <= sizeof(text); len++) {
            for (at = 0; at < len; at++) {
                ngx_memcpy(text, around, len);
                text[at] = (u_char) c;

                (void) snprintf(want, sizeof(want), "{\"t\":\"%.*s%s%.*s\"}\n",
                                (int) at, around, line,
                                (int) (len - at - 1), around);

                wrong += strcmp(line_of(pool, text, len), want) != 0;
            }
        }

        ngx_destroy_pool(pool);
    }

    is(wrong, 0, "each byte is the same in each place of %s", around);
}


static void
test_parts(ngx_pool_t *pool)
{
    ngx_str_t  line, part, none, text, room;
    u_char     memory[1024];

    ngx_lockbox_field_t  common[] = {
        { NGX_LOCKBOX_FIELD_TEXT, ngx_string("a"), &text, 0 },
        { NGX_LOCKBOX_FIELD_TEXT, ngx_string("b"), &none, 0 },
        { NGX_LOCKBOX_FIELD_INTEGER, ngx_string("c"), NULL, 3 }
    };

    ngx_lockbox_field_t  fields[] = {
        { NGX_LOCKBOX_FIELD_PART, ngx_null_string, &none, 0 },
        { NGX_LOCKBOX_FIELD_INTEGER, ngx_string("first"), NULL, 1 },
        { NGX_LOCKBOX_FIELD_PART, ngx_null_string, &part, 0 },
        { NGX_LOCKBOX_FIELD_INTEGER, ngx_string("last"), NULL, 9 }
    };

    static const char  want[] =
        "{\"first\":1,\"a\":\"x\\\"y\",\"c\":3,\"last\":9}\n";

    ngx_str_null(&none);
    text = ngx_shim_str("x\"y");

    is(ngx_lockbox_record_part(pool, common, 3, &part), NGX_OK, "a part");
    is_text(&part, "\"a\":\"x\\\"y\",\"c\":3", "is bare");

    is(ngx_lockbox_record_write(pool, NULL, fields, 4, &line), NGX_OK,
       "a line with it");
    is_text(&line, want, "has it in its place");

    room.data = memory;
    room.len = sizeof(memory);

    is(ngx_lockbox_record_write(NULL, &room, fields, 4, &line), NGX_OK,
       "where there is room nothing is allocated");
    is_text(&line, want, "and the line is the same");
    ok(line.data == memory, "in that room");

    room.len = line.len;

    is(ngx_lockbox_record_write(pool, &room, fields, 4, &line), NGX_OK,
       "where there may be too little");
    is_text(&line, want, "the line is the same");
    ok(line.data != memory, "elsewhere");

    is(ngx_lockbox_record_part(pool, &common[1], 1, &part), NGX_OK,
       "a part without values");
    is(part.len, 0, "is empty");

    ngx_shim_fail(1);
    is(ngx_lockbox_record_part(pool, common, 3, &part), NGX_ERROR,
       "no memory, no part");
    ngx_shim_fail(0);
}


/* The room is measured first, and what is written beyond it would be seen. */

static void
test_room(ngx_pool_t *pool)
{
    size_t      i;
    u_char      bytes[TEXT_MAX + 1];
    ngx_str_t   line, part, long_text, many[100];

    ngx_lockbox_field_t  fields[] = {
        { NGX_LOCKBOX_FIELD_PART, ngx_null_string, &part, 0 },
        { NGX_LOCKBOX_FIELD_TEXT, ngx_string("t"), &long_text, 0 },
        { NGX_LOCKBOX_FIELD_TEXTS, ngx_string("t"), &long_text, 1 },
        { NGX_LOCKBOX_FIELD_TEXTS, ngx_string("t"), many, 100 }
    };

    static const size_t  want[] = {
        sizeof("{}") + TEXT_MAX + 1,
        sizeof("{\"t\":\"... [1025 bytes, sha256 ]\"}") + 64 + 6 * TEXT_MAX,
        sizeof("{\"t\":[\"... [1025 bytes, sha256 ]\"]}") + 64 + 6 * TEXT_MAX,
        sizeof("{\"t\":[]}") + 100 * 3 - 1
    };

    ngx_memset(bytes, 0x01, sizeof(bytes));

    long_text.data = bytes;
    long_text.len = sizeof(bytes);
    part = long_text;

    for (i = 0; i < 100; i++) {
        ngx_str_null(&many[i]);
    }

    for (i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
        is(ngx_lockbox_record_write(pool, NULL, &fields[i], 1, &line), NGX_OK,
           "room for %zu bytes", want[i]);
        is(line.len, want[i], "is used");
    }
}


typedef struct {
    int64_t      msec;
    const char  *want;
} time_row_t;


static const time_row_t  times[] = {
    { 0, "1970-01-01T00:00:00.000Z" },
    { 1, "1970-01-01T00:00:00.001Z" },
    { 999, "1970-01-01T00:00:00.999Z" },
    { 1000, "1970-01-01T00:00:01.000Z" },
    { 36000000, "1970-01-01T10:00:00.000Z" },
    { DAY - 1, "1970-01-01T23:59:59.999Z" },
    { DAY, "1970-01-02T00:00:00.000Z" },
    { 58 * DAY, "1970-02-28T00:00:00.000Z" },
    { 59 * DAY, "1970-03-01T00:00:00.000Z" },
    { 789 * DAY, "1972-02-29T00:00:00.000Z" },
    { 790 * DAY, "1972-03-01T00:00:00.000Z" },
    { 951782400000, "2000-02-29T00:00:00.000Z" },
    { 951868800000, "2000-03-01T00:00:00.000Z" },
    { 978307199999, "2000-12-31T23:59:59.999Z" },
    { 978307200000, "2001-01-01T00:00:00.000Z" },
    { 1582934400000, "2020-02-29T00:00:00.000Z" },
    { 1700000000123, "2023-11-14T22:13:20.123Z" },
    { 2147483648000, "2038-01-19T03:14:08.000Z" },
    { 4107456000000, "2100-02-28T00:00:00.000Z" },
    { 4107542399999, "2100-02-28T23:59:59.999Z" },
    { 4107542400000, "2100-03-01T00:00:00.000Z" },
    { 13574563200000, "2400-02-29T00:00:00.000Z" },
    { END - DAY + 1, "9999-12-31T00:00:00.000Z" },
    { END, "9999-12-31T23:59:59.999Z" },
    { END + 1, "9999-12-31T23:59:59.999Z" },
    { INT64_MAX, "9999-12-31T23:59:59.999Z" },
    { -1, "1970-01-01T00:00:00.000Z" },
    { INT64_MIN, "1970-01-01T00:00:00.000Z" }
};


static void
test_times(void)
{
    size_t     i;
    u_char     text[NGX_LOCKBOX_TIME_LEN], *end;
    ngx_str_t  got;

    for (i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
        end = ngx_lockbox_record_time(text, times[i].msec);

        got.data = text;
        got.len = (size_t) (end - text);
        is_text(&got, times[i].want, "%s", times[i].want);
    }
}


static int
digits(const u_char *p, int n)
{
    int  value;

    for (value = 0; n; n--, p++) {
        value = value * 10 + (*p - '0');
    }

    return value;
}


/* Each day of eight thousand years, and the C library's opinion of it. */

static void
test_calendar(void)
{
    u_char      text[NGX_LOCKBOX_TIME_LEN];
    time_t      seconds;
    int64_t     msec;
    struct tm   tm;
    ngx_uint_t  wrong;

    wrong = 0;

    for (msec = 0; msec <= END; msec += DAY) {
        (void) ngx_lockbox_record_time(text, msec);

        seconds = (time_t) (msec / 1000);
        (void) gmtime_r(&seconds, &tm);

        wrong += digits(text, 4) != tm.tm_year + 1900
                 || digits(text + 5, 2) != tm.tm_mon + 1
                 || digits(text + 8, 2) != tm.tm_mday;
    }

    is(wrong, 0, "the calendar is that of the C library");
}


static void
test_no_memory(void)
{
    ngx_str_t             line;
    ngx_pool_t           *pool;
    ngx_lockbox_field_t   field = {
        NGX_LOCKBOX_FIELD_TIME, ngx_string("t"), NULL, 0
    };

    pool = ngx_create_pool(0, NULL);

    ngx_shim_fail(1);
    is(ngx_lockbox_record_write(pool, NULL, &field, 1, &line), NGX_ERROR,
       "no memory, no record");
    ok(ngx_shim_failed(), "memory was asked for");
    ngx_shim_fail(2);
    is(ngx_lockbox_record_write(pool, NULL, &field, 1, &line), NGX_OK,
       "one allocation is all it takes");
    ngx_shim_fail(0);

    ngx_destroy_pool(pool);
}


int
main(void)
{
    ngx_pool_t  *pool;

    pool = ngx_create_pool(0, NULL);

    test_texts(pool);
    test_hidden_borders(pool);
    test_cuts(pool);
    test_cut_character(pool);
    test_no_sha256(pool);
    test_types(pool);
    test_parts(pool);
    test_room(pool);

    ngx_destroy_pool(pool);

    test_each_place("xxxxxxxxxxxxxxxxxxxxxxxx");
    test_each_place("000000000000000000000000");
    test_code_points();
    test_times();
    test_calendar();
    test_no_memory();

    is(ngx_shim_live(), 0, "nothing is left behind");

    return tap_done();
}
