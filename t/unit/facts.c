/*
 * Why: what a worker has verified, another one lets requests in by.  So what
 * comes out is what went in, and bytes that are something else are refused.
 */

/* links: ngx_lockbox_facts.c */

#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_lockbox_facts.h"
#include "ngx_shim.h"
#include "tap.h"


#define ROOM  8192


/* A grant of so many items, each of its own shape. */

static void
make(ngx_lockbox_grant_t *grant, ngx_uint_t items)
{
    ngx_uint_t  i;

    static ngx_str_t           texts[16];
    static ngx_lockbox_item_t  item[NGX_LOCKBOX_ITEMS_MAX];

    static const char *const  words[] = {
        "", "GET", "/tenants/acme/mail/", "confidential",
        "/a/path/of/more/than/a/hundred/and/twenty/seven/bytes/so/that/its/"
        "length/takes/two/bytes/abcdefghijklmnopqrstuvwxyz/0123456789/"
        "abcdefghijklmnopqrstuvwxyz/",
        "a\xc3\xa9", "UPGRADE", "/"
    };

    for (i = 0; i < 16; i++) {
        texts[i] = ngx_shim_str(words[(i * 3 + 1) % 8]);
    }

    for (i = 0; i < items; i++) {
        item[i].service = ngx_shim_str(i % 2 ? "mail" : "files");
        item[i].methods.nelts = 1 + i % 3;
        item[i].methods.elts = &texts[i % 4];
        item[i].paths.nelts = 1 + i % 2;
        item[i].paths.elts = &texts[i % 7];
        item[i].labels.nelts = i % 3;
        item[i].labels.elts = &texts[i % 5];
    }

    ngx_memzero(grant, sizeof(ngx_lockbox_grant_t));

    grant->id = ngx_shim_str("01926fc4-7a3b-7c11-9d52-3f0f6a1b2c3d");
    grant->tenant = ngx_shim_str("acme");
    grant->engineer_iss = ngx_shim_str("https://login.vendor.example");
    grant->engineer_sub = ngx_shim_str("erin");
    grant->certificate = ngx_shim_str(items % 2 ? "bwcK0esc3ACC3DB2Y5_lESs"
                                                  "XE8o9ltc05O89jdN-dg2" : "");
    grant->not_before = 1760000000;
    grant->expires = (time_t) 0x123456789a;
    grant->scope.nelts = items;
    grant->scope.elts = item;
}


static ngx_uint_t
same_lists(const ngx_lockbox_strings_t *one, const ngx_lockbox_strings_t *two)
{
    ngx_uint_t  i;

    if (one->nelts != two->nelts) {
        return 0;
    }

    for (i = 0; i < one->nelts; i++) {
        if (one->elts[i].len != two->elts[i].len
            || ngx_memcmp(one->elts[i].data, two->elts[i].data,
                          one->elts[i].len)
               != 0)
        {
            return 0;
        }
    }

    return 1;
}


static ngx_uint_t
same_texts(const ngx_str_t *one, const ngx_str_t *two)
{
    ngx_lockbox_strings_t  ones = { 1, (ngx_str_t *) one };
    ngx_lockbox_strings_t  twos = { 1, (ngx_str_t *) two };

    return same_lists(&ones, &twos);
}


static ngx_uint_t
same(const ngx_lockbox_grant_t *one, const ngx_lockbox_grant_t *two)
{
    ngx_uint_t                 i;
    const ngx_lockbox_item_t  *item1, *item2;

    if (!same_texts(&one->id, &two->id)
        || !same_texts(&one->tenant, &two->tenant)
        || !same_texts(&one->engineer_iss, &two->engineer_iss)
        || !same_texts(&one->engineer_sub, &two->engineer_sub)
        || !same_texts(&one->certificate, &two->certificate)
        || one->not_before != two->not_before
        || one->expires != two->expires
        || one->scope.nelts != two->scope.nelts)
    {
        return 0;
    }

    for (i = 0; i < one->scope.nelts; i++) {
        item1 = &one->scope.elts[i];
        item2 = &two->scope.elts[i];

        if (!same_texts(&item1->service, &item2->service)
            || !same_lists(&item1->methods, &item2->methods)
            || !same_lists(&item1->paths, &item2->paths)
            || !same_lists(&item1->labels, &item2->labels))
        {
            return 0;
        }
    }

    return 1;
}


/* Bytes in memory of exactly their size, so that a sanitizer sees more. */

static ngx_int_t
unpack_for(ngx_pool_t *pool, const u_char *bytes, size_t len,
    const char *service, ngx_lockbox_grant_t *grant)
{
    ngx_str_t  facts, name;

    facts.data = ngx_pnalloc(pool, len);
    facts.len = len;

    if (facts.data == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(facts.data, bytes, len);
    ngx_memset(grant, 0xa5, sizeof(ngx_lockbox_grant_t));

    if (service != NULL) {
        name = ngx_shim_str(service);
    }

    return ngx_lockbox_facts_unpack(pool, &facts, service ? &name : NULL,
                                    grant);
}


static ngx_int_t
unpack(ngx_pool_t *pool, const u_char *bytes, size_t len,
    ngx_lockbox_grant_t *grant)
{
    return unpack_for(pool, bytes, len, NULL, grant);
}


/*
 * NGX_DECLINED, or a grant all of whose texts can be read: who packs it reads
 * them.
 */

static ngx_uint_t
harmless(const u_char *bytes, size_t len)
{
    u_char                packed[2 * ROOM];
    ngx_int_t             rc;
    ngx_uint_t            good;
    ngx_pool_t           *pool;
    ngx_lockbox_grant_t   grant, again;

    pool = ngx_create_pool(0, NULL);
    rc = unpack(pool, bytes, len, &grant);
    good = rc == NGX_DECLINED;

    if (rc == NGX_OK) {
        len = ngx_lockbox_facts_pack(&grant, packed, sizeof(packed));
        good = len != 0
               && unpack(pool, packed, len, &again) == NGX_OK
               && same(&grant, &again);
    }

    ngx_destroy_pool(pool);

    return good;
}


static void
test_round_trip(void)
{
    size_t                len, room;
    u_char                facts[ROOM];
    ngx_uint_t            items, wrong;
    ngx_pool_t           *pool;
    ngx_lockbox_grant_t   grant, got;

    for (items = 1; items <= NGX_LOCKBOX_ITEMS_MAX; items++) {
        make(&grant, items);
        len = ngx_lockbox_facts_pack(&grant, facts, sizeof(facts));

        pool = ngx_create_pool(0, NULL);

        ok(len != 0
           && unpack(pool, facts, len, &got) == NGX_OK && same(&grant, &got),
           "%d items come back", (int) items);

        ngx_destroy_pool(pool);
    }

    make(&grant, 3);
    len = ngx_lockbox_facts_pack(&grant, facts, sizeof(facts));

    for (wrong = 0, room = 0; room < len; room++) {
        u_char  *small = malloc(room ? room : 1);

        wrong += ngx_lockbox_facts_pack(&grant, small, room) != 0;
        free(small);
    }

    is(wrong, 0, "nothing is packed where there is no room");
    is(ngx_lockbox_facts_pack(&grant, facts, len), len, "... but for just it");
}


/* A text whose length fits in no number. */

static void
test_too_long(void)
{
    size_t                len;
    u_char               *facts, *text;
    ngx_lockbox_grant_t   grant;

    facts = malloc(100000);
    text = malloc(0x8000);
    ngx_memset(text, 'x', 0x8000);

    make(&grant, 1);
    grant.engineer_sub.data = text;

    for (len = 0x7f; len <= 0x80; len++) {
        grant.engineer_sub.len = len;
        ok(harmless(facts, ngx_lockbox_facts_pack(&grant, facts, 100000)),
           "a text of %d bytes", (int) len);
    }

    grant.engineer_sub.len = 0x7fff;
    ok(ngx_lockbox_facts_pack(&grant, facts, 100000) > 0x7fff,
       "the longest text");
    grant.engineer_sub.len = 0x8000;
    is(ngx_lockbox_facts_pack(&grant, facts, 100000), 0,
       "no text is longer than that");

    free(text);
    free(facts);
}


static void
test_damage(void)
{
    size_t                i, len;
    u_char                facts[ROOM], byte;
    ngx_int_t             rc;
    ngx_uint_t            cut, changed, value;
    ngx_pool_t           *pool;
    ngx_lockbox_grant_t   grant, got;

    make(&grant, 5);
    len = ngx_lockbox_facts_pack(&grant, facts, sizeof(facts));

    for (cut = 0, i = 0; i < len; i++) {
        pool = ngx_create_pool(0, NULL);
        cut += unpack(pool, facts, i, &got) != NGX_DECLINED;
        ngx_destroy_pool(pool);
    }

    is(cut, 0, "facts that are cut short are none");

    for (changed = 0, i = 0; i < len; i++) {
        byte = facts[i];

        for (value = 0; value < 256; value++) {
            facts[i] = (u_char) value;
            changed += !harmless(facts, len);
        }

        facts[i] = byte;
    }

    is(changed, 0, "a byte that is another one is harmless");

    pool = ngx_create_pool(0, NULL);
    facts[len] = 0;
    rc = unpack(pool, facts, len + 1, &got);
    is(rc, NGX_DECLINED, "facts with something behind are none");
    ngx_destroy_pool(pool);
}


static ngx_uint_t
is_service(const ngx_lockbox_item_t *item, const char *service)
{
    ngx_str_t  name = ngx_shim_str(service);

    return same_texts(&item->service, &name);
}


/* Of one service there are its items, in their order, and no others. */

static void
test_service(void)
{
    size_t                len;
    u_char                facts[ROOM];
    ngx_uint_t            i, j, n;
    ngx_pool_t           *pool;
    ngx_lockbox_grant_t   grant, got, want;
    ngx_lockbox_item_t    items[NGX_LOCKBOX_ITEMS_MAX];

    static const char *const  services[] = { "mail", "files", "calendar" };

    pool = ngx_create_pool(0, NULL);
    make(&grant, 9);
    len = ngx_lockbox_facts_pack(&grant, facts, sizeof(facts));

    for (i = 0; i < 3; i++) {
        want = grant;
        want.scope.elts = items;

        for (j = 0, n = 0; j < grant.scope.nelts; j++) {
            if (is_service(&grant.scope.elts[j], services[i])) {
                items[n++] = grant.scope.elts[j];
            }
        }

        want.scope.nelts = n;

        is(unpack_for(pool, facts, len, services[i], &got), NGX_OK,
           services[i]);
        ok(same(&got, &want), "... and no other service");
    }

    is(unpack_for(pool, facts, len - 1, "calendar", &got), NGX_DECLINED,
       "what is not looked at must be whole, too");

    ngx_destroy_pool(pool);
}


static ngx_int_t
run(ngx_pool_t *pool, const void *data)
{
    ngx_lockbox_grant_t  grant;

    return ngx_lockbox_facts_unpack(pool, data, NULL, &grant);
}


static void
test_memory(void)
{
    u_char                bytes[ROOM];
    ngx_str_t             facts;
    ngx_lockbox_grant_t   grant;

    make(&grant, NGX_LOCKBOX_ITEMS_MAX);

    facts.data = bytes;
    facts.len = ngx_lockbox_facts_pack(&grant, bytes, sizeof(bytes));

    is(ngx_shim_walk(run, &facts), 1, "one piece of memory, and its failure");
}


int
main(void)
{
    test_round_trip();
    test_too_long();
    test_damage();
    test_service();
    test_memory();

    is(ngx_shim_live(), 0, "all memory is given back");

    return tap_done();
}
