/*
 * Why: an identity provider that could assert more than it was given would
 * approve its own requests.
 */

/* links: ngx_lockbox_identity.c ngx_lockbox_token.c ngx_lockbox_jwks.c */
/* links: ngx_lockbox_json.c ngx_lockbox_base64url.c ngx_lockbox_name.c */
/* links: ngx_lockbox_unicode.c */

#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_lockbox_base64url.h"
#include "ngx_lockbox_identity.h"
#include "ngx_lockbox_jwt.h"
#include "jose.h"
#include "oom.h"
#include "ngx_shim.h"
#include "tap.h"


#define NOW  1700000000

#define E  NGX_LOCKBOX_ROLE_ENGINEER
#define M  NGX_LOCKBOX_ROLE_MANAGER
#define C  NGX_LOCKBOX_ROLE_CUSTOMER
#define A  NGX_LOCKBOX_ROLE_AUDITOR


/* The second opinion, as the test wants it. */

static ngx_uint_t                opinion = 1;
static ngx_uint_t                asked;
static const ngx_lockbox_key_t  *asked_key;


ngx_uint_t
ngx_lockbox_jwt_verify(ngx_pool_t *pool, const ngx_lockbox_key_t *key,
    const ngx_str_t *token)
{
    (void) pool;

    asked += token->len != 0;
    asked_key = key;

    return opinion;
}


typedef struct {
    const char  *iss;
    const char  *tenant_claim;
    const char  *tenant;

    struct {
        ngx_uint_t   role;
        const char  *claim;
        const char  *value;
    } roles[4];
} issuer_t;


#define VENDOR     0
#define CUSTOMERS  1
#define PINNED     2
#define NESTED     3
#define ISSUERS    4

static const issuer_t  table[ISSUERS] = {
    { "https://vendor", NULL, NULL,
      { { E, "groups", "support" }, { M, "/realm/roles", "managers" },
        { A, "groups", "auditors" } } },
    { "https://customers", "tenant_id", NULL,
      { { C, "roles", "approver" }, { A, "roles", "auditor" } } },
    { "https://pinned", NULL, "acme",
      { { C, "kind", "admin" }, { A, "kind", "auditor" } } },
    { "https://nested", "/org/id", NULL,
      { { C, "/org/kinds", "admin" }, { C, "/org/a~1b", "yes" } } }
};


static ngx_lockbox_issuers_t   issuers;
static ngx_lockbox_jwks_t      keys[ISSUERS];


static void
make_issuers(ngx_pool_t *pool)
{
    size_t                     i, j;
    EVP_PKEY                  *pkey;
    ngx_lockbox_issuer_t      *issuer;
    ngx_lockbox_role_rule_t   *role;
    ngx_lockbox_token_rule_t  *rule;

    (void) ngx_array_init(&issuers.rules, pool, ISSUERS,
                          sizeof(ngx_lockbox_token_rule_t));
    (void) ngx_array_init(&issuers.issuers, pool, ISSUERS,
                          sizeof(ngx_lockbox_issuer_t));

    for (i = 0; i < ISSUERS; i++) {
        pkey = jose_pkey("P-256", 0);
        jose_set(pool, &keys[i]);
        (void) jose_add(pool, &keys[i], pkey);
        EVP_PKEY_free(pkey);

        rule = ngx_array_push(&issuers.rules);
        ngx_memzero(rule, sizeof(ngx_lockbox_token_rule_t));
        rule->issuer = ngx_shim_str(table[i].iss);
        rule->audience = ngx_shim_str("lockbox");
        rule->keys = &keys[i];
        rule->max_life = 3600;

        issuer = ngx_array_push(&issuers.issuers);
        ngx_memzero(issuer, sizeof(ngx_lockbox_issuer_t));
        (void) ngx_array_init(&issuer->roles, pool, 4,
                              sizeof(ngx_lockbox_role_rule_t));

        if (table[i].tenant_claim) {
            issuer->tenant_claim = ngx_shim_str(table[i].tenant_claim);
        }

        if (table[i].tenant) {
            issuer->tenant = ngx_shim_str(table[i].tenant);
        }

        for (j = 0; table[i].roles[j].claim; j++) {
            role = ngx_array_push(&issuer->roles);
            role->role = table[i].roles[j].role;
            role->claim = ngx_shim_str(table[i].roles[j].claim);
            role->value = ngx_shim_str(table[i].roles[j].value);
        }
    }
}


/* A token of that issuer; "more" are further members of its claims. */

static ngx_str_t
token_without_sub(ngx_pool_t *pool, ngx_uint_t issuer, const char *typ,
    const char *more)
{
    char  header[64], payload[1024];

    (void) snprintf(header, sizeof(header),
                    "{\"alg\":\"ES256\",\"typ\":\"%s\"}", typ);
    (void) snprintf(payload, sizeof(payload),
                    "{\"iss\":\"%s\",\"aud\":\"lockbox\","
                    "\"iat\":1700000000,\"exp\":1700000300%s%s}",
                    table[issuer].iss, *more ? "," : "", more);

    return jose_sign(pool, keys[issuer].elts, header, payload);
}


static ngx_str_t
token_of(ngx_pool_t *pool, ngx_uint_t issuer, const char *typ,
    const char *more)
{
    char  members[1024];

    (void) snprintf(members, sizeof(members), "\"sub\":\"ada\"%s%s",
                    *more ? "," : "", more);

    return token_without_sub(pool, issuer, typ, members);
}


typedef struct {
    ngx_uint_t   issuer;
    const char  *claims;
    ngx_uint_t   roles;
    const char  *tenant;
} row_t;


static const row_t  rows[] = {

    /* a role by a claim's value, exactly */
    { VENDOR, "", 0, "" },
    { VENDOR, "\"groups\":\"support\"", E, "" },
    { VENDOR, "\"groups\":[\"support\"]", E, "" },
    { VENDOR, "\"groups\":[\"x\",\"support\",\"y\"]", E, "" },
    { VENDOR, "\"groups\":[\"support\",\"auditors\"]", E|A, "" },
    { VENDOR, "\"groups\":\"support auditors\"", 0, "" },
    { VENDOR, "\"groups\":\"Support\"", 0, "" },
    { VENDOR, "\"groups\":\"suppor\"", 0, "" },
    { VENDOR, "\"groups\":\"supports\"", 0, "" },
    { VENDOR, "\"groups\":\"\"", 0, "" },
    { VENDOR, "\"groups\":[]", 0, "" },
    { VENDOR, "\"groups\":[[\"support\"]]", 0, "" },
    { VENDOR, "\"groups\":[1,null,\"support\"]", E, "" },
    { VENDOR, "\"groups\":{\"support\":true}", 0, "" },
    { VENDOR, "\"groups\":true", 0, "" },
    { VENDOR, "\"Groups\":\"support\"", 0, "" },
    { VENDOR, "\"x\":{\"groups\":\"support\"}", 0, "" },

    /* by a pointer */
    { VENDOR, "\"realm\":{\"roles\":[\"managers\"]}", M, "" },
    { VENDOR, "\"realm\":{\"roles\":\"managers\"}", M, "" },
    { VENDOR, "\"realm\":{\"roles\":[\"managers2\"]}", 0, "" },
    { VENDOR, "\"realm\":[\"managers\"]", 0, "" },
    { VENDOR, "\"realm\":\"managers\"", 0, "" },
    { VENDOR, "\"/realm/roles\":\"managers\"", 0, "" },
    { VENDOR, "\"roles\":[\"managers\"]", 0, "" },
    { VENDOR, "\"groups\":\"support\",\"realm\":{\"roles\":[\"managers\"]}",
      E|M, "" },

    /* what an issuer may not say it cannot say */
    { VENDOR, "\"roles\":\"approver\",\"tenant_id\":\"acme\"", 0, "" },
    { CUSTOMERS, "\"tenant_id\":\"acme\",\"groups\":\"support\"", 0, "acme" },

    /* a tenant by claim */
    { CUSTOMERS, "\"roles\":\"approver\",\"tenant_id\":\"acme\"", C, "acme" },
    { CUSTOMERS, "\"roles\":\"auditor\",\"tenant_id\":\"acme\"", A, "acme" },
    { CUSTOMERS, "\"roles\":[\"approver\",\"auditor\"],\"tenant_id\":\"x\"",
      C|A, "x" },
    { CUSTOMERS, "\"roles\":[\"approver\",\"auditor\"]", 0, "" },
    { CUSTOMERS, "\"roles\":\"approver\",\"tenant_id\":\"\"", 0, "" },
    { CUSTOMERS, "\"roles\":\"approver\",\"tenant_id\":\"..\"", 0, "" },
    { CUSTOMERS, "\"roles\":\"approver\",\"tenant_id\":\"a/b\"", 0, "" },
    { CUSTOMERS, "\"roles\":\"approver\",\"tenant_id\":\"acme \"", 0, "" },
    { CUSTOMERS, "\"roles\":\"approver\",\"tenant_id\":[\"acme\"]", 0, "" },
    { CUSTOMERS, "\"roles\":\"approver\",\"tenant_id\":1", 0, "" },
    { CUSTOMERS, "\"roles\":\"approver\",\"tenant_id\":null", 0, "" },

    /* a tenant that is pinned, whatever the token says */
    { PINNED, "\"kind\":\"admin\"", C, "acme" },
    { PINNED, "\"kind\":\"auditor\"", A, "acme" },
    { PINNED, "\"kind\":\"admin\",\"tenant_id\":\"globex\"", C, "acme" },
    { PINNED, "\"tenant\":\"globex\"", 0, "acme" },

    /* both by pointers, and two ways to one role */
    { NESTED, "\"org\":{\"kinds\":[\"admin\"],\"id\":\"acme\"}", C, "acme" },
    { NESTED, "\"org\":{\"a/b\":\"yes\",\"id\":\"acme\"}", C, "acme" },
    { NESTED, "\"org\":{\"kinds\":[\"admin\"]},\"id\":\"acme\"", 0, "" }
};


static void
test_rows(ngx_pool_t *pool)
{
    size_t                   i;
    ngx_str_t                text;
    const row_t             *row;
    ngx_lockbox_identity_t   identity;

    for (i = 0; i < sizeof(rows) / sizeof(row_t); i++) {
        row = &rows[i];
        text = token_of(pool, row->issuer, "JWT", row->claims);

        is(ngx_lockbox_identity_open(pool, &issuers, &text, NOW, &identity),
           NGX_LOCKBOX_ALLOW, "%s {%s}", table[row->issuer].iss, row->claims);
        is(identity.roles, row->roles, "its roles");
        is_text(&identity.tenant, row->tenant, "its tenant");
        is_text(&identity.iss, table[row->issuer].iss, "its issuer");
        is_text(&identity.sub, "ada", "its subject");
        is(identity.expires, NOW + 300, "its end");
    }
}


/* Somebody without a name is nobody, whatever role he would have. */

static void
test_subject(ngx_pool_t *pool)
{
    size_t                   i;
    char                     claims[128];
    ngx_str_t                text;
    ngx_lockbox_identity_t   identity;

    static const struct {
        const char              *sub;
        ngx_lockbox_decision_t   want;
    } subjects[] = {
        { "\"sub\":\"eve\",", NGX_LOCKBOX_ALLOW },
        { "", NGX_LOCKBOX_MALFORMED_TOKEN },
        { "\"Sub\":\"eve\",", NGX_LOCKBOX_MALFORMED_TOKEN },
        { "\"sub\":\"\",", NGX_LOCKBOX_MALFORMED_TOKEN },
        { "\"sub\":7,", NGX_LOCKBOX_MALFORMED_TOKEN },
        { "\"sub\":null,", NGX_LOCKBOX_MALFORMED_TOKEN },
        { "\"sub\":[\"eve\"],", NGX_LOCKBOX_MALFORMED_TOKEN },
        { "\"sub\":{\"sub\":\"eve\"},", NGX_LOCKBOX_MALFORMED_TOKEN },
        { "\"sub\":\"eve\\n\",", NGX_LOCKBOX_MALFORMED_TOKEN }
    };

    for (i = 0; i < sizeof(subjects) / sizeof(subjects[0]); i++) {
        (void) snprintf(claims, sizeof(claims), "%s\"groups\":\"support\"",
                        subjects[i].sub);
        text = token_without_sub(pool, VENDOR, "JWT", claims);

        is(ngx_lockbox_identity_open(pool, &issuers, &text, NOW, &identity),
           subjects[i].want, "{%s}", claims);

        if (subjects[i].want == NGX_LOCKBOX_ALLOW) {
            is(identity.roles, E, "has its role");
            is_text(&identity.sub, "eve", "and its subject");

        } else {
            is(identity.roles, 0, "has no role");
            is(identity.sub.len, 0, "and no subject");
        }
    }
}


/* When and how somebody has logged in. */

static void
test_login(ngx_pool_t *pool)
{
    size_t                   i;
    char                     claims[512], longest[300];
    ngx_str_t                text, hash;
    ngx_lockbox_decision_t   rc;
    ngx_lockbox_identity_t   identity;

    static const struct {
        const char              *claims;
        ngx_lockbox_decision_t   want;
        int64_t                  auth_time;
        const char              *acr;
    } logins[] = {
        { "", NGX_LOCKBOX_ALLOW, 0, "" },
        { "\"auth_time\":1699999999", NGX_LOCKBOX_ALLOW, 1699999999, "" },
        { "\"auth_time\":1", NGX_LOCKBOX_ALLOW, 1, "" },
        { "\"auth_time\":9007199254740992", NGX_LOCKBOX_ALLOW,
          1LL << 53, "" },
        { "\"auth_time\":9007199254740993", NGX_LOCKBOX_MALFORMED_TOKEN,
          0, "" },
        { "\"auth_time\":0", NGX_LOCKBOX_MALFORMED_TOKEN, 0, "" },
        { "\"auth_time\":-1", NGX_LOCKBOX_MALFORMED_TOKEN, 0, "" },
        { "\"auth_time\":1.5", NGX_LOCKBOX_MALFORMED_TOKEN, 0, "" },
        { "\"auth_time\":null", NGX_LOCKBOX_MALFORMED_TOKEN, 0, "" },
        { "\"auth_time\":\"1699999999\"", NGX_LOCKBOX_MALFORMED_TOKEN,
          0, "" },
        { "\"acr\":\"1\"", NGX_LOCKBOX_ALLOW, 0, "1" },
        { "\"acr\":\"urn:x:gold \\u20ac\",\"auth_time\":7",
          NGX_LOCKBOX_ALLOW, 7, "urn:x:gold \xe2\x82\xac" },
        { "\"acr\":\"\"", NGX_LOCKBOX_MALFORMED_TOKEN, 0, "" },
        { "\"acr\":1", NGX_LOCKBOX_MALFORMED_TOKEN, 0, "" },
        { "\"acr\":[\"1\"]", NGX_LOCKBOX_MALFORMED_TOKEN, 0, "" },
        { "\"acr\":\"a\\u001fb\"", NGX_LOCKBOX_MALFORMED_TOKEN, 0, "" },
        { "\"acr\":\"a\\u202eb\"", NGX_LOCKBOX_MALFORMED_TOKEN, 0, "" },
        { "\"acr\":\"a b\"", NGX_LOCKBOX_ALLOW, 0, "a b" }
    };

    for (i = 0; i < sizeof(logins) / sizeof(logins[0]); i++) {
        text = token_of(pool, VENDOR, "JWT", logins[i].claims);
        rc = ngx_lockbox_identity_open(pool, &issuers, &text, NOW, &identity);

        is(rc, logins[i].want, "{%s}", logins[i].claims);
        is(identity.roles, 0, "no role by that");

        if (rc == NGX_LOCKBOX_ALLOW) {
            is(identity.auth_time, logins[i].auth_time, "its login");
            is_text(&identity.acr, logins[i].acr, "its kind of login");

            (void) ngx_lockbox_base64url_sha256(pool, &text, &hash);
            is(identity.token_hash.len, 43, "its token, by its hash");
            ok(memcmp(identity.token_hash.data, hash.data, 43) == 0,
               "which is that of this one");
        }
    }

    for (i = 255; i < 257; i++) {
        memset(longest, 'x', i);
        longest[i] = '\0';
        (void) snprintf(claims, sizeof(claims), "\"acr\":\"%s\"", longest);

        text = token_of(pool, VENDOR, "JWT", claims);
        is(ngx_lockbox_identity_open(pool, &issuers, &text, NOW, &identity),
           i == 255 ? NGX_LOCKBOX_ALLOW : NGX_LOCKBOX_MALFORMED_TOKEN,
           "an acr of %d bytes", (int) i);
    }
}


static void
test_opinion(ngx_pool_t *pool)
{
    ngx_str_t               text;
    ngx_lockbox_identity_t  identity;

    asked = 0;
    text = token_of(pool, PINNED, "JWT", "\"kind\":\"admin\"");

    is(ngx_lockbox_identity_open(pool, &issuers, &text, NOW, &identity),
       NGX_LOCKBOX_ALLOW, "two opinions that agree");
    is(asked, 1, "libjwt is asked");
    ok(asked_key == keys[PINNED].elts, "about the key that was found");

    opinion = 0;
    is(ngx_lockbox_identity_open(pool, &issuers, &text, NOW, &identity),
       NGX_LOCKBOX_BAD_SIGNATURE, "two that do not");
    is(identity.roles, 0, "give nobody a role");

    text = token_of(pool, PINNED, "at+jwt", "\"kind\":\"admin\"");
    is(ngx_lockbox_identity_open(pool, &issuers, &text, NOW, &identity),
       NGX_LOCKBOX_ALLOW, "an access token needs one only");
    is(identity.roles, C, "and has its role");
    opinion = 1;

    asked = 0;
    jose_spoil(&text);
    is(ngx_lockbox_identity_open(pool, &issuers, &text, NOW, &identity),
       NGX_LOCKBOX_BAD_SIGNATURE, "what the door refuses");
    is(asked, 0, "libjwt never sees");
    is(identity.roles, 0, "nor has it a role");
    is(identity.sub.len, 0, "or a name");

    text = token_of(pool, PINNED, "JWT", "\"kind\":\"admin\"");
    is(ngx_lockbox_identity_open(pool, &issuers, &text, NOW + 300, &identity),
       NGX_LOCKBOX_EXPIRED, "nor what is over");
}


typedef struct {
    ngx_uint_t   from;      /* which issuers there are */
    ngx_uint_t   n;
    const char  *tenant;
    ngx_uint_t   want;
} possible_t;


static const possible_t  possible[] = {
    { VENDOR, 1, "acme", 0 },
    { CUSTOMERS, 1, "acme", 1 },
    { CUSTOMERS, 1, "globex", 1 },
    { PINNED, 1, "acme", 1 },
    { PINNED, 1, "globex", 0 },
    { PINNED, 1, "acm", 0 },
    { PINNED, 1, "acme2", 0 },
    { PINNED, 1, "Acme", 0 },
    { NESTED, 1, "globex", 1 },
    { VENDOR, 0, "acme", 0 },
    { VENDOR, 2, "acme", 1 },
    { PINNED, 2, "globex", 1 },
    { VENDOR, ISSUERS, "acme", 1 }
};


static void
test_possible(void)
{
    size_t                  i;
    ngx_str_t               tenant;
    const possible_t       *row;
    ngx_lockbox_issuers_t   some;

    for (i = 0; i < sizeof(possible) / sizeof(possible_t); i++) {
        row = &possible[i];
        tenant = ngx_shim_str(row->tenant);

        some = issuers;
        some.issuers.elts = (ngx_lockbox_issuer_t *) issuers.issuers.elts
                            + row->from;
        some.issuers.nelts = row->n;

        is(ngx_lockbox_identity_customer_possible(&some, &tenant), row->want,
           "a customer of %s, from issuer %d to %d", row->tenant,
           (int) row->from, (int) (row->from + row->n));
    }
}


/* The same of each alone, by its name. */

static void
test_customer_of(void)
{
    size_t                     i;
    ngx_str_t                  tenant, iss;
    ngx_uint_t                 j, named;
    const possible_t          *row;
    ngx_lockbox_issuers_t      some;
    ngx_lockbox_token_rule_t  *rules;

    rules = issuers.rules.elts;

    for (i = 0; i < sizeof(possible) / sizeof(possible_t); i++) {
        row = &possible[i];
        tenant = ngx_shim_str(row->tenant);
        named = 0;

        for (j = row->from; j < row->from + row->n; j++) {
            named |= ngx_lockbox_identity_customer_of(&issuers,
                                                      &rules[j].issuer,
                                                      &tenant);
        }

        is(named, row->want, "a customer of %s, by name, from %d to %d",
           row->tenant, (int) row->from, (int) (row->from + row->n));
    }

    tenant = ngx_shim_str("acme");
    some = issuers;
    some.issuers.elts = (ngx_lockbox_issuer_t *) issuers.issuers.elts
                        + CUSTOMERS;
    some.issuers.nelts = 1;
    some.rules.elts = &rules[CUSTOMERS];
    is(ngx_lockbox_identity_customer_of(&some, &rules[CUSTOMERS].issuer,
                                        &tenant), 1, "the first of all");

    iss = ngx_shim_str("https://nobody.example");
    is(ngx_lockbox_identity_customer_of(&issuers, &iss, &tenant), 0,
       "an issuer that is none");
}


/* An auditor of one tenant is no customer of it. */

static void
test_auditor_only(void)
{
    ngx_str_t              tenant;
    ngx_lockbox_issuer_t   issuer;
    ngx_lockbox_issuers_t  one;

    tenant = ngx_shim_str("acme");
    issuer = ((ngx_lockbox_issuer_t *) issuers.issuers.elts)[PINNED];
    one = issuers;
    one.issuers.elts = &issuer;
    one.issuers.nelts = 1;

    issuer.roles.nelts = 0;
    is(ngx_lockbox_identity_customer_possible(&one, &tenant), 0,
       "an issuer without a role");

    issuer.roles.nelts = 1;
    issuer.roles.elts = (ngx_lockbox_role_rule_t *) issuer.roles.elts + 1;
    is(ngx_lockbox_identity_customer_possible(&one, &tenant), 0,
       "an issuer of auditors");
}


static void
test_names(void)
{
    size_t      i;
    ngx_uint_t  all;

    static const char  *names[] = {
        "engineer", "manager", "customer", "auditor"
    };
    static const ngx_uint_t  values[] = { E, M, C, A };

    all = 0;

    for (i = 0; i < 4; i++) {
        ok(strcmp(ngx_lockbox_role_names[i].name, names[i]) == 0, "%s",
           names[i]);
        is(ngx_lockbox_role_names[i].role, values[i], "%s: its bit",
           names[i]);
        all |= values[i];
    }

    ok(ngx_lockbox_role_names[4].name == NULL, "no other role");
    is(all, 15, "each has a bit of its own");
}


static ngx_int_t
open_text(ngx_pool_t *pool, const void *text)
{
    ngx_lockbox_identity_t   identity;

    switch (ngx_lockbox_identity_open(pool, &issuers, text, NOW, &identity)) {
    case NGX_LOCKBOX_ALLOW:
        return NGX_OK;

    case NGX_LOCKBOX_INTERNAL_ERROR:
    case NGX_LOCKBOX_MALFORMED_TOKEN:
        return NGX_ERROR;

    default:
        return NGX_DECLINED;
    }
}


/* With OpenSSL without memory as well, a signature may not verify. */

static ngx_int_t
open_libraries(ngx_pool_t *pool, const void *text)
{
    ngx_lockbox_identity_t   identity;

    switch (ngx_lockbox_identity_open(pool, &issuers, text, NOW, &identity)) {
    case NGX_LOCKBOX_ALLOW:
        return identity.roles == C && identity.tenant.len == 4 ? NGX_OK
                                                               : NGX_DECLINED;

    case NGX_LOCKBOX_INTERNAL_ERROR:
    case NGX_LOCKBOX_MALFORMED_TOKEN:
    case NGX_LOCKBOX_BAD_SIGNATURE:
        return identity.roles == 0 ? NGX_ERROR : NGX_DECLINED;

    default:
        return NGX_DECLINED;
    }
}


static ngx_int_t
open_forged(ngx_pool_t *pool, const void *text)
{
    ngx_int_t  rc;

    rc = open_libraries(pool, text);

    return rc == NGX_OK ? NGX_DECLINED : rc == NGX_ERROR ? NGX_OK : rc;
}


int
main(void)
{
    ngx_str_t    text;
    ngx_pool_t  *pool;

    pool = ngx_create_pool(0, NULL);

    make_issuers(pool);

    test_rows(pool);
    test_subject(pool);
    test_login(pool);
    test_opinion(pool);
    test_possible();
    test_customer_of();
    test_auditor_only();
    test_names();

    text = token_of(pool, CUSTOMERS, "JWT",
                    "\"roles\":\"approver\",\"tenant_id\":\"acme\","
                    "\"acr\":\"gold\"");
    ok(ngx_shim_walk(open_text, &text) > 10, "nothing goes without memory");
    ok(oom_walk(open_libraries, &text, 1) > 50, "nor OpenSSL without");

    jose_spoil(&text);
    ok(oom_walk(open_forged, &text, 1) > 50,
       "a forgery is refused all the same");

    ngx_destroy_pool(pool);

    is(ngx_shim_live(), 0, "nothing is left behind");

    return tap_done();
}
