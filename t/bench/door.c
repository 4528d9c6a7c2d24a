/*
 * Why: a flood of forged grants must cost little more than the signature that
 * has to be looked at anyway.  This measures the door against OpenSSL alone,
 * over the same bytes with the same key, with nginx's own pools.
 *
 * Prints JSON: microseconds of CPU for each side, and ratios, round by round.
 */

#include <ngx_config.h>
#include <ngx_core.h>

#include <time.h>

#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include "ngx_lockbox_base64url.h"
#include "ngx_lockbox_grant.h"
#include "ngx_lockbox_json.h"
#include "ngx_lockbox_token.h"


#define BENCH_ROUNDS  31
#define BENCH_CALLS   400
#define BENCH_LENGTH  750
#define BENCH_NOW     1700000000
#define BENCH_POOL    4096      /* "request_pool_size" unless configured */
#define BENCH_SIG     512


/* A grant as it is sent, and what OpenSSL alone is given of it. */
typedef struct {
    ngx_str_t                 text;
    ngx_str_t                 input;
    u_char                    sig[BENCH_SIG];
    size_t                    len;
    EVP_PKEY                 *pkey;
    ngx_lockbox_token_rule_t  rule;
} bench_grant_t;


/* Returns 1 if the answer is the right one. */
typedef ngx_uint_t (*bench_call_pt)(const bench_grant_t *grant);


typedef struct {
    const char           *name;
    bench_call_pt         call;
    const bench_grant_t  *grant;
    double                us[BENCH_ROUNDS];
} bench_side_t;


typedef struct {
    const char           *name;
    bench_side_t         *side;
    bench_side_t         *base;
    double                goal;
} bench_ratio_t;


static const char  bench_claims[] =
    "{\"iss\":\"https://lockbox.vendor.example\",\"aud\":\"lockbox-gate\","
    "\"sub\":\"erin\",\"engineer_iss\":\"https://login.vendor.example\","
    "\"iat\":1700000000,\"nbf\":1700000000,\"exp\":1700003600,"
    "\"jti\":\"018bcfe5-6800-7c3a-9d41-5f60718293a4\",\"tenant\":\"acme\","
    "\"authorization_details\":[{\"type\":\"lockbox\",\"service\":\"mail\","
    "\"methods\":[\"GET\"],\"paths\":[\"/tenants/acme/mail/\"],"
    "\"labels\":[\"confidential\"]}]}";


/* logs nothing; nginx's pools ask it */
static ngx_log_t  bench_log;


static void
die(const char *what)
{
    fprintf(stderr, "%s failed\n", what);
    exit(1);
}


/* What nginx's pools want of the rest of nginx. */

void ngx_cdecl
ngx_log_error_core(ngx_uint_t level, ngx_log_t *log, ngx_err_t err,
    const char *fmt, ...)
{
    die("nginx's pool");
}


static ngx_uint_t
openssl_accepts(const bench_grant_t *grant)
{
    int          good;
    EVP_MD_CTX  *ctx;

    ctx = EVP_MD_CTX_new();

    good = EVP_DigestVerifyInit(ctx, NULL, EVP_sha256(), NULL, grant->pkey)
           == 1
           && EVP_DigestVerify(ctx, grant->sig, grant->len, grant->input.data,
                               grant->input.len) == 1;

    EVP_MD_CTX_free(ctx);

    return good;
}


static ngx_uint_t
openssl_refuses(const bench_grant_t *grant)
{
    return !openssl_accepts(grant);
}


static ngx_uint_t
door_refuses(const bench_grant_t *grant)
{
    ngx_pool_t              *pool;
    ngx_lockbox_token_t      token;
    ngx_lockbox_decision_t   decision;

    pool = ngx_create_pool(BENCH_POOL, &bench_log);

    decision = ngx_lockbox_token_open(pool, &grant->rule, 1, &grant->text,
                                      BENCH_NOW, &token);
    ngx_destroy_pool(pool);

    return decision == NGX_LOCKBOX_BAD_SIGNATURE;
}


static ngx_uint_t
door_accepts(const bench_grant_t *grant)
{
    ngx_uint_t            good;
    ngx_pool_t           *pool;
    ngx_lockbox_grant_t   read;
    ngx_lockbox_token_t   token;

    pool = ngx_create_pool(BENCH_POOL, &bench_log);

    good = ngx_lockbox_token_open(pool, &grant->rule, 1, &grant->text,
                                  BENCH_NOW, &token) == NGX_LOCKBOX_ALLOW
           && ngx_lockbox_grant_parse(pool, token.claims, &read) == NGX_OK;

    ngx_destroy_pool(pool);

    return good;
}


/* The key as the module has it, out of PEM. */

static void
make_key(ngx_pool_t *pool, EVP_PKEY *pkey, ngx_lockbox_jwks_t *keys)
{
    BIO         *bio;
    char        *data;
    ngx_str_t    pem;
    const char  *err;

    bio = BIO_new(BIO_s_mem());

    if (PEM_write_bio_PrivateKey(bio, pkey, NULL, NULL, 0, NULL, NULL) != 1) {
        die("writing a key");
    }

    pem.len = (size_t) BIO_get_mem_data(bio, &data);
    pem.data = (u_char *) data;

    if (ngx_array_init(keys, pool, 1, sizeof(ngx_lockbox_key_t)) != NGX_OK
        || ngx_lockbox_jwks_pem(pool, &pem, 1, keys, &err) != NGX_OK)
    {
        die("reading a key");
    }

    BIO_free(bio);
}


/* The claims, with a subject as long as the ES256 grant needs it to be. */

static json_t *
make_claims(ngx_pool_t *pool, const ngx_lockbox_key_t *key)
{
    char        subject[256];
    size_t      n;
    json_t     *claims;
    ngx_str_t   text;

    claims = ngx_lockbox_json_parse(pool, (u_char *) bench_claims,
                                    sizeof(bench_claims) - 1);

    for (n = 4; n < sizeof(subject); n++) {
        ngx_memset(subject, 'e', n);
        subject[n] = '\0';

        if (ngx_lockbox_json_set(claims, "sub", json_string(subject))
            != NGX_OK
            || ngx_lockbox_token_sign(pool, key, NGX_LOCKBOX_GRANT_TYP,
                                      claims, &text)
               != NGX_OK)
        {
            die("signing");
        }

        if (text.len >= BENCH_LENGTH) {
            return claims;
        }
    }

    die("making a grant of the length");

    return NULL;
}


/* What OpenSSL wants: the bytes of the signature, of ECDSA in DER. */

static void
split(ngx_pool_t *pool, bench_grant_t *grant, EVP_PKEY *pkey)
{
    u_char     *dot, *der;
    BIGNUM     *r, *s;
    ECDSA_SIG  *sig;
    ngx_str_t   encoded, raw;

    dot = grant->text.data + grant->text.len;

    while (*--dot != '.') {
        /* void */
    }

    grant->pkey = pkey;
    grant->input.data = grant->text.data;
    grant->input.len = (size_t) (dot - grant->text.data);

    encoded.data = dot + 1;
    encoded.len = grant->text.len - grant->input.len - 1;

    if (ngx_lockbox_base64url_decode(pool, &encoded, &raw) != NGX_OK
        || raw.len > BENCH_SIG - 16)
    {
        die("decoding a signature");
    }

    grant->len = raw.len;
    ngx_memcpy(grant->sig, raw.data, raw.len);

    if (EVP_PKEY_get_base_id(pkey) != EVP_PKEY_EC) {
        return;
    }

    sig = ECDSA_SIG_new();
    r = BN_bin2bn(raw.data, (int) raw.len / 2, NULL);
    s = BN_bin2bn(raw.data + raw.len / 2, (int) raw.len / 2, NULL);
    (void) ECDSA_SIG_set0(sig, r, s);

    der = grant->sig;
    grant->len = (size_t) i2d_ECDSA_SIG(sig, &der);
    ECDSA_SIG_free(sig);
}


/*
 * A genuine grant and a forged one, which is the same but for a letter in the
 * last third of its signature: below the modulus or the order as well, and so
 * as much work as a genuine one.
 */

static void
make_grants(ngx_pool_t *pool, EVP_PKEY *pkey, json_t *claims,
    bench_grant_t *genuine, bench_grant_t *forged)
{
    u_char              *p;
    ngx_str_t            text;
    ngx_lockbox_jwks_t  *keys;

    keys = ngx_palloc(pool, sizeof(ngx_lockbox_jwks_t));
    make_key(pool, pkey, keys);

    if (claims == NULL) {
        claims = make_claims(pool, keys->elts);
    }

    if (ngx_lockbox_token_sign(pool, keys->elts, NGX_LOCKBOX_GRANT_TYP, claims,
                               &text) != NGX_OK)
    {
        die("signing");
    }

    ngx_memzero(genuine, sizeof(bench_grant_t));

    genuine->rule.typ = NGX_LOCKBOX_GRANT_TYP;
    genuine->rule.issuer = (ngx_str_t) ngx_string(
                                            "https://lockbox.vendor.example");
    genuine->rule.audience = (ngx_str_t) ngx_string("lockbox-gate");
    genuine->rule.keys = keys;
    genuine->rule.max_life = 14400;

    *forged = *genuine;

    genuine->text = text;
    split(pool, genuine, pkey);

    forged->text.len = text.len;
    forged->text.data = ngx_pstrdup(pool, &text);

    p = forged->text.data + text.len - 20;
    *p = *p == 'A' ? 'B' : 'A';
    split(pool, forged, pkey);
}


static double
cpu_us(void)
{
    struct timespec  ts;

    if (clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts) != 0) {
        die("the clock");
    }

    return (double) ts.tv_sec * 1e6 + (double) ts.tv_nsec / 1e3;
}


static double
measure(const bench_side_t *side)
{
    double      start;
    ngx_uint_t  i;

    start = cpu_us();

    for (i = 0; i < BENCH_CALLS; i++) {
        if (!side->call(side->grant)) {
            die(side->name);
        }
    }

    return (cpu_us() - start) / BENCH_CALLS;
}


static int
compare(const void *one, const void *two)
{
    double  a, b;

    a = *(const double *) one;
    b = *(const double *) two;

    return (a > b) - (a < b);
}


/* Prints the member, sorting its values. */

static void
print_spread(const char *name, double *values, double goal, ngx_uint_t last)
{
    qsort(values, BENCH_ROUNDS, sizeof(double), compare);

    printf("  \"%s\": {\"min\": %.3f, \"median\": %.3f, \"max\": %.3f", name,
           values[0], values[BENCH_ROUNDS / 2], values[BENCH_ROUNDS - 1]);

    if (goal > 0) {
        printf(", \"goal\": %.1f", goal);
    }

    printf("}%s\n", last ? "" : ",");
}


static void
print_results(bench_ratio_t *ratios, ngx_uint_t nratios, bench_side_t *sides,
    ngx_uint_t nsides)
{
    double      values[BENCH_ROUNDS];
    ngx_uint_t  i, round;

    printf("\"unit\": \"us of CPU a call\", \"ratios\": {\n");

    for (i = 0; i < nratios; i++) {
        for (round = 0; round < BENCH_ROUNDS; round++) {
            values[round] = ratios[i].side->us[round]
                            / ratios[i].base->us[round];
        }

        print_spread(ratios[i].name, values, ratios[i].goal,
                     i == nratios - 1);
    }

    printf("}, \"sides\": {\n");

    for (i = 0; i < nsides; i++) {
        print_spread(sides[i].name, sides[i].us, 0, i == nsides - 1);
    }

    printf("}}\n");
}


int
main(void)
{
    json_t        *claims;
    EVP_PKEY      *rsa, *ec;
    ngx_uint_t     i, n, round;
    ngx_pool_t    *pool;
    bench_grant_t  rs_good, rs_forged, es_good, es_forged;

    bench_side_t  sides[] = {
        { "openssl accepts rs256", openssl_accepts, &rs_good, { 0 } },
        { "openssl refuses rs256", openssl_refuses, &rs_forged, { 0 } },
        { "door accepts rs256", door_accepts, &rs_good, { 0 } },
        { "door refuses rs256", door_refuses, &rs_forged, { 0 } },
        { "openssl accepts es256", openssl_accepts, &es_good, { 0 } },
        { "openssl refuses es256", openssl_refuses, &es_forged, { 0 } },
        { "door accepts es256", door_accepts, &es_good, { 0 } },
        { "door refuses es256", door_refuses, &es_forged, { 0 } }
    };

    bench_ratio_t  ratios[] = {
        { "forged-rs256/openssl", &sides[3], &sides[1], 2.0 },
        { "genuine-rs256/openssl", &sides[2], &sides[0], 2.0 },
        { "forged-es256/openssl", &sides[7], &sides[5], 1.6 },
        { "genuine-es256/openssl", &sides[6], &sides[4], 1.6 }
    };

    ngx_pagesize = (ngx_uint_t) getpagesize();

    pool = ngx_create_pool(BENCH_POOL, &bench_log);
    rsa = EVP_RSA_gen(2048);
    ec = EVP_EC_gen("P-256");

    if (pool == NULL || rsa == NULL || ec == NULL) {
        die("making keys");
    }

    make_grants(pool, ec, NULL, &es_good, &es_forged);
    claims = ngx_lockbox_json_parse(pool, (u_char *) bench_claims,
                                    sizeof(bench_claims) - 1);
    make_grants(pool, rsa, claims, &rs_good, &rs_forged);

    printf("{\"notes\": [\"the door: one grant of %d bytes with ES256, and of "
           "%d bytes with RS256\"],\n", (int) es_good.text.len,
           (int) rs_good.text.len);

    n = sizeof(sides) / sizeof(bench_side_t);

    /* each side once before, so that what is made once is there for all */

    for (i = 0; i < n; i++) {
        (void) measure(&sides[i]);
    }

    for (round = 0; round < BENCH_ROUNDS; round++) {
        for (i = 0; i < n; i++) {
            sides[(i + round) % n].us[round] = measure(&sides[(i + round) % n]);
        }
    }

    print_results(ratios, sizeof(ratios) / sizeof(bench_ratio_t), sides, n);

    ngx_destroy_pool(pool);
    EVP_PKEY_free(rsa);
    EVP_PKEY_free(ec);

    return 0;
}
