/*
 * Why: a key that cannot do its work is found out by the first request, unless
 * it is tried before; and a test that passes whatever it is given tries
 * nothing.
 */

/* links: ngx_lockbox_selftest.c ngx_lockbox_jwks.c ngx_lockbox_json.c */
/* links: ngx_lockbox_base64url.c */

#include <ngx_config.h>
#include <ngx_core.h>

#include <dlfcn.h>

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/param_build.h>

#include "ngx_lockbox_json.h"
#include "ngx_lockbox_selftest.h"
#include "jose.h"
#include "ngx_shim.h"
#include "tap.h"


/* How OpenSSL verifies: as it does, or wrong in one of these ways. */

typedef enum {
    HONEST = 0,
    YES,              /* all signatures are right */
    NO,               /* none is */
    FAILS,            /* none can be judged */
    SLOPPY,           /* right is what looks like a real one */
    DEAF              /* what was signed once may be put under all texts */
} manner_t;


static manner_t         manner;
static const EVP_PKEY  *liar;           /* NULL: so does every key */
static ngx_uint_t       asked;

static u_char           heard[1024];
static size_t           heard_len;


/* The last questions, the first of three and so on. */

typedef struct {
    u_char  sig[1024];
    size_t  len;
    u_char  text[256];
    size_t  text_len;
} question_t;


static question_t       questions[4];


/* Stands before the one of the library. */

int
EVP_DigestVerify(EVP_MD_CTX *ctx, const unsigned char *sig, size_t len,
    const unsigned char *text, size_t text_len)
{
    int          good;
    question_t  *q;

    static int  (*real)(EVP_MD_CTX *, const unsigned char *, size_t,
                        const unsigned char *, size_t);

    q = &questions[asked++ % 4];
    q->len = len;
    q->text_len = text_len;
    ngx_memcpy(q->sig, sig, len);
    ngx_memcpy(q->text, text, text_len);

    if (real == NULL) {
        *(void **) &real = dlsym(RTLD_NEXT, "EVP_DigestVerify");
    }

    good = real(ctx, sig, len, text, text_len);

    if (liar != NULL
        && EVP_PKEY_CTX_get0_pkey(EVP_MD_CTX_get_pkey_ctx(ctx)) != liar)
    {
        return good;
    }

    switch (manner) {

    case YES:
        return 1;

    case NO:
        return 0;

    case FAILS:
        return -1;

    case SLOPPY:
        return len > 64 && ngx_memcmp(sig, "\0\0\0\0\0\0\0\0", 8) != 0;

    case DEAF:
        if (good == 1) {
            heard_len = len;
            ngx_memcpy(heard, sig, len);
        }

        return len == heard_len && ngx_memcmp(sig, heard, len) == 0;

    default:
        return good;
    }
}


typedef struct {
    const char    *name;
    const char    *type;
    unsigned int   bits;
} alg_t;


static const alg_t  algs[] = {
    { "RS256", "RSA", 2048 },
    { "RS384", "RSA", 2048 },
    { "RS512", "RSA", 2048 },
    { "ES256", "P-256", 0 },
    { "ES384", "P-384", 0 },
    { "ES512", "P-521", 0 }
};

#define ALGS  (sizeof(algs) / sizeof(algs[0]))


/* RSA keys take long to make, so one must do for all. */

static EVP_PKEY *
some_pkey(const alg_t *alg)
{
    static EVP_PKEY  *rsa;

    if (alg->bits == 0) {
        return jose_pkey(alg->type, 0);
    }

    if (rsa == NULL) {
        rsa = jose_pkey(alg->type, alg->bits);
    }

    (void) EVP_PKEY_up_ref(rsa);

    return rsa;
}


/* Adds the public half to a set, for that algorithm. */

static void
add_public(ngx_pool_t *pool, ngx_lockbox_jwks_t *keys, const alg_t *alg,
    const char *kid)
{
    json_t              *json, *jwk;
    EVP_PKEY            *pkey;
    ngx_int_t            rc;
    ngx_str_t            text;
    const char          *err;
    ngx_lockbox_jwks_t   private;

    pkey = some_pkey(alg);
    jose_set(pool, &private);
    (void) jose_add(pool, &private, pkey);
    EVP_PKEY_free(pkey);

    json = ngx_lockbox_jwks_json(&private);
    jwk = json_array_get(json_object_get(json, "keys"), 0);
    (void) json_object_set_new(jwk, "alg", json_string(alg->name));
    (void) json_object_set_new(jwk, "kid", json_string(kid));

    rc = ngx_lockbox_json_dump(pool, json, &text);
    json_decref(json);

    if (rc != NGX_OK
        || ngx_lockbox_jwks_parse(pool, &text, keys, &err) != NGX_OK)
    {
        abort();
    }
}


/* A set with this private key, for that algorithm. */

static ngx_lockbox_key_t *
private_set(ngx_pool_t *pool, ngx_lockbox_jwks_t *keys, const alg_t *alg)
{
    EVP_PKEY            *pkey;
    ngx_lockbox_key_t   *key;
    ngx_lockbox_jwks_t   public;

    jose_set(pool, &public);
    add_public(pool, &public, alg, "a");

    jose_set(pool, keys);
    pkey = some_pkey(alg);
    key = jose_add(pool, keys, pkey);
    EVP_PKEY_free(pkey);

    key->alg = ((ngx_lockbox_key_t *) public.elts)->alg;

    return key;
}


/* One test: the set passes, or its key "n" fails for that reason. */

static void
proves(ngx_pool_t *pool, const ngx_lockbox_jwks_t *keys, ngx_uint_t private,
    ngx_uint_t n, const char *want, const char *name)
{
    ngx_int_t                 rc;
    ngx_str_t                 got;
    const char               *err;
    const ngx_lockbox_key_t  *key, *failed;

    err = NULL;
    failed = NULL;
    key = keys->elts;
    rc = ngx_lockbox_selftest(pool, keys, private, &failed, &err);

    if (want == NULL) {
        is(rc, NGX_OK, "%s: good", name);
        return;
    }

    got = ngx_shim_str(err ? err : "");

    is(rc, NGX_ERROR, "%s: refused", name);
    is_text(&got, want, "%s: the reason", name);
    ok(failed == &key[n], "%s: the key", name);
}


static void
test_good(ngx_pool_t *pool)
{
    size_t              i;
    ngx_lockbox_jwks_t  keys, all;

    jose_set(pool, &all);

    for (i = 0; i < ALGS; i++) {
        jose_set(pool, &keys);
        add_public(pool, &keys, &algs[i], "a");
        proves(pool, &keys, 0, 0, NULL, algs[i].name);

        (void) private_set(pool, &keys, &algs[i]);
        proves(pool, &keys, 1, 0, NULL, algs[i].name);

        add_public(pool, &all, &algs[i], algs[i].name);
    }

    proves(pool, &all, 0, 0, NULL, "all");

    jose_set(pool, &keys);
    proves(pool, &keys, 0, 0, NULL, "none");

    is(ngx_lockbox_selftest_any(pool), 1, "the algorithms are there");
}


/* The known answer is asked for once, each key is tried. */

static void
test_once(ngx_pool_t *pool)
{
    ngx_lockbox_jwks_t  keys;

    jose_set(pool, &keys);
    add_public(pool, &keys, &algs[3], "a");

    asked = 0;
    proves(pool, &keys, 0, 0, NULL, "one key");
    is(asked, 3 + 1, "one known answer, one key");

    add_public(pool, &keys, &algs[3], "b");

    asked = 0;
    proves(pool, &keys, 0, 0, NULL, "two keys");
    is(asked, 3 + 1 + 1, "one known answer, two keys");

    add_public(pool, &keys, &algs[4], "c");

    asked = 0;
    proves(pool, &keys, 0, 0, NULL, "three keys");
    is(asked, 3 + 1 + 1 + 3 + 1, "two known answers, three keys");
}


static ngx_uint_t
bits(const u_char *a, const u_char *b, size_t len)
{
    size_t      i;
    ngx_uint_t  n;

    n = 0;

    for (i = 0; i < len; i++) {
        n += (ngx_uint_t) __builtin_popcount(a[i] ^ b[i]);
    }

    return n;
}


/*
 * What is changed is one bit, and what is wrong is a number that has to be
 * computed with: OpenSSL refuses a zero unseen.
 */

static void
test_questions(ngx_pool_t *pool)
{
    size_t               i;
    question_t          *q;
    ngx_lockbox_jwks_t   keys;

    static const u_char  der[] = { 0x30, 6, 2, 1, 2, 2, 1, 2 };

    q = questions;

    for (i = 0; i < ALGS; i++) {
        jose_set(pool, &keys);
        add_public(pool, &keys, &algs[i], "a");

        asked = 0;
        proves(pool, &keys, 0, 0, NULL, algs[i].name);

        ok(q[1].len == q[0].len && bits(q[1].sig, q[0].sig, q[0].len) == 1,
           "%s: one bit of the signature", algs[i].name);
        ok(q[1].text_len == q[0].text_len
           && bits(q[1].text, q[0].text, q[0].text_len) == 0,
           "%s: none of its text", algs[i].name);

        ok(q[2].len == q[0].len && bits(q[2].sig, q[0].sig, q[0].len) == 0,
           "%s: none of the signature", algs[i].name);
        ok(q[2].text_len == q[0].text_len
           && bits(q[2].text, q[0].text, q[0].text_len) == 1,
           "%s: one bit of the text", algs[i].name);

        if (algs[i].bits == 0) {
            ok(q[3].len == sizeof(der)
               && ngx_memcmp(q[3].sig, der, sizeof(der)) == 0,
               "%s: a wrong one", algs[i].name);
            continue;
        }

        ngx_memzero(q[0].sig, 255);
        q[0].sig[255] = 2;
        ok(q[3].len == 256 && ngx_memcmp(q[3].sig, q[0].sig, 256) == 0,
           "%s: a wrong one", algs[i].name);
    }
}


/* Each algorithm has its own answer. */

static void
test_algorithm(ngx_pool_t *pool)
{
    size_t               i;
    ngx_lockbox_alg_t    row;
    ngx_lockbox_key_t   *key;
    ngx_lockbox_jwks_t   keys;

    for (i = 0; i < ALGS; i++) {
        jose_set(pool, &keys);
        add_public(pool, &keys, &algs[i], "a");

        key = keys.elts;
        row = *key->alg;
        key->alg = &row;
        proves(pool, &keys, 0, 0, NULL, algs[i].name);

        row.digest = "SHA224";
        proves(pool, &keys, 0, 0,
               "has an algorithm that does not give its known answer",
               "with another hash");

        row.digest = "no such digest";
        proves(pool, &keys, 0, 0,
               "has an algorithm that does not give its known answer",
               "with a hash that OpenSSL refuses");
    }

    ngx_str_set(&row.name, "PS256");
    proves(pool, &keys, 0, 0,
           "has an algorithm whose known answer cannot be tested",
           "an algorithm without one");

    is(ERR_peek_error(), 0, "OpenSSL has nothing left to complain of");
}


typedef struct {
    manner_t     manner;
    const char  *name;
    const char  *all;          /* what is said of it when all keys lie */
    const char  *one;          /* and when only the one at hand does */
    const char  *private;      /* or is a private one */
} lie_t;


static const lie_t  lies[] = {
    { YES, "who takes all",
      "does not refuse a signature with a changed bit",
      "takes a wrong signature for a right one",
      "takes a wrong signature for a right one" },

    { NO, "who takes none",
      "has an algorithm that does not give its known answer",
      NULL,
      "does not verify what it has signed" },

    { FAILS, "who fails",
      "has an algorithm that does not give its known answer",
      "cannot verify any signature",
      "cannot verify any signature" },

    { SLOPPY, "who does not look",
      "does not refuse a signature with a changed bit",
      NULL,
      "does not refuse a signature with a changed bit" },

    { DEAF, "who does not listen",
      "does not refuse a text with a changed bit",
      NULL,
      "does not refuse a text with a changed bit" }
};


static void
test_lies(ngx_pool_t *pool)
{
    char                 name[64];
    size_t               i, j;
    const lie_t         *lie;
    ngx_lockbox_key_t   *key;
    ngx_lockbox_jwks_t   public, private;

    for (i = 0; i < ALGS; i++) {
        jose_set(pool, &public);
        add_public(pool, &public, &algs[i], "a");
        add_public(pool, &public, &algs[(i + 1) % ALGS], "b");
        key = public.elts;

        for (j = 0; j < sizeof(lies) / sizeof(lies[0]); j++) {
            lie = &lies[j];
            (void) snprintf(name, sizeof(name), "%s, %s", algs[i].name,
                            lie->name);

            manner = lie->manner;
            heard_len = 0;
            liar = NULL;
            proves(pool, &public, 0, 0, lie->all, name);

            liar = key[1].pkey;
            proves(pool, &public, 0, 1, lie->one, name);

            liar = private_set(pool, &private, &algs[i])->pkey;
            proves(pool, &private, 1, 0, lie->private, name);

            manner = HONEST;
        }
    }

    liar = NULL;
    manner = NO;
    is(ngx_lockbox_selftest_any(pool), 0, "no algorithm is there");
    manner = HONEST;
}


/* A modulus that nobody can compute with looks like any other one. */

static void
test_modulus(ngx_pool_t *pool)
{
    char                 n[1367];
    size_t               i;
    json_t              *json;
    ngx_str_t            text;
    const char          *err;
    ngx_lockbox_jwks_t   keys;

    /* base64url of 256 or 1024 bytes, all ones but for the last bits */

    static const struct {
        size_t       len;
        char         last;
        const char  *reason;
        const char  *name;
    } moduli[] = {
        { 342, 'w', NULL, "an odd modulus" },
        { 342, 'g', "cannot verify any signature", "an even modulus" },
        { 1366, 'w', NULL, "the largest modulus" },
        { 1366, 'g', "cannot verify any signature", "the largest even one" }
    };

    for (i = 0; i < sizeof(moduli) / sizeof(moduli[0]); i++) {
        ngx_memset(n, '_', moduli[i].len - 1);
        n[moduli[i].len - 1] = moduli[i].last;
        n[moduli[i].len] = '\0';

        json = json_pack("{s:[{s:s, s:s, s:s}]}", "keys", "kty", "RSA",
                         "e", "AQAB", "n", n);
        (void) ngx_lockbox_json_dump(pool, json, &text);
        json_decref(json);

        jose_set(pool, &keys);
        is(ngx_lockbox_jwks_parse(pool, &text, &keys, &err), NGX_OK, "%s",
           moduli[i].name);
        proves(pool, &keys, 0, 0, moduli[i].reason, moduli[i].name);
    }

    is(ERR_peek_error(), 0, "OpenSSL has nothing left to complain of");
}


/* A private key whose public half is another's, and one that has no private. */

static void
test_halves(ngx_pool_t *pool)
{
    size_t               i;
    BIGNUM              *d;
    u_char               point[133];
    size_t               len;
    EVP_PKEY            *one, *other, *mixed;
    OSSL_PARAM          *params;
    EVP_PKEY_CTX        *ctx;
    OSSL_PARAM_BLD      *build;
    ngx_lockbox_jwks_t   keys;

    for (i = 3; i < ALGS; i++) {
        one = jose_pkey(algs[i].type, 0);
        other = jose_pkey(algs[i].type, 0);
        d = NULL;
        mixed = NULL;

        (void) EVP_PKEY_get_bn_param(one, OSSL_PKEY_PARAM_PRIV_KEY, &d);
        (void) EVP_PKEY_get_octet_string_param(other, OSSL_PKEY_PARAM_PUB_KEY,
                                               point, sizeof(point), &len);

        build = OSSL_PARAM_BLD_new();
        (void) OSSL_PARAM_BLD_push_utf8_string(build,
                              OSSL_PKEY_PARAM_GROUP_NAME, algs[i].type, 0);
        (void) OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_PRIV_KEY, d);
        (void) OSSL_PARAM_BLD_push_octet_string(build,
                              OSSL_PKEY_PARAM_PUB_KEY, point, len);
        params = OSSL_PARAM_BLD_to_param(build);

        ctx = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
        (void) EVP_PKEY_fromdata_init(ctx);
        (void) EVP_PKEY_fromdata(ctx, &mixed, EVP_PKEY_KEYPAIR, params);

        jose_set(pool, &keys);
        (void) jose_add(pool, &keys, mixed);
        proves(pool, &keys, 1, 0, "does not verify what it has signed",
               algs[i].name);
        proves(pool, &keys, 0, 0, NULL, algs[i].name);

        EVP_PKEY_CTX_free(ctx);
        OSSL_PARAM_free(params);
        OSSL_PARAM_BLD_free(build);
        BN_free(d);
        EVP_PKEY_free(mixed);
        EVP_PKEY_free(other);
        EVP_PKEY_free(one);
    }

    for (i = 0; i < ALGS; i++) {
        jose_set(pool, &keys);
        add_public(pool, &keys, &algs[i], "a");
        proves(pool, &keys, 1, 0, "cannot sign", algs[i].name);
    }

    is(ERR_peek_error(), 0, "OpenSSL has nothing left to complain of");
}


static ngx_int_t
walk(ngx_pool_t *pool, const void *data)
{
    const char               *err;
    const ngx_lockbox_key_t  *failed;

    return ngx_lockbox_selftest(pool, data, 1, &failed, &err);
}


int
main(void)
{
    size_t               i;
    ngx_pool_t          *pool;
    ngx_lockbox_jwks_t   keys;

    pool = ngx_create_pool(0, NULL);

    test_good(pool);
    test_once(pool);
    test_questions(pool);
    test_algorithm(pool);
    test_lies(pool);
    test_modulus(pool);
    test_halves(pool);

    for (i = 0; i < ALGS; i++) {
        (void) private_set(pool, &keys, &algs[i]);
        ok(ngx_shim_walk(walk, &keys) > 20, "%s without memory",
           algs[i].name);
    }

    is(ERR_peek_error(), 0, "OpenSSL has nothing left to complain of");

    ngx_destroy_pool(pool);

    is(ngx_shim_live(), 0, "nothing is left behind");

    return tap_done();
}
