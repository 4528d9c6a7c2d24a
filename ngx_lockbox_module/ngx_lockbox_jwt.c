/*
 * The only user of libjwt: the second opinion on identity tokens.
 */

#include "ngx_lockbox_jwt.h"

#include <jwt.h>
#include <openssl/err.h>


ngx_uint_t
ngx_lockbox_jwt_verify(ngx_pool_t *pool, const ngx_lockbox_key_t *key,
    const ngx_str_t *token)
{
    int     rc;
    char   *text;
    jwt_t  *jwt;

    text = ngx_pnalloc(pool, token->len + 1);
    if (text == NULL) {
        return 0;
    }

    ngx_memcpy(text, token->data, token->len);
    text[token->len] = '\0';

    jwt = NULL;
    rc = jwt_decode(&jwt, text, key->pem.data, (int) key->pem.len);

    if (rc == 0
        && jwt_get_alg(jwt) != jwt_str_alg((char *) key->alg->name.data))
    {
        rc = -1;
    }

    jwt_free(jwt);

    /* libjwt leaves what OpenSSL complained of behind */
    ERR_clear_error();

    return rc == 0;
}
