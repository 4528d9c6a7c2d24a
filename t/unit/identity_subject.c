/*
 * Why: the door refuses tokens without a subject; should it ever let one in,
 * a role would go to somebody whom no record can name.  So the door is played
 * here, and lets in whatever the test wants.
 */

/* links: ngx_lockbox_identity.c ngx_lockbox_json.c ngx_lockbox_base64url.c */
/* links: ngx_lockbox_name.c ngx_lockbox_unicode.c */

#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_lockbox_identity.h"
#include "ngx_lockbox_json.h"
#include "ngx_lockbox_jwt.h"
#include "ngx_shim.h"
#include "tap.h"


/* The text is the claims. */

ngx_lockbox_decision_t
ngx_lockbox_token_open(ngx_pool_t *pool,
    const ngx_lockbox_token_rule_t *rules, ngx_uint_t nrules,
    const ngx_str_t *text, time_t now, ngx_lockbox_token_t *token)
{
    (void) rules;
    (void) nrules;

    ngx_memzero(token, sizeof(ngx_lockbox_token_t));

    token->claims = ngx_lockbox_json_parse(pool, text->data, text->len);
    token->expires = now + 300;

    return token->claims ? NGX_LOCKBOX_ALLOW : NGX_LOCKBOX_INTERNAL_ERROR;
}


ngx_uint_t
ngx_lockbox_jwt_verify(ngx_pool_t *pool, const ngx_lockbox_key_t *key,
    const ngx_str_t *token)
{
    (void) pool;
    (void) key;
    (void) token;

    return 1;
}


static const struct {
    const char              *claims;
    ngx_lockbox_decision_t   want;
} rows[] = {
    { "{\"groups\":\"support\",\"sub\":\"eve\"}", NGX_LOCKBOX_ALLOW },
    { "{\"groups\":\"support\"}", NGX_LOCKBOX_MALFORMED_TOKEN },
    { "{\"groups\":\"support\",\"sub\":\"\"}", NGX_LOCKBOX_MALFORMED_TOKEN },
    { "{\"groups\":\"support\",\"sub\":7}", NGX_LOCKBOX_MALFORMED_TOKEN },
    { "{\"groups\":\"support\",\"sub\":null}", NGX_LOCKBOX_MALFORMED_TOKEN },
    { "{\"groups\":\"support\",\"sub\":[\"eve\"]}",
      NGX_LOCKBOX_MALFORMED_TOKEN }
};


int
main(void)
{
    size_t                     i;
    ngx_str_t                  text;
    ngx_pool_t                *pool;
    ngx_lockbox_issuer_t      *issuer;
    ngx_lockbox_issuers_t      issuers;
    ngx_lockbox_identity_t     identity;
    ngx_lockbox_role_rule_t   *role;
    ngx_lockbox_token_rule_t  *rule;

    pool = ngx_create_pool(0, NULL);

    (void) ngx_array_init(&issuers.rules, pool, 1,
                          sizeof(ngx_lockbox_token_rule_t));
    (void) ngx_array_init(&issuers.issuers, pool, 1,
                          sizeof(ngx_lockbox_issuer_t));

    rule = ngx_array_push(&issuers.rules);
    ngx_memzero(rule, sizeof(ngx_lockbox_token_rule_t));
    rule->issuer = ngx_shim_str("https://vendor");

    issuer = ngx_array_push(&issuers.issuers);
    ngx_memzero(issuer, sizeof(ngx_lockbox_issuer_t));
    (void) ngx_array_init(&issuer->roles, pool, 1,
                          sizeof(ngx_lockbox_role_rule_t));

    role = ngx_array_push(&issuer->roles);
    role->role = NGX_LOCKBOX_ROLE_ENGINEER;
    role->claim = ngx_shim_str("groups");
    role->value = ngx_shim_str("support");

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        text = ngx_shim_str(rows[i].claims);

        is(ngx_lockbox_identity_open(pool, &issuers, &text, 1, &identity),
           rows[i].want, "%s", rows[i].claims);
        is(identity.roles,
           rows[i].want == NGX_LOCKBOX_ALLOW ? NGX_LOCKBOX_ROLE_ENGINEER : 0,
           "its roles");
    }

    ngx_destroy_pool(pool);

    is(ngx_shim_live(), 0, "nothing is left behind");

    return tap_done();
}
