/*
 * Why: a policy that is read otherwise than its customer meant it opens what
 * was to stay shut; and what is approved beforehand opens a door that nobody
 * stands at.
 */

/* links: ngx_lockbox_policy.c ngx_lockbox_body.c ngx_lockbox_query.c */
/* links: ngx_lockbox_scope.c ngx_lockbox_json.c ngx_lockbox_name.c */
/* links: ngx_lockbox_path.c ngx_lockbox_base64url.c ngx_lockbox_unicode.c */

#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_lockbox_policy.h"
#include "ngx_shim.h"
#include "oom.h"
#include "tap.h"


#define NOW    1767225600000LL              /* 2026-01-01T00:00:00Z */
#define LAST   "2026-04-01T00:00:00Z"       /* 90 days later */

#define ACCESS                                                               \
    "[{\"service\":\"mail\",\"methods\":[\"GET\"],"                          \
    "\"paths\":[\"/a/\",\"/b\"],\"labels\":[\"confidential\"]}]"

#define ENTRY  "\"name\":\"triage\",\"until\":\"" LAST "\""


static const ngx_lockbox_policy_limits_t  limits = { 14400, 2 };


/* Tickets are not the matter here. */

ngx_int_t
ngx_regex_exec(ngx_regex_t *re, ngx_str_t *s, int *captures, ngx_uint_t size)
{
    return -1;
}


static ngx_int_t
read_policy(ngx_pool_t *pool, const char *text,
    const ngx_lockbox_policy_limits_t *by, ngx_lockbox_policy_t *policy,
    ngx_lockbox_fault_t *fault)
{
    json_t     *value;
    ngx_int_t   rc;

    value = json_loads(text, JSON_DECODE_ANY, NULL);

    if (value == NULL) {
        return NGX_ERROR;
    }

    rc = ngx_lockbox_policy_parse(pool, value, "/policy", by, NOW, policy,
                                  fault);
    json_decref(value);

    return rc;
}


typedef struct {
    const char  *text;
    const char  *fault;     /* NULL: accepted; else behind /policy */
    ngx_uint_t   later;     /* accepted when it is read again */
} row_t;


static const row_t  rows[] = {
    { "{}", NULL, 1 },
    { "[]", "", 0 },
    { "null", "", 0 },
    { "\"policy\"", "", 0 },
    { "{\"colour\":1}", "/colour", 0 },
    { "{\"max_Duration\":60}", "/max_Duration", 0 },

    { "{\"max_duration\":60}", NULL, 1 },
    { "{\"max_duration\":59}", "/max_duration", 0 },
    { "{\"max_duration\":14400}", NULL, 1 },
    { "{\"max_duration\":14401}", "/max_duration", 1 },
    { "{\"max_duration\":60.0}", "/max_duration", 0 },
    { "{\"max_duration\":\"60\"}", "/max_duration", 0 },
    { "{\"max_duration\":null}", "/max_duration", 0 },
    { "{\"max_duration\":-60}", "/max_duration", 0 },

    { "{\"approvals\":2}", NULL, 1 },
    { "{\"approvals\":1}", "/approvals", 1 },
    { "{\"approvals\":0}", "/approvals", 0 },
    { "{\"approvals\":9}", NULL, 1 },
    { "{\"approvals\":10}", "/approvals", 0 },
    { "{\"approvals\":-1}", "/approvals", 0 },
    { "{\"approvals\":true}", "/approvals", 0 },
    { "{\"approvals\":null}", "/approvals", 0 },

    { "{\"services\":[\"mail\",\"files\"]}", NULL, 1 },
    { "{\"services\":[]}", "/services", 0 },
    { "{\"services\":\"mail\"}", "/services", 0 },
    { "{\"services\":null}", "/services", 0 },
    { "{\"services\":{}}", "/services", 0 },
    { "{\"services\":[\"mail\",\"mail\"]}", "/services/1", 0 },
    { "{\"services\":[\"Mail\"]}", "/services/0", 0 },
    { "{\"services\":[1]}", "/services/0", 0 },
    { "{\"services\":[\"\"]}", "/services/0", 0 },

    { "{\"reasons\":[\"production_alert\"]}", NULL, 1 },
    { "{\"reasons\":[]}", "/reasons", 0 },
    { "{\"reasons\":[\"curiosity\"]}", "/reasons/0", 0 },
    { "{\"reasons\":[\"production_alert\",\"production_alert\"]}",
      "/reasons/1", 0 },

    { "{\"labels_never\":[\"secret\"]}", NULL, 1 },
    { "{\"labels_never\":[]}", NULL, 1 },
    { "{\"labels_never\":[\"Secret\"]}", "/labels_never/0", 0 },
    { "{\"labels_never\":{}}", "/labels_never", 0 },

    { "{\"preapprovals\":[]}", NULL, 1 },
    { "{\"preapprovals\":{}}", "/preapprovals", 0 },
    { "{\"preapprovals\":null}", "/preapprovals", 0 },
    { "{\"preapprovals\":[1]}", "/preapprovals/0", 0 },
    { "{\"preapprovals\":[{" ENTRY ",\"access\":" ACCESS "}]}", NULL, 1 },
    { "{\"preapprovals\":[{" ENTRY ",\"access\":" ACCESS
      ",\"max_duration\":60,\"reasons\":[\"production_alert\"]}]}", NULL, 1 },
    { "{\"preapprovals\":[{" ENTRY ",\"access\":" ACCESS ",\"labels\":[]}]}",
      "/preapprovals/0/labels", 0 },
    { "{\"preapprovals\":[{" ENTRY "}]}", "/preapprovals/0/access", 0 },
    { "{\"preapprovals\":[{" ENTRY ",\"access\":[]}]}",
      "/preapprovals/0/access", 0 },
    { "{\"preapprovals\":[{" ENTRY ",\"access\":[{\"service\":\"mail\","
      "\"methods\":[\"GET\"],\"paths\":[\"/a/\",\"/\"]}]}]}",
      "/preapprovals/0/access/0/paths/1", 0 },
    { "{\"preapprovals\":[{" ENTRY ",\"access\":[{\"service\":\"mail\","
      "\"methods\":[\"GET\",\"UPGRADE\"],\"paths\":[\"/a/\"]}]}]}",
      "/preapprovals/0/access/0/methods/1", 0 },
    { "{\"preapprovals\":[{" ENTRY ",\"access\":" ACCESS
      ",\"max_duration\":59}]}", "/preapprovals/0/max_duration", 0 },
    { "{\"preapprovals\":[{" ENTRY ",\"access\":" ACCESS
      ",\"max_duration\":14401}]}", "/preapprovals/0/max_duration", 1 },
    { "{\"preapprovals\":[{" ENTRY ",\"access\":" ACCESS
      ",\"reasons\":[]}]}", "/preapprovals/0/reasons", 0 },
    { "{\"preapprovals\":[{\"until\":\"" LAST "\",\"access\":" ACCESS "}]}",
      "/preapprovals/0/name", 0 },
    { "{\"preapprovals\":[{\"name\":\"\",\"until\":\"" LAST
      "\",\"access\":" ACCESS "}]}", "/preapprovals/0/name", 0 },
    { "{\"preapprovals\":[{\"name\":\"a b\",\"until\":\"" LAST
      "\",\"access\":" ACCESS "}]}", "/preapprovals/0/name", 0 },
    { "{\"preapprovals\":[{" ENTRY ",\"access\":" ACCESS "},{" ENTRY
      ",\"access\":" ACCESS "}]}", "/preapprovals/1/name", 0 },
    { "{\"preapprovals\":[{" ENTRY ",\"access\":" ACCESS "},{"
      "\"name\":\"other\",\"until\":\"" LAST "\",\"access\":" ACCESS "}]}",
      NULL, 1 },
    { "{\"preapprovals\":[{\"name\":\"triage\",\"access\":" ACCESS "}]}",
      "/preapprovals/0/until", 0 },
    { "{\"preapprovals\":[{\"name\":\"triage\",\"until\":1775001600,"
      "\"access\":" ACCESS "}]}", "/preapprovals/0/until", 0 },
    { "{\"preapprovals\":[{\"name\":\"triage\",\"until\":\"tomorrow\","
      "\"access\":" ACCESS "}]}", "/preapprovals/0/until", 0 },
    { "{\"preapprovals\":[{\"name\":\"triage\",\"until\":"
      "\"2026-01-01T00:00:00Z\",\"access\":" ACCESS "}]}",
      "/preapprovals/0/until", 1 },
    { "{\"preapprovals\":[{\"name\":\"triage\",\"until\":"
      "\"2026-01-01T00:00:00.001Z\",\"access\":" ACCESS "}]}", NULL, 1 },
    { "{\"preapprovals\":[{\"name\":\"triage\",\"until\":"
      "\"2026-04-01T00:00:00.001Z\",\"access\":" ACCESS "}]}",
      "/preapprovals/0/until", 1 },
    { "{\"preapprovals\":[{\"name\":\"triage\",\"until\":"
      "\"2026-04-01T02:00:00+02:00\",\"access\":" ACCESS "}]}", NULL, 1 },
};


static void
test_rows(ngx_pool_t *pool)
{
    char                  member[256];
    size_t                i;
    ngx_int_t             rc;
    const row_t          *row;
    ngx_lockbox_fault_t   fault;
    ngx_lockbox_policy_t  policy;

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        row = &rows[i];
        rc = read_policy(pool, row->text, &limits, &policy, &fault);

        is(rc, row->fault ? NGX_DECLINED : NGX_OK, "%s", row->text);

        if (rc == NGX_DECLINED && row->fault) {
            (void) snprintf(member, sizeof(member), "/policy%s", row->fault);
            is_text(&fault.member, member, "is at fault");
            ok(fault.reason && *fault.reason, "for a reason");
        }

        rc = read_policy(pool, row->text, NULL, &policy, &fault);

        is(rc, row->later ? NGX_OK : NGX_DECLINED, "and later: %s", row->text);
    }
}


/* So many of something, and one more than may be. */

static ngx_int_t
read_many(ngx_pool_t *pool, ngx_uint_t n, json_t *(*make)(ngx_uint_t i),
    const char *name, ngx_lockbox_fault_t *fault)
{
    json_t                *value, *list;
    ngx_int_t              rc;
    ngx_uint_t             i;
    ngx_lockbox_policy_t   policy;

    value = json_object();
    list = json_array();

    for (i = 0; i < n; i++) {
        (void) json_array_append_new(list, make(i));
    }

    (void) json_object_set_new(value, name, list);

    rc = ngx_lockbox_policy_parse(pool, value, "/policy", &limits, NOW,
                                  &policy, fault);
    json_decref(value);

    return rc;
}


static json_t *
a_name(ngx_uint_t i)
{
    return json_sprintf("name-%lu", (unsigned long) i);
}


static json_t *
a_preapproval(ngx_uint_t i)
{
    return json_pack("{s:o, s:s, s:o}", "name", a_name(i), "until", LAST,
                     "access", json_loads(ACCESS, 0, NULL));
}


/* An item that takes about a kilobyte. */

static json_t *
a_large_one(ngx_uint_t i)
{
    size_t   j;
    json_t  *entry, *paths;

    entry = a_preapproval(i);
    paths = json_object_get(json_array_get(json_object_get(entry, "access"),
                                           0), "paths");

    for (j = 0; j < 12; j++) {
        (void) json_array_append_new(paths, json_sprintf("/%0100lu",
                                                         (unsigned long) j));
    }

    return entry;
}


static void
test_sizes(ngx_pool_t *pool)
{
    ngx_lockbox_fault_t  fault;

    is(read_many(pool, 64, a_name, "services", &fault), NGX_OK, "64 services");
    is(read_many(pool, 65, a_name, "services", &fault), NGX_DECLINED, "65");
    is(read_many(pool, 64, a_name, "labels_never", &fault), NGX_OK,
       "64 labels");
    is(read_many(pool, 65, a_name, "labels_never", &fault), NGX_DECLINED,
       "65");
    is(read_many(pool, 16, a_preapproval, "preapprovals", &fault), NGX_OK,
       "16 preapprovals");
    is(read_many(pool, 17, a_preapproval, "preapprovals", &fault),
       NGX_DECLINED, "17");
    is_text(&fault.member, "/policy/preapprovals", "are too many");

    is(read_many(pool, 11, a_large_one, "preapprovals", &fault), NGX_OK,
       "almost 16 kB");
    is(read_many(pool, 13, a_large_one, "preapprovals", &fault),
       NGX_DECLINED, "more");
    is_text(&fault.member, "/policy", "is too much");
}


/* The stricter one wins, whoever it is. */

static void
test_clamp(void)
{
    size_t                       i;
    ngx_lockbox_policy_t         policy;
    ngx_lockbox_policy_limits_t  by;

    static const struct {
        int64_t     says, limit, holds;
        ngx_uint_t  approvals, needed, counts;
    } cases[] = {
        { 0, 14400, 14400, 0, 1, 1 },
        { 3600, 14400, 3600, 2, 1, 2 },
        { 14400, 3600, 3600, 1, 2, 2 },
        { 3600, 3600, 3600, 3, 3, 3 },
        { 0, 60, 60, 0, 0, 0 },
        { 0, 60, 60, 1, 0, 1 }
    };

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        ngx_memzero(&policy, sizeof(ngx_lockbox_policy_t));

        policy.max_duration = cases[i].says;
        policy.approvals = cases[i].approvals;
        by.max_duration = cases[i].limit;
        by.approvals = cases[i].needed;

        ngx_lockbox_policy_clamp(&policy, &by);

        is(policy.max_duration, cases[i].holds, "%lld with a limit of %lld",
           (long long) cases[i].says, (long long) cases[i].limit);
        is(policy.approvals, cases[i].counts, "%lu where %lu are needed",
           (unsigned long) cases[i].approvals,
           (unsigned long) cases[i].needed);
    }
}


static const char  strict[] =
    "{\"max_duration\":3600,\"services\":[\"mail\",\"files\"],"
    "\"reasons\":[\"production_alert\",\"vendor_initiated_review\"],"
    "\"labels_never\":[\"secret\"],"
    "\"preapprovals\":["
    "{\"name\":\"wide\",\"until\":\"2026-01-02T00:00:00Z\","
    "\"access\":[{\"service\":\"mail\",\"methods\":[\"GET\",\"POST\"],"
    "\"paths\":[\"/a/\",\"/b\"],\"labels\":[\"confidential\",\"secret\"]},"
    "{\"service\":\"crm\",\"methods\":[\"GET\"],\"paths\":[\"/a/\"]}]},"
    "{\"name\":\"short\",\"until\":\"2026-01-03T00:00:00Z\","
    "\"max_duration\":600,\"reasons\":[\"production_alert\"],"
    "\"access\":[{\"service\":\"files\",\"methods\":[\"GET\"],"
    "\"paths\":[\"/a/b\"]}]}]}";


typedef struct {
    const char  *access;
    const char  *reason;
    int64_t      duration;
    int64_t      at;            /* when it begins, seconds from NOW */
    const char  *fault;         /* NULL: allowed */
    const char  *covered;       /* by the preapproval of this name, or NULL */
} wish_t;


#define DAY  86400

#define ITEM(service, method, path, labels)                                  \
    "{\"service\":\"" service "\",\"methods\":[\"" method "\"],"             \
    "\"paths\":[\"" path "\"],\"labels\":[" labels "]}"

#define ALERT   "production_alert"
#define REVIEW  "vendor_initiated_review"


static const wish_t  wishes[] = {
    { "[" ITEM("mail", "GET", "/a/", "") "]", ALERT, 3600, 0, NULL, "wide" },
    { "[" ITEM("mail", "GET", "/a/b", "") "]", REVIEW, 60, 0, NULL, "wide" },
    { "[" ITEM("mail", "GET", "/a/", "") "]", ALERT, 3601, 0, "/duration",
      NULL },
    { "[" ITEM("mail", "GET", "/a/", "") "]", "customer_initiated_support",
      3600, 0, "/reason", NULL },
    { "[" ITEM("mail", "GET", "/a/", "") "]", ALERT, 3600, DAY - 3600, NULL,
      "wide" },
    { "[" ITEM("mail", "GET", "/a/", "") "]", ALERT, 3600, DAY - 3599, NULL,
      NULL },
    { "[" ITEM("mail", "GET", "/a/", "") "]", ALERT, 3599, DAY - 3599, NULL,
      "wide" },
    { "[" ITEM("mail", "GET", "/a/", "") "]", ALERT, 60, DAY, NULL, NULL },
    { "[" ITEM("mail", "POST", "/b/c", "\"confidential\"") "]", ALERT, 3600,
      0, NULL, "wide" },
    { "[" ITEM("mail", "PUT", "/b/c", "") "]", ALERT, 3600, 0, NULL, NULL },
    { "[" ITEM("mail", "GET", "/c", "") "]", ALERT, 3600, 0, NULL, NULL },
    { "[" ITEM("mail", "GET", "/a", "") "]", ALERT, 3600, 0, NULL, NULL },
    { "[" ITEM("mail", "GET", "/a/", "\"internal\"") "]", ALERT, 3600, 0,
      NULL, NULL },

    /* what is never to be granted is not, though it was preapproved */
    { "[" ITEM("mail", "GET", "/a/", "\"confidential\",\"secret\"") "]", ALERT,
      3600, 0, "/access/0/labels/1", NULL },
    { "[" ITEM("mail", "GET", "/a/", "\"secret\"") "]", ALERT, 3600, 0,
      "/access/0/labels/0", NULL },
    { "[" ITEM("mail", "GET", "/a/", "") "," ITEM("crm", "GET", "/a/", "")
      "]", ALERT, 3600, 0, "/access/1/service", NULL },

    { "[" ITEM("files", "GET", "/a/b/c", "") "]", ALERT, 600, 0, NULL,
      "short" },
    { "[" ITEM("files", "GET", "/a/b", "") "]", ALERT, 601, 0, NULL, NULL },
    { "[" ITEM("files", "GET", "/a/b", "") "]", REVIEW, 600, 0, NULL, NULL },
    { "[" ITEM("files", "GET", "/a/b", "") "]", ALERT, 600, 2 * DAY - 600,
      NULL, "short" },
    { "[" ITEM("files", "GET", "/a/b", "") "]", ALERT, 600, 2 * DAY - 599,
      NULL, NULL },

    /* two preapprovals do not add up */
    { "[" ITEM("mail", "GET", "/a/", "") "," ITEM("files", "GET", "/a/b", "")
      "]", ALERT, 600, 0, NULL, NULL }
};


static void
test_wishes(ngx_pool_t *pool)
{
    size_t                            i;
    json_t                           *access;
    ngx_int_t                         rc;
    const wish_t                     *row;
    ngx_lockbox_fault_t               fault;
    ngx_lockbox_scope_t               scope;
    ngx_lockbox_policy_t              policy;
    ngx_lockbox_policy_wish_t         wish;
    const ngx_lockbox_preapproval_t  *covering;

    is(read_policy(pool, strict, NULL, &policy, &fault), NGX_OK, "a policy");
    ngx_lockbox_policy_clamp(&policy, &limits);

    for (i = 0; i < sizeof(wishes) / sizeof(wishes[0]); i++) {
        row = &wishes[i];

        access = json_loads(row->access, 0, NULL);
        rc = ngx_lockbox_scope_parse(pool, access, NGX_LOCKBOX_SCOPE_ACCESS,
                                     "/access", &scope, &fault);
        json_decref(access);
        is(rc, NGX_OK, "%s", row->access);

        wish.scope = &scope;
        wish.duration = row->duration;
        wish.reason.data = (u_char *) row->reason;
        wish.reason.len = ngx_strlen(row->reason);

        rc = ngx_lockbox_policy_allows(pool, &policy, &wish, &fault);
        is(rc, row->fault ? NGX_DECLINED : NGX_OK, "%s, %lld, at %lld",
           row->reason, (long long) row->duration, (long long) row->at);

        if (rc == NGX_DECLINED && row->fault) {
            is_text(&fault.member, row->fault, "is at fault");
        }

        covering = ngx_lockbox_policy_preapproval(&policy, &wish,
                                                  NOW / 1000 + row->at);
        is(covering != NULL, row->covered != NULL, "... and is %s",
           row->covered ? row->covered : "not covered");

        if (covering && row->covered) {
            is_text(&covering->name, row->covered, "... by name");
        }
    }
}


/* A tenant that has set nothing. */

static void
test_none(ngx_pool_t *pool)
{
    json_t                     *access;
    ngx_lockbox_fault_t         fault;
    ngx_lockbox_scope_t         scope;
    ngx_lockbox_policy_t        policy;
    ngx_lockbox_policy_wish_t   wish;

    ngx_memzero(&policy, sizeof(ngx_lockbox_policy_t));
    ngx_lockbox_policy_clamp(&policy, &limits);

    access = json_loads("[" ITEM("crm", "PUT", "/", "\"secret\"") "]", 0,
                        NULL);
    (void) ngx_lockbox_scope_parse(pool, access, NGX_LOCKBOX_SCOPE_ACCESS, "",
                                   &scope, &fault);
    json_decref(access);

    wish.scope = &scope;
    wish.duration = 14400;
    ngx_str_set(&wish.reason, "third_party_data_request");

    is(ngx_lockbox_policy_allows(pool, &policy, &wish, &fault), NGX_OK,
       "what the operator allows");
    ok(ngx_lockbox_policy_preapproval(&policy, &wish, NOW / 1000) == NULL,
       "nothing is approved beforehand");

    wish.duration = 14401;
    is(ngx_lockbox_policy_allows(pool, &policy, &wish, &fault), NGX_DECLINED,
       "and no second more");
}


static const char  full[] =
    "{\"max_duration\":3600,\"approvals\":2,\"services\":[\"mail\"],"
    "\"reasons\":[\"production_alert\"],\"labels_never\":[\"secret\"],"
    "\"preapprovals\":[{\"name\":\"triage\",\"until\":\"" LAST "\","
    "\"max_duration\":600,\"reasons\":[\"production_alert\"],"
    "\"access\":" ACCESS "}]}";


static ngx_int_t
walk_read(ngx_pool_t *pool, const void *data)
{
    json_t                *value;
    ngx_lockbox_fault_t    fault;
    ngx_lockbox_policy_t   policy;

    value = ngx_lockbox_json_parse(pool, data, ngx_strlen(data));

    if (value == NULL) {
        return NGX_ERROR;
    }

    return ngx_lockbox_policy_parse(pool, value, "/policy", &limits, NOW,
                                    &policy, &fault);
}


int
main(void)
{
    ngx_pool_t  *pool;

    pool = ngx_create_pool(16384, NULL);

    test_rows(pool);
    test_sizes(pool);
    test_clamp();
    test_wishes(pool);
    test_none(pool);

    ngx_destroy_pool(pool);

    ok(oom_walk(walk_read, full, 1) > 20, "whole, or not at all");

    return tap_done();
}
