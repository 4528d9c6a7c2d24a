/*
 * Scripts that Redis runs: by their digest when it has them, whole when not.
 */

#ifndef _NGX_LOCKBOX_SCRIPT_H_INCLUDED_
#define _NGX_LOCKBOX_SCRIPT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_lockbox_resp.h"


/* Characters of the SHA-1 by which EVALSHA names a script. */
#define NGX_LOCKBOX_SCRIPT_SHA  40


/*
 * Writes the name of a script: NGX_LOCKBOX_SCRIPT_SHA characters, nothing
 * behind them.  NGX_ERROR when OpenSSL has no SHA-1: only EVAL is left then.
 */
ngx_int_t ngx_lockbox_script_sha(const ngx_str_t *script, u_char *sha);

/* 1 if the reply to EVALSHA says that Redis does not have the script. */
ngx_uint_t ngx_lockbox_script_unknown(const ngx_lockbox_reply_t *reply);


#endif /* _NGX_LOCKBOX_SCRIPT_H_INCLUDED_ */
