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


#define RING    128
#define SHARE   48
#define ROUNDS  200000

/* count, size, sign and line feed: 15 bytes, and the tenant's */


static ngx_lockbox_trail_t  trail;
static u_char               memory[RING];
static u_char               large[NGX_LOCKBOX_TRAIL_ENTRY + 1000];


static void
begin(void)
{
    ngx_memset(&trail, 0xa5, sizeof(trail));
    ngx_lockbox_trail_init(&trail, memory, RING, SHARE);
}


static ngx_int_t
put(const char *tenant, ngx_uint_t begins, const char *record)
{
    ngx_str_t  name, text;

    name = ngx_shim_str(tenant);
    text = ngx_shim_str(record);

    return ngx_lockbox_trail_put(&trail, &name, begins, &text);
}


/* The entries that are looked at are "want", and all there is if "all". */

static void
looks(size_t max, const char *want, ngx_uint_t all, const char *name)
{
    ngx_str_t   entries;
    ngx_uint_t  said;

    said = ngx_lockbox_trail_look(&trail, max, &entries);

    is_text(&entries, want, "%s", name);
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
    is(ngx_lockbox_trail_left(&trail), 49, "so many bytes wait");

    looks(100, "0001 0000023 +acme\n{1}\n0001 0000026 -globex\n{22}\n", 1,
          "both, in order");
    is(ngx_lockbox_trail_left(&trail), 49, "... still");
    is(trail.number, 1, "they count from 1");

    is(put("a", 1, "{3}\n"), NGX_OK, "one more meanwhile");
    ngx_lockbox_trail_take(&trail, 49);

    looks(100, "0001 0000020 +a\n{3}\n", 1,
          "what was taken off is gone, nothing else");
    is(trail.number, 3, "the third one");

    ngx_lockbox_trail_take(&trail, 20);
    looks(100, "", 1, "nothing is left");
    is(trail.number, 4, "the next one will be the fourth");
    ok(trail.last == memory, "an empty ring begins at its beginning");
}


static void
sharing(void)
{
    begin();
    (void) put("a", 0, "{1}\n");
    (void) put("a", 0, "{2}\n");
    (void) put("a", 1, "{3}\n");
    (void) put("a", 0, "{4}\n");

    looks(100, "0004 0000032 +a\n{1}\n{2}\n{3}\n{4}\n", 1,
          "those of one tenant share an entry");
    looks(100, "0004 0000032 +a\n{1}\n{2}\n{3}\n{4}\n", 1, "... again");

    (void) put("a", 0, "{5}\n");
    looks(100, "0004 0000032 +a\n{1}\n{2}\n{3}\n{4}\n0001 0000020 -a\n{5}\n",
          1, "which stays as it is once it was looked at");

    ngx_lockbox_trail_take(&trail, 32);
    is(trail.number, 5, "four of them");
    ngx_lockbox_trail_take(&trail, 20);
    is(trail.number, 6, "and one");

    begin();
    (void) put("a", 0, "{1}\n");
    (void) put("b", 0, "{2}\n");
    (void) put("a", 0, "{3}\n");
    looks(100, "0001 0000020 -a\n{1}\n0001 0000020 -b\n{2}\n"
          "0001 0000020 -a\n{3}\n", 1, "nobody shares with another tenant");

    begin();
    (void) put("a", 0, "{1}\n");
    (void) put("ab", 0, "{2}\n");
    (void) put("a", 0, "{3}\n");
    looks(100, "0001 0000020 -a\n{1}\n0001 0000021 -ab\n{2}\n"
          "0001 0000020 -a\n{3}\n", 1, "... whose name begins alike");
}


static void
limits(void)
{
    begin();
    (void) put("a", 0, "{1............}\n");
    (void) put("a", 0, "{2............}\n");
    looks(100, "0002 0000048 -a\n{1............}\n{2............}\n", 1,
          "as much as may be shared");

    begin();
    (void) put("a", 0, "{1............}\n");
    (void) put("a", 0, "{2.............}\n");
    looks(100, "0001 0000032 -a\n{1............}\n"
          "0001 0000033 -a\n{2.............}\n", 1, "a byte more");

    begin();
    (void) put("a", 0, "{......................................}\n");
    looks(100, "0001 0000057 -a\n"
          "{......................................}\n", 1,
          "one alone may be longer");
}


/* As many as the header can count, and as long as it can say. */

static void
largest(void)
{
    size_t      left;
    ngx_str_t   tenant, record, entries;
    ngx_uint_t  i;

    tenant = ngx_shim_str("a");
    record = ngx_shim_str("\n");

    ngx_lockbox_trail_init(&trail, large, sizeof(large), sizeof(large));

    for (i = 0; i < 10000; i++) {
        (void) ngx_lockbox_trail_put(&trail, &tenant, 0, &record);
    }

    (void) ngx_lockbox_trail_look(&trail, 1, &entries);
    is(entries.len, 16 + 9999, "9999 records in an entry, and no more");
    ok(ngx_memcmp(entries.data, "9999 0010015 -a\n", 16) == 0,
       "... which it says");
    ngx_lockbox_trail_take(&trail, entries.len);
    is(trail.number, 10000, "... and counts");
    (void) ngx_lockbox_trail_look(&trail, 1, &entries);
    is(entries.len, 17, "the next one is another's");

    ngx_lockbox_trail_init(&trail, large, sizeof(large), sizeof(large));

    record.len = NGX_LOCKBOX_TRAIL_ENTRY - 16;
    record.data = malloc(record.len + 1);

    if (record.data == NULL) {
        ok(0, "memory");
        return;
    }

    ngx_memset(record.data, 'x', record.len + 1);
    record.data[record.len - 1] = LF;

    is(ngx_lockbox_trail_put(&trail, &tenant, 0, &record), NGX_OK,
       "the longest entry");
    (void) ngx_lockbox_trail_look(&trail, 1, &entries);
    ok(ngx_memcmp(entries.data, "0001 9999999 -a\n", 16) == 0, "... it says");
    ngx_lockbox_trail_take(&trail, entries.len);
    left = ngx_lockbox_trail_left(&trail);
    is(left, 0, "... and all of it goes");

    record.data[record.len - 1] = 'x';
    record.data[record.len++] = LF;
    is(ngx_lockbox_trail_put(&trail, &tenant, 0, &record), NGX_DECLINED,
       "a byte more than an entry can have");

    free(record.data);
}


static void
batches(void)
{
    static const char  one[] = "0001 0000020 +a\n{1}\n";
    static const char  two[] = "0001 0000020 +a\n{1}\n0001 0000021 +b\n{22}\n";
    static const char  all[] = "0001 0000020 +a\n{1}\n0001 0000021 +b\n{22}\n"
                               "0001 0000020 +c\n{3}\n";

    begin();
    (void) put("a", 1, "{1}\n");
    (void) put("b", 1, "{22}\n");
    (void) put("c", 1, "{3}\n");

    looks(61, all, 1, "room for exactly three");
    looks(60, two, 0, "for less");
    looks(41, two, 0, "for exactly two");
    looks(40, one, 0, "for one and a half");
    looks(20, one, 0, "for one");
    looks(19, one, 0, "one at least");
    looks(1, one, 0, "however small it should be");

    ngx_lockbox_trail_take(&trail, 41);
    looks(1, "0001 0000020 +c\n{3}\n", 1, "the last one, at least");
}


static void
wrapping(void)
{
    begin();

    /* 3 x 36 bytes of 128 */

    is(put("a", 0, "{1................}\n"), NGX_OK, "one");
    is(put("b", 0, "{2................}\n"), NGX_OK, "two");
    is(put("c", 0, "{3................}\n"), NGX_OK, "three");
    is(put("d", 0, "{4..}\n"), NGX_DECLINED, "no more");
    is(put("d", 0, "{4}\n"), NGX_OK, "but for what fits to the last byte");
    is(ngx_lockbox_trail_left(&trail), 128, "it is full");
    is(put("d", 0, "\n"), NGX_DECLINED, "of nothing else");

    looks(36, "0001 0000036 -a\n{1................}\n", 0, "the first");
    ngx_lockbox_trail_take(&trail, 36);
    is(put("e", 0, "{5.................}\n"), NGX_DECLINED, "a byte too long");
    is(put("e", 0, "{5................}\n"), NGX_OK, "what fits before");
    is(ngx_lockbox_trail_left(&trail), 128, "it is full again");
    is(put("e", 0, "\n"), NGX_DECLINED, "of nothing else, to share or not");

    looks(200, "0001 0000036 -b\n{2................}\n"
          "0001 0000036 -c\n{3................}\n0001 0000020 -d\n{4}\n", 0,
          "up to the end of the memory");
    ngx_lockbox_trail_take(&trail, 92);
    looks(100, "0001 0000036 -e\n{5................}\n", 1,
          "and from its beginning");
    is(trail.number, 5, "the fifth");

    begin();
    (void) put("a", 0, "{1................}\n");
    (void) put("b", 0, "{2................}\n");
    (void) put("c", 0, "{3................}\n");
    is(put("d", 0, "\n"), NGX_OK, "an entry of the least size");
    is(put("d", 0, "{}\n"), NGX_OK, "shared to the last byte");
    is(put("d", 0, "\n"), NGX_DECLINED, "not beyond");

    /* 36 bytes at the end, and what fits before them */

    begin();
    (void) put("a", 0, "{1................}\n");
    (void) put("b", 0, "{2................}\n");
    (void) put("c", 0, "{3................}\n");
    looks(72, "0001 0000036 -a\n{1................}\n"
          "0001 0000036 -b\n{2................}\n", 0, "two");
    ngx_lockbox_trail_take(&trail, 72);
    is(put("d", 0, "{4................}\n"), NGX_OK, "at the beginning");
    is(put("d", 0, "{5......}\n"), NGX_OK, "shared");
    is(put("e", 0, "{6.......}\n"), NGX_DECLINED, "not over the oldest");
    is(put("e", 0, "{6......}\n"), NGX_OK, "but up to it");
    ngx_lockbox_trail_take(&trail, 36);
    looks(100, "0002 0000046 -d\n{4................}\n{5......}\n"
          "0001 0000026 -e\n{6......}\n", 1, "both");

    /* what cannot share any more goes to the beginning */

    begin();
    (void) put("a", 0, "{1................}\n");
    (void) put("b", 0, "{2................}\n");
    looks(36, "0001 0000036 -a\n{1................}\n", 0, "one of two");
    ngx_lockbox_trail_take(&trail, 36);
    (void) put("c", 0, "{3................................}\n");
    is(put("c", 0, "{4..}\n"), NGX_OK, "at the beginning, in one of its own");
    looks(200, "0001 0000036 -b\n{2................}\n"
          "0001 0000052 -c\n{3................................}\n", 0,
          "up to the end");
    ngx_lockbox_trail_take(&trail, 88);
    looks(200, "0001 0000022 -c\n{4..}\n", 1, "and the rest");
}


/* Many records of all lengths, in and out, against a queue of their numbers. */

static void
everything(void)
{
    u_char      text[RING], *p, *end;
    size_t      len, max, size;
    uint64_t    in, out;
    uint32_t    random;
    ngx_int_t   count;
    ngx_str_t   record, entries, tenants[2];
    ngx_uint_t  good, lost, shared, n;

    begin();

    in = 0;
    out = 0;
    lost = 0;
    good = 1;
    shared = 0;
    random = 1;
    tenants[0] = ngx_shim_str("t");
    tenants[1] = ngx_shim_str("u");

    for (n = 0; n < ROUNDS || ngx_lockbox_trail_left(&trail) != 0; n++) {
        random = random * 1103515245 + 12345;

        if (n < ROUNDS && (random >> 16) % 4 != 0) {
            len = (random >> 20) % 40;
            ngx_memset(text, (int) ('0' + in % 64), len);
            text[len] = LF;
            record.data = text;
            record.len = len + 1;

            if (ngx_lockbox_trail_put(&trail, &tenants[in / 5 % 2], 0, &record)
                == NGX_OK)
            {
                in++;

            } else {
                lost++;
            }

            continue;
        }

        max = (random >> 20) % RING;
        (void) ngx_lockbox_trail_look(&trail, max, &entries);

        good = good && trail.number == out + 1;
        size = 0;

        for (p = entries.data; p < entries.data + entries.len; p = end) {
            count = (ngx_int_t) strtoul((char *) p, NULL, 10);
            size = strtoul((char *) p + 5, NULL, 10);
            end = p + size;
            shared += count > 1;
            good = good && p[14] == "tu"[out / 5 % 2] && end[-1] == LF;

            for (p += 16; p < end; p++) {
                if (*p == LF) {
                    out++;
                    count--;

                } else {
                    good = good && *p == '0' + out % 64;
                }
            }

            good = good && count == 0;
        }

        good = good && (entries.len <= max || size == entries.len);

        ngx_lockbox_trail_take(&trail, entries.len);
    }

    ok(good, "every record was the next one, and whole");
    is(out, in, "none was lost on the way, or came twice");
    ok(in > ROUNDS / 10 && lost > ROUNDS / 10,
       "there was room at times, and none at others");
    ok(shared > ROUNDS / 100, "many shared an entry");
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
    sharing();
    limits();
    largest();
    batches();
    wrapping();
    everything();
    losses();

    return tap_done();
}
