/*
 * Why: a second spelling of a token segment is a second token with the same
 * signature, to caches and revocation lists alike.
 */

/* links: ngx_lockbox_base64url.c */

#include <ngx_config.h>
#include <ngx_core.h>

#include <openssl/evp.h>

#include "ngx_lockbox_base64url.h"
#include "oom.h"
#include "ngx_shim.h"
#include "tap.h"


typedef struct {
    const char  *plain;
    size_t       len;
    const char  *text;
} pair_t;


/* RFC 4648 section 10 without padding, and the two letters of its own */

static const pair_t  pairs[] = {
    { "", 0, "" },
    { "f", 1, "Zg" },
    { "fo", 2, "Zm8" },
    { "foo", 3, "Zm9v" },
    { "foob", 4, "Zm9vYg" },
    { "fooba", 5, "Zm9vYmE" },
    { "foobar", 6, "Zm9vYmFy" },
    { "\0\0\0", 3, "AAAA" },
    { "\xff\xff\xff", 3, "____" },
    { "\xfb\xef\xbe", 3, "----" },
    { "\xff\xfe\xfd\xfc", 4, "__79_A" },
    { "\0\x10\x83\x10\x51\x87\x20\x92\x8b\x30\xd3\x8f", 12,
      "ABCDEFGHIJKLMNOP" },
    { "\x69\xb7\x1d\x79\xf8\x21\x8a\x39\x25\x9a\x7a\x29", 12,
      "abcdefghijklmnop" },
    { "\xd3\x5d\xb7\xe3\x9e\xbb\xf3\xdf\xbf", 9, "0123456789-_" },
    { "\x41\x14\x93\x51\x55\x97\x61\x96\x9b\x71\xd7\x9f", 12,
      "QRSTUVWXYZabcdef" },
    { "\xaa\xbb\x2d\xba\xfc\x31", 6, "qrstuvwx" }
};


typedef struct {
    const char  *text;
    const char  *why;
} refused_t;


/* each beside a good spelling that differs in one place */

static const refused_t  refused[] = {
    { "Zh", "1 byte, lowest unused bit set" },
    { "Zi", "1 byte, second unused bit set" },
    { "Zo", "1 byte, highest unused bit set" },
    { "Zm9", "2 bytes, lowest unused bit set" },
    { "Zm-", "2 bytes, highest unused bit set" },
    { "Zm9vYh", "unused bit in a longer text" },
    { "Z", "one letter" },
    { "Zm9vY", "4n + 1 letters" },
    { "A", "one letter without set bits" },
    { "AAAAA", "4n + 1 letters without set bits" },
    { "Zg==", "padding" },
    { "Zm8=", "padding" },
    { "Zg=", "half the padding" },
    { "Zm 9", "blank inside" },
    { "Zm9v ", "blank behind" },
    { " Zm9v", "blank in front" },
    { "Zm9v\n", "newline behind" },
    { "Zm\t9", "tab" },
    { "+m9v", "'+' of the other alphabet" },
    { "/m9v", "'/' of the other alphabet" },
    { "Zm9.", "dot" },
    { "Zm9,", "neighbour of '-' below" },
    { "Zm9@", "neighbour of 'A'" },
    { "Zm9[", "neighbour of 'Z'" },
    { "Zm9^", "neighbour of '_' below" },
    { "Zm9`", "neighbour of 'a'" },
    { "Zm9{", "neighbour of 'z'" },
    { "Zm9:", "neighbour of '9'" },
    { "Zm9\xff", "byte above ASCII" },
    { "Zm9\x80", "byte above ASCII" }
};


static void
test_pairs(ngx_pool_t *pool)
{
    size_t         i;
    u_char         buf[64];
    ngx_str_t      text, plain;
    const pair_t  *pair;

    for (i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
        pair = &pairs[i];

        is(ngx_lockbox_base64url_len(pair->len), strlen(pair->text),
           "length of %zu bytes", pair->len);

        text.data = buf;
        ngx_lockbox_base64url_encode(&text, (u_char *) pair->plain, pair->len);
        is_text(&text, pair->text, "encode to \"%s\"", pair->text);

        text = ngx_shim_str(pair->text);
        ngx_str_null(&plain);

        is(ngx_lockbox_base64url_decode(pool, &text, &plain), NGX_OK,
           "decode \"%s\"", pair->text);
        ok(plain.len == pair->len
           && memcmp(plain.data, pair->plain, plain.len) == 0,
           "bytes of \"%s\"", pair->text);
        ok(plain.data && plain.data[plain.len] == '\0', "NUL behind");
    }
}


static void
test_every_length(ngx_pool_t *pool)
{
    size_t      i, good;
    u_char      bytes[100], buf[200];
    ngx_str_t   text, plain;

    for (i = 0; i < sizeof(bytes); i++) {
        bytes[i] = (u_char) (i * 89 + 250);
    }

    for (i = 0, good = 0; i <= sizeof(bytes); i++) {
        text.data = buf;
        ngx_lockbox_base64url_encode(&text, bytes, i);

        good += text.len == ngx_lockbox_base64url_len(i)
                && ngx_lockbox_base64url_decode(pool, &text, &plain) == NGX_OK
                && plain.len == i && memcmp(plain.data, bytes, i) == 0;
    }

    is(good, sizeof(bytes) + 1, "there and back for 0 to 100 bytes");
}


static void
test_every_byte(ngx_pool_t *pool)
{
    u_char       buf[4];
    ngx_str_t    text, plain;
    ngx_uint_t   c, taken;

    taken = 0;
    text.data = buf;
    text.len = 4;

    for (c = 0; c < 256; c++) {
        memset(buf, 'A', 4);
        buf[2] = (u_char) c;

        if (ngx_lockbox_base64url_decode(pool, &text, &plain) == NGX_OK) {
            taken++;
        }
    }

    is(taken, 64, "64 bytes of 256 are in the alphabet");

    buf[2] = '\0';
    is(ngx_lockbox_base64url_decode(pool, &text, &plain), NGX_DECLINED,
       "NUL inside");
}


static void
test_refused(ngx_pool_t *pool)
{
    size_t     i;
    ngx_str_t  text, plain;

    for (i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        text = ngx_shim_str(refused[i].text);

        is(ngx_lockbox_base64url_decode(pool, &text, &plain), NGX_DECLINED,
           "refused: %s", refused[i].why);
    }
}


static void
test_sha256(ngx_pool_t *pool)
{
    ngx_str_t  text, hash;

    /* FIPS 180-4 examples */

    text = ngx_shim_str("abc");
    is(ngx_lockbox_base64url_sha256(pool, &text, &hash), NGX_OK, "hash");
    is_text(&hash, "ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0",
            "SHA-256 of \"abc\"");

    text = ngx_shim_str("");
    is(ngx_lockbox_base64url_sha256(pool, &text, &hash), NGX_OK, "hash");
    is_text(&hash, "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU",
            "SHA-256 of nothing");

    ngx_str_null(&text);
    is(ngx_lockbox_base64url_sha256(pool, &text, &hash), NGX_OK,
       "hash of a null text");
    is_text(&hash, "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU",
            "SHA-256 of a null text");
}


static ngx_int_t
decode_run(ngx_pool_t *pool, const void *text)
{
    ngx_str_t  dst;

    return ngx_lockbox_base64url_decode(pool, text, &dst);
}


static ngx_int_t
hash_run(ngx_pool_t *pool, const void *text)
{
    ngx_int_t  rc;
    ngx_str_t  dst;

    rc = ngx_lockbox_base64url_sha256(pool, text, &dst);

    if (rc == NGX_OK
        && ngx_memcmp(dst.data, "ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0",
                      dst.len) != 0)
    {
        return NGX_DECLINED;
    }

    return rc;
}


static void
test_no_memory(void)
{
    ngx_str_t  text;

    text = ngx_shim_str("abc");

    is(ngx_shim_walk(decode_run, &text), 1, "decode without memory");
    is(ngx_shim_walk(hash_run, &text), 1, "hash without memory");
    ok(oom_walk(hash_run, &text, 1) > 3, "hash, and OpenSSL without");
}


static void
test_no_sha256(ngx_pool_t *pool)
{
    ngx_str_t  text, dst;

    text = ngx_shim_str("abc");

    /* asks for a provider that is not there */

    (void) EVP_set_default_properties(NULL, "provider=none");
    is(ngx_lockbox_base64url_sha256(pool, &text, &dst), NGX_ERROR,
       "hash without SHA-256");
    (void) EVP_set_default_properties(NULL, "");

    is(ngx_lockbox_base64url_sha256(pool, &text, &dst), NGX_OK,
       "and with it again");
}


int
main(void)
{
    ngx_pool_t  *pool;

    pool = ngx_create_pool(0, NULL);

    test_pairs(pool);
    test_every_length(pool);
    test_every_byte(pool);
    test_refused(pool);
    test_sha256(pool);
    test_no_memory();
    test_no_sha256(pool);

    ngx_destroy_pool(pool);

    is(ngx_shim_live(), 0, "nothing is left behind");

    return tap_done();
}
