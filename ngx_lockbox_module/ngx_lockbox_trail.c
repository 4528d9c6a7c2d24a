/*
 * Audit records on their way to the streams of their tenants.
 *
 * Entries lie one behind the other.  What does not fit before the end of the
 * memory goes to its beginning, in an entry of its own, so that each is in one
 * piece, and so is what is handed out.
 */

#include "ngx_lockbox_trail.h"
#include "ngx_lockbox_text.h"


/* Before the sign and the tenant; written when the entry is complete. */
#define NGX_LOCKBOX_TRAIL_HEAD   (sizeof("0000 0000000 ") - 1)
#define NGX_LOCKBOX_TRAIL_COUNT  4
#define NGX_LOCKBOX_TRAIL_SIZE   7
#define NGX_LOCKBOX_TRAIL_MOST   9999


static ngx_uint_t ngx_lockbox_trail_joins(const ngx_lockbox_trail_t *trail,
    const ngx_str_t *tenant, size_t len);
static u_char *ngx_lockbox_trail_begin(ngx_lockbox_trail_t *trail,
    const ngx_str_t *tenant, size_t len);
static u_char *ngx_lockbox_trail_room(ngx_lockbox_trail_t *trail, size_t len);
static size_t ngx_lockbox_trail_behind(const ngx_lockbox_trail_t *trail);
static void ngx_lockbox_trail_close(ngx_lockbox_trail_t *trail);
static u_char *ngx_lockbox_trail_write(u_char *p, size_t digits,
    size_t number);
static size_t ngx_lockbox_trail_size(const u_char *entry);
static size_t ngx_lockbox_trail_read(const u_char *p, size_t digits);
static ngx_lockbox_trail_loss_t *ngx_lockbox_trail_place(
    ngx_lockbox_trail_t *trail, const ngx_str_t *tenant);


void
ngx_lockbox_trail_init(ngx_lockbox_trail_t *trail, u_char *memory,
    size_t size, size_t share)
{
    ngx_memzero(trail, sizeof(ngx_lockbox_trail_t));

    trail->start = memory;
    trail->end = memory + size;
    trail->pos = memory;
    trail->last = memory;
    trail->share = share;
    trail->number = 1;
}


ngx_int_t
ngx_lockbox_trail_put(ngx_lockbox_trail_t *trail, const ngx_str_t *tenant,
    ngx_uint_t begins, const ngx_str_t *record)
{
    u_char  *p;

    p = ngx_lockbox_trail_joins(trail, tenant, record->len)
        ? trail->last : ngx_lockbox_trail_begin(trail, tenant, record->len);

    if (p == NULL) {
        return NGX_DECLINED;
    }

    trail->last = ngx_cpymem(p, record->data, record->len);
    trail->count++;

    if (begins) {
        trail->open[NGX_LOCKBOX_TRAIL_HEAD] = '+';
    }

    return NGX_OK;
}


static ngx_uint_t
ngx_lockbox_trail_joins(const ngx_lockbox_trail_t *trail,
    const ngx_str_t *tenant, size_t len)
{
    return trail->open != NULL
           && trail->count < NGX_LOCKBOX_TRAIL_MOST
           && (size_t) (trail->last - trail->open) + len <= trail->share
           && len <= ngx_lockbox_trail_behind(trail)
           && ngx_lockbox_text_same(tenant, &trail->tenant);
}


static u_char *
ngx_lockbox_trail_begin(ngx_lockbox_trail_t *trail, const ngx_str_t *tenant,
    size_t len)
{
    u_char  *p;

    len += NGX_LOCKBOX_TRAIL_HEAD + 1 + tenant->len + 1;

    if (len > NGX_LOCKBOX_TRAIL_ENTRY) {
        return NULL;
    }

    ngx_lockbox_trail_close(trail);

    p = ngx_lockbox_trail_room(trail, len);
    if (p == NULL) {
        return NULL;
    }

    trail->open = p;
    trail->count = 0;

    p += NGX_LOCKBOX_TRAIL_HEAD;
    *p++ = '-';
    trail->tenant.data = p;
    trail->tenant.len = tenant->len;
    p = ngx_cpymem(p, tenant->data, tenant->len);
    *p++ = LF;

    return p;
}


static u_char *
ngx_lockbox_trail_room(ngx_lockbox_trail_t *trail, size_t len)
{
    if (ngx_lockbox_trail_behind(trail) >= len) {
        return trail->last;
    }

    if (trail->wrap != NULL || (size_t) (trail->pos - trail->start) < len) {
        return NULL;
    }

    trail->wrap = trail->last;

    return trail->start;
}


/* Free bytes right behind the newest record. */

static size_t
ngx_lockbox_trail_behind(const ngx_lockbox_trail_t *trail)
{
    return (size_t) ((trail->wrap != NULL ? trail->pos : trail->end)
                     - trail->last);
}


static void
ngx_lockbox_trail_close(ngx_lockbox_trail_t *trail)
{
    u_char  *p;

    p = trail->open;

    if (p == NULL) {
        return;
    }

    p = ngx_lockbox_trail_write(p, NGX_LOCKBOX_TRAIL_COUNT, trail->count);
    *p++ = ' ';
    p = ngx_lockbox_trail_write(p, NGX_LOCKBOX_TRAIL_SIZE,
                                (size_t) (trail->last - trail->open));
    *p = ' ';

    trail->open = NULL;
}


/* All digits, with zeros in front. */

static u_char *
ngx_lockbox_trail_write(u_char *p, size_t digits, size_t number)
{
    size_t  i;

    for (i = digits; i > 0; i--) {
        p[i - 1] = (u_char) ('0' + number % 10);
        number /= 10;
    }

    return p + digits;
}


ngx_uint_t
ngx_lockbox_trail_look(ngx_lockbox_trail_t *trail, size_t max,
    ngx_str_t *entries)
{
    u_char  *p, *end;
    size_t   len;

    /* what was sent once must be the same when it is sent again */

    ngx_lockbox_trail_close(trail);

    end = trail->wrap != NULL ? trail->wrap : trail->last;

    for (p = trail->pos; p < end; p += len) {
        len = ngx_lockbox_trail_size(p);

        if (p != trail->pos && (size_t) (p - trail->pos) + len > max) {
            break;
        }
    }

    entries->data = trail->pos;
    entries->len = (size_t) (p - trail->pos);

    return trail->wrap == NULL && p == end;
}


static size_t
ngx_lockbox_trail_size(const u_char *entry)
{
    return ngx_lockbox_trail_read(entry + NGX_LOCKBOX_TRAIL_COUNT + 1,
                                  NGX_LOCKBOX_TRAIL_SIZE);
}


static size_t
ngx_lockbox_trail_read(const u_char *p, size_t digits)
{
    size_t  i, number;

    number = 0;

    for (i = 0; i < digits; i++) {
        number = number * 10 + (size_t) (p[i] - '0');
    }

    return number;
}


void
ngx_lockbox_trail_take(ngx_lockbox_trail_t *trail, size_t len)
{
    u_char  *end;

    end = trail->pos + len;

    while (trail->pos < end) {
        trail->number += ngx_lockbox_trail_read(trail->pos,
                                                NGX_LOCKBOX_TRAIL_COUNT);
        trail->pos += ngx_lockbox_trail_size(trail->pos);
    }

    if (trail->pos == trail->wrap) {
        trail->pos = trail->start;
        trail->wrap = NULL;
    }

    /* memory that was used a moment ago is near */

    if (trail->wrap == NULL && trail->pos == trail->last) {
        trail->pos = trail->start;
        trail->last = trail->start;
    }
}


size_t
ngx_lockbox_trail_left(const ngx_lockbox_trail_t *trail)
{
    if (trail->wrap == NULL) {
        return (size_t) (trail->last - trail->pos);
    }

    return (size_t) (trail->wrap - trail->pos)
           + (size_t) (trail->last - trail->start);
}


void
ngx_lockbox_trail_lose(ngx_lockbox_trail_t *trail, const ngx_str_t *tenant,
    int64_t now)
{
    ngx_lockbox_trail_loss_t  *loss;

    loss = ngx_lockbox_trail_place(trail, tenant);

    if (loss == NULL) {
        trail->nameless++;
        return;
    }

    if (loss->lost == 0) {
        loss->tenant.data = loss->text;
        loss->tenant.len = tenant->len;
        ngx_memcpy(loss->text, tenant->data, tenant->len);

        loss->since = now;
    }

    loss->lost++;
    loss->until = now;
}


/* That of the tenant, or a free one. */

static ngx_lockbox_trail_loss_t *
ngx_lockbox_trail_place(ngx_lockbox_trail_t *trail, const ngx_str_t *tenant)
{
    ngx_uint_t                 i;
    ngx_lockbox_trail_loss_t  *loss, *free;

    free = NULL;

    for (i = 0; i < NGX_LOCKBOX_TRAIL_LOSSES; i++) {
        loss = &trail->losses[i];

        if (loss->lost == 0) {
            free = free != NULL ? free : loss;

        } else if (ngx_lockbox_text_same(&loss->tenant, tenant)) {
            return loss;
        }
    }

    return free;
}


ngx_lockbox_trail_loss_t *
ngx_lockbox_trail_loss(ngx_lockbox_trail_t *trail,
    ngx_lockbox_trail_loss_t *loss)
{
    if (loss == NULL) {
        loss = trail->losses;
    }

    for ( /* void */ ; loss < trail->losses + NGX_LOCKBOX_TRAIL_LOSSES; loss++)
    {
        if (loss->lost != 0) {
            return loss;
        }
    }

    return NULL;
}
