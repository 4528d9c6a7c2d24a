/*
 * The self-test of keys: each has to prove itself before it is used, so that
 * one that could not sign or verify stops the start and not the work.
 */

#ifndef _NGX_LOCKBOX_SELFTEST_H_INCLUDED_
#define _NGX_LOCKBOX_SELFTEST_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_lockbox_jwks.h"


/*
 * Proves the keys of a set.  Each algorithm in use must pass its known-answer
 * test: a published signature verifies, and with one bit of it or of its text
 * changed it does not.  Each key must then call a wrong signature of the
 * right length wrong, and not fail over it; and a private key must make
 * signatures that it verifies, and that do not bear a changed bit either.
 *
 * NGX_OK; NGX_ERROR with a static reason in "err", to be read after the name
 * of the key, and the key in "failed".  "pool" is for the test alone.
 */
ngx_int_t ngx_lockbox_selftest(ngx_pool_t *pool,
    const ngx_lockbox_jwks_t *keys, ngx_uint_t private,
    const ngx_lockbox_key_t **failed, const char **err);

/*
 * 1 if any of the algorithms of RFC 7518 that the module knows passes its
 * known-answer test, else 0: then it is not the keys that are to blame.
 */
ngx_uint_t ngx_lockbox_selftest_any(ngx_pool_t *pool);


#endif /* _NGX_LOCKBOX_SELFTEST_H_INCLUDED_ */
