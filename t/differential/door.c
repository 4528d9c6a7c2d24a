/*
 * The module's door without nginx: reads tokens, a line each, "grant" or
 * "identity", the time it is, and the token in hexadecimal, and writes a line
 * for each: the word, and what the token says, as JSON, if it was read.
 *
 *     door WORLD
 *
 * WORLD is a JSON file that says who may sign what; see Tokens.pm.
 */

/* links: ngx_lockbox_grant.c ngx_lockbox_identity.c ngx_lockbox_token.c */
/* links: ngx_lockbox_scope.c ngx_lockbox_path.c ngx_lockbox_name.c */
/* links: ngx_lockbox_jwks.c ngx_lockbox_jwt.c ngx_lockbox_json.c */
/* links: ngx_lockbox_base64url.c ngx_lockbox_decision.c ngx_lockbox_unicode.c */

#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_lockbox_grant.h"
#include "ngx_lockbox_identity.h"
#include "ngx_lockbox_json.h"
#include "ngx_lockbox_token.h"
#include "../unit/ngx_shim.h"


typedef struct {
    ngx_pool_t                *pool;
    ngx_lockbox_token_rule_t   grants;
    ngx_lockbox_issuers_t      issuers;
} door_t;


static void door_configure(door_t *door, const char *file);
static void door_rule(door_t *door, const json_t *json,
    ngx_lockbox_token_rule_t *rule);
static ngx_lockbox_jwks_t *door_pems(door_t *door, const json_t *files);
static ngx_lockbox_jwks_t *door_jwks(door_t *door, const char *file);
static void door_issuer(door_t *door, const json_t *json,
    ngx_lockbox_issuer_t *issuer);
static ngx_str_t door_read(ngx_pool_t *pool, const char *file);
static void door_array(ngx_array_t *array, ngx_pool_t *pool, size_t size);
static ngx_str_t door_text(const json_t *json, const char *name);
static void door_die(const char *what, const char *why);
static ngx_lockbox_decision_t door_grant(door_t *door, ngx_pool_t *pool,
    const ngx_str_t *text, time_t now, json_t **facts);
static ngx_lockbox_decision_t door_identity(door_t *door, ngx_pool_t *pool,
    const ngx_str_t *text, time_t now, json_t **facts);
static void door_line(door_t *door, char *line);


int
main(int argc, char **argv)
{
    char    *line;
    door_t   door;
    size_t   size;

    if (argc != 2) {
        door_die("usage", "door WORLD");
    }

    door.pool = ngx_create_pool(NGX_DEFAULT_POOL_SIZE, NULL);
    door_configure(&door, argv[1]);

    line = NULL;
    size = 0;

    while (getline(&line, &size, stdin) > 0) {
        door_line(&door, line);
    }

    free(line);
    ngx_destroy_pool(door.pool);

    return 0;
}


static void
door_configure(door_t *door, const char *file)
{
    size_t                     i;
    json_t                    *world, *json;
    ngx_str_t                  text;
    ngx_lockbox_issuer_t      *issuer;
    ngx_lockbox_token_rule_t  *rule;

    text = door_read(door->pool, file);
    world = ngx_lockbox_json_parse(door->pool, text.data, text.len);
    json = json_object_get(world, "grants");

    door_rule(door, json, &door->grants);
    door->grants.typ = NGX_LOCKBOX_GRANT_TYP;
    door->grants.keys = door_pems(door, json_object_get(json, "pems"));

    door_array(&door->issuers.rules, door->pool,
               sizeof(ngx_lockbox_token_rule_t));
    door_array(&door->issuers.issuers, door->pool,
               sizeof(ngx_lockbox_issuer_t));

    json_array_foreach(json_object_get(world, "issuers"), i, json) {
        rule = ngx_array_push(&door->issuers.rules);
        issuer = ngx_array_push(&door->issuers.issuers);

        door_rule(door, json, rule);
        rule->keys = door_jwks(door, json_string_value(
                                         json_object_get(json, "jwks")));
        door_issuer(door, json, issuer);
    }
}


static void
door_rule(door_t *door, const json_t *json, ngx_lockbox_token_rule_t *rule)
{
    ngx_memzero(rule, sizeof(ngx_lockbox_token_rule_t));

    rule->issuer = door_text(json, "iss");
    rule->audience = door_text(json, "aud");
    rule->leeway = json_integer_value(json_object_get(json, "leeway"));
    rule->max_life = json_integer_value(json_object_get(json, "max_life"));
}


static ngx_lockbox_jwks_t *
door_pems(door_t *door, const json_t *files)
{
    size_t               i;
    json_t              *file;
    ngx_str_t            text;
    const char          *err;
    ngx_lockbox_jwks_t  *keys;

    keys = ngx_palloc(door->pool, sizeof(ngx_lockbox_jwks_t));
    door_array(keys, door->pool, sizeof(ngx_lockbox_key_t));

    json_array_foreach(files, i, file) {
        text = door_read(door->pool, json_string_value(file));

        if (ngx_lockbox_jwks_pem(door->pool, &text, 0, keys, &err) != NGX_OK) {
            door_die(json_string_value(file), err);
        }
    }

    return keys;
}


static ngx_lockbox_jwks_t *
door_jwks(door_t *door, const char *file)
{
    ngx_str_t            text;
    const char          *err;
    ngx_lockbox_jwks_t  *keys;

    keys = ngx_palloc(door->pool, sizeof(ngx_lockbox_jwks_t));
    door_array(keys, door->pool, sizeof(ngx_lockbox_key_t));
    text = door_read(door->pool, file);

    if (ngx_lockbox_jwks_parse(door->pool, &text, keys, &err) != NGX_OK) {
        door_die(file, err);
    }

    return keys;
}


static void
door_issuer(door_t *door, const json_t *json, ngx_lockbox_issuer_t *issuer)
{
    size_t                          i;
    json_t                         *role;
    ngx_lockbox_role_rule_t        *rule;
    const ngx_lockbox_role_name_t  *name;

    ngx_memzero(issuer, sizeof(ngx_lockbox_issuer_t));

    issuer->tenant_claim = door_text(json, "tenant_claim");
    issuer->tenant = door_text(json, "tenant");

    door_array(&issuer->roles, door->pool, sizeof(ngx_lockbox_role_rule_t));

    json_array_foreach(json_object_get(json, "roles"), i, role) {
        rule = ngx_array_push(&issuer->roles);

        rule->claim = door_text(role, "claim");
        rule->value = door_text(role, "value");

        for (name = ngx_lockbox_role_names; name->name != NULL; name++) {
            if (ngx_strcmp(json_string_value(json_object_get(role, "role")),
                           name->name)
                == 0)
            {
                rule->role = name->role;
            }
        }
    }
}


static ngx_str_t
door_read(ngx_pool_t *pool, const char *file)
{
    FILE       *f;
    ngx_str_t   text;

    f = file ? fopen(file, "r") : NULL;
    if (f == NULL) {
        door_die("open", file ? file : "nothing");
    }

    text.data = ngx_palloc(pool, 65536);
    text.len = fread(text.data, 1, 65536, f);
    fclose(f);

    return text;
}


static void
door_array(ngx_array_t *array, ngx_pool_t *pool, size_t size)
{
    if (ngx_array_init(array, pool, 4, size) != NGX_OK) {
        door_die("array", "no memory");
    }
}


static ngx_str_t
door_text(const json_t *json, const char *name)
{
    ngx_str_t  text;

    text.data = (u_char *) json_string_value(json_object_get(json, name));
    text.len = json_string_length(json_object_get(json, name));

    return text;
}


static void
door_die(const char *what, const char *why)
{
    fprintf(stderr, "door: %s: %s\n", what, why);
    exit(2);
}


/* As the gate does it, at a location that is just what the grant is for. */

static ngx_lockbox_decision_t
door_grant(door_t *door, ngx_pool_t *pool, const ngx_str_t *text, time_t now,
    json_t **facts)
{
    ngx_lockbox_grant_t      grant;
    ngx_lockbox_token_t      token;
    ngx_lockbox_target_t     target;
    ngx_lockbox_decision_t   decision;

    decision = ngx_lockbox_token_open(pool, &door->grants, 1, text, now,
                                      &token);
    if (decision != NGX_LOCKBOX_ALLOW) {
        return decision;
    }

    switch (ngx_lockbox_grant_parse(pool, token.claims, &grant)) {

    case NGX_OK:
        break;

    case NGX_ERROR:
        return NGX_LOCKBOX_INTERNAL_ERROR;

    default:
        return NGX_LOCKBOX_MALFORMED_TOKEN;
    }

    ngx_memzero(&target, sizeof(ngx_lockbox_target_t));
    target.tenant = grant.tenant;
    target.service = grant.scope.elts[0].service;
    target.method = grant.scope.elts[0].methods.elts[0];
    target.path = grant.scope.elts[0].paths.elts[0];

    *facts = ngx_lockbox_grant_claims(&grant, &door->grants.issuer,
                                      &door->grants.audience);

    return ngx_lockbox_grant_decide(&grant, &target, now, door->grants.leeway);
}


static ngx_lockbox_decision_t
door_identity(door_t *door, ngx_pool_t *pool, const ngx_str_t *text,
    time_t now, json_t **facts)
{
    json_t                         *roles;
    ngx_lockbox_decision_t          decision;
    ngx_lockbox_identity_t          identity;
    const ngx_lockbox_role_name_t  *name;

    decision = ngx_lockbox_identity_open(pool, &door->issuers, text, now,
                                         &identity);
    if (decision != NGX_LOCKBOX_ALLOW) {
        return decision;
    }

    roles = json_array();

    for (name = ngx_lockbox_role_names; name->name != NULL; name++) {
        if (identity.roles & name->role) {
            json_array_append_new(roles, json_string(name->name));
        }
    }

    *facts = json_pack("{s:o, s:o, s:I, s:o, s:o}",
                       "iss", ngx_lockbox_json_text(&identity.iss),
                       "sub", ngx_lockbox_json_text(&identity.sub),
                       "exp", (json_int_t) identity.expires,
                       "roles", roles,
                       "tenant", ngx_lockbox_json_text(&identity.tenant));

    return decision;
}


static void
door_line(door_t *door, char *line)
{
    char                    kind[16];
    long                    now;
    int                     at;
    char                   *hex;
    size_t                  i;
    json_t                 *facts;
    ngx_str_t               text;
    ngx_pool_t             *pool;
    ngx_lockbox_decision_t  decision;

    if (sscanf(line, "%15s %ld %n", kind, &now, &at) != 2) {
        door_die("no token", line);
    }

    hex = line + at;
    pool = ngx_create_pool(NGX_DEFAULT_POOL_SIZE, NULL);
    facts = NULL;

    /* no byte more, so that a sanitizer sees who reads one */

    text.len = strspn(hex, "0123456789abcdef") / 2;
    text.data = ngx_pnalloc(pool, text.len);

    for (i = 0; i < text.len; i++) {
        text.data[i] = (u_char) ngx_hextoi((u_char *) hex + 2 * i, 2);
    }

    decision = ngx_strcmp(kind, "grant") == 0
               ? door_grant(door, pool, &text, now, &facts)
               : door_identity(door, pool, &text, now, &facts);

    printf("%s", (char *) ngx_lockbox_decision_info(decision)->word.data);

    if (facts != NULL) {
        putchar(' ');
        json_dumpf(facts, stdout, JSON_COMPACT|JSON_SORT_KEYS);
    }

    putchar('\n');

    json_decref(facts);
    ngx_destroy_pool(pool);
}
