/*
 * Signs tokens by the ten thousand, and tells what OpenSSL alone takes to
 * verify them.
 *
 *     mint sign KEY.pem     lines of "header.payload" to lines of tokens
 *     mint verify KEY.pem   lines of tokens to microseconds of CPU for each
 *
 * The key is private, RSA (RS256) or P-256 (ES256).
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>


#define MINT_LINE  16384
#define MINT_SIG   512
#define MINT_HALF  32           /* bytes of r and of s */


typedef struct {
    char           *text;
    size_t          len;        /* of what is signed */
    unsigned char   sig[MINT_SIG];
    size_t          size;
} mint_token_t;


static void
die(const char *what)
{
    fprintf(stderr, "mint: %s failed\n", what);
    exit(1);
}


static EVP_PKEY *
read_key(const char *name)
{
    FILE      *file;
    EVP_PKEY  *pkey;

    file = fopen(name, "r");
    if (file == NULL) {
        die(name);
    }

    pkey = PEM_read_PrivateKey(file, NULL, NULL, NULL);
    if (pkey == NULL) {
        die("reading the key");
    }

    fclose(file);

    return pkey;
}


/* RFC 7518 section 3.4: r and s, one behind the other */

static size_t
to_raw(const unsigned char *der, size_t size, unsigned char *raw)
{
    ECDSA_SIG  *sig;

    sig = d2i_ECDSA_SIG(NULL, &der, (long) size);

    if (sig == NULL
        || BN_bn2binpad(ECDSA_SIG_get0_r(sig), raw, MINT_HALF) < 0
        || BN_bn2binpad(ECDSA_SIG_get0_s(sig), raw + MINT_HALF, MINT_HALF) < 0)
    {
        die("ECDSA");
    }

    ECDSA_SIG_free(sig);

    return 2 * MINT_HALF;
}


static size_t
to_der(const unsigned char *raw, unsigned char *der)
{
    int         size;
    ECDSA_SIG  *sig;

    sig = ECDSA_SIG_new();

    if (sig == NULL
        || ECDSA_SIG_set0(sig, BN_bin2bn(raw, MINT_HALF, NULL),
                          BN_bin2bn(raw + MINT_HALF, MINT_HALF, NULL)) != 1)
    {
        die("ECDSA");
    }

    size = i2d_ECDSA_SIG(sig, &der);
    if (size <= 0) {
        die("ECDSA");
    }

    ECDSA_SIG_free(sig);

    return (size_t) size;
}


static void
print_token(const char *input, const unsigned char *sig, size_t size)
{
    char  *p, text[MINT_SIG * 2];
    int    len;

    len = EVP_EncodeBlock((unsigned char *) text, sig, (int) size);

    while (text[len - 1] == '=') {
        len--;
    }

    text[len] = '\0';

    for (p = text; *p != '\0'; p++) {
        *p = *p == '+' ? '-' : *p == '/' ? '_' : *p;
    }

    printf("%s.%s\n", input, text);
}


static void
sign_lines(EVP_PKEY *pkey)
{
    char            line[MINT_LINE];
    size_t          size;
    EVP_MD_CTX     *ctx;
    unsigned char   sig[MINT_SIG], raw[MINT_SIG];

    while (fgets(line, sizeof(line), stdin) != NULL) {
        line[strcspn(line, "\n")] = '\0';

        ctx = EVP_MD_CTX_new();
        size = sizeof(sig);

        if (EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, pkey) != 1
            || EVP_DigestSign(ctx, sig, &size, (unsigned char *) line,
                              strlen(line)) != 1)
        {
            die("signing");
        }

        EVP_MD_CTX_free(ctx);

        if (EVP_PKEY_get_base_id(pkey) == EVP_PKEY_EC) {
            size = to_raw(sig, size, raw);
            memcpy(sig, raw, size);
        }

        print_token(line, sig, size);
    }
}


static void
read_token(EVP_PKEY *pkey, const char *line, mint_token_t *token)
{
    int             len;
    char           *dot, *p;
    unsigned char   raw[MINT_SIG];

    token->text = strdup(line);

    dot = token->text == NULL ? NULL : strrchr(token->text, '.');
    if (dot == NULL || strlen(dot) > MINT_SIG - sizeof("===")) {
        die("reading a token");
    }

    token->len = (size_t) (dot - token->text);

    p = (char *) raw;
    strcpy(p, dot + 1);
    token->size = strlen(p) * 3 / 4;

    for ( /* void */ ; *p != '\0'; p++) {
        *p = *p == '-' ? '+' : *p == '_' ? '/' : *p;
    }

    while ((p - (char *) raw) % 4 != 0) {
        *p++ = '=';
    }

    len = EVP_DecodeBlock(token->sig, raw, (int) (p - (char *) raw));
    if (len < 0) {
        die("reading a signature");
    }

    if (EVP_PKEY_get_base_id(pkey) == EVP_PKEY_EC) {
        memcpy(raw, token->sig, token->size);
        token->size = to_der(raw, token->sig);
    }
}


static void
verify_token(EVP_PKEY *pkey, const mint_token_t *token)
{
    EVP_MD_CTX  *ctx;

    ctx = EVP_MD_CTX_new();

    if (EVP_DigestVerifyInit(ctx, NULL, EVP_sha256(), NULL, pkey) != 1
        || EVP_DigestVerify(ctx, token->sig, token->size,
                            (unsigned char *) token->text, token->len) != 1)
    {
        die("verifying");
    }

    EVP_MD_CTX_free(ctx);
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


static void
verify_lines(EVP_PKEY *pkey)
{
    char           line[MINT_LINE];
    size_t         i, n, room;
    double         start;
    mint_token_t  *tokens;

    n = 0;
    room = 0;
    tokens = NULL;

    while (fgets(line, sizeof(line), stdin) != NULL) {
        line[strcspn(line, "\n")] = '\0';

        if (n == room) {
            room = room * 2 + 64;
            tokens = realloc(tokens, room * sizeof(mint_token_t));
            if (tokens == NULL) {
                die("memory");
            }
        }

        read_token(pkey, line, &tokens[n++]);
    }

    if (n == 0) {
        die("reading tokens");
    }

    /* what is made once is no part of it */
    verify_token(pkey, &tokens[0]);

    start = cpu_us();

    for (i = 0; i < n; i++) {
        verify_token(pkey, &tokens[i]);
    }

    printf("%.3f\n", (cpu_us() - start) / (double) n);

    for (i = 0; i < n; i++) {
        free(tokens[i].text);
    }

    free(tokens);
}


int
main(int argc, char **argv)
{
    EVP_PKEY  *pkey;

    if (argc != 3) {
        die("usage: mint sign|verify KEY.pem, which");
    }

    pkey = read_key(argv[2]);

    if (strcmp(argv[1], "sign") == 0) {
        sign_lines(pkey);

    } else {
        verify_lines(pkey);
    }

    EVP_PKEY_free(pkey);

    return 0;
}
