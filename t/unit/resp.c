/*
 * Why: a reply that is read wrongly, or one that belongs to another command,
 * is a permission that nobody gave.  And a peer that is not Redis must not be
 * able to take the worker's memory.
 */

/* links: ngx_lockbox_resp.c */

#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_lockbox_resp.h"
#include "oom.h"
#include "ngx_shim.h"
#include "tap.h"


#define MAX  64

/* What may stand behind SET, with what stands around the two arguments. */
#define MOST  (256 * 1024 * 1024 - 3 - 2 * 25)

#define B(literal)  { sizeof(literal) - 1, (u_char *) (literal) }

/* the head of an array of one element, n times */
#define IN_2  "*1\r\n*1\r\n"
#define IN_7  IN_2 IN_2 IN_2 "*1\r\n"


typedef struct {
    ngx_str_t    wire;
    const char  *seen;    /* as show() writes it */
} reply_t;


typedef struct {
    const char  *name;
    ngx_str_t    wire;
    ngx_int_t    rc;      /* of the first reply */
} verdict_t;


static const reply_t  replies[] = {
    { B("$4\r\nlive\r\n"), "string(live)" },
    { B("$0\r\n\r\n"), "string()" },
    { B("$-1\r\n"), "nil" },
    { B("*-1\r\n"), "nil" },
    { B("+OK\r\n"), "status(OK)" },
    { B("+\r\n"), "status()" },
    { B("-ERR no\r\n"), "error(ERR no)" },
    { B("-READONLY You can't write against a read only replica.\r\n"),
      "error(READONLY You can't write against a read only replica.)" },
    { B(":0\r\n"), "0" },
    { B(":-1\r\n"), "-1" },
    { B(":9223372036854775807\r\n"), "9223372036854775807" },
    { B(":-9223372036854775808\r\n"), "-9223372036854775808" },
    { B("*0\r\n"), "[]" },
    { B("*2\r\n$4\r\nlive\r\n$-1\r\n"), "[string(live) nil]" },
    { B("*3\r\n:1\r\n*2\r\n+a\r\n*0\r\n$1\r\nb\r\n"),
      "[1 [status(a) []] string(b)]" },
    { B("*2\r\n-no\r\n*-1\r\n"), "[error(no) nil]" },
    { B("$7\r\n\r\n+OK\r\n\r\n"), "string(\\r\\n+OK\\r\\n)" },
    { B("$5\r\na\0b\0\377\r\n"), "string(a\\0b\\0\\377)" },
    { B(IN_7 "*0\r\n"), "[[[[[[[[]]]]]]]]" },
    { B(IN_7 ":7\r\n"), "[[[[[[[7]]]]]]]" }
};


static const verdict_t  verdicts[] = {
    { "a true end of string", B("$4\r\nlive\r\n"), NGX_OK },
    { "no CR behind a string", B("$4\r\nlive.\n"), NGX_ERROR },
    { "no LF behind a string", B("$4\r\nlive\r."), NGX_ERROR },
    { "other bytes behind a string", B("$4\r\nliveXY"), NGX_ERROR },
    { "a string shorter than announced", B("$6\r\nlive\r\n+O"), NGX_ERROR },
    { "a wrong end within an array", B("*2\r\n:1\r\n$1\r\na+\n"), NGX_ERROR },

    { "a status", B("+a.b\r\n"), NGX_OK },
    { "a lone LF in a status", B("+a\nb\r\n"), NGX_ERROR },
    { "a lone CR in a status", B("+a\rb\r\n"), NGX_ERROR },
    { "a lone LF in an error", B("-a\nb\r\n"), NGX_ERROR },

    { "as many elements as the bytes can hold", B("*21\r\n"), NGX_AGAIN },
    { "one element more", B("*22\r\n"), NGX_ERROR },
    { "10^9 elements", B("*1000000000\r\n"), NGX_ERROR },
    { "more elements than an int holds", B("*4294967296\r\n"), NGX_ERROR },
    { "nested, together as many", B("*2\r\n*19\r\n"), NGX_AGAIN },
    { "nested, together one more", B("*2\r\n*20\r\n"), NGX_ERROR },
    { "siblings, together as many", B("*9\r\n*1\r\n:1\r\n*11\r\n"),
      NGX_AGAIN },
    { "siblings, together one more", B("*9\r\n*1\r\n:1\r\n*12\r\n"),
      NGX_ERROR },
    { "elements below none", B("*-2\r\n"), NGX_ERROR },

    { "eight arrays within each other", B(IN_7 "*1\r\n"), NGX_AGAIN },
    { "nine", B(IN_7 "*1\r\n*1\r\n"), NGX_ERROR },
    { "nine, the last one empty", B(IN_7 "*1\r\n*0\r\n"), NGX_ERROR },

    { "a length below none", B("$-2\r\n"), NGX_ERROR },
    { "a length with a plus", B("$+4\r\nlive\r\n"), NGX_ERROR },
    { "a length with a zero before", B("$04\r\nlive\r\n"), NGX_ERROR },
    { "a length with a blank", B("$4 \r\nlive\r\n"), NGX_ERROR },
    { "no length", B("$\r\nlive\r\n"), NGX_ERROR },
    { "an integer too large", B(":9223372036854775808\r\n"), NGX_ERROR },
    { "no integer", B(":1.5\r\n"), NGX_ERROR },

    { "a TLS alert", B("\x15\x03\x01\x00\x02\x02\x28\r\n"), NGX_ERROR },
    { "an HTTP response", B("HTTP/1.1 400 Bad Request\r\n"), NGX_ERROR },
    { "a NUL", B("\0\r\n"), NGX_ERROR },

    { "RESP3 nil", B("_\r\n"), NGX_ERROR },
    { "RESP3 true", B("#t\r\n"), NGX_ERROR },
    { "RESP3 double", B(",1.5\r\n"), NGX_ERROR },
    { "RESP3 big number", B("(12345678901234567890\r\n"), NGX_ERROR },
    { "RESP3 verbatim text", B("=8\r\ntxt:live\r\n"), NGX_ERROR },
    { "RESP3 blob error", B("!2\r\nno\r\n"), NGX_ERROR },
    { "RESP3 map", B("%1\r\n+a\r\n+b\r\n"), NGX_ERROR },
    { "RESP3 set", B("~1\r\n+a\r\n"), NGX_ERROR },
    { "RESP3 push", B(">1\r\n+a\r\n"), NGX_ERROR },
    { "RESP3 attribute", B("|1\r\n+a\r\n+b\r\n"), NGX_ERROR },
    { "RESP3 within an array", B("*2\r\n:1\r\n_\r\n"), NGX_ERROR }
};


/* Writes the bytes so that they can be seen. */
static char *
show_bytes(char *p, const ngx_str_t *bytes)
{
    u_char  c;
    size_t  i;

    for (i = 0; i < bytes->len; i++) {
        c = bytes->data[i];

        if (c == CR) {
            p += sprintf(p, "\\r");

        } else if (c == LF) {
            p += sprintf(p, "\\n");

        } else if (c < 0x20 || c > 0x7e) {
            p += sprintf(p, "\\%o", c);

        } else {
            *p++ = (char) c;
        }
    }

    return p;
}


static char *
show(char *p, const ngx_lockbox_reply_t *reply)
{
    size_t               i;
    ngx_lockbox_reply_t  element;

    static const char *const  names[] = {
        [NGX_LOCKBOX_RESP_STATUS] = "status(",
        [NGX_LOCKBOX_RESP_ERROR] = "error(",
        [NGX_LOCKBOX_RESP_STRING] = "string("
    };

    switch (reply->type) {

    case NGX_LOCKBOX_RESP_NIL:
        return p + sprintf(p, "nil");

    case NGX_LOCKBOX_RESP_INTEGER:
        return p + sprintf(p, "%lld", (long long) reply->integer);

    case NGX_LOCKBOX_RESP_ARRAY:
        *p++ = '[';

        for (i = 0; i < reply->nelts; i++) {
            if (i) {
                *p++ = ' ';
            }

            if (ngx_lockbox_resp_at(reply, i, &element) != NGX_OK) {
                return p + sprintf(p, "lost");
            }

            p = show(p, &element);
        }

        *p++ = ']';
        *p = '\0';

        return p;

    default:
        p += sprintf(p, "%s", names[reply->type]);
        p = show_bytes(p, &reply->text);

        return p + sprintf(p, ")");
    }
}


static ngx_lockbox_resp_t *
create(size_t max)
{
    ngx_lockbox_resp_t  *resp;

    resp = ngx_lockbox_resp_create(max);
    if (resp == NULL) {
        abort();
    }

    return resp;
}


/* 1 if the next reply is the expected one; releases it. */
static int
next_is(ngx_lockbox_resp_t *resp, const char *seen)
{
    int                   good;
    char                  text[1024];
    ngx_lockbox_reply_t   reply;

    if (ngx_lockbox_resp_next(resp, &reply) != NGX_OK) {
        return 0;
    }

    (void) show(text, &reply);
    ngx_lockbox_resp_release(&reply);

    good = strcmp(text, seen) == 0;
    if (!good) {
        printf("# got %s, want %s\n", text, seen);
    }

    return good;
}


static ngx_int_t
feed(ngx_lockbox_resp_t *resp, const ngx_str_t *wire, size_t from, size_t to)
{
    u_char     *copy;
    ngx_int_t   rc;

    /* a block of its own, so that a read past the end shows */
    copy = malloc(to - from);
    if (copy == NULL && to != from) {
        abort();
    }

    if (to != from) {
        ngx_memcpy(copy, wire->data + from, to - from);
    }

    rc = ngx_lockbox_resp_feed(resp, copy, to - from);
    free(copy);

    return rc;
}


/*
 * Feeds the bytes in steps and gives what the reader says to each step, up to
 * the first that is not NGX_AGAIN.  A reply is released.
 */
static ngx_int_t
feed_steps(const ngx_str_t *wire, size_t first, size_t step, size_t *used)
{
    size_t                from, to;
    ngx_int_t             rc;
    ngx_lockbox_resp_t   *resp;
    ngx_lockbox_reply_t   reply;

    resp = create(MAX);
    rc = NGX_AGAIN;
    *used = 0;

    for (from = 0, to = ngx_min(first, wire->len);
         rc == NGX_AGAIN && from < wire->len;
         from = to, to = ngx_min(to + step, wire->len))
    {
        if (feed(resp, wire, from, to) != NGX_OK) {
            rc = NGX_ERROR;
            break;
        }

        rc = ngx_lockbox_resp_next(resp, &reply);
        *used = to;
    }

    if (rc == NGX_OK) {
        ngx_lockbox_resp_release(&reply);
    }

    ngx_lockbox_resp_destroy(resp);

    return rc;
}


static void
test_replies(void)
{
    int                  good;
    size_t               i, cut, used;
    const reply_t       *row;
    ngx_lockbox_resp_t  *resp;

    for (i = 0; i < sizeof(replies) / sizeof(replies[0]); i++) {
        row = &replies[i];

        resp = create(MAX);
        (void) feed(resp, &row->wire, 0, row->wire.len);
        ok(next_is(resp, row->seen), "%s", row->seen);
        is(ngx_lockbox_resp_left(resp), 0, "%s leaves nothing", row->seen);
        ngx_lockbox_resp_destroy(resp);

        is(feed_steps(&row->wire, 1, 1, &used), NGX_OK, "%s byte by byte",
           row->seen);
        is(used, row->wire.len, "%s is whole with its last byte", row->seen);

        good = 1;

        for (cut = 1; cut < row->wire.len; cut++) {
            resp = create(MAX);
            good &= feed(resp, &row->wire, 0, cut) == NGX_OK;
            good &= !next_is(resp, row->seen);
            good &= ngx_lockbox_resp_left(resp) == cut;
            good &= feed(resp, &row->wire, cut, row->wire.len) == NGX_OK;
            good &= next_is(resp, row->seen);
            ngx_lockbox_resp_destroy(resp);
        }

        ok(good, "%s in two parts", row->seen);
    }
}


static void
test_verdicts(void)
{
    size_t            i, cut, used;
    ngx_int_t         rc;
    const verdict_t  *row;

    for (i = 0; i < sizeof(verdicts) / sizeof(verdicts[0]); i++) {
        row = &verdicts[i];

        is(feed_steps(&row->wire, row->wire.len, 1, &used), row->rc, "%s",
           row->name);
        is(feed_steps(&row->wire, 1, 1, &used), row->rc, "%s, byte by byte",
           row->name);

        rc = row->rc;

        for (cut = 1; cut < row->wire.len && rc == row->rc; cut++) {
            rc = feed_steps(&row->wire, cut, row->wire.len, &used);
        }

        is(rc, row->rc, "%s, in two parts", row->name);
    }
}


/* All replies in one feed, as a pipeline gives them. */
static void
test_pipeline(void)
{
    size_t                i;
    u_char               *p, *wire;
    ngx_lockbox_resp_t   *resp;
    ngx_lockbox_reply_t   reply;

    p = wire = malloc(sizeof(replies) / sizeof(replies[0]) * MAX);
    if (wire == NULL) {
        abort();
    }

    for (i = 0; i < sizeof(replies) / sizeof(replies[0]); i++) {
        p = ngx_cpymem(p, replies[i].wire.data, replies[i].wire.len);
    }

    resp = create(MAX);

    is(ngx_lockbox_resp_next(resp, &reply), NGX_AGAIN, "nothing fed");
    is(ngx_lockbox_resp_feed(resp, wire, p - wire), NGX_OK,
       "a pipeline larger than one reply may be");

    for (i = 0; i < sizeof(replies) / sizeof(replies[0]); i++) {
        ok(next_is(resp, replies[i].seen), "%s out of the pipeline",
           replies[i].seen);
    }

    is(ngx_lockbox_resp_next(resp, &reply), NGX_AGAIN, "no more");
    is(ngx_lockbox_resp_left(resp), 0, "nothing left");

    is(ngx_lockbox_resp_feed(resp, (u_char *) ":5\r\n:", 5), NGX_OK,
       "a reply and the first byte of the next");
    ok(next_is(resp, "5"), "the reply is handed out");
    is(ngx_lockbox_resp_left(resp), 1, "the byte is left");

    ngx_lockbox_resp_destroy(resp);
    free(wire);
}


/* An answer of "size" bytes on the wire, behind a reply of its own. */
static ngx_int_t
sized(size_t size, size_t whole)
{
    u_char                wire[256];
    ngx_int_t             rc;
    ngx_lockbox_resp_t   *resp;
    ngx_lockbox_reply_t   reply;

    ngx_memset(wire, 'a', sizeof(wire));
    ngx_memcpy(wire, ":1\r\n+", 5);
    ngx_memcpy(wire + 4 + size - 2, "\r\n", 2);

    resp = create(MAX);
    rc = ngx_lockbox_resp_feed(resp, wire, 4 + whole);

    if (rc == NGX_OK && next_is(resp, "1")) {
        rc = ngx_lockbox_resp_next(resp, &reply);
    }

    if (rc == NGX_OK) {
        ngx_lockbox_resp_release(&reply);

    } else if (rc == NGX_ERROR) {
        is(ngx_lockbox_resp_feed(resp, (u_char *) "+OK\r\n", 5), NGX_ERROR,
           "no more bytes are taken");
        is(ngx_lockbox_resp_next(resp, &reply), NGX_ERROR,
           "no more replies are given");
    }

    ngx_lockbox_resp_destroy(resp);

    return rc;
}


static void
test_size(void)
{
    is(sized(MAX, MAX), NGX_OK, "a reply of the largest size");
    is(sized(MAX + 1, MAX + 1), NGX_ERROR, "a reply of one byte more");
    is(sized(MAX + 1, MAX), NGX_AGAIN, "as many bytes of a larger one");
    is(sized(MAX + 2, MAX + 1), NGX_ERROR,
       "one byte more of a reply without an end");
}


static void
test_views(void)
{
    ngx_lockbox_resp_t   *resp;
    ngx_lockbox_reply_t   reply, element;

    static const ngx_str_t  array = B("*1\r\n$4\r\nlive\r\n");
    static const ngx_str_t  string = B("$4\r\nlive\r\n");

    resp = create(MAX);

    (void) feed(resp, &array, 0, array.len);

    if (is(ngx_lockbox_resp_next(resp, &reply), NGX_OK, "an array")) {
        is(reply.nelts, 1, "of one element");
        is(ngx_lockbox_resp_at(&reply, 0, &element), NGX_OK, "that is there");
        is(element.type, NGX_LOCKBOX_RESP_STRING, "is a string");
        is_text(&element.text, "live", "and has its text");
        is(ngx_lockbox_resp_at(&reply, 1, &element), NGX_ERROR,
           "there is no second");
        is(ngx_lockbox_resp_at(&reply, (size_t) -1, &element), NGX_ERROR,
           "nor a last of all");

        ngx_lockbox_resp_release(&reply);
    }

    (void) feed(resp, &string, 0, string.len);

    if (is(ngx_lockbox_resp_next(resp, &reply), NGX_OK, "a string")) {
        is(ngx_lockbox_resp_at(&reply, 0, &element), NGX_ERROR,
           "has no elements");

        ngx_lockbox_resp_release(&reply);
    }

    ngx_lockbox_resp_destroy(resp);
}


static void
test_abandoned(void)
{
    ngx_lockbox_resp_t  *resp;

    static const ngx_str_t  half = B("*2\r\n$4\r\nlive\r\n$9\r\nrev");

    resp = create(MAX);
    (void) feed(resp, &half, 0, half.len);
    ok(!next_is(resp, ""), "half a reply is none");
    ngx_lockbox_resp_destroy(resp);
}


static void
test_command(void)
{
    ngx_str_t  text;

    static const ngx_str_t  getex[] = {
        B("GETEX"), B("lockbox:grant:{acme}:1")
    };
    static const ngx_str_t  odd[] = {
        B("%s%n"), { 0, NULL }, B("a\0b\r\n$1\r\n")
    };
    static const ngx_str_t  absurd[] = {
        B("SET"), { 256 * 1024 * 1024, NULL }
    };
    static const ngx_str_t  many[] = {
        { 200 * 1024 * 1024, NULL }, { 200 * 1024 * 1024, NULL }
    };
    static const ngx_str_t  wrapping[] = {
        B("SET"), { (size_t) -1, NULL }, { 3, NULL }
    };

    if (is(ngx_lockbox_resp_command(getex, 2, &text), NGX_OK, "a command")) {
        is_text(&text,
                "*2\r\n$5\r\nGETEX\r\n$22\r\nlockbox:grant:{acme}:1\r\n",
                "has the bytes of its arguments");
        ngx_lockbox_resp_command_free(&text);
        ok(text.data == NULL && text.len == 0, "and is gone when freed");
    }

    if (is(ngx_lockbox_resp_command(odd, 3, &text), NGX_OK, "odd bytes")) {

        static const ngx_str_t  wire = B("*3\r\n$4\r\n%s%n\r\n$0\r\n\r\n"
                                         "$9\r\na\0b\r\n$1\r\n\r\n");

        ok(text.len == wire.len
           && ngx_memcmp(text.data, wire.data, wire.len) == 0,
           "are nothing but bytes");
        ngx_lockbox_resp_command_free(&text);
    }

    is(ngx_lockbox_resp_command(getex, 0, &text), NGX_ERROR, "no arguments");
    is(ngx_lockbox_resp_command(absurd, 2, &text), NGX_ERROR,
       "more bytes than hiredis counts");
    is(ngx_lockbox_resp_command(many, 2, &text), NGX_ERROR,
       "more of them in all");
    is(ngx_lockbox_resp_command(wrapping, 3, &text), NGX_ERROR,
       "so many that their sum wraps");
}


static void
is_head(size_t len, const char *expected)
{
    ngx_str_t  text, argv[2];

    ngx_str_set(&argv[0], "SET");

    /* whose bytes nobody is to look at */
    argv[1].data = NULL;
    argv[1].len = len;

    if (is(ngx_lockbox_resp_command_head(argv, 2, &text), NGX_OK, "a head")) {
        is_text(&text, expected, "has the length of what is to come");
        ngx_lockbox_resp_command_free(&text);
        ok(text.data == NULL && text.len == 0, "and is gone when freed");
    }
}


static void
test_head(void)
{
    ngx_str_t  text;

    static const ngx_str_t  absurd[] = {
        B("SET"), { MOST + 1, NULL }
    };
    static const ngx_str_t  alone = B("PING");

    is_head(0, "*2\r\n$3\r\nSET\r\n$0\r\n");
    is_head(9, "*2\r\n$3\r\nSET\r\n$9\r\n");
    is_head(65536, "*2\r\n$3\r\nSET\r\n$65536\r\n");
    is_head(MOST, "*2\r\n$3\r\nSET\r\n$268435403\r\n");

    is(ngx_lockbox_resp_command_head(absurd, 2, &text), NGX_ERROR,
       "a head of more bytes than hiredis counts");
    is(ngx_lockbox_resp_command_head(absurd, 0, &text), NGX_ERROR,
       "a head without arguments");

    if (is(ngx_lockbox_resp_command_head(&alone, 1, &text), NGX_OK,
           "a head of one argument"))
    {
        is_text(&text, "*1\r\n$4\r\n", "has nothing but its length");
        ngx_lockbox_resp_command_free(&text);
    }
}


static ngx_int_t
head_run(ngx_pool_t *pool, const void *data)
{
    ngx_int_t         rc;
    ngx_str_t         text;
    const ngx_str_t  *name = data;

    (void) pool;

    rc = ngx_lockbox_resp_command_head(name, 1, &text);

    if (rc == NGX_OK) {
        ngx_lockbox_resp_command_free(&text);
    }

    return rc == NGX_OK && oom_has_failed ? NGX_DECLINED : rc;
}


static ngx_int_t
command_run(ngx_pool_t *pool, const void *data)
{
    ngx_int_t         rc;
    ngx_str_t         text;
    const ngx_str_t  *name = data;

    (void) pool;

    rc = ngx_lockbox_resp_command(name, 1, &text);

    if (rc == NGX_OK) {
        ngx_lockbox_resp_command_free(&text);
    }

    /* hiredis can do without nothing that it asks for */

    return rc == NGX_OK && oom_has_failed ? NGX_DECLINED : rc;
}


static ngx_int_t
reply_run(ngx_pool_t *pool, const void *data)
{
    ngx_int_t             rc;
    const ngx_str_t      *wire = data;
    ngx_lockbox_resp_t   *resp;
    ngx_lockbox_reply_t   reply;

    (void) pool;

    resp = ngx_lockbox_resp_create(MAX);
    if (resp == NULL) {
        return NGX_ERROR;
    }

    rc = ngx_lockbox_resp_feed(resp, wire->data, wire->len);

    if (rc == NGX_OK) {
        rc = ngx_lockbox_resp_next(resp, &reply);
    }

    if (rc == NGX_OK) {
        ngx_lockbox_resp_release(&reply);
    }

    ngx_lockbox_resp_destroy(resp);

    return rc == NGX_OK && oom_has_failed ? NGX_DECLINED : rc;
}


static void
test_memory(void)
{
    static const ngx_str_t  name = B("PING");
    static const ngx_str_t  wire = B("*4\r\n$4\r\nlive\r\n*1\r\n:1\r\n$-1\r\n"
                                     "+OK\r\n");

    ok(oom_walk(command_run, &name, 1) > 1, "each failure to write");
    ok(oom_walk(head_run, &name, 1) > 1, "each failure to write a head");
    ok(oom_walk(reply_run, &wire, 1) > 8, "each failure to read");
}


int
main(void)
{
    test_replies();
    test_verdicts();
    test_pipeline();
    test_size();
    test_views();
    test_abandoned();
    test_command();
    test_head();
    test_memory();

    return tap_done();
}
