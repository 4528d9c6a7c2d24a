/*
 * Audit records on their way to the streams of their tenants.
 *
 * Lines lie one behind the other.  One that does not fit before the end of
 * the memory goes to its beginning, so that each is in one piece, and so is
 * what is handed out.
 */

#include "ngx_lockbox_trail.h"
#include "ngx_lockbox_text.h"


static u_char *ngx_lockbox_trail_room(ngx_lockbox_trail_t *trail, size_t len);
static ngx_lockbox_trail_loss_t *ngx_lockbox_trail_place(
    ngx_lockbox_trail_t *trail, const ngx_str_t *tenant);


void
ngx_lockbox_trail_init(ngx_lockbox_trail_t *trail, u_char *memory,
    size_t size)
{
    ngx_memzero(trail, sizeof(ngx_lockbox_trail_t));

    trail->start = memory;
    trail->end = memory + size;
    trail->pos = memory;
    trail->last = memory;
    trail->number = 1;
}


ngx_int_t
ngx_lockbox_trail_put(ngx_lockbox_trail_t *trail, const ngx_str_t *tenant,
    ngx_uint_t begins, const ngx_str_t *record)
{
    u_char  *p;

    p = ngx_lockbox_trail_room(trail, 2 + tenant->len + record->len);
    if (p == NULL) {
        return NGX_DECLINED;
    }

    *p++ = begins ? '+' : '-';
    p = ngx_cpymem(p, tenant->data, tenant->len);
    *p++ = ' ';
    trail->last = ngx_cpymem(p, record->data, record->len);

    return NGX_OK;
}


static u_char *
ngx_lockbox_trail_room(ngx_lockbox_trail_t *trail, size_t len)
{
    if (trail->wrap != NULL) {
        return (size_t) (trail->pos - trail->last) >= len ? trail->last : NULL;
    }

    if ((size_t) (trail->end - trail->last) >= len) {
        return trail->last;
    }

    if ((size_t) (trail->pos - trail->start) < len) {
        return NULL;
    }

    trail->wrap = trail->last;

    return trail->start;
}


ngx_uint_t
ngx_lockbox_trail_look(const ngx_lockbox_trail_t *trail, size_t max,
    ngx_str_t *lines)
{
    u_char  *end, *p;

    end = trail->wrap != NULL ? trail->wrap : trail->last;

    lines->data = trail->pos;
    lines->len = (size_t) (end - trail->pos);

    if (lines->len <= max) {
        return trail->wrap == NULL;
    }

    for (p = trail->pos + max; p > trail->pos && p[-1] != LF; p--) {
        /* void */
    }

    if (p == trail->pos) {
        for (p += max; p[-1] != LF; p++) {
            /* void */
        }
    }

    lines->len = (size_t) (p - trail->pos);

    return trail->wrap == NULL && p == end;
}


void
ngx_lockbox_trail_take(ngx_lockbox_trail_t *trail, size_t len)
{
    ngx_str_t  lines;

    lines.data = trail->pos;
    lines.len = len;

    trail->number += ngx_lockbox_trail_count(&lines);
    trail->pos += len;

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


ngx_uint_t
ngx_lockbox_trail_count(const ngx_str_t *lines)
{
    u_char      *p, *end;
    ngx_uint_t   n;

    n = 0;
    p = lines->data;
    end = p + lines->len;

    while ((p = memchr(p, LF, (size_t) (end - p))) != NULL) {
        p++;
        n++;
    }

    return n;
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
