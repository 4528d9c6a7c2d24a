/*
 * Scripts that Redis runs.
 */

#include "ngx_lockbox_script.h"

#include <openssl/evp.h>


ngx_int_t
ngx_lockbox_script_sha(const ngx_str_t *script, u_char *sha)
{
    u_char    digest[EVP_MAX_MD_SIZE];
    unsigned  len;

    if (EVP_Digest(script->data, script->len, digest, &len, EVP_sha1(), NULL)
        != 1)
    {
        return NGX_ERROR;
    }

    ngx_hex_dump(sha, digest, NGX_LOCKBOX_SCRIPT_SHA / 2);

    return NGX_OK;
}


ngx_uint_t
ngx_lockbox_script_unknown(const ngx_lockbox_reply_t *reply)
{
    static const char  noscript[] = "NOSCRIPT";

    return reply != NULL
           && reply->type == NGX_LOCKBOX_RESP_ERROR
           && reply->text.len >= sizeof(noscript) - 1
           && ngx_memcmp(reply->text.data, noscript, sizeof(noscript) - 1)
              == 0;
}
