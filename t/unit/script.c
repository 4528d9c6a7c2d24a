/*
 * Why: a script that is called by another name than Redis gives it is sent
 * whole each time, and an answer that is taken for "I do not have it" would be
 * asked for twice.
 */

/* links: ngx_lockbox_script.c */

#include <ngx_config.h>
#include <ngx_core.h>

#include <openssl/evp.h>

#include "ngx_lockbox_script.h"
#include "ngx_shim.h"
#include "tap.h"


static void
names(void)
{
    u_char     sha[NGX_LOCKBOX_SCRIPT_SHA + 1];
    ngx_str_t  script, name;

    sha[NGX_LOCKBOX_SCRIPT_SHA] = '!';
    name.data = sha;
    name.len = sizeof(sha);

    /* as "printf 'return 1' | sha1sum" says, and SCRIPT LOAD */

    script = ngx_shim_str("return 1");
    is(ngx_lockbox_script_sha(&script, sha), NGX_OK, "a script has a name");
    is_text(&name, "e0e1f9fabfc9d4800c877a703b823ac0578ff8db!",
            "... that of Redis, and nothing behind it");

    script.len = 0;
    is(ngx_lockbox_script_sha(&script, sha), NGX_OK, "nothing has one");
    is_text(&name, "da39a3ee5e6b4b0d3255bfef95601890afd80709!", "... its own");
    is(NGX_LOCKBOX_SCRIPT_SHA, 40, "... of 40 characters");

    (void) EVP_set_default_properties(NULL, "provider=none");
    is(ngx_lockbox_script_sha(&script, sha), NGX_ERROR, "without SHA-1");
    (void) EVP_set_default_properties(NULL, NULL);
    is(ngx_lockbox_script_sha(&script, sha), NGX_OK, "... and with it again");
}


static void
replies(void)
{
    ngx_uint_t           i;
    ngx_lockbox_reply_t  reply;

    static const struct {
        ngx_lockbox_resp_type_e  type;
        const char              *text;
        ngx_uint_t               unknown;
    } rows[] = {
        { NGX_LOCKBOX_RESP_ERROR, "NOSCRIPT No matching script.", 1 },
        { NGX_LOCKBOX_RESP_ERROR, "NOSCRIPT", 1 },
        { NGX_LOCKBOX_RESP_ERROR, "NOSCRIP", 0 },
        { NGX_LOCKBOX_RESP_ERROR, "NOSCRIPS", 0 },
        { NGX_LOCKBOX_RESP_ERROR, "NOPERM no NOSCRIPT", 0 },
        { NGX_LOCKBOX_RESP_ERROR, "ERR NOSCRIPT", 0 },
        { NGX_LOCKBOX_RESP_ERROR, "", 0 },
        { NGX_LOCKBOX_RESP_STATUS, "NOSCRIPT No matching script.", 0 },
        { NGX_LOCKBOX_RESP_STRING, "NOSCRIPT No matching script.", 0 }
    };

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        ngx_memzero(&reply, sizeof(reply));
        reply.type = rows[i].type;
        reply.text = ngx_shim_str(rows[i].text);

        is(ngx_lockbox_script_unknown(&reply), rows[i].unknown,
           "row %lu: %s", (unsigned long) i, rows[i].text);
    }

    reply.type = NGX_LOCKBOX_RESP_ERROR;
    reply.text = ngx_shim_str("NOSCRIPT");
    reply.text.len--;
    is(ngx_lockbox_script_unknown(&reply), 0, "what is behind is not looked at");

    is(ngx_lockbox_script_unknown(NULL), 0, "no reply says nothing");
}


int
main(void)
{
    names();
    replies();

    return tap_done();
}
