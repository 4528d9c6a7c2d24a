/*
 * Why: this is where a grant's words become what is open and what is not.
 */

/* links: ngx_lockbox_scope.c ngx_lockbox_json.c ngx_lockbox_name.c */
/* links: ngx_lockbox_path.c ngx_lockbox_base64url.c */

#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_lockbox_scope.h"
#include "ngx_shim.h"
#include "tap.h"


#define ACCESS   NGX_LOCKBOX_SCOPE_ACCESS
#define DETAILS  NGX_LOCKBOX_SCOPE_DETAILS


/*
 * Reads the scope out of a list that is gone afterwards, so that a text which
 * was borrowed from it shows.
 */

static ngx_int_t
parse(ngx_pool_t *pool, const char *text, ngx_lockbox_scope_form_e form,
    ngx_lockbox_scope_t *scope, ngx_lockbox_fault_t *fault)
{
    json_t     *list;
    ngx_int_t   rc;

    list = json_loads(text, JSON_DECODE_ANY, NULL);
    if (list == NULL) {
        return NGX_ERROR;
    }

    rc = ngx_lockbox_scope_parse(pool, list, form, "/access", scope, fault);

    json_decref(list);

    return rc;
}


typedef struct {
    ngx_lockbox_scope_form_e   form;
    const char                *text;
    const char                *json;    /* what is written of it again */
} accepted_t;


static const accepted_t  accepted[] = {
    { ACCESS,
      "[{\"service\":\"mail\",\"methods\":[\"GET\"],\"paths\":[\"/\"]}]",
      "[{\"labels\":[],\"methods\":[\"GET\"],\"paths\":[\"/\"],"
      "\"service\":\"mail\"}]" },

    { ACCESS,
      "[{\"service\":\"mail\",\"methods\":[\"GET\"],\"paths\":[\"/\"],"
      "\"labels\":[]}]",
      "[{\"labels\":[],\"methods\":[\"GET\"],\"paths\":[\"/\"],"
      "\"service\":\"mail\"}]" },

    /* the order of lists is kept */
    { ACCESS,
      "[{\"labels\":[\"secret\",\"confidential\"],"
      "\"paths\":[\"/b\",\"/a/\",\"/b/\"],\"methods\":[\"PUT\",\"GET\"],"
      "\"service\":\"mail\"},"
      "{\"service\":\"files\",\"methods\":[\"POST\"],"
      "\"paths\":[\"/\xe2\x82\xac\"]}]",
      "[{\"labels\":[\"secret\",\"confidential\"],"
      "\"methods\":[\"PUT\",\"GET\"],\"paths\":[\"/b\",\"/a/\",\"/b/\"],"
      "\"service\":\"mail\"},"
      "{\"labels\":[],\"methods\":[\"POST\"],"
      "\"paths\":[\"/\xe2\x82\xac\"],\"service\":\"files\"}]" },

    { DETAILS,
      "[{\"type\":\"lockbox\",\"service\":\"mail\",\"methods\":[\"GET\"],"
      "\"paths\":[\"/\"],\"labels\":[\"secret\"]}]",
      "[{\"labels\":[\"secret\"],\"methods\":[\"GET\"],\"paths\":[\"/\"],"
      "\"service\":\"mail\",\"type\":\"lockbox\"}]" }
};


static void
test_accepted(ngx_pool_t *pool)
{
    size_t                i;
    json_t               *list;
    ngx_str_t             text;
    const accepted_t     *row;
    ngx_lockbox_scope_t   scope;

    for (i = 0; i < sizeof(accepted) / sizeof(accepted_t); i++) {
        row = &accepted[i];

        is(parse(pool, row->text, row->form, &scope, NULL), NGX_OK,
           "accepted %zu", i);

        list = ngx_lockbox_scope_json(&scope, row->form);
        is(ngx_lockbox_json_dump(pool, list, &text), NGX_OK, "written again");
        is_text(&text, row->json, "as it was");
        json_decref(list);
    }
}


#define SERVICE   "\"service\":\"mail\""
#define METHODS   "\"methods\":[\"GET\"]"
#define PATHS     "\"paths\":[\"/\"]"
#define LABELS    "\"labels\":[\"secret\"]"
#define TYPE      "\"type\":\"lockbox\""
#define GOOD      "{" SERVICE "," METHODS "," PATHS "," LABELS "}"


#define BAD_LIST    "must be a list of 1 to 32 access items"
#define BAD_SERVICE "must be the name of a service"
#define BAD_METHODS "must be a list of 1 to 16 methods"
#define BAD_METHOD                                                           \
    "must be a method in upper case other than CONNECT, HEAD and TRACE"
#define BAD_PATHS   "must be a list of 1 to 16 paths"
#define BAD_PATH    "must be a path in canonical form"
#define BAD_LABELS  "must be a list of at most 16 labels"
#define BAD_LABEL   "must be a label"
#define UNKNOWN     "is not a known member"
#define TWICE       "is listed twice"


typedef struct {
    ngx_lockbox_scope_form_e   form;
    const char                *text;
    const char                *member;
    const char                *reason;
} refused_t;


static const refused_t  refused[] = {
    { ACCESS, "[]", "/access", BAD_LIST },
    { ACCESS, "{}", "/access", BAD_LIST },
    { ACCESS, GOOD, "/access", BAD_LIST },
    { ACCESS, "null", "/access", BAD_LIST },
    { ACCESS, "\"mail\"", "/access", BAD_LIST },

    { ACCESS, "[1]", "/access/0", "must be an object" },
    { ACCESS, "[null]", "/access/0", "must be an object" },
    { ACCESS, "[[]]", "/access/0", "must be an object" },
    { ACCESS, "[" GOOD ",\"x\"]", "/access/1", "must be an object" },

    { ACCESS, "[{" METHODS "," PATHS "}]", "/access/0/service", BAD_SERVICE },
    { ACCESS, "[{\"service\":\"\"," METHODS "," PATHS "}]",
      "/access/0/service", BAD_SERVICE },
    { ACCESS, "[{\"service\":\"Mail\"," METHODS "," PATHS "}]",
      "/access/0/service", BAD_SERVICE },
    { ACCESS, "[{\"service\":null," METHODS "," PATHS "}]",
      "/access/0/service", BAD_SERVICE },
    { ACCESS, "[{\"service\":[\"mail\"]," METHODS "," PATHS "}]",
      "/access/0/service", BAD_SERVICE },

    { ACCESS, "[{" SERVICE "," PATHS "}]", "/access/0/methods", BAD_METHODS },
    { ACCESS, "[{" SERVICE ",\"methods\":[]," PATHS "}]",
      "/access/0/methods", BAD_METHODS },
    { ACCESS, "[{" SERVICE ",\"methods\":\"GET\"," PATHS "}]",
      "/access/0/methods", BAD_METHODS },
    { ACCESS, "[{" SERVICE ",\"methods\":{\"GET\":1}," PATHS "}]",
      "/access/0/methods", BAD_METHODS },
    { ACCESS, "[{" SERVICE ",\"methods\":null," PATHS "}]",
      "/access/0/methods", BAD_METHODS },
    { ACCESS, "[{" SERVICE ",\"methods\":[\"get\"]," PATHS "}]",
      "/access/0/methods/0", BAD_METHOD },
    { ACCESS, "[{" SERVICE ",\"methods\":[\"GET\",\"HEAD\"]," PATHS "}]",
      "/access/0/methods/1", BAD_METHOD },
    { ACCESS, "[{" SERVICE ",\"methods\":[\"CONNECT\"]," PATHS "}]",
      "/access/0/methods/0", BAD_METHOD },
    { ACCESS, "[{" SERVICE ",\"methods\":[\"TRACE\"]," PATHS "}]",
      "/access/0/methods/0", BAD_METHOD },
    { ACCESS, "[{" SERVICE ",\"methods\":[\"*\"]," PATHS "}]",
      "/access/0/methods/0", BAD_METHOD },
    { ACCESS, "[{" SERVICE ",\"methods\":[\"\"]," PATHS "}]",
      "/access/0/methods/0", BAD_METHOD },
    { ACCESS, "[{" SERVICE ",\"methods\":[1]," PATHS "}]",
      "/access/0/methods/0", BAD_METHOD },
    { ACCESS, "[{" SERVICE ",\"methods\":[[\"GET\"]]," PATHS "}]",
      "/access/0/methods/0", BAD_METHOD },
    { ACCESS, "[{" SERVICE ",\"methods\":[\"GET\",\"PUT\",\"GET\"]," PATHS
      "}]", "/access/0/methods/2", TWICE },

    { ACCESS, "[{" SERVICE "," METHODS "}]", "/access/0/paths", BAD_PATHS },
    { ACCESS, "[{" SERVICE "," METHODS ",\"paths\":[]}]",
      "/access/0/paths", BAD_PATHS },
    { ACCESS, "[{" SERVICE "," METHODS ",\"paths\":\"/\"}]",
      "/access/0/paths", BAD_PATHS },
    { ACCESS, "[{" SERVICE "," METHODS ",\"paths\":[\"\"]}]",
      "/access/0/paths/0", BAD_PATH },
    { ACCESS, "[{" SERVICE "," METHODS ",\"paths\":[\"a\"]}]",
      "/access/0/paths/0", BAD_PATH },
    { ACCESS, "[{" SERVICE "," METHODS ",\"paths\":[\"/a\",\"/a/../b\"]}]",
      "/access/0/paths/1", BAD_PATH },
    { ACCESS, "[{" SERVICE "," METHODS ",\"paths\":[\"/%61\"]}]",
      "/access/0/paths/0", BAD_PATH },
    { ACCESS, "[{" SERVICE "," METHODS ",\"paths\":[null]}]",
      "/access/0/paths/0", BAD_PATH },
    { ACCESS, "[{" SERVICE "," METHODS ",\"paths\":[\"/a\",\"/a\"]}]",
      "/access/0/paths/1", TWICE },

    { ACCESS, "[{" SERVICE "," METHODS "," PATHS ",\"labels\":null}]",
      "/access/0/labels", BAD_LABELS },
    { ACCESS, "[{" SERVICE "," METHODS "," PATHS ",\"labels\":\"secret\"}]",
      "/access/0/labels", BAD_LABELS },
    { ACCESS, "[{" SERVICE "," METHODS "," PATHS ",\"labels\":{}}]",
      "/access/0/labels", BAD_LABELS },
    { ACCESS, "[{" SERVICE "," METHODS "," PATHS ",\"labels\":[\"\"]}]",
      "/access/0/labels/0", BAD_LABEL },
    { ACCESS, "[{" SERVICE "," METHODS "," PATHS ",\"labels\":[\"Secret\"]}]",
      "/access/0/labels/0", BAD_LABEL },
    { ACCESS, "[{" SERVICE "," METHODS "," PATHS ",\"labels\":[true]}]",
      "/access/0/labels/0", BAD_LABEL },
    { ACCESS, "[{" SERVICE "," METHODS "," PATHS
      ",\"labels\":[\"a\",\"b\",\"b\"]}]", "/access/0/labels/2", TWICE },

    { ACCESS, "[{" SERVICE "," METHODS "," PATHS ",\"colour\":1}]",
      "/access/0/colour", UNKNOWN },
    { ACCESS, "[" GOOD "," GOOD ",{" SERVICE "," METHODS "," PATHS
      ",\"Labels\":[]}]", "/access/2/Labels", UNKNOWN },
    { ACCESS, "[{" TYPE "," SERVICE "," METHODS "," PATHS "}]",
      "/access/0/type", UNKNOWN },

    { DETAILS, "[" GOOD "]", "/access/0/type", "must be \"lockbox\"" },
    { DETAILS, "[{\"type\":\"Lockbox\"," SERVICE "," METHODS "," PATHS "}]",
      "/access/0/type", "must be \"lockbox\"" },
    { DETAILS, "[{\"type\":\"lockbox2\"," SERVICE "," METHODS "," PATHS "}]",
      "/access/0/type", "must be \"lockbox\"" },
    { DETAILS, "[{\"type\":1," SERVICE "," METHODS "," PATHS "}]",
      "/access/0/type", "must be \"lockbox\"" },
    { DETAILS, "[{" TYPE "," SERVICE "," METHODS "," PATHS
      ",\"actions\":[]}]", "/access/0/actions", UNKNOWN },
    { DETAILS, "[{" TYPE "," METHODS "," PATHS "}]", "/access/0/service",
      BAD_SERVICE }
};


static void
test_refused(ngx_pool_t *pool)
{
    size_t                i;
    const refused_t      *row;
    ngx_lockbox_scope_t   scope;
    ngx_lockbox_fault_t   fault;

    for (i = 0; i < sizeof(refused) / sizeof(refused_t); i++) {
        row = &refused[i];

        ngx_memzero(&fault, sizeof(fault));

        is(parse(pool, row->text, row->form, &scope, &fault), NGX_DECLINED,
           "refused: %s", row->text);
        is_text(&fault.member, row->member, "the member at fault");
        ok(fault.reason && strcmp(fault.reason, row->reason) == 0,
           "the reason: %s", row->reason);
    }

    is(parse(pool, "[]", ACCESS, &scope, NULL), NGX_DECLINED,
       "refused without telling why");
    is(ngx_lockbox_scope_parse(pool, NULL, ACCESS, "/access", &scope, &fault),
       NGX_DECLINED, "a missing list");
}


/* A list of "n" values that a printf-style format makes out of 0, 1, 2 ... */

__attribute__((format(printf, 3, 0)))
static char *
repeat(char *buf, size_t n, const char *format)
{
    char    *p;
    size_t   i;

    p = buf;
    *p++ = '[';

    for (i = 0; i < n; i++) {
        p += sprintf(p, format, (int) i);
        *p++ = ',';
    }

    if (n) {
        p--;
    }

    *p++ = ']';
    *p = '\0';

    return buf;
}


/* The result for an item with so many methods, paths and labels. */

static ngx_int_t
parse_counts(ngx_pool_t *pool, size_t methods, size_t paths, size_t labels,
    ngx_lockbox_scope_t *scope, ngx_lockbox_fault_t *fault)
{
    size_t  i;
    char    buf[4096], m[1024], p[1024], l[1024], *q;

    /* methods have no digits: "A", "AA", "AAA" ... */

    q = m;

    for (i = 0; i < methods; i++) {
        q += sprintf(q, "%s\"%.*s\"", i ? "," : "", (int) i + 1,
                     "AAAAAAAAAAAAAAAAAAAA");
    }

    *q = '\0';

    (void) sprintf(buf, "[{" SERVICE ",\"methods\":[%s],\"paths\":%s,"
                   "\"labels\":%s}]", methods ? m : "",
                   repeat(p, paths, "\"/%d\""), repeat(l, labels, "\"%d\""));

    return parse(pool, buf, ACCESS, scope, fault);
}


static void
test_limits(ngx_pool_t *pool)
{
    char                  buf[8192], *last;
    ngx_lockbox_scope_t   scope;
    ngx_lockbox_fault_t   fault;

    is(parse(pool, repeat(buf, 1, GOOD), ACCESS, &scope, &fault), NGX_OK,
       "1 item");
    is(scope.nelts, 1, "is there");

    is(parse(pool, repeat(buf, 32, GOOD), ACCESS, &scope, &fault), NGX_OK,
       "32 items");
    is(scope.nelts, 32, "are there");
    is_text(&scope.elts[31].labels.elts[0], "secret", "the last one in full");

    last = strrchr(repeat(buf, 32, GOOD), 's');
    memcpy(last, "S", 1);
    is(parse(pool, buf, ACCESS, &scope, &fault), NGX_DECLINED,
       "32 items, the last with a bad label");
    is_text(&fault.member, "/access/31/labels/0", "which is told");

    is(parse(pool, repeat(buf, 33, GOOD), ACCESS, &scope, &fault),
       NGX_DECLINED, "33 items");
    is_text(&fault.member, "/access", "are too many");

    is(parse_counts(pool, 16, 16, 16, &scope, &fault), NGX_OK, "16 of each");
    is(scope.elts[0].methods.nelts, 16, "16 methods");
    is(scope.elts[0].paths.nelts, 16, "16 paths");
    is(scope.elts[0].labels.nelts, 16, "16 labels");
    is_text(&scope.elts[0].methods.elts[15], "AAAAAAAAAAAAAAAA",
            "the last method");
    is_text(&scope.elts[0].paths.elts[15], "/15", "the last path");
    is_text(&scope.elts[0].labels.elts[15], "15", "the last label");

    is(parse_counts(pool, 17, 16, 16, &scope, &fault), NGX_DECLINED,
       "17 methods");
    is_text(&fault.member, "/access/0/methods", "are too many");
    is(parse_counts(pool, 16, 17, 16, &scope, &fault), NGX_DECLINED,
       "17 paths");
    is_text(&fault.member, "/access/0/paths", "are too many");
    is(parse_counts(pool, 16, 16, 17, &scope, &fault), NGX_DECLINED,
       "17 labels");
    is_text(&fault.member, "/access/0/labels", "are too many");

    is(parse_counts(pool, 1, 1, 0, &scope, &fault), NGX_OK, "the least");
    is(scope.elts[0].labels.nelts, 0, "no labels");
    is(parse_counts(pool, 0, 1, 1, &scope, &fault), NGX_DECLINED,
       "0 methods");
    is(parse_counts(pool, 1, 0, 1, &scope, &fault), NGX_DECLINED, "0 paths");
}


static void
test_hash(ngx_pool_t *pool)
{
    ngx_str_t            a, b;
    ngx_lockbox_scope_t  scope;

    /*
     * SHA-256 of [{"labels":[],"methods":["GET"],"paths":["/"],
     * "service":"mail"}] in one line
     */

    (void) parse(pool, "[{" SERVICE "," METHODS "," PATHS "}]", ACCESS, &scope,
                 NULL);
    is(ngx_lockbox_scope_hash(pool, &scope, &a), NGX_OK, "hash");
    is_text(&a, "eqsqHXrmBuB33gE5hjoliCqFm1jO97Aixb-Bay9gH9U", "its value");

    (void) parse(pool, "[{" PATHS "," METHODS ",\"labels\":[]," SERVICE "}]",
                 ACCESS, &scope, NULL);
    is(ngx_lockbox_scope_hash(pool, &scope, &b), NGX_OK, "hash");
    ok(memcmp(a.data, b.data, a.len) == 0,
       "the spelling of an item does not change it");

    (void) parse(pool, "[{" TYPE "," SERVICE "," METHODS "," PATHS "}]",
                 DETAILS, &scope, NULL);
    is(ngx_lockbox_scope_hash(pool, &scope, &b), NGX_OK, "hash");
    ok(memcmp(a.data, b.data, a.len) == 0, "nor does where it came from");

    (void) parse(pool, "[{" SERVICE "," METHODS ",\"paths\":[\"/a\"]}]",
                 ACCESS, &scope, NULL);
    is(ngx_lockbox_scope_hash(pool, &scope, &b), NGX_OK, "hash");
    ok(memcmp(a.data, b.data, a.len) != 0, "but another path does");
}


typedef struct {
    const char  *narrow;
    const char  *wide;
    ngx_uint_t   within;
} within_t;


#define ITEM(service, methods, paths, labels)                                \
    "{\"service\":\"" service "\",\"methods\":[" methods "],"                \
    "\"paths\":[" paths "],\"labels\":[" labels "]}"


static const within_t  withins[] = {

    /* the same */
    { "[" ITEM("mail", "\"GET\"", "\"/a\"", "") "]",
      "[" ITEM("mail", "\"GET\"", "\"/a\"", "") "]", 1 },
    { "[" GOOD "]", "[" GOOD "]", 1 },

    /* service */
    { "[" ITEM("mail", "\"GET\"", "\"/a\"", "") "]",
      "[" ITEM("mail2", "\"GET\"", "\"/a\"", "") "]", 0 },

    /* methods */
    { "[" ITEM("mail", "\"GET\"", "\"/a\"", "") "]",
      "[" ITEM("mail", "\"PUT\",\"GET\"", "\"/a\"", "") "]", 1 },
    { "[" ITEM("mail", "\"GET\",\"PUT\"", "\"/a\"", "") "]",
      "[" ITEM("mail", "\"GET\"", "\"/a\"", "") "]", 0 },
    { "[" ITEM("mail", "\"PUT\"", "\"/a\"", "") "]",
      "[" ITEM("mail", "\"GET\"", "\"/a\"", "") "]", 0 },
    { "[" ITEM("mail", "\"PUT\",\"GET\"", "\"/a\"", "") "]",
      "[" ITEM("mail", "\"GET\",\"PUT\"", "\"/a\"", "") "]", 1 },

    /* labels: fewer open less */
    { "[" ITEM("mail", "\"GET\"", "\"/a\"", "") "]",
      "[" ITEM("mail", "\"GET\"", "\"/a\"", "\"secret\"") "]", 1 },
    { "[" ITEM("mail", "\"GET\"", "\"/a\"", "\"secret\"") "]",
      "[" ITEM("mail", "\"GET\"", "\"/a\"", "") "]", 0 },
    { "[" ITEM("mail", "\"GET\"", "\"/a\"", "\"a\",\"b\"") "]",
      "[" ITEM("mail", "\"GET\"", "\"/a\"", "\"b\",\"a\"") "]", 1 },
    { "[" ITEM("mail", "\"GET\"", "\"/a\"", "\"a\",\"c\"") "]",
      "[" ITEM("mail", "\"GET\"", "\"/a\"", "\"b\",\"a\"") "]", 0 },

    /* paths */
    { "[" ITEM("mail", "\"GET\"", "\"/a/b\"", "") "]",
      "[" ITEM("mail", "\"GET\"", "\"/a\"", "") "]", 1 },
    { "[" ITEM("mail", "\"GET\"", "\"/a\"", "") "]",
      "[" ITEM("mail", "\"GET\"", "\"/a/b\"", "") "]", 0 },
    { "[" ITEM("mail", "\"GET\"", "\"/ab\"", "") "]",
      "[" ITEM("mail", "\"GET\"", "\"/a\"", "") "]", 0 },
    { "[" ITEM("mail", "\"GET\"", "\"/a/b/\"", "") "]",
      "[" ITEM("mail", "\"GET\"", "\"/a/b\"", "") "]", 1 },
    { "[" ITEM("mail", "\"GET\"", "\"/a/b\"", "") "]",
      "[" ITEM("mail", "\"GET\"", "\"/a/b/\"", "") "]", 0 },
    { "[" ITEM("mail", "\"GET\"", "\"/\"", "") "]",
      "[" ITEM("mail", "\"GET\"", "\"/a\"", "") "]", 0 },
    { "[" ITEM("mail", "\"GET\"", "\"/a\"", "") "]",
      "[" ITEM("mail", "\"GET\"", "\"/\"", "") "]", 1 },
    { "[" ITEM("mail", "\"GET\"", "\"/b/x\",\"/a\"", "") "]",
      "[" ITEM("mail", "\"GET\"", "\"/a\",\"/b\"", "") "]", 1 },
    { "[" ITEM("mail", "\"GET\"", "\"/b/x\",\"/c\"", "") "]",
      "[" ITEM("mail", "\"GET\"", "\"/a\",\"/b\"", "") "]", 0 },

    /* items */
    { "[" ITEM("mail", "\"GET\"", "\"/a\"", "") "]",
      "[" ITEM("files", "\"GET\"", "\"/\"", "") ","
          ITEM("mail", "\"GET\"", "\"/\"", "") "]", 1 },
    { "[" ITEM("mail", "\"GET\"", "\"/a\"", "") ","
          ITEM("files", "\"GET\"", "\"/a\"", "") "]",
      "[" ITEM("files", "\"GET\"", "\"/\"", "") ","
          ITEM("mail", "\"GET\"", "\"/\"", "") "]", 1 },
    { "[" ITEM("mail", "\"GET\"", "\"/a\"", "") ","
          ITEM("files", "\"GET\"", "\"/a\"", "") "]",
      "[" ITEM("mail", "\"GET\"", "\"/\"", "") "]", 0 },
    { "[" ITEM("files", "\"GET\"", "\"/a\"", "") ","
          ITEM("mail", "\"GET\"", "\"/a\"", "") "]",
      "[" ITEM("mail", "\"GET\"", "\"/\"", "") "]", 0 },

    /* one item must do, not the sum of two */
    { "[" ITEM("mail", "\"GET\",\"PUT\"", "\"/a\"", "") "]",
      "[" ITEM("mail", "\"GET\"", "\"/a\"", "") ","
          ITEM("mail", "\"PUT\"", "\"/a\"", "") "]", 0 },
    { "[" ITEM("mail", "\"PUT\"", "\"/a\"", "") "]",
      "[" ITEM("mail", "\"GET\"", "\"/a\"", "") ","
          ITEM("mail", "\"PUT\"", "\"/b\"", "") "]", 0 }
};


static void
test_within(ngx_pool_t *pool)
{
    size_t               i;
    ngx_lockbox_scope_t  narrow, wide, none;

    for (i = 0; i < sizeof(withins) / sizeof(within_t); i++) {
        ok(parse(pool, withins[i].narrow, ACCESS, &narrow, NULL) == NGX_OK
           && parse(pool, withins[i].wide, ACCESS, &wide, NULL) == NGX_OK,
           "two scopes");

        is(ngx_lockbox_scope_within(&narrow, &wide), withins[i].within,
           "%s %s %s", withins[i].narrow,
           withins[i].within ? "within" : "not within", withins[i].wide);
    }

    ngx_memzero(&none, sizeof(none));
    is(ngx_lockbox_scope_within(&narrow, &none), 0,
       "nothing has anything within");
}


/* "a,b" as two texts */

static void
split(ngx_pool_t *pool, const char *text, ngx_lockbox_strings_t *strings)
{
    size_t  len;

    strings->nelts = 0;
    strings->elts = ngx_palloc(pool, 32 * sizeof(ngx_str_t));

    while (*text) {
        len = strcspn(text, ",");

        strings->elts[strings->nelts].data = (u_char *) text;
        strings->elts[strings->nelts].len = len;
        strings->nelts++;

        text += len;
        text += (*text == ',');
    }
}


static const char  scope_text[] =
    "["

    /* 0: some of the mail, with labels */
    "{\"service\":\"mail\",\"methods\":[\"GET\",\"PUT\"],"
    "\"paths\":[\"/v1/mail\",\"/v1/box/\"],"
    "\"labels\":[\"secret\",\"confidential\"]},"

    /* 1: more of the mail, without */
    "{\"service\":\"mail\",\"methods\":[\"POST\"],"
    "\"paths\":[\"/v1/mail/drafts\",\"/v1/out\"]},"

    /* 2: files, nothing but DELETE */
    "{\"service\":\"files\",\"methods\":[\"DELETE\"],\"paths\":[\"/\"],"
    "\"labels\":[\"secret\"]}"

    "]";


typedef struct {
    const char              *service;
    const char              *labels;
    const char              *method;
    const char              *path;
    ngx_lockbox_decision_t   want;
} cover_t;


#define ALLOW      NGX_LOCKBOX_ALLOW
#define W_SERVICE  NGX_LOCKBOX_WRONG_SERVICE
#define W_PATH     NGX_LOCKBOX_WRONG_PATH
#define W_METHOD   NGX_LOCKBOX_WRONG_METHOD
#define W_LABEL    NGX_LOCKBOX_WRONG_LABEL


static const cover_t  covers[] = {

    /* paths */
    { "mail", "", "GET", "/v1/mail", ALLOW },
    { "mail", "", "GET", "/v1/mail/", ALLOW },
    { "mail", "", "GET", "/v1/mail/x/y", ALLOW },
    { "mail", "", "GET", "/v1/mailx", W_PATH },
    { "mail", "", "GET", "/v1/mai", W_PATH },
    { "mail", "", "GET", "/v1/Mail", W_PATH },
    { "mail", "", "GET", "/v1/mail.old", W_PATH },
    { "mail", "", "GET", "/v1", W_PATH },
    { "mail", "", "GET", "/", W_PATH },
    { "mail", "", "GET", "/v1/box/", ALLOW },
    { "mail", "", "GET", "/v1/box/1", ALLOW },
    { "mail", "", "GET", "/v1/box", W_PATH },
    { "mail", "", "GET", "/v1/boxes", W_PATH },
    { "files", "", "DELETE", "/", ALLOW },
    { "files", "", "DELETE", "/anything/at/all", ALLOW },

    /* services */
    { "mai", "", "GET", "/v1/mail", W_SERVICE },
    { "mail2", "", "GET", "/v1/mail", W_SERVICE },
    { "Mail", "", "GET", "/v1/mail", W_SERVICE },
    { "", "", "GET", "/v1/mail", W_SERVICE },
    { "calendar", "secret", "GET", "/v1/mail", W_SERVICE },

    /* methods */
    { "mail", "", "PUT", "/v1/mail", ALLOW },
    { "mail", "", "POST", "/v1/mail", W_METHOD },
    { "mail", "", "POST", "/v1/mail/drafts", ALLOW },
    { "mail", "", "POST", "/v1/mail/draft", W_METHOD },
    { "mail", "", "DELETE", "/v1/mail/drafts", W_METHOD },
    { "mail", "", "GETX", "/v1/mail", W_METHOD },
    { "mail", "", "GE", "/v1/mail", W_METHOD },
    { "mail", "", "get", "/v1/mail", W_METHOD },
    { "mail", "", "", "/v1/mail", W_METHOD },
    { "mail", "", "OPTIONS", "/v1/mail", W_METHOD },
    { "files", "", "GET", "/", W_METHOD },

    /* HEAD goes with GET, and with nothing else */
    { "mail", "", "HEAD", "/v1/mail", ALLOW },
    { "mail", "", "HEAD", "/v1/box/x", ALLOW },
    { "mail", "", "HEAD", "/v1/out", W_METHOD },
    { "files", "", "HEAD", "/", W_METHOD },
    { "mail", "", "HEA", "/v1/mail", W_METHOD },
    { "mail", "", "head", "/v1/mail", W_METHOD },

    /* labels: the item must name all that the location has */
    { "mail", "secret", "GET", "/v1/mail", ALLOW },
    { "mail", "confidential", "GET", "/v1/mail", ALLOW },
    { "mail", "secret,confidential", "GET", "/v1/mail", ALLOW },
    { "mail", "confidential,secret", "GET", "/v1/mail", ALLOW },
    { "mail", "confidential,secret,legal", "GET", "/v1/mail", W_LABEL },
    { "mail", "legal,confidential,secret", "GET", "/v1/mail", W_LABEL },
    { "mail", "legal", "GET", "/v1/mail", W_LABEL },
    { "mail", "secre", "GET", "/v1/mail", W_LABEL },
    { "mail", "secret2", "GET", "/v1/mail", W_LABEL },
    { "mail", "Secret", "GET", "/v1/mail", W_LABEL },
    { "mail", "", "POST", "/v1/out", ALLOW },
    { "mail", "secret", "POST", "/v1/out", W_LABEL },
    { "files", "secret", "DELETE", "/", ALLOW },
    { "files", "secret,confidential", "DELETE", "/", W_LABEL },

    /* of several failures the first in order is told */
    { "files", "legal", "GET", "/", W_METHOD },
    { "mail", "legal", "DELETE", "/v2", W_PATH },
    { "mail", "legal", "DELETE", "/v1/mail", W_METHOD },

    /* of several items the one that came closest is told */
    { "mail", "secret", "POST", "/v1/mail/drafts", W_LABEL },
    { "mail", "legal", "GET", "/v1/mail/drafts", W_LABEL },
    { "mail", "", "PUT", "/v1/out", W_METHOD },
    { "mail", "secret", "GET", "/v1/mail/drafts", ALLOW },

    /* one item must do, not the sum of two */
    { "mail", "secret", "DELETE", "/v1/mail", W_METHOD },
    { "files", "secret", "PUT", "/v1/mail", W_METHOD }
};


static void
test_covers(ngx_pool_t *pool)
{
    size_t                  i;
    ngx_str_t               service, method, path;
    const cover_t          *row;
    ngx_lockbox_scope_t     scope, none;
    ngx_lockbox_strings_t   labels;

    is(parse(pool, scope_text, ACCESS, &scope, NULL), NGX_OK, "the scope");
    ngx_memzero(&none, sizeof(none));

    for (i = 0; i < sizeof(covers) / sizeof(cover_t); i++) {
        row = &covers[i];

        service = ngx_shim_str(row->service);
        method = ngx_shim_str(row->method);
        path = ngx_shim_str(row->path);
        split(pool, row->labels, &labels);

        is(ngx_lockbox_scope_covers(&scope, &service, &labels, &method, 0,
                                    &path),
           row->want, "%s {%s} %s %s", row->service, row->labels, row->method,
           row->path);

        is(ngx_lockbox_scope_covers(&none, &service, &labels, &method, 0,
                                    &path),
           NGX_LOCKBOX_WRONG_SERVICE, "an empty scope opens nothing");
    }
}


static const char  upgrade_text[] =
    "["
    "{\"service\":\"chat\",\"methods\":[\"GET\",\"UPGRADE\"],"
    "\"paths\":[\"/a\"],\"labels\":[\"secret\"]},"
    "{\"service\":\"chat\",\"methods\":[\"UPGRADE\",\"POST\"],"
    "\"paths\":[\"/b\"]},"
    "{\"service\":\"chat\",\"methods\":[\"GET\",\"POST\"],"
    "\"paths\":[\"/c\"]},"
    "{\"service\":\"chat\",\"methods\":[\"UPGRADE\"],\"paths\":[\"/c\"]},"
    "{\"service\":\"chat\",\"methods\":[\"GET\",\"UPGRADES\",\"UPGRAD\"],"
    "\"paths\":[\"/d\"]}"
    "]";


/* what is to be switched, and what the same request without that is told */

typedef struct {
    const char              *labels;
    const char              *method;
    const char              *path;
    ngx_lockbox_decision_t   switched;
    ngx_lockbox_decision_t   plain;
} upgrade_t;


static const upgrade_t  upgrades[] = {
    { "", "GET", "/a", ALLOW, ALLOW },
    { "secret", "GET", "/a", ALLOW, ALLOW },
    { "legal", "GET", "/a", W_LABEL, W_LABEL },
    { "", "HEAD", "/a", ALLOW, ALLOW },
    { "", "POST", "/a", W_METHOD, W_METHOD },
    { "", "POST", "/b", ALLOW, ALLOW },
    { "", "GET", "/b", W_METHOD, W_METHOD },
    { "", "HEAD", "/b", W_METHOD, W_METHOD },

    /* one item must name both */
    { "", "GET", "/c", W_METHOD, ALLOW },
    { "", "HEAD", "/c", W_METHOD, ALLOW },
    { "", "POST", "/c", W_METHOD, ALLOW },
    { "", "GET", "/d", W_METHOD, ALLOW },
    { "", "GET", "/e", W_PATH, W_PATH },

    /* it is nobody's own method */
    { "", "UPGRADE", "/a", W_METHOD, W_METHOD },
    { "", "UPGRADE", "/b", W_METHOD, W_METHOD },
    { "", "UPGRADE", "/c", W_METHOD, W_METHOD },
    { "", "upgrade", "/a", W_METHOD, W_METHOD }
};


static void
test_upgrades(ngx_pool_t *pool)
{
    size_t                  i;
    ngx_str_t               service, method, path;
    const upgrade_t        *row;
    ngx_lockbox_scope_t     scope;
    ngx_lockbox_strings_t   labels;

    is(parse(pool, upgrade_text, ACCESS, &scope, NULL), NGX_OK,
       "UPGRADE may be listed");

    service = ngx_shim_str("chat");

    for (i = 0; i < sizeof(upgrades) / sizeof(upgrade_t); i++) {
        row = &upgrades[i];

        method = ngx_shim_str(row->method);
        path = ngx_shim_str(row->path);
        split(pool, row->labels, &labels);

        is(ngx_lockbox_scope_covers(&scope, &service, &labels, &method, 1,
                                    &path),
           row->switched, "{%s} %s %s, to be switched", row->labels,
           row->method, row->path);
        is(ngx_lockbox_scope_covers(&scope, &service, &labels, &method, 0,
                                    &path),
           row->plain, "{%s} %s %s, as it is", row->labels, row->method,
           row->path);
    }
}


static ngx_int_t
parse_run(ngx_pool_t *pool, const void *list)
{
    ngx_lockbox_scope_t  scope;

    return ngx_lockbox_scope_parse(pool, list, DETAILS, "/access", &scope,
                                   NULL);
}


static ngx_int_t
fault_run(ngx_pool_t *pool, const void *list)
{
    ngx_int_t             rc;
    ngx_lockbox_scope_t   scope;
    ngx_lockbox_fault_t   fault;

    rc = ngx_lockbox_scope_parse(pool, list, ACCESS, "/access", &scope,
                                 &fault);

    return rc == NGX_DECLINED ? NGX_OK : rc;
}


static ngx_int_t
json_run(ngx_pool_t *pool, const void *scope)
{
    json_t  *list;

    (void) pool;

    list = ngx_lockbox_scope_json(scope, DETAILS);
    if (list == NULL) {
        return NGX_ERROR;
    }

    /* a part of a scope would be worse than none */

    is(json_array_size(list), 2, "all items are written");
    is(json_object_size(json_array_get(list, 1)), 5, "and all their members");
    json_decref(list);

    return NGX_OK;
}


static ngx_int_t
hash_run(ngx_pool_t *pool, const void *scope)
{
    ngx_str_t  hash;

    return ngx_lockbox_scope_hash(pool, scope, &hash);
}


static void
test_no_memory(ngx_pool_t *pool)
{
    json_t               *list, *bad;
    ngx_lockbox_scope_t   scope;

    list = json_loads("[{" TYPE "," SERVICE "," METHODS
                      ",\"paths\":[\"/a\",\"/b\"]," LABELS "},"
                      "{" TYPE "," SERVICE "," METHODS "," PATHS
                      ",\"labels\":[]}]", 0, NULL);
    bad = json_loads("[" GOOD ",{" SERVICE "," METHODS "," PATHS
                     ",\"colour\":1}]", 0, NULL);

    ok(ngx_shim_walk(parse_run, list) > 15, "each failure to read");
    ok(ngx_shim_walk(fault_run, bad) > 10, "each failure to find fault");

    is(ngx_lockbox_scope_parse(pool, list, DETAILS, "/access", &scope, NULL),
       NGX_OK, "a scope");
    ok(ngx_shim_walk(json_run, &scope) > 30, "each failure to write");
    ok(ngx_shim_walk(hash_run, &scope) > 30, "each failure to hash");

    json_decref(list);
    json_decref(bad);
}


int
main(void)
{
    ngx_pool_t  *pool;

    pool = ngx_create_pool(0, NULL);

    test_accepted(pool);
    test_refused(pool);
    test_limits(pool);
    test_hash(pool);
    test_within(pool);
    test_covers(pool);
    test_upgrades(pool);
    test_no_memory(pool);

    ngx_destroy_pool(pool);

    is(ngx_shim_live(), 0, "nothing is left behind");

    return tap_done();
}
