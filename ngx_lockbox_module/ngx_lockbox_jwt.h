/*
 * The only user of libjwt: the second opinion on identity tokens.
 */

#ifndef _NGX_LOCKBOX_JWT_H_INCLUDED_
#define _NGX_LOCKBOX_JWT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_lockbox_jwks.h"


/*
 * 1 if libjwt verifies the token with the key and agrees on the algorithm,
 * else 0.  The token must have passed the door: libjwt alone lets the token
 * choose the algorithm.  A header with a "typ" other than "JWT" is beyond
 * libjwt 1.10, which refuses it unread.
 */
ngx_uint_t ngx_lockbox_jwt_verify(ngx_pool_t *pool,
    const ngx_lockbox_key_t *key, const ngx_str_t *token);


#endif /* _NGX_LOCKBOX_JWT_H_INCLUDED_ */
