/*
 * Why: what was handed over must come out once, whole and in order, whatever
 * the ring has been through, and what did not fit must be counted, for the
 * tenant that misses it.
 */

/* links: ngx_lockbox_trail.c */

#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_lockbox_trail.h"
#include "ngx_shim.h"
#include "tap.h"


#define RING    64
#define ROUNDS  200000


static ngx_lockbox_trail_t  trail;
static u_char               memory[RING];


static void
begin(void)
{
    ngx_memset(&trail, 0xa5, sizeof(trail));
    ngx_lockbox_trail_init(&trail, memory, RING);
}


static ngx_int_t
put(const char *tenant, ngx_uint_t begins, const char *record)
{
    ngx_str_t  name, text;

    name = ngx_shim_str(tenant);
    text = ngx_shim_str(record);

    return ngx_lockbox_trail_put(&trail, &name, begins, &text);
}


/* The lines that are looked at are "want", and all there is if "all" says. */

static void
looks(size_t max, const char *want, ngx_uint_t all, const char *name)
{
    ngx_str_t   lines;
    ngx_uint_t  said;

    said = ngx_lockbox_trail_look(&trail, max, &lines);

    is_text(&lines, want, "%s", name);
    is(said, all, "%s: %s", name, all ? "all there is" : "not all");
}


static void
order(void)
{
    begin();
    looks(100, "", 1, "nothing at first");
    is(ngx_lockbox_trail_left(&trail), 0, "no byte");

    is(put("acme", 1, "{1}\n"), NGX_OK, "the first one");
    is(put("globex", 0, "{22}\n"), NGX_OK, "the second one");

    looks(100, "+acme {1}\n-globex {22}\n", 1, "both, in order");
    is(ngx_lockbox_trail_left(&trail), 23, "so many bytes wait");
    is(trail.number, 1, "they count from 1");

    is(put("a", 1, "{3}\n"), NGX_OK, "one more meanwhile");
    ngx_lockbox_trail_take(&trail, 23);

    looks(100, "+a {3}\n", 1, "what was taken off is gone, nothing else");
    is(trail.number, 3, "the third one");

    ngx_lockbox_trail_take(&trail, 7);
    looks(100, "", 1, "nothing is left");
    is(trail.number, 4, "the next one will be the fourth");
    ok(trail.last == memory, "an empty ring begins at its beginning");
}


static void
batches(void)
{
    begin();
    (void) put("a", 1, "{1}\n");
    (void) put("b", 1, "{22}\n");
    (void) put("c", 1, "{3}\n");

    looks(22, "+a {1}\n+b {22}\n+c {3}\n", 1, "room for exactly three");
    looks(21, "+a {1}\n+b {22}\n", 0, "for less");
    looks(15, "+a {1}\n+b {22}\n", 0, "for exactly two");
    looks(14, "+a {1}\n", 0, "for one and a half");
    looks(7, "+a {1}\n", 0, "for one");
    looks(6, "+a {1}\n", 0, "one at least");
    looks(1, "+a {1}\n", 0, "however small it should be");

    ngx_lockbox_trail_take(&trail, 15);
    looks(1, "+c {3}\n", 1, "the last one, at least");
}


static void
wrapping(void)
{
    begin();

    /* 3 x 20 bytes of 64 */

    is(put("a", 0, "{1.............}\n"), NGX_OK, "one");
    is(put("b", 0, "{2.............}\n"), NGX_OK, "two");
    is(put("c", 0, "{3.............}\n"), NGX_OK, "three");
    is(put("d", 0, "{4.............}\n"), NGX_DECLINED, "no more");
    is(put("d", 0, "\n"), NGX_OK, "but for what fits to the last byte");
    is(ngx_lockbox_trail_left(&trail), 64, "it is full");

    ngx_lockbox_trail_take(&trail, 20);
    is(put("e", 0, "{5..............}\n"), NGX_DECLINED, "a byte too long");
    is(put("e", 0, "{5.............}\n"), NGX_OK, "what fits before");
    is(ngx_lockbox_trail_left(&trail), 64, "it is full again");
    is(put("f", 0, "\n"), NGX_DECLINED, "of nothing else");

    looks(100, "-b {2.............}\n-c {3.............}\n-d \n", 0,
          "up to the end of the memory");
    ngx_lockbox_trail_take(&trail, 44);
    looks(100, "-e {5.............}\n", 1, "and from its beginning");
    is(trail.number, 5, "the fifth");

    /* 40 bytes at the end, 20 at the beginning, and 20 between */

    begin();
    (void) put("a", 0, "{1.............}\n");
    (void) put("b", 0, "{2.............}\n");
    (void) put("c", 0, "{3.............}\n");
    ngx_lockbox_trail_take(&trail, 40);
    is(put("d", 0, "{4.............}\n"), NGX_OK, "at the beginning");
    is(put("e", 0, "{5..............}\n"), NGX_DECLINED, "not over the oldest");
    is(put("e", 0, "{5.............}\n"), NGX_OK, "but up to it");
    ngx_lockbox_trail_take(&trail, 20);
    looks(100, "-d {4.............}\n-e {5.............}\n", 1, "both");
}


/* Many lines of all lengths, in and out, against a queue of their numbers. */

static void
everything(void)
{
    u_char      text[RING];
    size_t      len, i, max;
    uint64_t    in, out;
    uint32_t    random;
    ngx_str_t   tenant, record, lines;
    ngx_uint_t  good, lost, n;

    begin();

    in = 0;
    out = 0;
    lost = 0;
    good = 1;
    random = 1;
    tenant = ngx_shim_str("t");

    for (n = 0; n < ROUNDS; n++) {
        random = random * 1103515245 + 12345;

        if ((random >> 16) % 3 != 0) {
            len = (random >> 20) % 40;
            ngx_memset(text, (int) ('0' + in % 64), len);
            text[len] = LF;
            record.data = text;
            record.len = len + 1;

            if (ngx_lockbox_trail_put(&trail, &tenant, 0, &record) == NGX_OK) {
                in++;

            } else {
                lost++;
            }

            continue;
        }

        max = (random >> 20) % RING;
        (void) ngx_lockbox_trail_look(&trail, max, &lines);

        good = good && trail.number == out + 1;

        for (i = 0; i < lines.len; i++) {
            if (lines.data[i] == LF) {
                out++;

            } else if (i > 2 && lines.data[i - 1] != LF
                       && lines.data[i - 2] != LF && lines.data[i - 3] != LF)
            {
                good = good && lines.data[i] == '0' + out % 64;
            }
        }

        good = good && (lines.len == 0 || lines.data[lines.len - 1] == LF);

        ngx_lockbox_trail_take(&trail, lines.len);
    }

    while (ngx_lockbox_trail_left(&trail) != 0) {
        (void) ngx_lockbox_trail_look(&trail, RING, &lines);
        out += ngx_lockbox_trail_count(&lines);
        ngx_lockbox_trail_take(&trail, lines.len);
    }

    ok(good, "every line was the next one, and whole");
    is(out, in, "none was lost on the way, or came twice");
    ok(in > ROUNDS / 10 && lost > ROUNDS / 10,
       "there was room at times, and none at others");
}


static void
losses(void)
{
    u_char                     name[NGX_LOCKBOX_TRAIL_TENANT];
    ngx_str_t                  tenant, acme, globex;
    ngx_uint_t                 i;
    ngx_lockbox_trail_loss_t  *loss;

    begin();
    acme = ngx_shim_str("acme");
    globex = ngx_shim_str("globex");

    ok(ngx_lockbox_trail_loss(&trail, NULL) == NULL, "no losses at first");

    ngx_lockbox_trail_lose(&trail, &acme, 100);
    ngx_lockbox_trail_lose(&trail, &globex, 150);
    ngx_lockbox_trail_lose(&trail, &acme, 200);
    ngx_lockbox_trail_lose(&trail, &acme, 300);

    loss = ngx_lockbox_trail_loss(&trail, NULL);
    is_text(&loss->tenant, "acme", "one tenant's");
    is(loss->lost, 3, "so many");
    is(loss->since, 100, "since then");
    is(loss->until, 300, "and until then");

    loss->lost = 0;
    loss = ngx_lockbox_trail_loss(&trail, loss);
    is_text(&loss->tenant, "globex", "the other one's");
    is(loss->lost, 1, "a single one");
    is(loss->since, 150, "since its own time");

    ngx_lockbox_trail_lose(&trail, &acme, 400);
    loss = ngx_lockbox_trail_loss(&trail, NULL);
    is_text(&loss->tenant, "acme", "the first one's again");
    is(loss->lost, 1, "counted anew");
    is(loss->since, 400, "since the new time");

    /* all other places */

    for (i = 2; i < NGX_LOCKBOX_TRAIL_LOSSES; i++) {
        tenant.data = name;
        tenant.len = 2;
        name[0] = (u_char) ('a' + i / 26);
        name[1] = (u_char) ('a' + i % 26);
        ngx_lockbox_trail_lose(&trail, &tenant, 500);
    }

    is(trail.nameless, 0, "each tenant has a place");
    is(NGX_LOCKBOX_TRAIL_TENANT, 64, "which is as long as a tenant may be");

    tenant.len = NGX_LOCKBOX_TRAIL_TENANT;
    ngx_memset(name, 'x', sizeof(name));
    ngx_lockbox_trail_lose(&trail, &tenant, 600);
    is(trail.nameless, 1, "but one too many");

    ngx_lockbox_trail_lose(&trail, &globex, 700);
    is(trail.nameless, 1, "those that have one keep it");

    loss = ngx_lockbox_trail_loss(&trail, NULL);
    loss->lost = 0;
    ngx_lockbox_trail_lose(&trail, &tenant, 800);

    is(trail.nameless, 1, "and a place that is free again is taken");
    is(loss->tenant.len, NGX_LOCKBOX_TRAIL_TENANT, "by the longest of all");

    for (i = 0, loss = NULL;
         (loss = ngx_lockbox_trail_loss(&trail, loss)) != NULL;
         i++)
    {
        loss->lost = 0;
    }

    is(i, NGX_LOCKBOX_TRAIL_LOSSES, "all are found, up to the last");
}


int
main(void)
{
    order();
    batches();
    wrapping();
    everything();
    losses();

    return tap_done();
}
