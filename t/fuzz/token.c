/*
 * The strict door and what comes right behind it: grants and identity tokens
 * of two issuers each.
 *
 * The first line has three letters: the door, "g" for grants or "i" for
 * identity tokens; the way, "r", "s" or "e"; and who signs, "0" to "3".
 *
 *     r  the next line is the token as it comes: it must never be let in
 *     s  the next lines are header and payload, which are signed
 *     e  the same, and each line behind is an edit of the signed token: a
 *        place, from its end backwards if "h", "p" or "s" names a segment;
 *        then "=c" to replace, "+c" to insert behind, "-" to remove, "~" to
 *        make it a letter of which only the last bit is another
 */

/* links: ngx_lockbox_token.c ngx_lockbox_identity.c ngx_lockbox_jwt.c */
/* links: ngx_lockbox_jwks.c ngx_lockbox_json.c ngx_lockbox_base64url.c */
/* links: ngx_lockbox_name.c ngx_lockbox_unicode.c */

#include "ngx_lockbox_identity.h"
#include "door.h"


static const char *const  mutate_lines[] = {
    "gs0", "gs1", "gs2", "gs3", "ge0", "ge1", "gr", "is0", "is1", "is2",
    "ie1", "h0~", "p0~", "s0~", "h0+=", "p0+=", "s0+=", "s0-", "s0=+", "0=.",
    "{\"typ\":\"lockbox-grant+jwt\",\"alg\":\"ES256\",\"kid\":\"ec\"}",
    NULL
};

static const char *const  mutate_names[] = {
    "typ", "alg", "kid", "crit", "b64", "zip", "enc", "cty", "jku", "x5u",
    "x5c", "jwk", "iss", "aud", "sub", "iat", "nbf", "exp", "groups", "roles",
    "realm_access", "tenant_id", NULL
};

#include "mutate.h"


#define MAX_LIFE  3600
#define ROLES     3


static ngx_lockbox_token_rule_t  grant_rules[2];
static ngx_lockbox_issuers_t     identities;

/* what the two identity providers may say */

static ngx_lockbox_role_rule_t   vendor_roles[ROLES], customer_roles[ROLES];


static void
make_rule(ngx_lockbox_token_rule_t *rule, const char *issuer,
    const char *audience, const ngx_lockbox_jwks_t *keys, time_t leeway)
{
    ngx_memzero(rule, sizeof(ngx_lockbox_token_rule_t));

    rule->issuer = ngx_shim_str(issuer);
    rule->audience = ngx_shim_str(audience);
    rule->keys = keys;
    rule->leeway = leeway;
    rule->max_life = MAX_LIFE;
}


static void
make_role(ngx_lockbox_role_rule_t *rule, ngx_uint_t role, const char *claim,
    const char *value)
{
    rule->role = role;
    rule->claim = ngx_shim_str(claim);
    rule->value = ngx_shim_str(value);
}


static void
make_issuer(ngx_pool_t *pool, const char *name,
    const ngx_lockbox_jwks_t *keys, ngx_lockbox_role_rule_t *roles,
    ngx_uint_t nroles, const char *tenant_claim)
{
    ngx_lockbox_issuer_t      *issuer;
    ngx_lockbox_token_rule_t  *rule;

    rule = ngx_array_push(&identities.rules);
    issuer = ngx_array_push(&identities.issuers);

    make_rule(rule, name, "lockbox", keys, 60);

    ngx_memzero(issuer, sizeof(ngx_lockbox_issuer_t));
    issuer->roles.elts = roles;
    issuer->roles.nelts = nroles;
    issuer->roles.size = sizeof(ngx_lockbox_role_rule_t);
    issuer->roles.nalloc = nroles;
    issuer->roles.pool = pool;
    issuer->tenant_claim = ngx_shim_str(tenant_claim);
}


int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
    static ngx_pool_t  *pool;

    (void) argc;
    (void) argv;

    pool = ngx_create_pool(1, NULL);

    door_keys(pool);

    make_rule(&grant_rules[0], "https://lockbox.example", "gate", &door_pair,
              30);
    make_rule(&grant_rules[1], "https://other.example", "gate", &door_single,
              0);
    grant_rules[0].typ = NGX_LOCKBOX_GRANT_TYP;
    grant_rules[1].typ = NGX_LOCKBOX_GRANT_TYP;

    (void) ngx_array_init(&identities.rules, pool, 2,
                          sizeof(ngx_lockbox_token_rule_t));
    (void) ngx_array_init(&identities.issuers, pool, 2,
                          sizeof(ngx_lockbox_issuer_t));

    make_role(&vendor_roles[0], NGX_LOCKBOX_ROLE_ENGINEER, "groups",
              "support");
    make_role(&vendor_roles[1], NGX_LOCKBOX_ROLE_MANAGER,
              "/realm_access/roles", "managers");
    make_role(&vendor_roles[2], NGX_LOCKBOX_ROLE_AUDITOR, "/a~1b/m~0n",
              "audit");
    make_issuer(pool, "https://vendor.example", &door_pair, vendor_roles, 3,
                "");

    make_role(&customer_roles[0], NGX_LOCKBOX_ROLE_CUSTOMER, "roles",
              "approver");
    make_role(&customer_roles[1], NGX_LOCKBOX_ROLE_AUDITOR, "roles", "audit");
    make_issuer(pool, "https://customers.example", &door_single,
                customer_roles, 2, "tenant_id");

    return 0;
}


/* The place that the edit begins with, which may be out of the text. */

static size_t
place_of(const ngx_str_t *text, ngx_str_t *edit)
{
    size_t  i, end;
    u_char  segment;

    segment = fuzz_byte(edit, 0);

    if (segment != 'h' && segment != 'p' && segment != 's') {
        return fuzz_number(edit);
    }

    edit->data++;
    edit->len--;
    end = 0;

    for (i = 0; i < text->len; i++) {
        if (text->data[i] == '.') {
            end = i;

            if (segment == 'h') {
                break;
            }
        }
    }

    end = segment == 's' ? text->len : end;

    return end - 1 - fuzz_number(edit);
}


static u_char
neighbour(u_char c)
{
    const char         *place;
    static const char   alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

    place = c ? strchr(alphabet, c) : NULL;

    return place ? (u_char) alphabet[(place - alphabet) ^ 1] : c;
}


/* The text with the lines of "edits" carried out. */

static ngx_str_t
edited(ngx_pool_t *pool, const ngx_str_t *text, ngx_str_t *edits)
{
    u_char      letter;
    size_t      at, len;
    ngx_str_t   line, out;

    out.data = ngx_pnalloc(pool, text->len + edits->len + 1);
    fuzz_check(out.data != NULL);

    ngx_memcpy(out.data, text->data, text->len);
    out.len = text->len;

    while (edits->len) {
        line = fuzz_line(edits);
        at = place_of(&out, &line);

        if (line.len == 0 || at >= out.len) {
            continue;
        }

        letter = fuzz_byte(&line, 1);
        len = out.len - at;

        switch (line.data[0]) {

        case '=':
            out.data[at] = letter;
            break;

        case '+':
            ngx_memmove(out.data + at + 1, out.data + at, len);
            out.data[at + 1] = letter;
            out.len++;
            break;

        case '~':
            out.data[at] = neighbour(out.data[at]);
            break;

        case '-':
            ngx_memmove(out.data + at, out.data + at + 1, len - 1);
            out.len--;
        }
    }

    return fuzz_copy(pool, out.data, out.len);
}


static ngx_uint_t
claims_say(const json_t *claims, const char *outer, const char *inner,
    const char *value)
{
    size_t   i;
    json_t  *found, *element;

    found = json_object_get(claims, outer);

    if (inner) {
        found = json_object_get(found, inner);
    }

    if (json_is_string(found)) {
        return strcmp(json_string_value(found), value) == 0;
    }

    json_array_foreach(found, i, element) {
        if (json_is_string(element)
            && strcmp(json_string_value(element), value) == 0)
        {
            return 1;
        }
    }

    return 0;
}


/* Who the claims make somebody, as the directives of the issuers read. */

static ngx_uint_t
roles_of(const json_t *claims)
{
    ngx_str_t   tenant;
    ngx_uint_t  i, roles;

    roles = 0;

    if (json_is_text(claims, "iss", "https://vendor.example")) {
        roles |= claims_say(claims, "groups", NULL, "support")
                 ? NGX_LOCKBOX_ROLE_ENGINEER : 0;
        roles |= claims_say(claims, "realm_access", "roles", "managers")
                 ? NGX_LOCKBOX_ROLE_MANAGER : 0;
        roles |= claims_say(claims, "a/b", "m~n", "audit")
                 ? NGX_LOCKBOX_ROLE_AUDITOR : 0;

        return roles;
    }

    tenant = json_text_of(claims, "tenant_id");

    if (tenant.len == 0 || tenant.len > 64 || fuzz_is(&tenant, ".")
        || fuzz_is(&tenant, ".."))
    {
        return 0;
    }

    for (i = 0; i < tenant.len; i++) {
        if (!isalnum(tenant.data[i]) && !strchr("._-", tenant.data[i])) {
            return 0;
        }
    }

    roles |= claims_say(claims, "roles", NULL, "approver")
             ? NGX_LOCKBOX_ROLE_CUSTOMER : 0;
    roles |= claims_say(claims, "roles", NULL, "audit")
             ? NGX_LOCKBOX_ROLE_AUDITOR : 0;

    return roles;
}


static void
check_identity(ngx_pool_t *pool, const ngx_str_t *text,
    const json_t *claims)
{
    ngx_str_t               sub;
    ngx_lockbox_identity_t  identity;

    if (ngx_lockbox_identity_open(pool, &identities, text, DOOR_NOW,
                                  &identity)
        != NGX_LOCKBOX_ALLOW)
    {
        fuzz_check(claims == NULL);
        return;
    }

    fuzz_check(claims != NULL);

    sub = json_text_of(claims, "sub");
    fuzz_check(fuzz_same(&identity.sub, &sub));
    fuzz_check(identity.iss.len == json_text_of(claims, "iss").len);
    fuzz_check(identity.expires == door_time(claims, "exp"));
    fuzz_check(identity.roles == roles_of(claims));
    fuzz_check(identity.tenant.len == 0
               || json_is_text(claims, "iss", "https://customers.example"));
}


/* "claims": what the token says if it is to be let in, else NULL. */

static void
check_token(ngx_pool_t *pool, const ngx_lockbox_token_rule_t *rules,
    ngx_uint_t nrules, const ngx_str_t *text, const json_t *claims)
{
    ngx_str_t               iss;
    ngx_lockbox_token_t     token;
    ngx_lockbox_decision_t  decision;

    decision = ngx_lockbox_token_open(pool, rules, nrules, text, DOOR_NOW,
                                      &token);

    fuzz_check(token.decision == decision);
    fuzz_check(decision > NGX_LOCKBOX_NOT_DECIDED);
    fuzz_check(decision != NGX_LOCKBOX_INTERNAL_ERROR);
    fuzz_check(token.genuine ? token.claims != NULL : token.claims == NULL);

    fuzz_check((decision == NGX_LOCKBOX_ALLOW) == (claims != NULL));

    if (claims == NULL) {
        return;
    }

    iss = json_text_of(claims, "iss");

    fuzz_check(token.genuine);
    fuzz_check(json_equal(token.claims, claims));
    fuzz_check(token.expires == door_time(claims, "exp"));
    fuzz_check(fuzz_same(&rules[token.rule].issuer, &iss));
}


/* Without memory nobody gets in who would not get in with it. */

static void
check_starved(ngx_pool_t *pool, const ngx_lockbox_token_rule_t *rules,
    ngx_uint_t nrules, const ngx_str_t *text, const json_t *claims)
{
    ngx_lockbox_token_t     token;
    ngx_lockbox_decision_t  decision;

    decision = ngx_lockbox_token_open(pool, rules, nrules, text, DOOR_NOW,
                                      &token);
    if (decision == NGX_LOCKBOX_ALLOW) {
        fuzz_check(claims && json_equal(token.claims, claims));
    }
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_t                          *claims;
    ngx_str_t                        input, mode, header, payload, text, sent;
    ngx_uint_t                       identity;
    ngx_pool_t                      *pool;
    const ngx_lockbox_key_t         *signer;
    const ngx_lockbox_token_rule_t  *rules;

    pool = fuzz_pool();
    input = fuzz_copy(pool, data, size);
    mode = fuzz_line(&input);

    identity = fuzz_byte(&mode, 0) == 'i';
    rules = identity ? identities.rules.elts : grant_rules;
    claims = NULL;

    if (fuzz_byte(&mode, 1) == 'r') {
        sent = fuzz_line(&input);
        sent = fuzz_copy(pool, sent.data, sent.len);

    } else {
        signer = &door_signers[fuzz_byte(&mode, 2) % DOOR_SIGNERS];

        header = fuzz_line(&input);
        header = door_expand(pool, header, NULL);
        payload = fuzz_line(&input);
        payload = door_expand(pool, payload, NULL);

        text = door_sign(pool, signer, &header, &payload);
        sent = text;

        if (fuzz_byte(&mode, 1) == 'e') {
            sent = edited(pool, &text, &input);
        }

        /* one token has one spelling */

        if (fuzz_same(&sent, &text)) {
            claims = door_agreed(pool, rules, 2, signer, &header, &payload,
                                 &text);
        }
    }

    check_token(pool, rules, 2, &sent, claims);

    if (identity) {
        check_identity(pool, &sent, claims);
    }

    fuzz_starve(data, size, 100);
    check_starved(pool, rules, 2, &sent, claims);
    ngx_shim_fail(0);

    fuzz_pool_end(pool);

    return 0;
}
