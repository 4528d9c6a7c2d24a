/*
 * Why: a client that cannot read what it is given has not got its grant, and
 * one that has refused a type must not be given it.
 */

/* links: ngx_lockbox_accept.c */

#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_lockbox_accept.h"
#include "ngx_shim.h"
#include "tap.h"


typedef struct {
    const char  *accept;
    ngx_uint_t   chosen;     /* of "offered" */
} row_t;


#define JSON  0
#define JWT   1
#define TEXT  2
#define A_B   3

/* The range of JWT is no better than missing, and no refusal of it either. */
#define WITHOUT(range)                                                       \
    { range, JSON },                                                         \
    { "application/json;q=0.1, " range ", application/*;q=0.2", JWT }

static const ngx_str_t  offered[] = {
    ngx_string("application/json"),
    ngx_string("application/jwt"),
    ngx_string("text/plain"),
    ngx_string("a/b"),
    ngx_null_string
};


static const row_t  rows[] = {

    /* alone, or nothing */
    { "", JSON },
    { "application/json", JSON },
    { "application/jwt", JWT },
    { "text/plain", TEXT },
    { "Application/JWT", JWT },
    { "*/*", JSON },
    { "application/*", JSON },
    { "text/*", TEXT },
    { "TEXT/*", TEXT },
    { "a/b", A_B },
    { "a/*", A_B },

    /* what names none of them */
    { "application/jw", JSON },
    { "application/jwts", JSON },
    { "application/jwt/*", JSON },
    { "application", JSON },
    { "jwt", JSON },
    { "text", JSON },
    { "text/", JSON },
    { "text/*x", JSON },
    { "text*", JSON },
    { "tex/*", JSON },
    { "texts/*", JSON },
    { "ext/*", JSON },
    { "text/p*", JSON },
    { "text/x", JSON },
    { "text/plain/*", JSON },
    { "text/plain/plain/plain/*", JSON },
    { "*/plain", JSON },
    { "/*", JSON },
    { "*", JSON },
    { "x/*", JSON },
    { "image/png", JSON },
    { "application /jwt", JSON },
    { "application/jwt x", JSON },

    /* in lists */
    { "image/png,application/jwt", JWT },
    { "application/jwt,image/png", JWT },
    { "image/png, application/jwt", JWT },
    { "image/png ,application/jwt", JWT },
    { "image/png\t,\t application/jwt \t", JWT },
    { ",application/jwt", JWT },
    { ",,application/jwt,,", JWT },
    { " ", JSON },
    { ",", JSON },

    /* who is named is meant, whoever else would do */
    { "*/*, application/jwt", JWT },
    { "application/jwt, */*", JWT },
    { "application/*, application/jwt", JWT },
    { "application/jwt, application/*", JWT },
    { "*/*, application/*", JSON },
    { "*/*, text/*", TEXT },
    { "text/*, */*", TEXT },
    { "text/*, application/jwt", JWT },
    { "text/plain;x=y, text/*, application/*", TEXT },
    { "text/plain;x=y, application/jwt", JWT },
    { "application/*, text/plain;x=y", TEXT },

    /* what is equal */
    { "application/json, application/jwt", JSON },
    { "application/jwt, application/json", JSON },
    { "text/plain, application/jwt", JWT },
    { "application/jwt;q=0.5, text/plain;q=0.5", JWT },

    /* weights */
    { "application/json;q=0.9, application/jwt", JWT },
    { "application/json;q=0.9, application/jwt;q=1", JWT },
    { "application/json;q=0.9, application/jwt;q=0.901", JWT },
    { "application/json;q=0.9, application/jwt;q=0.9", JSON },
    { "application/json;q=0.9, application/jwt;q=0.899", JSON },
    { "application/json;q=0.09, application/jwt;q=0.1", JWT },
    { "application/json;q=0.009, application/jwt;q=0.01", JWT },
    { "application/json;q=0.999, application/jwt;q=1.000", JWT },
    { "application/json;q=1, application/jwt;q=1.0", JSON },
    { "application/json;q=0.1, application/jwt;q=0.11", JWT },
    { "application/json;q=0.12, application/jwt;q=0.121", JWT },
    { "application/json;q=0.998, application/jwt;q=0.999", JWT },
    { "application/jwt;q=0.001", JWT },
    { "application/jwt;Q=0.001", JWT },
    { "*/*, application/jwt;q=0.5", JSON },
    { "*/*;q=0.1, application/jwt;q=0.5", JWT },
    { "text/*;q=0.7, application/jwt;q=0.5", TEXT },

    /* the most exact range counts, also when it is weaker, or earlier */
    { "application/json;q=0.1, */*;q=0.5", JWT },
    { "*/*;q=0.5, application/json;q=0.1", JWT },
    { "application/json;q=0.1, application/*;q=0.5", JWT },
    { "application/*;q=0.1, */*;q=0.5", TEXT },
    { "*/*;q=0.5, application/*;q=0.1", TEXT },
    { "application/json;x=y;q=0.1, application/json;q=0.7, */*;q=0.5",
      JSON },
    { "application/json;q=0.7, application/json;x=y;q=0.1, */*;q=0.5",
      JSON },
    { "application/json;q=0.1, application/json;x=y;q=0.7, */*;q=0.5",
      JWT },
    { "application/json;x=y;q=0.1, application/*;q=0.5", JWT },
    { "application/json;q=0.7, application/json;q=0.1, */*;q=0.5", JSON },
    { "application/json;q=0.1, application/json;q=0.7, */*;q=0.5", JWT },

    /* zero refuses */
    { "application/jwt;q=0", JSON },
    { "application/jwt;q=0.0", JSON },
    { "application/jwt;q=0.000", JSON },
    { "application/json;q=0", JSON },
    { "application/json;q=0, application/jwt;q=0, text/plain;q=0", JSON },
    { "*/*;q=0", JSON },
    { "*/*, application/jwt;q=0", JSON },
    { "*/*, application/json;q=0", JWT },
    { "application/json;q=0, */*;q=0.001", JWT },
    { "application/*;q=0, */*", TEXT },
    { "*/*, application/*;q=0", TEXT },
    { "*/*;q=0, text/plain;q=0.001", TEXT },

    /* what is no weight: as if its range were not there */
    WITHOUT("application/jwt;q="),
    WITHOUT("application/jwt;q=2"),
    WITHOUT("application/jwt;q=9"),
    WITHOUT("application/jwt;q=1.001"),
    WITHOUT("application/jwt;q=1.1"),
    WITHOUT("application/jwt;q=0.1234"),
    WITHOUT("application/jwt;q=0.0000"),
    WITHOUT("application/jwt;q=.5"),
    WITHOUT("application/jwt;q=00.5"),
    WITHOUT("application/jwt;q=05"),
    WITHOUT("application/jwt;q=00"),
    WITHOUT("application/jwt;q=0:5"),
    WITHOUT("application/jwt;q=0.:"),
    WITHOUT("application/jwt;q=0./"),
    WITHOUT("application/jwt;q=0.0/"),
    WITHOUT("application/jwt;q=0.1x"),
    WITHOUT("application/jwt;q=/"),
    WITHOUT("application/jwt;q=:"),
    WITHOUT("application/jwt;q=-1"),
    WITHOUT("application/jwt;q=-0"),
    WITHOUT("application/jwt;q=1e0"),
    { "application/jwt;q=0,5", JSON },
    WITHOUT("application/jwt;q=\"1\""),
    WITHOUT("application/jwt;q= 0"),
    { "application/jwt;q=x, text/plain;q=0.1", TEXT },
    { "application/jwt;q=0., */*;q=0.001", JSON },
    { "application/jwt;q=1.", JWT },

    /* parameters */
    { "application/jwt;v=1", JWT },
    { "application/jwt;v=1;q=0.5", JWT },
    { "application/jwt;v=1;q=0", JSON },
    { "application/jwt ; q=0", JSON },
    { "application/jwt\t;\tq=0\t", JSON },
    { "application/jwt;;q=0", JSON },
    { "application/jwt;;, application/jwt;q=0", JWT },
    { "application/jwt;v=1;q=0, application/jwt", JWT },
    { "application/jwt;, application/jwt;q=0", JWT },
    { "application/jwt;q", JWT },
    { "application/jwt;r=0", JWT },
    { "application/jwt;p=0", JWT },
    { "application/jwt;qq=0", JWT },
    { "application/jwt;xq=0", JWT },
    { "application/jwt;q =0", JWT },
    { "application/jwt;q=1;q=0", JWT },
    { "application/jwt;q=0;q=1", JSON },
    { "application/jwt;q=0.5;x=y, text/plain;q=0.4", JWT },
    { ";q=1, application/jwt", JWT },
    { ";application/jwt", JSON },

    /* what is quoted separates nothing */
    { "application/jwt;v=\"a,b\";q=0", JSON },
    { "application/jwt;v=\"a;q=0\"", JWT },
    { "application/jwt;v=\"a\\\";q=0\"", JWT },
    { "application/jwt;v=\"a\\\\\";q=0", JSON },
    { "application/jwt;v=\\\"a;q=0\"", JWT },
    { "image/png;v=\", application/jwt", JSON },
    { "image/png;v=\", application/jwt\", text/plain", TEXT },
    { "image/png;v=\"\\, application/jwt\", text/plain", TEXT },
    { "image/png;v=\"\\", JSON },
    { "image/png;v=\\, application/jwt", JWT },
    { "application/jwt;v=\"", JWT },
    { "\"application/jwt\"", JSON },
    { "\"image/png, application/jwt", JSON }
};


int
main(void)
{
    size_t       i;
    u_char      *copy;
    ngx_str_t    accept;
    static char  nothing[] = "";

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {

        /* what is read beyond the end shows */

        accept = ngx_shim_str(rows[i].accept);
        copy = malloc(accept.len + (accept.len == 0));

        if (copy == NULL) {
            return 1;
        }

        ngx_memcpy(copy, accept.data, accept.len);
        accept.data = copy;

        is(ngx_lockbox_accept(&accept, offered), rows[i].chosen, "\"%s\"",
           rows[i].accept);

        free(copy);
    }

    ngx_str_null(&accept);
    is(ngx_lockbox_accept(&accept, offered), JSON, "no field");

    accept.data = (u_char *) nothing;
    is(ngx_lockbox_accept(&accept, &offered[4]), 0, "nothing is offered");

    return tap_done();
}
