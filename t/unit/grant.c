/*
 * Why: this is the decision that everything else serves.
 */

/* links: ngx_lockbox_grant.c ngx_lockbox_scope.c ngx_lockbox_json.c */
/* links: ngx_lockbox_name.c ngx_lockbox_path.c ngx_lockbox_base64url.c */
/* links: ngx_lockbox_token.c ngx_lockbox_jwks.c */

#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_lockbox_grant.h"
#include "ngx_lockbox_json.h"
#include "ngx_shim.h"
#include "tap.h"


#define ID     "0192f3a4-b5c6-7d8e-9f01-23456789abcd"
#define NBF    1700000000
#define EXP    1700003600
#define LIMIT  255


static const char  claims_text[] =
    "{\"iss\":\"https://vendor.example/lockbox\",\"aud\":\"lockbox\","
    "\"sub\":\"alice\",\"iat\":1700000000,\"nbf\":1700000000,"
    "\"exp\":1700003600,\"jti\":\"" ID "\",\"tenant\":\"acme\","
    "\"engineer_iss\":\"https://login.vendor.example\","
    "\"authorization_details\":[{\"type\":\"lockbox\",\"service\":\"mail\","
    "\"methods\":[\"GET\"],\"paths\":[\"/tenants/acme/mail/\"],"
    "\"labels\":[\"confidential\"]}]}";

/* SHA-256 of "a" and of "b" */
#define THUMBPRINT  "ypeBEsobvcr6wjGzmiPcTaeG7_gUfE5yuYB3ha_uSLs"
#define ANOTHER     "PiPoFgA5WUoziU9lZOGxNIu9egCI1CxKy3PurtWcAJ0"

#define CNF(member)  "{\"x5t#S256\":" member "}"


/* The grant of these claims with a member replaced or, by NULL, removed. */

static ngx_int_t
parse_with(ngx_pool_t *pool, const char *member, const char *value,
    ngx_lockbox_grant_t *grant)
{
    json_t     *claims;
    ngx_int_t   rc;

    claims = json_loads(claims_text, 0, NULL);

    if (value) {
        (void) json_object_set_new(claims, member,
                                   json_loads(value, JSON_DECODE_ANY, NULL));
    } else {
        (void) json_object_del(claims, member);
    }

    rc = ngx_lockbox_grant_parse(pool, claims, grant);

    /* a text that was borrowed from the claims goes with them */

    json_decref(claims);

    return rc;
}


static void
test_parse(ngx_pool_t *pool)
{
    ngx_lockbox_grant_t  grant;

    is(parse_with(pool, "none", NULL, &grant), NGX_OK, "a grant");
    is_text(&grant.id, ID, "id");
    is_text(&grant.tenant, "acme", "tenant");
    is_text(&grant.engineer_iss, "https://login.vendor.example", "issuer");
    is_text(&grant.engineer_sub, "alice", "subject");
    is(grant.not_before, NBF, "begin");
    is(grant.expires, EXP, "end");
    is(grant.scope.nelts, 1, "one item");
    is_text(&grant.scope.elts[0].service, "mail", "its service");
    is_text(&grant.scope.elts[0].methods.elts[0], "GET", "its method");
    is_text(&grant.scope.elts[0].paths.elts[0], "/tenants/acme/mail/",
            "its path");
    is_text(&grant.scope.elts[0].labels.elts[0], "confidential", "its label");

    is(parse_with(pool, "colour", "\"red\"", &grant), NGX_OK,
       "unknown claims are ignored");
    is(grant.certificate.len, 0, "bound to no certificate");
    is(parse_with(pool, "cnf", CNF("\"" THUMBPRINT "\""), &grant), NGX_OK,
       "with a confirmation");
    is_text(&grant.certificate, THUMBPRINT, "bound to that certificate");
    is(parse_with(pool, "nbf", "1700000001", &grant), NGX_OK, "another nbf");
    is(grant.not_before, NBF + 1, "counts, not iat");
}


typedef struct {
    const char  *member;
    const char  *value;
} bad_t;


#define ITEM  "\"service\":\"mail\",\"methods\":[\"GET\"],\"paths\":[\"/\"]"


static const bad_t  bad[] = {
    { "jti", NULL },
    { "jti", "\"\"" },
    { "jti", "1" },
    { "jti", "null" },
    { "jti", "\"*\"" },
    { "jti", "\"0192f3a4-b5c6-7d8e-9f01-23456789abc\"" },
    { "jti", "\"0192f3a4-b5c6-4d8e-9f01-23456789abcd\"" },
    { "jti", "\"0192F3A4-b5c6-7d8e-9f01-23456789abcd\"" },
    { "jti", "\"0192f3a4-b5c6-7d8e-9f01-2345678\\r\\nabc\"" },
    { "tenant", NULL },
    { "tenant", "\"\"" },
    { "tenant", "[\"acme\"]" },
    { "tenant", "\"..\"" },
    { "tenant", "\"a/b\"" },
    { "tenant", "\"acme \"" },
    { "sub", NULL },
    { "sub", "\"\"" },
    { "sub", "[\"alice\"]" },
    { "sub", "7" },
    { "sub", "\"alice\\r\\nbob\"" },
    { "sub", "\"alice\\u007f\"" },
    { "engineer_iss", NULL },
    { "engineer_iss", "\"\"" },
    { "engineer_iss", "{}" },
    { "engineer_iss", "\"https://login\\u0001\"" },
    { "nbf", NULL },
    { "nbf", "\"1700000000\"" },
    { "nbf", "1700000000.0" },
    { "nbf", "true" },
    { "exp", NULL },
    { "exp", "\"1700003600\"" },
    { "exp", "1700003600.5" },
    { "exp", "null" },
    { "cnf", "null" },
    { "cnf", "\"" THUMBPRINT "\"" },
    { "cnf", "[\"x5t#S256\"]" },
    { "cnf", "{}" },
    { "cnf", "{\"jkt\":\"" THUMBPRINT "\"}" },
    { "cnf", "{\"X5T#S256\":\"" THUMBPRINT "\"}" },
    { "cnf", "{\"x5t#S256\":\"" THUMBPRINT "\",\"kid\":\"a\"}" },
    { "cnf", CNF("null") },
    { "cnf", CNF("1") },
    { "cnf", CNF("\"\"") },
    { "cnf", CNF("[\"" THUMBPRINT "\"]") },
    /* 42, 44 and 45 characters, two of which are base64url of other sizes */
    { "cnf", CNF("\"ypeBEsobvcr6wjGzmiPcTaeG7_gUfE5yuYB3ha_uSg\"") },
    { "cnf", CNF("\"" THUMBPRINT "A\"") },
    { "cnf", CNF("\"" THUMBPRINT "=\"") },
    /* unused bits, and the alphabet of plain base64 */
    { "cnf", CNF("\"ypeBEsobvcr6wjGzmiPcTaeG7_gUfE5yuYB3ha_uSLt\"") },
    { "cnf", CNF("\"ypeBEsobvcr6wjGzmiPcTaeG7/gUfE5yuYB3ha/uSLs\"") },
    { "cnf", CNF("\"ypeBEsobvcr6wjGzmiPcTaeG7_gUfE5yuYB3ha_uSL \"") },
    { "authorization_details", NULL },
    { "authorization_details", "[]" },
    { "authorization_details", "{\"type\":\"lockbox\"," ITEM "}" },
    { "authorization_details", "[{" ITEM "}]" },
    { "authorization_details", "[{\"type\":\"other\"," ITEM "}]" },
    { "authorization_details", "[{\"type\":\"lockbox\"," ITEM ",\"x\":1}]" },
    { "authorization_details",
      "[{\"type\":\"lockbox\"," ITEM "},{\"type\":\"other\"," ITEM "}]" }
};


static void
test_bad(ngx_pool_t *pool)
{
    size_t               i;
    char                 text[LIMIT + 4];
    const char          *member;
    ngx_lockbox_grant_t  grant;

    for (i = 0; i < sizeof(bad) / sizeof(bad_t); i++) {
        is(parse_with(pool, bad[i].member, bad[i].value, &grant),
           NGX_DECLINED, "%s %s", bad[i].member,
           bad[i].value ? bad[i].value : "missing");
    }

    for (i = 0; i < 2; i++) {
        member = i ? "sub" : "engineer_iss";

        memset(text, 'a', sizeof(text));
        text[0] = '"';
        text[LIMIT + 1] = '"';
        text[LIMIT + 2] = '\0';
        is(parse_with(pool, member, text, &grant), NGX_OK,
           "%s of 255 bytes", member);

        text[LIMIT + 1] = 'a';
        text[LIMIT + 2] = '"';
        text[LIMIT + 3] = '\0';
        is(parse_with(pool, member, text, &grant), NGX_DECLINED,
           "%s of 256 bytes", member);
    }

    is(parse_with(pool, "authorization_details",
                  "[{\"type\":\"lockbox\"," ITEM "}]", &grant), NGX_OK,
       "the good twin of the bad items");

    is(ngx_lockbox_grant_parse(pool, NULL, &grant), NGX_DECLINED,
       "no claims, no grant");
}


static void
test_round_trip(ngx_pool_t *pool)
{
    json_t               *claims, *want;
    ngx_str_t             issuer, audience;
    ngx_lockbox_grant_t   grant, again;

    (void) parse_with(pool, "none", NULL, &grant);
    issuer = ngx_shim_str("https://vendor.example/lockbox");
    audience = ngx_shim_str("lockbox");

    claims = ngx_lockbox_grant_claims(&grant, &issuer, &audience);
    want = json_loads(claims_text, 0, NULL);

    ok(json_equal(claims, want), "the claims are what was parsed");

    is(ngx_lockbox_grant_parse(pool, claims, &again), NGX_OK, "parsed again");
    json_decref(claims);

    claims = ngx_lockbox_grant_claims(&again, &issuer, &audience);
    ok(json_equal(claims, want), "and still the same");

    json_decref(claims);

    again.certificate = ngx_shim_str(THUMBPRINT);
    claims = ngx_lockbox_grant_claims(&again, &issuer, &audience);

    (void) json_object_set_new(want, "cnf",
                               json_pack("{s:s}", "x5t#S256", THUMBPRINT));
    ok(json_equal(claims, want), "a confirmation is one more");
    is(ngx_lockbox_grant_parse(pool, claims, &grant), NGX_OK, "parsed again");

    json_decref(claims);
    json_decref(want);

    is_text(&grant.certificate, THUMBPRINT, "its certificate");
}


typedef struct {
    const char              *tenant;
    const char              *service;
    const char              *label;
    const char              *method;
    const char              *path;
    time_t                   now;
    time_t                   leeway;
    ngx_lockbox_decision_t   want;
} decide_t;


#define P  "/tenants/acme/mail/1"

#define ALLOW      NGX_LOCKBOX_ALLOW
#define NOT_YET    NGX_LOCKBOX_NOT_YET_VALID
#define EXPIRED    NGX_LOCKBOX_EXPIRED
#define W_TENANT   NGX_LOCKBOX_WRONG_TENANT
#define W_SERVICE  NGX_LOCKBOX_WRONG_SERVICE
#define W_METHOD   NGX_LOCKBOX_WRONG_METHOD
#define W_PATH     NGX_LOCKBOX_WRONG_PATH
#define W_LABEL    NGX_LOCKBOX_WRONG_LABEL


static const decide_t  decides[] = {

    /* time */
    { "acme", "mail", NULL, "GET", P, NBF, 0, ALLOW },
    { "acme", "mail", NULL, "GET", P, NBF - 1, 0, NOT_YET },
    { "acme", "mail", NULL, "GET", P, NBF - 1, 1, ALLOW },
    { "acme", "mail", NULL, "GET", P, NBF - 2, 1, NOT_YET },
    { "acme", "mail", NULL, "GET", P, NBF - 60, 60, ALLOW },
    { "acme", "mail", NULL, "GET", P, NBF - 61, 60, NOT_YET },
    { "acme", "mail", NULL, "GET", P, 0, 60, NOT_YET },
    { "acme", "mail", NULL, "GET", P, EXP - 1, 0, ALLOW },
    { "acme", "mail", NULL, "GET", P, EXP, 0, EXPIRED },
    { "acme", "mail", NULL, "GET", P, EXP + 1, 0, EXPIRED },
    { "acme", "mail", NULL, "GET", P, EXP, 60, EXPIRED },
    { "acme", "mail", NULL, "GET", P, EXP - 1, 60, ALLOW },
    { "acme", "mail", NULL, "GET", P, EXP * 2L, 0, EXPIRED },

    /* tenant */
    { "acme2", "mail", NULL, "GET", P, NBF, 0, W_TENANT },
    { "acm", "mail", NULL, "GET", P, NBF, 0, W_TENANT },
    { "Acme", "mail", NULL, "GET", P, NBF, 0, W_TENANT },
    { "", "mail", NULL, "GET", P, NBF, 0, W_TENANT },
    { "acme/", "mail", NULL, "GET", P, NBF, 0, W_TENANT },

    /* the rest */
    { "acme", "mail2", NULL, "GET", P, NBF, 0, W_SERVICE },
    { "acme", "", NULL, "GET", P, NBF, 0, W_SERVICE },
    { "acme", "mail", NULL, "PUT", P, NBF, 0, W_METHOD },
    { "acme", "mail", NULL, "HEAD", P, NBF, 0, ALLOW },
    { "acme", "mail", NULL, "GET", "/tenants/acme/mail", NBF, 0, W_PATH },
    { "acme", "mail", NULL, "GET", "/tenants/acme/mail/", NBF, 0, ALLOW },
    { "acme", "mail", NULL, "GET", "/tenants/acme/mails", NBF, 0, W_PATH },
    { "acme", "mail", NULL, "GET", "/tenants/evil/mail/1", NBF, 0, W_PATH },
    { "acme", "mail", "confidential", "GET", P, NBF, 0, ALLOW },
    { "acme", "mail", "secret", "GET", P, NBF, 0, W_LABEL },

    /* the first failure in order is told */
    { "evil", "x", "secret", "PUT", "/", NBF - 1, 0, NOT_YET },
    { "evil", "x", "secret", "PUT", "/", EXP, 0, EXPIRED },
    { "evil", "x", "secret", "PUT", "/", NBF, 0, W_TENANT },
    { "acme", "x", "secret", "PUT", "/", NBF, 0, W_SERVICE },
    { "acme", "mail", "secret", "PUT", "/", NBF, 0, W_PATH },
    { "acme", "mail", "secret", "PUT", P, NBF, 0, W_METHOD }
};


static ngx_lockbox_decision_t
decide(const ngx_lockbox_grant_t *grant, const decide_t *row)
{
    ngx_str_t             label;
    ngx_lockbox_target_t  target;

    target.tenant = ngx_shim_str(row->tenant);
    target.service = ngx_shim_str(row->service);
    target.method = ngx_shim_str(row->method);
    target.path = ngx_shim_str(row->path);
    ngx_str_null(&target.certificate);
    target.bound = 0;
    target.upgrade = 0;
    target.labels.nelts = 0;
    target.labels.elts = &label;

    if (row->label) {
        label = ngx_shim_str(row->label);
        target.labels.nelts = 1;
    }

    return ngx_lockbox_grant_decide(grant, &target, row->now, row->leeway);
}


static void
test_decide(ngx_pool_t *pool)
{
    size_t                i;
    const decide_t       *row;
    ngx_lockbox_grant_t   grant;

    (void) parse_with(pool, "none", NULL, &grant);

    for (i = 0; i < sizeof(decides) / sizeof(decide_t); i++) {
        row = &decides[i];

        is(decide(&grant, row), row->want, "%s %s {%s} %s %s at %ld, %ld",
           row->tenant, row->service, row->label ? row->label : "",
           row->method, row->path, (long) row->now, (long) row->leeway);
    }
}


typedef struct {
    const char              *granted;
    const char              *shown;
    ngx_uint_t               bound;
    ngx_lockbox_decision_t   want;
} hold_t;


#define W_CERT  NGX_LOCKBOX_WRONG_CERTIFICATE


static const hold_t  holds[] = {
    { "", "", 0, ALLOW },
    { "", "", 1, W_CERT },
    { "", THUMBPRINT, 0, ALLOW },
    { "", THUMBPRINT, 1, W_CERT },
    { THUMBPRINT, "", 0, W_CERT },
    { THUMBPRINT, "", 1, W_CERT },
    { THUMBPRINT, THUMBPRINT, 0, ALLOW },
    { THUMBPRINT, THUMBPRINT, 1, ALLOW },
    { THUMBPRINT, ANOTHER, 0, W_CERT },
    { THUMBPRINT, ANOTHER, 1, W_CERT },
    { ANOTHER, THUMBPRINT, 1, W_CERT },
    { ANOTHER, ANOTHER, 1, ALLOW }
};


static void
test_certificates(ngx_pool_t *pool)
{
    size_t                 i;
    ngx_str_t              mail;
    const hold_t          *row;
    ngx_lockbox_grant_t    grant;
    ngx_lockbox_target_t   target;

    (void) parse_with(pool, "none", NULL, &grant);

    ngx_memzero(&target, sizeof(target));
    target.tenant = ngx_shim_str("acme");
    target.service = mail = ngx_shim_str("mail");
    target.method = ngx_shim_str("GET");
    target.path = ngx_shim_str(P);

    for (i = 0; i < sizeof(holds) / sizeof(hold_t); i++) {
        row = &holds[i];

        grant.certificate = ngx_shim_str(row->granted);
        target.certificate = ngx_shim_str(row->shown);
        target.bound = row->bound;

        is(ngx_lockbox_grant_decide(&grant, &target, NBF, 0), row->want,
           "bound to \"%s\", shown \"%s\", %s", row->granted, row->shown,
           row->bound ? "required" : "not required");
        is(ngx_lockbox_grant_held(&grant, &target), row->want == ALLOW,
           "held likewise");
    }

    target.upgrade = 1;
    is(ngx_lockbox_grant_decide(&grant, &target, NBF, 0), W_METHOD,
       "what is asked for besides the method");
    target.upgrade = 0;

    /* the order of refusals */

    target.bound = 1;
    target.certificate = ngx_shim_str(THUMBPRINT);
    target.service = ngx_shim_str("x");
    is(ngx_lockbox_grant_decide(&grant, &target, EXP, 0), EXPIRED,
       "times come before the certificate");
    target.tenant = ngx_shim_str("evil");
    is(ngx_lockbox_grant_decide(&grant, &target, NBF, 0), W_CERT,
       "the certificate comes before the tenant");
    target.service = mail;
    target.tenant = ngx_shim_str("acme");
    target.certificate = ngx_shim_str(ANOTHER);
    is(ngx_lockbox_grant_decide(&grant, &target, NBF, 0), ALLOW,
       "and all is well in the end");
}


/* what a grant that never went through the parser must not open */

static void
test_ill_formed(ngx_pool_t *pool)
{
    ngx_lockbox_grant_t    grant;
    static const decide_t  good =
        { "acme", "mail", NULL, "GET", P, NBF, 0, ALLOW };
    static const decide_t  no_tenant =
        { "", "mail", NULL, "GET", P, NBF, 0, W_TENANT };
    static const decide_t  bad_tenant =
        { "a/b", "mail", NULL, "GET", P, NBF, 0, W_TENANT };
    static const decide_t  no_service =
        { "acme", "", NULL, "GET", P, NBF, 0, W_SERVICE };
    static const decide_t  bad_service =
        { "acme", "Mail", NULL, "GET", P, NBF, 0, W_SERVICE };

    (void) parse_with(pool, "none", NULL, &grant);
    is(decide(&grant, &good), ALLOW, "the good twin");

    ngx_str_null(&grant.tenant);
    is(decide(&grant, &no_tenant), W_TENANT, "no tenant equals no tenant");

    grant.tenant = ngx_shim_str("a/b");
    is(decide(&grant, &bad_tenant), W_TENANT, "an ill-formed tenant");

    grant.tenant = ngx_shim_str("acme");
    ngx_str_null(&grant.scope.elts[0].service);
    is(decide(&grant, &no_service), W_SERVICE, "no service equals no service");

    grant.scope.elts[0].service = ngx_shim_str("Mail");
    is(decide(&grant, &bad_service), W_SERVICE, "an ill-formed service");

    ngx_memzero(&grant, sizeof(grant));
    is(decide(&grant, &good), EXPIRED, "a grant of zeros is over");

    grant.expires = EXP;
    is(decide(&grant, &good), W_TENANT, "and has no tenant");
}


static ngx_int_t
parse_run(ngx_pool_t *pool, const void *claims)
{
    ngx_lockbox_grant_t  grant;

    return ngx_lockbox_grant_parse(pool, claims, &grant);
}


static ngx_int_t
claims_run(ngx_pool_t *pool, const void *grant)
{
    json_t     *claims;
    ngx_str_t   text;

    (void) pool;

    text = ngx_shim_str("lockbox");

    claims = ngx_lockbox_grant_claims(grant, &text, &text);
    if (claims == NULL) {
        return NGX_ERROR;
    }

    /* less than all would be worse than nothing */

    is(json_object_size(claims), 11, "all claims are written");
    is(json_object_size(json_object_get(claims, "cnf")), 1, "down to cnf");
    json_decref(claims);

    return NGX_OK;
}


static void
test_no_memory(ngx_pool_t *pool)
{
    json_t               *claims;
    ngx_lockbox_grant_t   grant;

    claims = json_loads(claims_text, 0, NULL);
    (void) json_object_set_new(claims, "cnf",
                               json_pack("{s:s}", "x5t#S256", THUMBPRINT));
    ok(ngx_shim_walk(parse_run, claims) > 8, "each failure to read");
    json_decref(claims);

    (void) parse_with(pool, "cnf", CNF("\"" THUMBPRINT "\""), &grant);
    ok(ngx_shim_walk(claims_run, &grant) > 30, "each failure to write");
}


int
main(void)
{
    ngx_pool_t  *pool;

    pool = ngx_create_pool(0, NULL);

    test_parse(pool);
    test_bad(pool);
    test_round_trip(pool);
    test_decide(pool);
    test_certificates(pool);
    test_ill_formed(pool);
    test_no_memory(pool);

    ngx_destroy_pool(pool);

    is(ngx_shim_live(), 0, "nothing is left behind");

    return tap_done();
}
