/*
 * The facts of a grant as bytes: times, texts one after the other, each behind
 * its length, and the access items, each behind its size, as counted lists of
 * texts.
 */

#include "ngx_lockbox_facts.h"
#include "ngx_lockbox_text.h"


/* A number below the first mark takes one byte, below the second one two. */
#define NGX_LOCKBOX_FACTS_BYTE   0x80
#define NGX_LOCKBOX_FACTS_BYTES  0x8000


/* Bytes that are written or read; after a fault, nothing more is. */
typedef struct {
    u_char              *p;
    u_char              *end;
    ngx_uint_t           fault;
} ngx_lockbox_facts_t;


/* Where the items that count begin, and room for the texts of their lists. */
typedef struct {
    u_char              *first;
    ngx_str_t           *texts;
    ngx_uint_t           left;
} ngx_lockbox_facts_room_t;


/* What an access item begins with. */
typedef struct {
    u_char              *end;
    ngx_uint_t           texts;      /* in all of its lists */
    ngx_str_t            service;
} ngx_lockbox_facts_item_t;


static void ngx_lockbox_facts_put_item(ngx_lockbox_facts_t *facts,
    const ngx_lockbox_item_t *item);
static void ngx_lockbox_facts_put(ngx_lockbox_facts_t *facts,
    const void *bytes, size_t len);
static void ngx_lockbox_facts_put_number(ngx_lockbox_facts_t *facts,
    size_t number);
static void ngx_lockbox_facts_put_text(ngx_lockbox_facts_t *facts,
    const ngx_str_t *text);
static void ngx_lockbox_facts_put_list(ngx_lockbox_facts_t *facts,
    const ngx_lockbox_strings_t *list);

static ngx_uint_t ngx_lockbox_facts_count(ngx_lockbox_facts_t *facts,
    ngx_uint_t n, const ngx_str_t *service, ngx_lockbox_facts_room_t *room);
static void ngx_lockbox_facts_get_items(ngx_lockbox_facts_t *facts,
    const ngx_str_t *service, ngx_lockbox_facts_room_t *room,
    ngx_lockbox_scope_t *scope);
static void ngx_lockbox_facts_get_head(ngx_lockbox_facts_t *facts,
    ngx_lockbox_facts_item_t *item);
static u_char *ngx_lockbox_facts_get(ngx_lockbox_facts_t *facts, size_t len);
static time_t ngx_lockbox_facts_get_time(ngx_lockbox_facts_t *facts);
static size_t ngx_lockbox_facts_get_number(ngx_lockbox_facts_t *facts);
static void ngx_lockbox_facts_get_text(ngx_lockbox_facts_t *facts,
    ngx_str_t *text);
static void ngx_lockbox_facts_get_list(ngx_lockbox_facts_t *facts,
    ngx_lockbox_facts_room_t *room, ngx_lockbox_strings_t *list);


/* The texts of a grant besides those of its access items. */

static const size_t  ngx_lockbox_facts_texts[] = {
    offsetof(ngx_lockbox_grant_t, id),
    offsetof(ngx_lockbox_grant_t, tenant),
    offsetof(ngx_lockbox_grant_t, engineer_iss),
    offsetof(ngx_lockbox_grant_t, engineer_sub),
    offsetof(ngx_lockbox_grant_t, certificate)
};

#define NGX_LOCKBOX_FACTS_TEXTS                                               \
    (sizeof(ngx_lockbox_facts_texts) / sizeof(ngx_lockbox_facts_texts[0]))


size_t
ngx_lockbox_facts_pack(const ngx_lockbox_grant_t *grant, u_char *facts,
    size_t size)
{
    int64_t              time;
    ngx_uint_t           i;
    ngx_lockbox_facts_t  out;

    out.p = facts;
    out.end = facts + size;
    out.fault = 0;

    time = grant->not_before;
    ngx_lockbox_facts_put(&out, &time, sizeof(int64_t));

    time = grant->expires;
    ngx_lockbox_facts_put(&out, &time, sizeof(int64_t));

    for (i = 0; i < NGX_LOCKBOX_FACTS_TEXTS; i++) {
        ngx_lockbox_facts_put_text(&out,
                                   (const ngx_str_t *) (const void *)
                                   ((const u_char *) grant
                                    + ngx_lockbox_facts_texts[i]));
    }

    ngx_lockbox_facts_put_number(&out, grant->scope.nelts);

    for (i = 0; i < grant->scope.nelts; i++) {
        ngx_lockbox_facts_put_item(&out, &grant->scope.elts[i]);
    }

    return out.fault ? 0 : (size_t) (out.p - facts);
}


static void
ngx_lockbox_facts_put_item(ngx_lockbox_facts_t *facts,
    const ngx_lockbox_item_t *item)
{
    u_char    *start;
    uint16_t   size;

    size = 0;
    start = facts->p;

    ngx_lockbox_facts_put(facts, &size, sizeof(uint16_t));
    ngx_lockbox_facts_put_number(facts, item->methods.nelts
                                        + item->paths.nelts
                                        + item->labels.nelts);
    ngx_lockbox_facts_put_text(facts, &item->service);
    ngx_lockbox_facts_put_list(facts, &item->methods);
    ngx_lockbox_facts_put_list(facts, &item->paths);
    ngx_lockbox_facts_put_list(facts, &item->labels);

    if (facts->fault || facts->p - start > UINT16_MAX) {
        facts->fault = 1;
        return;
    }

    size = (uint16_t) (facts->p - start - sizeof(uint16_t));
    ngx_memcpy(start, &size, sizeof(uint16_t));
}


static void
ngx_lockbox_facts_put(ngx_lockbox_facts_t *facts, const void *bytes,
    size_t len)
{
    if (facts->fault || (size_t) (facts->end - facts->p) < len) {
        facts->fault = 1;
        return;
    }

    if (len != 0) {
        facts->p = ngx_cpymem(facts->p, bytes, len);
    }
}


static void
ngx_lockbox_facts_put_number(ngx_lockbox_facts_t *facts, size_t number)
{
    u_char  bytes[2];

    if (number < NGX_LOCKBOX_FACTS_BYTE) {
        bytes[0] = (u_char) number;
        ngx_lockbox_facts_put(facts, bytes, 1);
        return;
    }

    if (number >= NGX_LOCKBOX_FACTS_BYTES) {
        facts->fault = 1;
        return;
    }

    bytes[0] = (u_char) (NGX_LOCKBOX_FACTS_BYTE | number >> 8);
    bytes[1] = (u_char) number;
    ngx_lockbox_facts_put(facts, bytes, 2);
}


static void
ngx_lockbox_facts_put_text(ngx_lockbox_facts_t *facts, const ngx_str_t *text)
{
    ngx_lockbox_facts_put_number(facts, text->len);
    ngx_lockbox_facts_put(facts, text->data, text->len);
}


static void
ngx_lockbox_facts_put_list(ngx_lockbox_facts_t *facts,
    const ngx_lockbox_strings_t *list)
{
    ngx_uint_t  i;

    ngx_lockbox_facts_put_number(facts, list->nelts);

    for (i = 0; i < list->nelts; i++) {
        ngx_lockbox_facts_put_text(facts, &list->elts[i]);
    }
}


ngx_int_t
ngx_lockbox_facts_unpack(ngx_pool_t *pool, const ngx_str_t *facts,
    const ngx_str_t *service, ngx_lockbox_grant_t *grant)
{
    ngx_uint_t                i, n;
    ngx_lockbox_facts_t       in, items;
    ngx_lockbox_facts_room_t  room;

    in.p = facts->data;
    in.end = facts->data + facts->len;
    in.fault = 0;

    grant->not_before = ngx_lockbox_facts_get_time(&in);
    grant->expires = ngx_lockbox_facts_get_time(&in);

    for (i = 0; i < NGX_LOCKBOX_FACTS_TEXTS; i++) {
        ngx_lockbox_facts_get_text(&in,
                                   (ngx_str_t *) (void *)
                                   ((u_char *) grant
                                    + ngx_lockbox_facts_texts[i]));
    }

    n = ngx_lockbox_facts_get_number(&in);

    items = in;
    grant->scope.nelts = ngx_lockbox_facts_count(&items, n, service, &room);

    /* each of them takes a byte at least */

    if (items.fault
        || items.p != items.end
        || grant->scope.nelts + room.left > (size_t) (in.end - in.p))
    {
        return NGX_DECLINED;
    }

    grant->scope.elts = ngx_palloc(pool, grant->scope.nelts
                                         * sizeof(ngx_lockbox_item_t)
                                         + room.left * sizeof(ngx_str_t) + 1);
    if (grant->scope.elts == NULL) {
        return NGX_ERROR;
    }

    room.texts = (ngx_str_t *) (void *) &grant->scope.elts[grant->scope.nelts];

    in.p = room.first;
    ngx_lockbox_facts_get_items(&in, service, &room, &grant->scope);

    return in.fault || room.left != 0 ? NGX_DECLINED : NGX_OK;
}


/*
 * How many of so many items are of the service, where the first of them is,
 * and how many texts are in their lists.
 */

static ngx_uint_t
ngx_lockbox_facts_count(ngx_lockbox_facts_t *facts, ngx_uint_t n,
    const ngx_str_t *service, ngx_lockbox_facts_room_t *room)
{
    u_char                   *p;
    ngx_uint_t                count;
    ngx_lockbox_facts_item_t  item;

    count = 0;
    room->left = 0;
    room->first = facts->p;

    while (n-- != 0 && !facts->fault) {
        p = facts->p;
        ngx_lockbox_facts_get_head(facts, &item);

        if (service == NULL || ngx_lockbox_text_same(&item.service, service)) {
            room->first = count++ == 0 ? p : room->first;
            room->left += item.texts;
        }

        facts->p = item.end;
    }

    return count;
}


static void
ngx_lockbox_facts_get_items(ngx_lockbox_facts_t *facts,
    const ngx_str_t *service, ngx_lockbox_facts_room_t *room,
    ngx_lockbox_scope_t *scope)
{
    ngx_lockbox_item_t        *items, *last;
    ngx_lockbox_facts_item_t   item;

    items = scope->elts;
    last = items + scope->nelts;

    while (items < last && !facts->fault) {
        ngx_lockbox_facts_get_head(facts, &item);

        if (service != NULL && !ngx_lockbox_text_same(&item.service, service))
        {
            facts->p = item.end;
            continue;
        }

        items->service = item.service;
        ngx_lockbox_facts_get_list(facts, room, &items->methods);
        ngx_lockbox_facts_get_list(facts, room, &items->paths);
        ngx_lockbox_facts_get_list(facts, room, &items->labels);
        items++;

        if (facts->p != item.end) {
            facts->fault = 1;
        }
    }
}


/* After a fault the item ends here. */

static void
ngx_lockbox_facts_get_head(ngx_lockbox_facts_t *facts,
    ngx_lockbox_facts_item_t *item)
{
    u_char    *p;
    uint16_t   size;

    size = 0;
    p = ngx_lockbox_facts_get(facts, sizeof(uint16_t));

    if (p != NULL) {
        ngx_memcpy(&size, p, sizeof(uint16_t));
    }

    if (size > facts->end - facts->p) {
        facts->fault = 1;
        size = 0;
    }

    item->end = facts->p + size;
    item->texts = ngx_lockbox_facts_get_number(facts);
    ngx_lockbox_facts_get_text(facts, &item->service);

    if (facts->p > item->end) {
        facts->fault = 1;
    }
}


/* What cannot be read is empty, and a fault. */

static u_char *
ngx_lockbox_facts_get(ngx_lockbox_facts_t *facts, size_t len)
{
    u_char  *p;

    if (facts->fault || (size_t) (facts->end - facts->p) < len) {
        facts->fault = 1;
        return NULL;
    }

    p = facts->p;
    facts->p += len;

    return p;
}


static time_t
ngx_lockbox_facts_get_time(ngx_lockbox_facts_t *facts)
{
    u_char   *p;
    int64_t   time;

    p = ngx_lockbox_facts_get(facts, sizeof(int64_t));
    if (p == NULL) {
        return 0;
    }

    ngx_memcpy(&time, p, sizeof(int64_t));

    return (time_t) time;
}


static size_t
ngx_lockbox_facts_get_number(ngx_lockbox_facts_t *facts)
{
    size_t   number;
    u_char  *p;

    p = ngx_lockbox_facts_get(facts, 1);
    if (p == NULL) {
        return 0;
    }

    if (*p < NGX_LOCKBOX_FACTS_BYTE) {
        return *p;
    }

    number = (size_t) (*p & ~NGX_LOCKBOX_FACTS_BYTE) << 8;

    p = ngx_lockbox_facts_get(facts, 1);

    return p == NULL ? 0 : number | *p;
}


static void
ngx_lockbox_facts_get_text(ngx_lockbox_facts_t *facts, ngx_str_t *text)
{
    size_t  len;

    len = ngx_lockbox_facts_get_number(facts);

    text->data = ngx_lockbox_facts_get(facts, len);
    text->len = text->data == NULL ? 0 : len;
}


static void
ngx_lockbox_facts_get_list(ngx_lockbox_facts_t *facts,
    ngx_lockbox_facts_room_t *room, ngx_lockbox_strings_t *list)
{
    ngx_uint_t  i;

    list->nelts = ngx_lockbox_facts_get_number(facts);
    list->elts = room->texts;

    if (list->nelts > room->left) {
        list->nelts = 0;
        facts->fault = 1;
        return;
    }

    room->texts += list->nelts;
    room->left -= list->nelts;

    for (i = 0; i < list->nelts; i++) {
        ngx_lockbox_facts_get_text(facts, &list->elts[i]);
    }
}
