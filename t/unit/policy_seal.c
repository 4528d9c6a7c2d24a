/*
 * Why: whoever can write to Redis would set policies if anything else than a
 * genuine seal over tenant, version, content and author were believed.
 */

/* links: ngx_lockbox_policy_seal.c ngx_lockbox_token.c ngx_lockbox_jwks.c */
/* links: ngx_lockbox_json.c ngx_lockbox_base64url.c */

#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_lockbox_json.h"
#include "ngx_lockbox_policy_seal.h"
#include "ngx_lockbox_seal.h"
#include "jose.h"
#include "oom.h"
#include "ngx_shim.h"
#include "tap.h"


#define NOW     1700000000
#define ISSUER  "https://lockbox.example"
#define OTHERS  "https://customers.example"


static ngx_lockbox_jwks_t    keys;
static ngx_lockbox_key_t    *key, foreign;


static void
make_keys(ngx_pool_t *pool)
{
    size_t              i;
    EVP_PKEY           *pkey;
    ngx_lockbox_jwks_t  other;

    jose_set(pool, &keys);
    jose_set(pool, &other);

    for (i = 0; i < 2; i++) {
        pkey = jose_pkey("P-256", 0);
        key = jose_add(pool, i ? &keys : &other, pkey);
        EVP_PKEY_free(pkey);
    }

    foreign = *(ngx_lockbox_key_t *) other.elts;
}


static ngx_lockbox_policy_seal_t
a_seal(void)
{
    ngx_lockbox_policy_seal_t  seal;

    ngx_memzero(&seal, sizeof(ngx_lockbox_policy_seal_t));

    seal.tenant = ngx_shim_str("acme");
    seal.version = 2;
    seal.hash = ngx_shim_str("hash");
    seal.by_iss = ngx_shim_str(OTHERS);
    seal.by_sub = ngx_shim_str("carl");
    seal.token_hash = ngx_shim_str("token");
    seal.auth_time = NOW - 60;
    seal.acr = ngx_shim_str("gold");
    seal.at = NOW * 1000LL + 7;
    seal.prev = ngx_shim_str("before");

    return seal;
}


static ngx_int_t
sign_by(ngx_pool_t *pool, const ngx_lockbox_key_t *by,
    const ngx_lockbox_policy_seal_t *seal, ngx_str_t *text)
{
    ngx_str_t  issuer;

    issuer = ngx_shim_str(ISSUER);

    return ngx_lockbox_policy_seal_sign(pool, by, &issuer, seal, text);
}


static ngx_int_t
open_at(ngx_pool_t *pool, const ngx_str_t *text, time_t now,
    ngx_lockbox_policy_seal_t *seal)
{
    ngx_str_t                  issuer;
    ngx_lockbox_policy_seal_t  said;

    issuer = ngx_shim_str(ISSUER);
    said = a_seal();

    return ngx_lockbox_policy_seal_open(pool, &keys, &issuer, text, now,
                                        &said, seal);
}


static void
test_good(ngx_pool_t *pool)
{
    ngx_str_t                  text;
    ngx_lockbox_policy_seal_t  seal, got;

    seal = a_seal();
    is(sign_by(pool, key, &seal, &text), NGX_OK, "a seal");
    is(open_at(pool, &text, NOW, &got), NGX_OK, "is opened");

    is_text(&got.tenant, "acme", "whose");
    is(got.version, 2, "which");
    is_text(&got.hash, "hash", "what");
    is_text(&got.by_iss, OTHERS, "whose customer");
    is_text(&got.by_sub, "carl", "by whom");
    is_text(&got.token_hash, "token", "who showed a token");
    is(got.auth_time, NOW - 60, "when they had logged in");
    is_text(&got.acr, "gold", "how");
    is(got.at, NOW * 1000LL + 7, "when");
    is_text(&got.prev, "before", "after what");

    /* what need not be there */

    seal.auth_time = 0;
    ngx_str_null(&seal.acr);
    ngx_str_null(&seal.prev);
    is(sign_by(pool, key, &seal, &text), NGX_OK, "the first one");
    is(open_at(pool, &text, NOW, &got), NGX_OK, "is opened, too");
    is(got.auth_time, 0, "no login");
    is(got.acr.len, 0, "of no kind");
    is(got.prev.len, 0, "behind nothing");
}


typedef struct {
    size_t       offset;
    const char  *text;
} change_t;


#define member(name)  offsetof(ngx_lockbox_policy_seal_t, name)


static const change_t  changes[] = {
    { member(tenant), "globex" },
    { member(tenant), "Acme" },
    { member(tenant), "" },
    { member(hash), "other" },
    { member(hash), "" },
    { member(by_iss), ISSUER },
    { member(by_iss), "" },
    { member(by_sub), "cora" },
    { member(token_hash), "" }
};


static void
test_changes(ngx_pool_t *pool)
{
    size_t                      i;
    ngx_str_t                   text;
    ngx_lockbox_policy_seal_t   seal, got;

    for (i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
        seal = a_seal();
        *(ngx_str_t *) (void *) ((u_char *) &seal + changes[i].offset)
            = ngx_shim_str(changes[i].text);

        (void) sign_by(pool, key, &seal, &text);
        is(open_at(pool, &text, NOW, &got), NGX_DECLINED, "\"%s\" at %d",
           changes[i].text, (int) changes[i].offset);
    }

    for (i = 0; i < 4; i++) {
        seal = a_seal();
        seal.version = (int64_t) i;
        (void) sign_by(pool, key, &seal, &text);
        is(open_at(pool, &text, NOW, &got), i == 2 ? NGX_OK : NGX_DECLINED,
           "version %d", (int) i);
    }
}


static void
test_genuine(ngx_pool_t *pool)
{
    json_t                     *claims;
    ngx_str_t                   text;
    ngx_lockbox_policy_seal_t   seal, got;

    seal = a_seal();
    (void) sign_by(pool, &foreign, &seal, &text);
    is(open_at(pool, &text, NOW, &got), NGX_DECLINED, "by a foreign key");

    (void) sign_by(pool, key, &seal, &text);
    is(open_at(pool, &text, NOW - 10, &got), NGX_OK, "by a clock ahead");
    is(open_at(pool, &text, NOW - 11, &got), NGX_DECLINED, "too far ahead");
    is(open_at(pool, &text, NOW + NGX_LOCKBOX_POLICY_LIFE - 1, &got), NGX_OK,
       "a hundred years later");
    is(open_at(pool, &text, NOW + NGX_LOCKBOX_POLICY_LIFE, &got),
       NGX_DECLINED, "and no second more");

    jose_spoil(&text);
    is(open_at(pool, &text, NOW, &got), NGX_DECLINED, "with a spoilt one");

    /* the same claims in a token of another type */

    claims = json_pack("{s:s, s:s, s:i, s:i, s:i, s:I, s:s, s:s, s:s, s:s,"
                       " s:s}",
                       "iss", ISSUER, "aud", ISSUER, "iat", NOW,
                       "exp", NOW + 60, "version", 2,
                       "at", (json_int_t) NOW * 1000, "tenant", "acme",
                       "policy_hash", "hash", "by_iss", OTHERS,
                       "sub", "carl", "token_hash", "token");

    (void) ngx_lockbox_token_sign(pool, key, NGX_LOCKBOX_SEAL_TYP, claims,
                                  &text);
    is(open_at(pool, &text, NOW, &got), NGX_DECLINED, "a request's seal");
    (void) ngx_lockbox_token_sign(pool, key, NGX_LOCKBOX_POLICY_TYP, claims,
                                  &text);
    is(open_at(pool, &text, NOW, &got), NGX_OK, "and a policy's");

    (void) json_object_set_new(claims, "version", json_string("2"));
    (void) ngx_lockbox_token_sign(pool, key, NGX_LOCKBOX_POLICY_TYP, claims,
                                  &text);
    is(open_at(pool, &text, NOW, &got), NGX_DECLINED, "a version in words");
    (void) json_object_set_new(claims, "version", json_integer(2));

    (void) json_object_set_new(claims, "auth_time", json_string("1"));
    (void) ngx_lockbox_token_sign(pool, key, NGX_LOCKBOX_POLICY_TYP, claims,
                                  &text);
    is(open_at(pool, &text, NOW, &got), NGX_DECLINED, "a login in words");
    (void) json_object_del(claims, "auth_time");

    (void) json_object_set_new(claims, "prev", json_integer(1));
    (void) ngx_lockbox_token_sign(pool, key, NGX_LOCKBOX_POLICY_TYP, claims,
                                  &text);
    is(open_at(pool, &text, NOW, &got), NGX_DECLINED, "a number for a seal");
    (void) json_object_del(claims, "prev");

    (void) json_object_del(claims, "at");
    (void) ngx_lockbox_token_sign(pool, key, NGX_LOCKBOX_POLICY_TYP, claims,
                                  &text);
    is(open_at(pool, &text, NOW, &got), NGX_DECLINED, "never set");

    json_decref(claims);
}


static ngx_int_t
walk_sign(ngx_pool_t *pool, const void *data)
{
    ngx_str_t  text;

    return sign_by(pool, key, data, &text);
}


/* Without memory a text cannot be told from one that is no JSON. */

static ngx_int_t
walk_open(ngx_pool_t *pool, const void *data)
{
    ngx_int_t                  rc;
    ngx_lockbox_policy_seal_t  got;

    rc = open_at(pool, data, NOW, &got);

    return rc == NGX_DECLINED ? NGX_ERROR : rc;
}


static void
test_no_memory(ngx_pool_t *pool)
{
    ngx_str_t                  text;
    ngx_lockbox_policy_seal_t  seal;

    seal = a_seal();
    (void) sign_by(pool, key, &seal, &text);

    ok(oom_walk(walk_sign, &seal, 1) > 50, "no seal without memory");
    ok(oom_walk(walk_open, &text, 1) > 30, "and none is opened");
}


int
main(void)
{
    ngx_pool_t  *pool;

    pool = ngx_create_pool(16384, NULL);

    make_keys(pool);
    test_good(pool);
    test_changes(pool);
    test_genuine(pool);
    test_no_memory(pool);

    ngx_destroy_pool(pool);

    is(ngx_shim_live(), 0, "nothing is left behind");

    return tap_done();
}
