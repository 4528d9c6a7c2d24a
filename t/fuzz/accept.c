/*
 * Accept fields: the input is one.
 */

/* links: ngx_lockbox_accept.c */

#include "ngx_lockbox_accept.h"
#include "fuzz.h"


static const ngx_str_t  offered[] = {
    ngx_string("application/json"),
    ngx_string("application/jwt"),
    ngx_string("text/plain"),
    ngx_null_string
};


int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void) argc;
    (void) argv;

    return 0;
}


/* What is chosen when this stands around it. */

static ngx_uint_t
chosen(ngx_pool_t *pool, const char *before, const ngx_str_t *accept,
    const char *behind)
{
    u_char     *p;
    ngx_str_t   text;

    text.len = strlen(before) + accept->len + strlen(behind);
    text.data = ngx_pnalloc(pool, text.len + (text.len == 0));
    fuzz_check(text.data != NULL);

    p = ngx_cpymem(text.data, before, strlen(before));
    p = ngx_cpymem(p, accept->data, accept->len);
    ngx_memcpy(p, behind, strlen(behind));

    return ngx_lockbox_accept(&text, offered);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t       i;
    ngx_str_t    accept, upper;
    ngx_uint_t   type;
    ngx_pool_t  *pool;

    pool = fuzz_pool();
    accept = fuzz_copy(pool, data, size);
    type = ngx_lockbox_accept(&accept, offered);

    fuzz_check(type < 3);

    /* neither case nor empty elements mean anything */

    upper = fuzz_copy(pool, data, size);

    for (i = 0; i < size; i++) {
        upper.data[i] = (u_char) toupper(upper.data[i]);
    }

    fuzz_check(ngx_lockbox_accept(&upper, offered) == type);
    fuzz_check(chosen(pool, " ,,", &accept, "") == type);
    fuzz_check(chosen(pool, "", &accept, ",") == type);

    /* what is named exactly has the last word on itself, and the first */

    fuzz_check(chosen(pool, "application/jwt;q=0,", &accept, "") != 1);
    fuzz_check(chosen(pool, "text/plain;q=0,", &accept, "") != 2);
    fuzz_check(chosen(pool, "application/json, application/jwt;q=0.999, "
                            "text/plain;q=0.999,", &accept, "") == 0);

    fuzz_pool_end(pool);

    return 0;
}
