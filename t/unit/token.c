/*
 * Why: this is the one door that every grant, identity and seal comes through;
 * each rule here is the one that some forged token fails on.
 */

/* links: ngx_lockbox_token.c ngx_lockbox_jwks.c ngx_lockbox_json.c */
/* links: ngx_lockbox_base64url.c */

#include <ngx_config.h>
#include <ngx_core.h>

#include <openssl/bn.h>

#include "ngx_lockbox_json.h"
#include "ngx_lockbox_token.h"
#include "jose.h"
#include "oom.h"
#include "ngx_shim.h"
#include "tap.h"


#define NOW         1700000000
#define LIFE        3600
#define TOKEN_MAX   8192
#define HEADER_MAX  1024

#define ALLOW      NGX_LOCKBOX_ALLOW
#define MALFORMED  NGX_LOCKBOX_MALFORMED_TOKEN
#define TYPE       NGX_LOCKBOX_WRONG_TYPE
#define ISSUER     NGX_LOCKBOX_WRONG_ISSUER
#define KEY        NGX_LOCKBOX_UNKNOWN_KEY
#define SIGNATURE  NGX_LOCKBOX_BAD_SIGNATURE
#define AUDIENCE   NGX_LOCKBOX_WRONG_AUDIENCE
#define EARLY      NGX_LOCKBOX_NOT_YET_VALID
#define EXPIRED    NGX_LOCKBOX_EXPIRED
#define LONG       NGX_LOCKBOX_TOO_LONG_LIVED


/* Two issuers: one with two keys, one with a single one. */

static ngx_lockbox_jwks_t         vendor_keys, other_keys;
static ngx_lockbox_token_rule_t   rules[2];
static ngx_lockbox_key_t         *ec, *rsa, *single;


static void
make_world(ngx_pool_t *pool)
{
    size_t     i;
    EVP_PKEY  *pkeys[3];

    pkeys[0] = jose_pkey("P-256", 0);
    pkeys[1] = jose_pkey("RSA", 2048);
    pkeys[2] = jose_pkey("P-384", 0);

    jose_set(pool, &vendor_keys);
    jose_set(pool, &other_keys);

    ec = jose_add(pool, &vendor_keys, pkeys[0]);
    rsa = jose_add(pool, &vendor_keys, pkeys[1]);
    single = jose_add(pool, &other_keys, pkeys[2]);

    ec->kid = ngx_shim_str("ec");
    rsa->kid = ngx_shim_str("rsa");
    single->kid = ngx_shim_str("single");

    for (i = 0; i < 3; i++) {
        EVP_PKEY_free(pkeys[i]);
    }

    ngx_memzero(rules, sizeof(rules));

    rules[0].typ = NGX_LOCKBOX_GRANT_TYP;
    rules[0].issuer = ngx_shim_str("https://vendor.example");
    rules[0].audience = ngx_shim_str("gate");
    rules[0].keys = &vendor_keys;
    rules[0].max_life = LIFE;

    rules[1] = rules[0];
    rules[1].issuer = ngx_shim_str("https://other.example");
    rules[1].keys = &other_keys;
}


/* What a token is made of; a test changes one member of one of them. */

#define GRANT_HEADER                                                         \
    "{\"typ\":\"lockbox-grant+jwt\",\"alg\":\"ES256\",\"kid\":\"ec\"}"
#define CLAIMS                                                               \
    "{\"iss\":\"https://vendor.example\",\"aud\":\"gate\","                   \
    "\"sub\":\"erin\",\"iat\":1700000000,\"nbf\":1700000000,"                 \
    "\"exp\":1700003600}"


/* The text of "doc" with the member set to a JSON value, or removed. */

static const char *
with(ngx_pool_t *pool, const char *doc, const char *member, const char *value)
{
    json_t     *json;
    ngx_str_t   text;

    json = ngx_lockbox_json_own(pool, json_loads(doc, 0, NULL));

    if (value) {
        (void) json_object_set_new(json, member,
                                   json_loads(value, JSON_DECODE_ANY, NULL));

    } else if (member) {
        (void) json_object_del(json, member);
    }

    (void) ngx_lockbox_json_dump(pool, json, &text);

    return (const char *) jose_join(pool, &text, &(ngx_str_t) ngx_string("\0"),
                                    NULL).data;
}


static ngx_lockbox_decision_t
open_text(ngx_pool_t *pool, const ngx_str_t *text,
    ngx_lockbox_token_t *token)
{
    return ngx_lockbox_token_open(pool, rules, 2, text, NOW, token);
}


/* 1 if a refused token says nothing of what it claims. */

static int
is_silent(const ngx_lockbox_token_t *token, ngx_lockbox_decision_t rc)
{
    return rc == token->decision && !token->genuine && token->claims == NULL;
}


static void
test_good(ngx_pool_t *pool)
{
    ngx_str_t            text;
    ngx_lockbox_token_t  token;

    text = jose_sign(pool, ec, GRANT_HEADER, CLAIMS);

    is(open_text(pool, &text, &token), ALLOW, "a good token");
    is(token.decision, ALLOW, "and its decision");
    is(token.genuine, 1, "is genuine");
    is(token.issued, NOW, "says when it was made");
    is(token.expires, NOW + LIFE, "says when it ends");
    is(token.rule, 0, "says whose it is");
    is(token.at_jwt, 0, "is no access token");
    ok(token.key == ec, "and by which key");
    ok(json_object_size(token.claims) == 6, "with its claims");

    text = jose_sign(pool, single,
                     with(pool, with(pool, GRANT_HEADER, "kid", "\"single\""),
                          "alg", "\"ES384\""),
                     with(pool, CLAIMS, "iss", "\"https://other.example\""));

    is(open_text(pool, &text, &token), ALLOW, "one of the other issuer");
    is(token.rule, 1, "is told apart");

    rules[0].typ = NULL;
    is(ngx_lockbox_token_open(pool, &rules[1], 1, &text, NOW, &token), ALLOW,
       "one rule");
    is(ngx_lockbox_token_open(pool, rules, 2, &text, NOW, &token), TYPE,
       "of several rules the first says the type");
    rules[0].typ = NGX_LOCKBOX_GRANT_TYP;

    is(ngx_lockbox_token_open(pool, rules, 0, &text, NOW, &token), MALFORMED,
       "without an issuer there is no token");
    ok(is_silent(&token, MALFORMED), "and it says nothing");
}


typedef struct {
    const char              *member;
    const char              *value;     /* JSON; NULL removes it */
    ngx_lockbox_decision_t   want;
} change_t;


static const change_t  headers[] = {
    { "x5t", "\"abc\"", ALLOW },
    { "typ", NULL, TYPE },
    { "typ", "\"JWT\"", TYPE },
    { "typ", "\"at+jwt\"", TYPE },
    { "typ", "\"lockbox-seal+jwt\"", TYPE },
    { "typ", "\"Lockbox-Grant+jwt\"", TYPE },
    { "typ", "\"lockbox-grant+jw\"", TYPE },
    { "typ", "\"lockbox-grant+jwts\"", TYPE },
    { "typ", "\"application/lockbox-grant+jwt\"", TYPE },
    { "typ", "\"\"", MALFORMED },
    { "typ", "1", MALFORMED },
    { "typ", "null", MALFORMED },
    { "typ", "[\"lockbox-grant+jwt\"]", MALFORMED },

    { "alg", NULL, MALFORMED },
    { "alg", "\"\"", MALFORMED },
    { "alg", "256", MALFORMED },
    { "alg", "[\"ES256\"]", MALFORMED },
    { "alg", "\"none\"", SIGNATURE },
    { "alg", "\"es256\"", SIGNATURE },
    { "alg", "\"ES384\"", SIGNATURE },
    { "alg", "\"ES2567\"", SIGNATURE },
    { "alg", "\"ES256K\"", SIGNATURE },
    { "alg", "\"RS256\"", SIGNATURE },
    { "alg", "\"HS256\"", SIGNATURE },

    { "kid", NULL, KEY },
    { "kid", "\"\"", MALFORMED },
    { "kid", "1", MALFORMED },
    { "kid", "\"e\"", KEY },
    { "kid", "\"ec2\"", KEY },
    { "kid", "\"EC\"", KEY },
    { "kid", "\"single\"", KEY },
    { "kid", "\"../../../../dev/null\"", KEY },
    { "kid", "\"ec' OR '1'='1\"", KEY },
    { "kid", "\"ec\\r\\nFLUSHALL\"", KEY },
    { "kid", "\"rsa\"", SIGNATURE },

    { "crit", "[\"b64\"]", MALFORMED },
    { "crit", "[]", MALFORMED },
    { "b64", "false", MALFORMED },
    { "b64", "true", MALFORMED },
    { "zip", "\"DEF\"", MALFORMED },
    { "enc", "\"A128GCM\"", MALFORMED },
    { "cty", "\"JWT\"", MALFORMED },
    { "jku", "\"https://evil.example/jwks\"", MALFORMED },
    { "x5u", "\"https://evil.example/cert\"", MALFORMED },
    { "x5c", "[\"MIIB\"]", MALFORMED },
    { "jwk", "{\"kty\":\"EC\"}", MALFORMED },
    { "jwk", "null", MALFORMED }
};


static void
test_headers(ngx_pool_t *pool)
{
    size_t                   i;
    ngx_str_t                text;
    const change_t          *row;
    ngx_lockbox_token_t      token;
    ngx_lockbox_decision_t   rc;

    for (i = 0; i < sizeof(headers) / sizeof(change_t); i++) {
        row = &headers[i];
        text = jose_sign(pool, ec, with(pool, GRANT_HEADER, row->member,
                                        row->value), CLAIMS);
        rc = open_text(pool, &text, &token);

        is(rc, row->want, "header %s %s", row->member,
           row->value ? row->value : "missing");
        ok(rc == ALLOW || is_silent(&token, rc), "header %s: says no more",
           row->member);
    }
}


#define BIG  "9007199254740992"


static const change_t  claims[] = {
    { "colour", "\"red\"", ALLOW },

    { "iss", NULL, MALFORMED },
    { "iss", "\"\"", MALFORMED },
    { "iss", "[\"https://vendor.example\"]", MALFORMED },
    { "iss", "\"https://vendor.example/\"", ISSUER },
    { "iss", "\"https://vendor.exampl\"", ISSUER },
    { "iss", "\"https://Vendor.example\"", ISSUER },
    { "iss", "\"https://other.example\"", KEY },

    { "sub", NULL, MALFORMED },
    { "sub", "\"\"", MALFORMED },
    { "sub", "[\"erin\"]", MALFORMED },
    { "sub", "7", MALFORMED },
    { "sub", "\"erin\\r\\nx\"", MALFORMED },
    { "sub", "\"erin\\u007f\"", MALFORMED },

    { "aud", NULL, MALFORMED },
    { "aud", "\"\"", AUDIENCE },
    { "aud", "\"gat\"", AUDIENCE },
    { "aud", "\"gate2\"", AUDIENCE },
    { "aud", "\"Gate\"", AUDIENCE },
    { "aud", "[\"gate\"]", MALFORMED },
    { "aud", "1", MALFORMED },

    { "exp", NULL, MALFORMED },
    { "exp", "\"1700003600\"", MALFORMED },
    { "exp", "1700003600.5", MALFORMED },
    { "exp", "1700003600.0", MALFORMED },
    { "exp", "17e8", MALFORMED },
    { "exp", "true", MALFORMED },
    { "exp", "null", MALFORMED },
    { "exp", "-1", MALFORMED },
    { "exp", "9223372036854775807", MALFORMED },
    { "exp", "9007199254740993", MALFORMED },
    { "exp", BIG, LONG },
    { "exp", "1700003600000", LONG },
    { "exp", "1700003601", LONG },
    { "exp", "1700000001", ALLOW },
    { "exp", "1700000000", EXPIRED },
    { "exp", "1", EXPIRED },
    { "exp", "0", EXPIRED },

    { "iat", NULL, MALFORMED },
    { "iat", "\"1700000000\"", MALFORMED },
    { "iat", "1699999999.5", MALFORMED },
    { "iat", "-1", MALFORMED },
    { "iat", "-9223372036854775808", MALFORMED },
    { "iat", "9007199254740993", MALFORMED },
    { "iat", BIG, EARLY },
    { "iat", "1700000001", EARLY },
    { "iat", "1699999999", LONG },
    { "iat", "0", LONG },

    { "nbf", NULL, ALLOW },
    { "nbf", "\"1700000000\"", MALFORMED },
    { "nbf", "1700000000.5", MALFORMED },
    { "nbf", "true", MALFORMED },
    { "nbf", "-1", MALFORMED },
    { "nbf", "9007199254740993", MALFORMED },
    { "nbf", BIG, EARLY },
    { "nbf", "1700000001", EARLY },
    { "nbf", "0", ALLOW }
};


static void
test_claims(ngx_pool_t *pool)
{
    size_t                i;
    ngx_str_t             text;
    ngx_uint_t            told;
    const change_t       *row;
    ngx_lockbox_token_t   token;

    for (i = 0; i < sizeof(claims) / sizeof(change_t); i++) {
        row = &claims[i];
        text = jose_sign(pool, ec, GRANT_HEADER,
                         with(pool, CLAIMS, row->member, row->value));

        is(open_text(pool, &text, &token), row->want, "claim %s %s",
           row->member, row->value ? row->value : "missing");

        /* iss chooses the key, so all else is known to be its owner's word */

        told = ngx_strcmp(row->member, "iss") != 0;
        is(token.genuine, told, "claim %s: whether the token is genuine",
           row->member);
        is(token.claims != NULL, told, "claim %s: whether claims are told",
           row->member);
    }
}


typedef struct {
    time_t                   leeway;
    const char              *member;
    const char              *value;
    ngx_lockbox_decision_t   want;
} leeway_t;


static const leeway_t  leeways[] = {
    { 60, "nbf", "1700000060", ALLOW },
    { 60, "nbf", "1700000061", EARLY },
    { 60, "iat", "1700000060", ALLOW },
    { 60, "iat", "1700000061", EARLY },
    { 60, "exp", "1700000000", EXPIRED },
    { 60, "exp", "1699999999", EXPIRED },
    { 60, "exp", "1700003660", LONG },
    { 1, "nbf", "1700000001", ALLOW },
    { 1, "nbf", "1700000002", EARLY },
    { 1, "iat", "1700000002", EARLY }
};


static void
test_leeway(ngx_pool_t *pool)
{
    size_t               i;
    ngx_str_t            text;
    const leeway_t      *row;
    ngx_lockbox_token_t  token;

    for (i = 0; i < sizeof(leeways) / sizeof(leeway_t); i++) {
        row = &leeways[i];
        rules[0].leeway = row->leeway;

        text = jose_sign(pool, ec, GRANT_HEADER,
                         with(pool, CLAIMS, row->member, row->value));
        is(open_text(pool, &text, &token), row->want,
           "%s %s with %d seconds of leeway", row->member, row->value,
           (int) row->leeway);
    }

    rules[0].leeway = 0;
}


/* The first second of all, which is as good as any other. */

static void
test_epoch(ngx_pool_t *pool)
{
    ngx_str_t            text;
    ngx_lockbox_token_t  token;

    static const char  payload[] =
        "{\"iss\":\"https://vendor.example\",\"aud\":\"gate\","
        "\"sub\":\"erin\",\"iat\":0,\"exp\":1}";

    text = jose_sign(pool, ec, GRANT_HEADER, payload);
    is(ngx_lockbox_token_open(pool, rules, 2, &text, 0, &token), ALLOW,
       "no nbf is no time that is to come");

    text = jose_sign(pool, ec, GRANT_HEADER, with(pool, payload, "nbf", "1"));
    is(ngx_lockbox_token_open(pool, rules, 2, &text, 0, &token), EARLY,
       "and 1 is one");
}


/* Forms: what stands between and around the segments. */

typedef struct {
    const char              *format;    /* %h, %p and %s are the segments */
    ngx_lockbox_decision_t   want;
} form_t;


static const form_t  forms[] = {
    { "%h.%p.%s", ALLOW },
    { "", MALFORMED },
    { ".", MALFORMED },
    { "..", MALFORMED },
    { "...", MALFORMED },
    { "%h", MALFORMED },
    { "%h.", MALFORMED },
    { "%h.%p", MALFORMED },
    { "%h.%p.", MALFORMED },
    { "%h..%s", MALFORMED },
    { ".%p.%s", MALFORMED },
    { ".%h.%p.%s", MALFORMED },
    { "%h.%p.%s.", MALFORMED },
    { "%h.%p.%s.%s", MALFORMED },
    { "%h.%p.%s.%p.%s", MALFORMED },
    { " %h.%p.%s", MALFORMED },
    { "%h.%p.%s ", MALFORMED },
    { "%h.%p.%s\t", MALFORMED },
    { "%h.%p.%s\n", MALFORMED },
    { "%h.%p.%s,%h.%p.%s", MALFORMED },
    { "%h.%p.%s=", MALFORMED },
    { "%h=.%p.%s", MALFORMED },
    { "%h.%p=.%s", MALFORMED },
    { "%h.%p .%s", MALFORMED },
    { "%h.%p.*%s", MALFORMED },
    { "%h.%p.~%s", MALFORMED },
    { "%h.%p.%s%s", SIGNATURE },
    { "%h.%p.AAAA", SIGNATURE },
    { "%h.%h.%s", MALFORMED },
    { "%p.%p.%s", MALFORMED },
    { "{\"payload\":\"%p\",\"signature\":\"%s\"}", MALFORMED }
};


static ngx_str_t
format(ngx_pool_t *pool, const char *form, const ngx_str_t *token)
{
    u_char       *p, *dot[2], *end;
    ngx_str_t     text;
    const char   *f;

    end = token->data + token->len;
    dot[0] = ngx_strlchr(token->data, end, '.');
    dot[1] = ngx_strlchr(dot[0] + 1, end, '.');

    text.data = ngx_pnalloc(pool, 4 * token->len + ngx_strlen(form) + 1);
    p = text.data;

    for (f = form; *f; f++) {
        if (*f != '%') {
            *p++ = (u_char) *f;
            continue;
        }

        switch (*++f) {
        case 'h':
            p = ngx_cpymem(p, token->data, dot[0] - token->data);
            break;
        case 'p':
            p = ngx_cpymem(p, dot[0] + 1, dot[1] - dot[0] - 1);
            break;
        default:
            p = ngx_cpymem(p, dot[1] + 1, end - dot[1] - 1);
        }
    }

    text.len = (size_t) (p - text.data);

    return text;
}


static void
test_forms(ngx_pool_t *pool)
{
    size_t                   i;
    ngx_str_t                good, text;
    ngx_lockbox_token_t      token;
    ngx_lockbox_decision_t   rc;

    good = jose_sign(pool, ec, GRANT_HEADER, CLAIMS);

    for (i = 0; i < sizeof(forms) / sizeof(form_t); i++) {
        text = format(pool, forms[i].format, &good);
        rc = open_text(pool, &text, &token);

        is(rc, forms[i].want, "the form \"%s\"", forms[i].format);
        ok(rc == ALLOW || is_silent(&token, rc), "and says no more");
    }

    text = good;
    text.len = 0;
    text.data = NULL;
    is(open_text(pool, &text, &token), MALFORMED, "no bytes at all");
}


/* JSON that has more than one reading, signed all the same */

static const char  *documents[] = {
    "",
    "[]",
    "null",
    "\"a\"",
    "{",
    "x",
    "\xef\xbb\xbf" GRANT_HEADER
};


static void
test_documents(ngx_pool_t *pool)
{
    size_t               i;
    ngx_str_t            text, head, body, nul, good, evil, pair;
    ngx_lockbox_token_t  token;

    for (i = 1; i < sizeof(documents) / sizeof(documents[0]); i++) {
        text = jose_sign(pool, ec, documents[i], CLAIMS);
        is(open_text(pool, &text, &token), MALFORMED, "header %s",
           documents[i]);

        text = jose_sign(pool, ec, GRANT_HEADER, documents[i]);
        is(open_text(pool, &text, &token), MALFORMED, "payload %s",
           documents[i]);
    }

    text = jose_sign(pool, ec,
                     "{\"alg\":\"none\",\"typ\":\"lockbox-grant+jwt\","
                     "\"alg\":\"ES256\",\"kid\":\"ec\"}", CLAIMS);
    is(open_text(pool, &text, &token), MALFORMED, "alg twice");

    text = jose_sign(pool, ec, GRANT_HEADER,
                     "{\"iss\":\"https://vendor.example\",\"aud\":\"gate\","
                     "\"sub\":\"erin\",\"s\\u0075b\":\"eve\","
                     "\"iat\":1700000000,\"exp\":1700003600}");
    is(open_text(pool, &text, &token), MALFORMED, "sub twice, by escape");

    head = jose_encode(pool, GRANT_HEADER, sizeof(GRANT_HEADER) - 1);
    good = ngx_shim_str(CLAIMS);
    evil = ngx_shim_str("{\"sub\":\"eve\"}");
    nul.len = 1;
    nul.data = (u_char *) "";
    pair = jose_join(pool, &good, &nul, &evil, NULL);
    body = jose_encode(pool, pair.data, pair.len);
    text = jose_seal(pool, ec, &head, &body);
    is(open_text(pool, &text, &token), MALFORMED, "NUL and another object");
}


/* Spellings of one signature: only the canonical one counts. */

static void
test_spellings(ngx_pool_t *pool)
{
    size_t               i, changed;
    ngx_str_t            text, good;
    ngx_lockbox_token_t  token;
    static const char    alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

    good = jose_sign(pool, ec, GRANT_HEADER, CLAIMS);

    /* 64 bytes are 86 characters, of which the last one has 4 unused bits */

    text = jose_join(pool, &good, NULL);
    i = (size_t) (strchr(alphabet, good.data[good.len - 1]) - alphabet);

    for (changed = 1; changed < 16; changed <<= 1) {
        text.data[text.len - 1] = (u_char) alphabet[i | changed];
        is(open_text(pool, &text, &token), MALFORMED,
           "an unused bit, %d", (int) changed);
    }

    for (i = 0; i < good.len; i++) {
        text = jose_join(pool, &good, NULL);

        if (text.data[i] == '-' || text.data[i] == '_') {
            text.data[i] = text.data[i] == '-' ? '+' : '/';
            is(open_text(pool, &text, &token), MALFORMED,
               "the other alphabet at %d", (int) i);
            break;
        }
    }
}


/* No byte of a token may be changed unnoticed. */

static void
test_every_byte(ngx_pool_t *pool)
{
    size_t               i;
    ngx_str_t            text;
    ngx_uint_t           wrong;
    ngx_lockbox_token_t  token;

    text = jose_sign(pool, rsa,
                     with(pool, with(pool, GRANT_HEADER, "kid", "\"rsa\""),
                          "alg", "\"RS256\""), CLAIMS);
    is(open_text(pool, &text, &token), ALLOW, "an RSA token");

    wrong = 0;

    for (i = 0; i < text.len; i++) {
        text.data[i] ^= 0x04;
        wrong += open_text(pool, &text, &token) == ALLOW || token.genuine;
        text.data[i] ^= 0x04;
    }

    is(wrong, 0, "with another byte it is none");
}


/* RFC 7518 section 3.4: (r, n - s) is as good a signature; (0, 0) is none */

static void
test_twin(ngx_pool_t *pool)
{
    BN_CTX              *ctx;
    BIGNUM              *n, *s;
    ngx_str_t            good, text, encoded;
    ngx_lockbox_token_t  token;

    static const char  order[] =
        "FFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551";

    text = jose_sign(pool, ec, GRANT_HEADER, CLAIMS);
    encoded.data = text.data + text.len - 86;
    encoded.len = 86;
    (void) ngx_lockbox_base64url_decode(pool, &encoded, &good);

    n = NULL;
    ctx = BN_CTX_new();
    (void) BN_hex2bn(&n, order);
    s = BN_bin2bn(good.data + 32, 32, NULL);
    (void) BN_sub(s, n, s);
    (void) BN_bn2binpad(s, good.data + 32, 32);

    ngx_lockbox_base64url_encode(&encoded, good.data, 64);
    is(open_text(pool, &text, &token), ALLOW, "the twin of a signature");

    ngx_memzero(good.data, 64);
    ngx_lockbox_base64url_encode(&encoded, good.data, 64);
    is(open_text(pool, &text, &token), SIGNATURE, "r and s are 0");

    ngx_memset(good.data, 0xff, 64);
    ngx_lockbox_base64url_encode(&encoded, good.data, 64);
    is(open_text(pool, &text, &token), SIGNATURE, "all ones");

    BN_free(s);
    BN_free(n);
    BN_CTX_free(ctx);
}


/* A document blown up to "len" bytes by a member that does not matter. */

static char *
blown_up(ngx_pool_t *pool, const char *doc, size_t len)
{
    char    *text;
    size_t   have;

    have = ngx_strlen(doc);
    text = ngx_palloc(pool, len + 1);

    ngx_memcpy(text, doc, have - 1);
    ngx_memset(text + have - 1, 'x', len - have);
    ngx_memcpy(text + have - 1, ",\"x\":\"", 6);
    ngx_memcpy(text + len - 2, "\"}", 3);

    return text;
}


static void
test_sizes(ngx_pool_t *pool)
{
    size_t               len, room;
    ngx_str_t            text;
    ngx_lockbox_token_t  token;

    /* 768 bytes are 1024 characters */

    text = jose_sign(pool, ec, blown_up(pool, GRANT_HEADER, HEADER_MAX * 3 / 4),
                     CLAIMS);
    is(open_text(pool, &text, &token), ALLOW, "a header of 1024 characters");

    text = jose_sign(pool, ec,
                     blown_up(pool, GRANT_HEADER, HEADER_MAX * 3 / 4 + 1),
                     CLAIMS);
    is(open_text(pool, &text, &token), MALFORMED, "a longer header");

    text = jose_sign(pool, ec, GRANT_HEADER, CLAIMS);
    room = TOKEN_MAX - (text.len - ngx_lockbox_base64url_len(sizeof(CLAIMS)
                                                             - 1));

    for (len = room * 3 / 4; ngx_lockbox_base64url_len(len) < room; len++) {
        /* void */
    }

    text = jose_sign(pool, ec, GRANT_HEADER, blown_up(pool, CLAIMS, len));
    ok(text.len == TOKEN_MAX || text.len == TOKEN_MAX + 1,
       "a token about as long as can be");

    while (text.len > TOKEN_MAX) {
        text = jose_sign(pool, ec, GRANT_HEADER, blown_up(pool, CLAIMS, --len));
    }

    is(open_text(pool, &text, &token), ALLOW, "a token of %d bytes",
       (int) text.len);

    while (text.len <= TOKEN_MAX) {
        text = jose_sign(pool, ec, GRANT_HEADER, blown_up(pool, CLAIMS, ++len));
    }

    is(open_text(pool, &text, &token), MALFORMED, "a token of %d bytes",
       (int) text.len);
}


/* Identity tokens */

typedef struct {
    ngx_uint_t               claim;     /* else it is in the header */
    const char              *member;
    const char              *value;
    ngx_lockbox_decision_t   want;
    ngx_uint_t               at_jwt;
} identity_t;


static const identity_t  identities[] = {
    { 0, "typ", NULL, ALLOW, 0 },
    { 0, "typ", "\"JWT\"", ALLOW, 0 },
    { 0, "typ", "\"jwt\"", ALLOW, 0 },
    { 0, "typ", "\"at+jwt\"", ALLOW, 1 },
    { 0, "typ", "\"AT+JWT\"", ALLOW, 1 },
    { 0, "typ", "\"JW\"", TYPE, 0 },
    { 0, "typ", "\"JWTs\"", TYPE, 0 },
    { 0, "typ", "\"JWE\"", TYPE, 0 },
    { 0, "typ", "\"at+jwts\"", TYPE, 0 },
    { 0, "typ", "\"at-jwt\"", TYPE, 0 },
    { 0, "typ", "\"at+jwe\"", TYPE, 0 },
    { 0, "typ", "\"application/at+jwt\"", TYPE, 0 },
    { 0, "typ", "\"lockbox-grant+jwt\"", TYPE, 0 },
    { 0, "typ", "\"lockbox-seal+jwt\"", TYPE, 0 },
    { 0, "typ", "\"logout+jwt\"", TYPE, 0 },
    { 0, "typ", "\"\"", MALFORMED, 0 },
    { 0, "kid", NULL, KEY, 0 },
    { 1, "aud", "\"gate\"", ALLOW, 0 },
    { 1, "aud", "[\"gate\"]", ALLOW, 0 },
    { 1, "aud", "[\"a\",\"gate\",\"b\"]", ALLOW, 0 },
    { 1, "aud", "[\"a\",\"gate2\"]", AUDIENCE, 0 },
    { 1, "aud", "[]", AUDIENCE, 0 },
    { 1, "aud", "[\"gate\",1]", MALFORMED, 0 },
    { 1, "aud", "[[\"gate\"]]", MALFORMED, 0 },
    { 1, "aud", "{\"gate\":1}", MALFORMED, 0 },
    { 1, "aud", NULL, MALFORMED, 0 }
};


static void
test_identities(ngx_pool_t *pool)
{
    size_t                i;
    ngx_str_t             text;
    const char           *header, *payload;
    const identity_t     *row;
    ngx_lockbox_token_t   token;

    rules[0].typ = NULL;
    rules[1].typ = NULL;

    for (i = 0; i < sizeof(identities) / sizeof(identity_t); i++) {
        row = &identities[i];
        header = with(pool, GRANT_HEADER, "typ", "\"JWT\"");
        payload = CLAIMS;

        if (row->claim) {
            payload = with(pool, payload, row->member, row->value);
        } else {
            header = with(pool, header, row->member, row->value);
        }

        text = jose_sign(pool, ec, header, payload);
        is(open_text(pool, &text, &token), row->want, "identity %s %s",
           row->member, row->value ? row->value : "missing");
        is(token.at_jwt, row->at_jwt, "whether it is an access token");
    }

    header = "{\"alg\":\"ES384\"}";
    payload = with(pool, CLAIMS, "iss", "\"https://other.example\"");
    text = jose_sign(pool, single, header, payload);
    is(open_text(pool, &text, &token), ALLOW,
       "no kid where there is a single key");

    text = jose_sign(pool, single, with(pool, header, "kid", "\"x\""),
                     payload);
    is(open_text(pool, &text, &token), KEY, "but not another one");

    rules[0].typ = NGX_LOCKBOX_GRANT_TYP;
    rules[1].typ = NGX_LOCKBOX_GRANT_TYP;

    text = jose_sign(pool, single,
                     with(pool, header, "typ", "\"lockbox-grant+jwt\""),
                     payload);
    is(open_text(pool, &text, &token), KEY, "and a grant must have one");
}


/* Texts */

static void
test_texts(void)
{
    size_t     i;
    u_char     data[256];
    ngx_str_t  text;

    static const struct {
        const char  *text;
        ngx_uint_t   valid;
    } rows[] = {
        { "a", 1 }, { " ", 1 }, { "~", 1 }, { "\xc3\xa9", 1 }, { "", 0 },
        { "\x1f", 0 }, { "a\x7f", 0 }, { "a\nb", 0 }, { "a\r", 0 },
        { "\tb", 0 }
    };

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        text = ngx_shim_str(rows[i].text);
        is(ngx_lockbox_token_text_valid(&text), rows[i].valid, "text \"%s\"",
           rows[i].text);
    }

    text.data = data;
    ngx_memset(data, 'a', sizeof(data));

    for (text.len = 254; text.len <= 256; text.len++) {
        is(ngx_lockbox_token_text_valid(&text), text.len < 256,
           "a text of %d bytes", (int) text.len);
    }

    text.len = 2;
    data[1] = '\0';
    is(ngx_lockbox_token_text_valid(&text), 0, "a NUL");
}


/* The pen */

static void
test_sign(ngx_pool_t *pool)
{
    json_t               *json, *want;
    u_char               *dot;
    ngx_str_t             text, head, plain;
    ngx_lockbox_token_t   token;

    json = json_loads(CLAIMS, 0, NULL);

    is(ngx_lockbox_token_sign(pool, ec, NGX_LOCKBOX_GRANT_TYP, json, &text),
       NGX_OK, "signed");
    is(open_text(pool, &text, &token), ALLOW, "and let in");
    ok(json_equal(token.claims, json), "with these claims");

    dot = ngx_strlchr(text.data, text.data + text.len, '.');
    head.data = text.data;
    head.len = (size_t) (dot - text.data);
    (void) ngx_lockbox_base64url_decode(pool, &head, &plain);
    want = json_loads(GRANT_HEADER, 0, NULL);
    json_decref(json);
    json = json_loadb((char *) plain.data, plain.len, 0, NULL);
    ok(json_equal(json, want), "the header has typ, alg and kid");

    json_decref(json);
    json_decref(want);

    is(ngx_lockbox_token_sign(pool, ec, NGX_LOCKBOX_GRANT_TYP, NULL, &text),
       NGX_ERROR, "no claims, no token");
}


/* Without memory; a text that cannot be parsed for want of it reads as bad. */

static ngx_uint_t   internal_errors;
static json_t      *want_claims;


static ngx_int_t
walk_open(ngx_pool_t *pool, const void *data)
{
    ngx_lockbox_token_t      token;
    ngx_lockbox_decision_t   rc;

    rc = open_text(pool, data, &token);

    internal_errors += rc == NGX_LOCKBOX_INTERNAL_ERROR;

    if (rc == ALLOW && token.genuine) {
        return NGX_OK;
    }

    return (rc == NGX_LOCKBOX_INTERNAL_ERROR || rc == MALFORMED)
           && is_silent(&token, rc) ? NGX_ERROR : NGX_DECLINED;
}


/* With OpenSSL without memory as well, a signature may not verify. */

static ngx_int_t
walk_libraries(ngx_pool_t *pool, const void *data)
{
    ngx_lockbox_token_t      token;
    ngx_lockbox_decision_t   rc;

    rc = open_text(pool, data, &token);

    if (rc == ALLOW) {
        return token.genuine && json_equal(token.claims, want_claims)
               && token.expires == NOW + LIFE ? NGX_OK : NGX_DECLINED;
    }

    return (rc == NGX_LOCKBOX_INTERNAL_ERROR || rc == MALFORMED
            || rc == SIGNATURE)
           && is_silent(&token, rc) ? NGX_ERROR : NGX_DECLINED;
}


static ngx_int_t
walk_forged(ngx_pool_t *pool, const void *data)
{
    ngx_int_t  rc;

    rc = walk_libraries(pool, data);

    return rc == NGX_OK ? NGX_DECLINED : rc == NGX_ERROR ? NGX_OK : rc;
}


static ngx_int_t
walk_sign(ngx_pool_t *pool, const void *claims)
{
    ngx_int_t            rc;
    ngx_str_t            text;
    ngx_lockbox_token_t  token;

    rc = ngx_lockbox_token_sign(pool, ec, NGX_LOCKBOX_GRANT_TYP, claims, &text);
    if (rc != NGX_OK) {
        return rc;
    }

    /* the failure may be in the first of these, but not in both */

    return open_text(pool, &text, &token) == ALLOW
           || open_text(pool, &text, &token) == ALLOW ? NGX_OK : NGX_DECLINED;
}


static void
test_no_memory(ngx_pool_t *pool)
{
    ngx_str_t  text;

    want_claims = json_loads(CLAIMS, 0, NULL);
    text = jose_sign(pool, ec, GRANT_HEADER, CLAIMS);

    ok(ngx_shim_walk(walk_open, &text) > 20, "the door without memory");
    is(internal_errors, 2, "which it notices for header and signature");
    ok(oom_walk(walk_libraries, &text, 1) > 80,
       "the door, and OpenSSL without");

    jose_spoil(&text);
    ok(oom_walk(walk_forged, &text, 1) > 80, "a forgery is refused all the "
       "same");

    ok(oom_walk(walk_sign, want_claims, 1) > 80,
       "the pen, and OpenSSL without");

    json_decref(want_claims);
}


/*
 * An RSA key whose blinding cannot be renewed makes wrong signatures, which
 * nobody gets.  It is renewed after so many.
 */

#define RENEWAL  32


static ngx_uint_t
sign_fresh(ngx_pool_t *pool, const json_t *claims, ngx_uint_t fails)
{
    ngx_str_t             text;
    ngx_uint_t            i, made;
    ngx_lockbox_key_t    *key;
    ngx_lockbox_jwks_t    keys;
    ngx_lockbox_token_t   token;

    jose_set(pool, &keys);
    key = jose_add(pool, &keys, rsa->pkey);
    key->kid = rsa->kid;
    made = 0;

    for (i = 0; i < RENEWAL + 2; i++) {
        oom_countdown = i == RENEWAL ? fails : 0;

        if (ngx_lockbox_token_sign(pool, key, NGX_LOCKBOX_GRANT_TYP, claims,
                                   &text) == NGX_OK)
        {
            oom_countdown = 0;
            made++;

            if (i >= RENEWAL) {
                is(open_text(pool, &text, &token), ALLOW,
                   "signature %d, with allocation %d failing", (int) i,
                   (int) fails);
            }
        }
    }

    return made;
}


static void
test_blinding(ngx_pool_t *pool)
{
    json_t      *claims;
    ngx_uint_t   fails, least;

    claims = json_loads(CLAIMS, 0, NULL);

    is(sign_fresh(pool, claims, 0), RENEWAL + 2, "a key for many signatures");

    least = RENEWAL + 2;
    fails = 1;

    do {
        oom_has_failed = 0;
        least = ngx_min(least, sign_fresh(pool, claims, fails));
        fails += 10;

    } while (oom_has_failed);

    ok(least <= RENEWAL + 1, "a signature that is not made");

    json_decref(claims);
}


int
main(void)
{
    ngx_pool_t  *pool;

    pool = ngx_create_pool(0, NULL);

    make_world(pool);

    test_good(pool);
    test_headers(pool);
    test_claims(pool);
    test_leeway(pool);
    test_epoch(pool);
    test_forms(pool);
    test_documents(pool);
    test_spellings(pool);
    test_every_byte(pool);
    test_twin(pool);
    test_sizes(pool);
    test_identities(pool);
    test_texts();
    test_sign(pool);

    test_no_memory(pool);
    test_blinding(pool);

    ngx_destroy_pool(pool);

    is(ngx_shim_live(), 0, "nothing is left behind");

    return tap_done();
}
