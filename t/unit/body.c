/*
 * Why: what a body is taken to say is what people approve; nothing in it may
 * be guessed, cut or left out.
 */

/* links: ngx_lockbox_body.c ngx_lockbox_scope.c ngx_lockbox_json.c */
/* links: ngx_lockbox_name.c ngx_lockbox_path.c ngx_lockbox_base64url.c */
/* links: ngx_lockbox_unicode.c */

#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_lockbox_body.h"
#include "ngx_shim.h"
#include "tap.h"


#define MAX_DURATION  14400
#define LONGEST       2000
#define TICKET        128

#define ACCESS                                                               \
    "[{\"service\":\"mail\",\"methods\":[\"GET\"],\"paths\":[\"/a/\"]}]"

#define GRANT     NGX_LOCKBOX_BODY_GRANT
#define STEP      NGX_LOCKBOX_BODY_STEP
#define ANSWER    NGX_LOCKBOX_BODY_ANSWER
#define DENIAL    NGX_LOCKBOX_BODY_DENIAL
#define QUESTION  NGX_LOCKBOX_BODY_QUESTION
#define APPROVAL  NGX_LOCKBOX_BODY_APPROVAL


/* A member of a good body is set to this JSON, or removed. */

typedef struct {
    const char               *member;
    const char               *value;    /* NULL: removed */
    const char               *fault;    /* NULL: accepted */
    ngx_lockbox_body_form_e   form;     /* of steps */
} row_t;


static const char  filing[] =
    "{\"justification\":\"mailbox is stuck\",\"ticket\":\"SR-4711\","
    "\"reason\":\"customer_initiated_support\",\"duration\":7200,"
    "\"access\":" ACCESS "}";


/* Any pattern: it wants "SR-" at the beginning. */

ngx_int_t
ngx_regex_exec(ngx_regex_t *re, ngx_str_t *s, int *captures, ngx_uint_t size)
{
    return re && captures == NULL && size == 0
           && s->len > 3 && ngx_memcmp(s->data, "SR-", 3) == 0 ? 0 : -1;
}


static json_t *
with(const char *text, const char *member, const char *value)
{
    json_t  *body;

    body = json_loads(text, 0, NULL);

    if (value) {
        (void) json_object_set_new(body, member,
                                   json_loads(value, JSON_DECODE_ANY, NULL));

    } else {
        (void) json_object_del(body, member);
    }

    return body;
}


/* A JSON string of "n" characters of three bytes each. */

static const char *
kips(ngx_pool_t *pool, size_t n)
{
    u_char  *text, *p;

    text = ngx_pnalloc(pool, 3 * n + 3);
    p = text;
    *p++ = '"';

    while (n--) {
        p = ngx_cpymem(p, "\xe2\x82\xad", 3);
    }

    *p++ = '"';
    *p = '\0';

    return (const char *) text;
}


static ngx_int_t
file(ngx_pool_t *pool, const json_t *body, ngx_uint_t pattern,
    ngx_lockbox_body_filing_t *got, ngx_lockbox_fault_t *fault)
{
    static u_char              any;
    ngx_lockbox_body_limits_t  limits;

    /* nothing is taken from what was there before */

    memset(got, 0xa5, sizeof(ngx_lockbox_body_filing_t));

    limits.max_duration = MAX_DURATION;
    limits.ticket = pattern ? (ngx_regex_t *) &any : NULL;

    return ngx_lockbox_body_filing(pool, body, &limits, got, fault);
}


static void
judge(ngx_int_t rc, const ngx_lockbox_fault_t *fault, const row_t *row)
{
    if (row->fault == NULL) {
        is(rc, NGX_OK, "%s %.40s", row->member,
           row->value ? row->value : "missing");
        return;
    }

    is(rc, NGX_DECLINED, "%s %.40s", row->member,
       row->value ? row->value : "missing");

    if (rc == NGX_DECLINED) {
        is_text(&fault->member, row->fault, "is at fault");
        ok(fault->reason && *fault->reason, "for a reason");
    }
}


static const row_t  filings[] = {
    { "justification", NULL, "/justification", 0 },
    { "justification", "\"\"", "/justification", 0 },
    { "justification", "12345678901", "/justification", 0 },
    { "justification", "\"nine chrs\"", "/justification", 0 },
    { "justification", "\"ten chars.\"", NULL, 0 },
    { "justification", "\"line\\nfeed \"", NULL, 0 },
    { "justification", "\"          \"", "/justification", 0 },
    { "justification", "\"         .\"", NULL, 0 },
    { "justification", "\" \\n\\u00a0\\u1680\\u2000\\u200a\\u202f\\u205f\\u2800"
      "\\u3000\"", "/justification", 0 },
    { "justification", "\" \\n\\u00a1\\u1680\\u2000\\u200a\\u202f\\u205f\\u2800"
      "\\u3000\"", NULL, 0 },
    { "justification", "\" \\n\\u00a0\\u1680\\u1fff\\u200a\\u202f\\u205f\\u2800"
      "\\u3000\"", NULL, 0 },
    { "justification", "\"tab\\tator  \"", "/justification", 0 },
    { "justification", "\"delete \\u007f .\"", "/justification", 0 },
    { "justification", "\"unit \\u001f ....\"", "/justification", 0 },
    { "justification", "\"\\u20ac\\u20ac\\u20ac\\u20ac\"", "/justification",
      0 },

    /* what does not show, at the ends of the ranges */
    { "justification", "\"ten \\u00a0 chars\"", NULL, 0 },
    { "justification", "\"ten \\u0085 chars\"", "/justification", 0 },
    { "justification", "\"ten \\u00ad chars\"", "/justification", 0 },
    { "justification", "\"ten \\u200a chars\"", NULL, 0 },
    { "justification", "\"ten \\u200b chars\"", "/justification", 0 },
    { "justification", "\"ten \\u200f chars\"", "/justification", 0 },
    { "justification", "\"ten \\u2010 chars\"", NULL, 0 },
    { "justification", "\"ten \\u202e chars\"", "/justification", 0 },
    { "justification", "\"ten \\u2066 chars\"", "/justification", 0 },
    { "justification", "\"ten \\u2069 chars\"", "/justification", 0 },
    { "justification", "\"ten \\ufeff chars\"", "/justification", 0 },
    { "justification", "\"ten \\ufffd chars\"", NULL, 0 },
    { "justification", "\"ten \\udb40\\udc41 chars\"", "/justification", 0 },
    { "justification", "\"ten \\ud83d\\ude00 chars\"", NULL, 0 },
    { "ticket", "\"SR-\\u202e1\"", "/ticket", 0 },

    /* tokens */
    { "justification", "\"this: eyJhbGciOi.eyJpc3Mi.c2ln\"",
      "/justification", 0 },
    { "justification", "\"eyJhbGciOi.eyJpc3Mi.c2ln\"", "/justification", 0 },
    { "justification", "\"eyJhbGci\\nOi.eyJp\\nc3Mi.c2ln\"",
      "/justification", 0 },
    { "justification", "\"eyJhbGciOi.eyJ-_c3Mi.\"", "/justification", 0 },
    { "justification", "\"eyJhbGciOi.eyJpc3Mi\"", NULL, 0 },
    { "justification", "\"eyJhbGciOi.eyJpc3Mi c2ln\"", NULL, 0 },
    { "justification", "\"eyJhbGciOi..c2ln\"", NULL, 0 },
    { "justification", "\"eyJhbGciOi eyJpc3Mi.c2ln\"", NULL, 0 },
    { "justification", "\"eyjhbGciOi.eyJpc3Mi\"", NULL, 0 },
    { "justification", "\"at www.support.example.com\"", NULL, 0 },
    { "justification", "\"eyKhbGciOi.eyKpc3Mi.c2ln\"", NULL, 0 },
    { "justification", "\"Bearer abcdefg0\"", "/justification", 0 },
    { "justification", "\"Bearer abcdefg9\"", "/justification", 0 },
    { "justification", "\"Bearer abcdefg/\"", NULL, 0 },
    { "justification", "\"ends with eyJ\"", NULL, 0 },
    { "justification", "\"ends with ey\"", NULL, 0 },
    { "justification", "\"Bearer 2YotnFZFEjr1zCsicMWpAA\"",
      "/justification", 0 },
    { "justification", "\"bEaReR:\\n2YotnFZFEjr1zCsicMWpAA\"",
      "/justification", 0 },
    { "justification", "\"Authorization: bearer  a-b.c_d~e+f/g==12\"",
      "/justification", 0 },
    { "justification", "\"Bearer abcdefg8\"", "/justification", 0 },
    { "justification", "\"Bearer abcdef8\"", NULL, 0 },
    { "justification", "\"Bearer abcdefghijklmnopqrst\"",
      "/justification", 0 },
    { "justification", "\"Bearer abcdefghijklmnopqrs\"", NULL, 0 },
    { "justification", "\"Bearer authentication is broken\"", NULL, 0 },
    { "justification", "\"the bearer of 2 tickets\"", NULL, 0 },
    { "justification", "\"Bearers 2YotnFZFEjr1zCsicMWpAA\"", NULL, 0 },
    { "justification", "\"forbearerabcdefghijklmnopqrst\"", NULL, 0 },
    { "justification", "\"they want bearer\"", NULL, 0 },
    { "justification", "\"they want bearer \"", NULL, 0 },
    { "ticket", "\"SR-eyJh.eyJp.c2ln\"", "/ticket", 0 },

    { "reason", NULL, "/reason", 0 },
    { "reason", "\"curiosity\"", "/reason", 0 },
    { "reason", "\"production_alert\"", NULL, 0 },
    { "reason", "\"production_alerts\"", "/reason", 0 },
    { "reason", "1", "/reason", 0 },

    { "duration", NULL, "/duration", 0 },
    { "duration", "59", "/duration", 0 },
    { "duration", "60", NULL, 0 },
    { "duration", "14400", NULL, 0 },
    { "duration", "14401", "/duration", 0 },
    { "duration", "-7200", "/duration", 0 },
    { "duration", "7200.0", "/duration", 0 },
    { "duration", "\"7200\"", "/duration", 0 },
    { "duration", "9223372036854775807", "/duration", 0 },

    { "ticket", "\"SR-1\"", NULL, 0 },
    { "ticket", "\"\"", "/ticket", 0 },
    { "ticket", "\" \"", "/ticket", 0 },
    { "ticket", "4711", "/ticket", 0 },
    { "ticket", "\"SR-1\\n2\"", "/ticket", 0 },
    { "ticket", "\"SR-\\t\"", "/ticket", 0 },

    { "access", NULL, "/access", 0 },
    { "access", "[]", "/access", 0 },
    { "access", "[1]", "/access/0", 0 },

    { "extends", "\"0192f3a4-b5c6-7d8e-9f01-23456789abcd\"", NULL, 0 },
    { "extends", "\"0192f3a4-b5c6-7d8e-9f01-23456789abc\"", "/extends", 0 },
    { "extends", "\"0192f3a4-b5c6-7d8e-9f01-23456789abcD\"", "/extends", 0 },
    { "extends", "\"\"", "/extends", 0 },
    { "extends", "null", "/extends", 0 },
    { "extends", "1", "/extends", 0 },

    { "colour", "1", "/colour", 0 },
    { "version", "1", "/version", 0 }
};


static void
test_filings(ngx_pool_t *pool)
{
    size_t                      i;
    json_t                     *body;
    ngx_int_t                   rc;
    ngx_uint_t                  pattern;
    ngx_lockbox_fault_t         fault;
    ngx_lockbox_body_filing_t   got;

    for (i = 0; i < sizeof(filings) / sizeof(filings[0]); i++) {
        for (pattern = 0; pattern < 2; pattern++) {
            body = with(filing, filings[i].member, filings[i].value);
            rc = file(pool, body, pattern, &got, &fault);
            judge(rc, &fault, &filings[i]);
            json_decref(body);
        }
    }
}


/* Which characters tokens are of: each in the middle, and twenty of each. */

static void
test_alphabets(ngx_pool_t *pool)
{
    int                         c;
    char                        text[64];
    json_t                     *body;
    ngx_int_t                   want;
    ngx_uint_t                  letter;
    ngx_lockbox_fault_t         fault;
    ngx_lockbox_body_filing_t   got;

    static const char  letters[] = "abcdefghijklmnopqrstuvwxyz0123456789"
                                   "ABCDEFGHIJKLMNOPQRSTUVWXYZ";

    for (c = ' '; c < 0x7f; c++) {
        letter = strchr(letters, c) != NULL;

        body = json_loads(filing, 0, NULL);
        (void) snprintf(text, sizeof(text), "so eyJ%c.%c. it is", c, c);
        (void) json_object_set_new(body, "justification", json_string(text));

        want = letter || strchr("-_", c) ? NGX_DECLINED : NGX_OK;
        is(file(pool, body, 0, &got, &fault), want, "%s", text);

        (void) snprintf(text, sizeof(text), "a Bearer                    ");
        memset(text + sizeof("a Bearer ") - 1, c, 20);
        text[sizeof("a Bearer ") - 1 + 20] = '\0';
        (void) json_object_set_new(body, "justification", json_string(text));

        want = letter || strchr("-._~+/=", c) ? NGX_DECLINED : NGX_OK;
        is(file(pool, body, 0, &got, &fault), want, "%s", text);

        json_decref(body);
    }
}


static void
test_filing(ngx_pool_t *pool)
{
    json_t                     *body;
    ngx_lockbox_fault_t         fault;
    ngx_lockbox_body_filing_t   got;

    body = json_loads(filing, 0, NULL);

    is(file(pool, body, 1, &got, &fault), NGX_OK, "a filing");
    is_text(&got.justification, "mailbox is stuck", "its justification");
    is_text(&got.reason, "customer_initiated_support", "its reason");
    is_text(&got.ticket, "SR-4711", "its ticket");
    is(got.extends.len, 0, "that extends nothing");
    is(got.duration, 7200, "its duration");
    is(got.scope.nelts, 1, "its access");
    is_text(&got.scope.elts[0].paths.elts[0], "/a/", "and where to");

    json_decref(body);
}


static void
test_tickets(ngx_pool_t *pool)
{
    size_t                      i;
    json_t                     *body;
    ngx_lockbox_fault_t         fault;
    ngx_lockbox_body_filing_t   got;

    static const struct {
        const char  *ticket;
        ngx_int_t    free;
        ngx_int_t    pattern;
    } rows[] = {
        { "\"SR-1\"", NGX_OK, NGX_OK },
        { "\"7\"", NGX_OK, NGX_DECLINED },
        { "\"XY-1\"", NGX_OK, NGX_DECLINED },
        { NULL, NGX_OK, NGX_DECLINED }
    };

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        body = with(filing, "ticket", rows[i].ticket);

        is(file(pool, body, 0, &got, &fault), rows[i].free,
           "%s where all go", rows[i].ticket ? rows[i].ticket : "none");
        is(file(pool, body, 1, &got, &fault), rows[i].pattern,
           "%s where there is a pattern",
           rows[i].ticket ? rows[i].ticket : "none");

        json_decref(body);
    }

    body = with(filing, "ticket", NULL);
    got.ticket = ngx_shim_str("old");
    is(file(pool, body, 0, &got, &fault), NGX_OK, "without a ticket");
    is(got.ticket.len, 0, "there is none");
    json_decref(body);
}


/* Characters are counted, not bytes. */

static void
test_lengths(ngx_pool_t *pool)
{
    size_t                      i;
    json_t                     *body;
    ngx_int_t                   rc;
    ngx_lockbox_fault_t         fault;
    ngx_lockbox_body_step_t     step;
    ngx_lockbox_body_filing_t   got;

    static const struct {
        const char  *member;
        size_t       max;
    } rows[] = {
        { "justification", LONGEST }, { "ticket", TICKET },
        { "comment", LONGEST }
    };

    for (i = 0; i < 2 * sizeof(rows) / sizeof(rows[0]); i++) {
        body = with(i / 2 == 2 ? "{\"version\":1}" : filing,
                    rows[i / 2].member,
                    kips(pool, rows[i / 2].max + i % 2));

        rc = i / 2 == 2
             ? ngx_lockbox_body_step(pool, body, DENIAL, &step, &fault)
             : file(pool, body, 0, &got, &fault);

        is(rc, i % 2 ? NGX_DECLINED : NGX_OK, "%s of %d characters",
           rows[i / 2].member, (int) (rows[i / 2].max + i % 2));

        json_decref(body);
    }
}


static const row_t  steps[] = {
    { "version", "1", NULL, STEP },
    { "version", NULL, NULL, STEP },
    { "version", NULL, "/version", DENIAL },
    { "version", NULL, "/version", APPROVAL },
    { "version", "1", NULL, DENIAL },
    { "version", "1", NULL, APPROVAL },
    { "version", "0", "/version", APPROVAL },
    { "version", "0", "/version", STEP },
    { "version", "-1", "/version", DENIAL },
    { "version", "1.0", "/version", DENIAL },
    { "version", "\"1\"", "/version", STEP },
    { "version", "1", "/version", GRANT },

    { "comment", "\"x\"", NULL, STEP },
    { "comment", "\"x\"", NULL, DENIAL },
    { "comment", "\"x\\ny\"", NULL, APPROVAL },
    { "comment", "\"\"", "/comment", STEP },
    { "comment", "\" \\n\"", "/comment", QUESTION },
    { "comment", "\" \"", "/comment", STEP },
    { "comment", "\"\\t\"", "/comment", APPROVAL },
    { "comment", "1", "/comment", DENIAL },
    { "comment", "\"x\"", "/comment", GRANT },

    { "comment", "\"\\u202e\"", "/comment", APPROVAL },
    { "comment", "\"eyJh.eyJp.c2ln\"", "/comment", QUESTION },
    { "comment", "\"\\u2066x\"", "/comment", ANSWER },
    { "comment", "\"Bearer abcdefg8\"", "/comment", STEP },

    { "comment", "\"x\"", NULL, QUESTION },
    { "comment", NULL, "/comment", QUESTION },
    { "comment", "\"\"", "/comment", QUESTION },
    { "comment", "\"x\"", NULL, ANSWER },
    { "comment", NULL, "/comment", ANSWER },
    { "comment", NULL, NULL, STEP },
    { "comment", NULL, NULL, DENIAL },
    { "comment", NULL, NULL, APPROVAL },

    { "duration", "60", NULL, APPROVAL },
    { "duration", "59", "/duration", APPROVAL },
    { "duration", "0", "/duration", APPROVAL },
    { "duration", "60.5", "/duration", APPROVAL },
    { "duration", "60", "/duration", DENIAL },
    { "duration", "60", "/duration", STEP },

    { "access", ACCESS, NULL, APPROVAL },
    { "access", "[]", "/access", APPROVAL },
    { "access", "null", "/access", APPROVAL },
    { "access", ACCESS, "/access", DENIAL },
    { "access", ACCESS, "/access", STEP },

    { "colour", "1", "/colour", APPROVAL },
    { "colour", "1", "/colour", DENIAL },
    { "colour", "1", "/colour", STEP },
    { "colour", "1", "/colour", GRANT },
    { "colour", NULL, NULL, GRANT }
};


static void
test_steps(ngx_pool_t *pool)
{
    size_t                    i;
    json_t                   *body;
    ngx_int_t                 rc;
    ngx_lockbox_fault_t       fault;
    ngx_lockbox_body_step_t   got;

    for (i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        body = with(steps[i].form == GRANT ? "{}" : "{\"version\":3}",
                    steps[i].member, steps[i].value);
        rc = ngx_lockbox_body_step(pool, body, steps[i].form, &got, &fault);
        judge(rc, &fault, &steps[i]);
        json_decref(body);
    }

    body = json_loads("{\"version\":3,\"comment\":\"less\",\"duration\":90,"
                      "\"access\":" ACCESS "}", 0, NULL);
    is(ngx_lockbox_body_step(pool, body, APPROVAL, &got, &fault), NGX_OK,
       "an approval that narrows");
    is(got.version, 3, "its version");
    is_text(&got.comment, "less", "its comment");
    is(got.duration, 90, "its duration");
    is(got.scope.nelts, 1, "its access");
    json_decref(body);

    body = json_loads("{\"comment\":\"which?\"}", 0, NULL);
    is(ngx_lockbox_body_step(pool, body, ANSWER, &got, &fault), NGX_OK,
       "an answer to whatever stands");
    is_text(&got.comment, "which?", "its comment");
    is(ngx_lockbox_body_step(pool, body, QUESTION, &got, &fault),
       NGX_DECLINED, "a question must say on what");
    is_text(&fault.member, "/version", "which is at fault");
    json_decref(body);

    body = json_object();
    is(ngx_lockbox_body_step(pool, body, STEP, &got, &fault), NGX_OK,
       "an empty body");
    is(got.version, 0, "states no version");
    is(got.comment.len, 0, "no comment");
    is(got.duration, 0, "no duration");
    is(got.scope.nelts, 0, "and no access");
    json_decref(body);
}


static ngx_int_t
file_once(ngx_pool_t *pool, const void *data)
{
    ngx_lockbox_fault_t        fault;
    ngx_lockbox_body_filing_t  got;

    return file(pool, data, 1, &got, &fault);
}


static ngx_int_t
approve_once(ngx_pool_t *pool, const void *data)
{
    ngx_lockbox_fault_t      fault;
    ngx_lockbox_body_step_t  got;

    return ngx_lockbox_body_step(pool, data, APPROVAL, &got, &fault);
}


static ngx_int_t
refuse_once(ngx_pool_t *pool, const void *data)
{
    ngx_int_t                rc;
    ngx_lockbox_fault_t      fault;
    ngx_lockbox_body_step_t  got;

    rc = ngx_lockbox_body_step(pool, data, GRANT, &got, &fault);

    return rc == NGX_DECLINED ? NGX_OK : rc;
}


static void
test_memory(void)
{
    json_t  *body, *step;

    body = json_loads(filing, 0, NULL);
    step = json_loads("{\"version\":1,\"access\":" ACCESS "}", 0, NULL);

    ok(ngx_shim_walk(file_once, body), "a filing without memory");
    ok(ngx_shim_walk(approve_once, step), "an approval without memory");
    ok(ngx_shim_walk(refuse_once, step), "a refusal without memory");

    json_decref(body);
    json_decref(step);
}


int
main(void)
{
    ngx_pool_t  *pool;

    pool = ngx_create_pool(0, NULL);

    test_filing(pool);
    test_alphabets(pool);
    test_filings(pool);
    test_tickets(pool);
    test_lengths(pool);
    test_steps(pool);

    ngx_destroy_pool(pool);

    test_memory();

    is(ngx_shim_live(), 0, "all memory is given back");

    return tap_done();
}
