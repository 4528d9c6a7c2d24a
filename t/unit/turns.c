/*
 * Why: whoever waits for a turn waits with a request open.  Each has its turn
 * once, in the order of arrival, but never before what the event loop has
 * ready already, and whoever has gone is not called.
 */

/* links: ngx_lockbox_turns.c */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include <time.h>

#include "ngx_lockbox_turns.h"
#include "ngx_shim.h"
#include "tap.h"


#define WORKS  5

/* microseconds; more than enough for one turn */
#define LONG   200


typedef struct {
    ngx_lockbox_turn_t    turn;
    ngx_lockbox_turns_t  *turns;
    int                   name;
    long                  lasts;        /* microseconds */
    ngx_lockbox_turn_t   *waits;        /* whom the handler lets wait */
    ngx_lockbox_turn_t   *leaves;       /* who gives up meanwhile */
} work_t;


/* nginx's own, which the program has instead of an event loop */
ngx_queue_t  ngx_posted_events;
ngx_queue_t  ngx_posted_next_events;

static char       done[64];
static ngx_log_t  quiet;


/* The log level says that there is nothing to log. */

void
ngx_log_error_core(ngx_uint_t level, ngx_log_t *log, ngx_err_t err,
    const char *fmt, ...)
{
    (void) level;
    (void) log;
    (void) err;
    (void) fmt;

    abort();
}


static long
clock_us(void)
{
    struct timespec  ts;

    (void) clock_gettime(CLOCK_MONOTONIC, &ts);

    return ts.tv_sec * 1000000L + ts.tv_nsec / 1000;
}


static void
work(void *data)
{
    long     start;
    size_t   n;
    work_t  *w = data;

    n = strlen(done);
    done[n] = (char) ('a' + w->name);
    done[n + 1] = '\0';

    if (w->waits != NULL) {
        ngx_lockbox_turn_wait(w->turns, w->waits);
    }

    if (w->leaves != NULL) {
        ngx_lockbox_turn_leave(w->leaves);
    }

    start = clock_us();

    while (clock_us() - start < w->lasts) { /* void */ }
}


/* One turn of the event loop: what is posted, then what was for the next. */

static void
loop(void)
{
    ngx_queue_t  *q;
    ngx_event_t  *ev;

    while (!ngx_queue_empty(&ngx_posted_events)) {
        q = ngx_queue_head(&ngx_posted_events);
        ev = ngx_queue_data(q, ngx_event_t, queue);

        ngx_delete_posted_event(ev);
        ev->handler(ev);
    }

    if (!ngx_queue_empty(&ngx_posted_next_events)) {
        ngx_queue_add(&ngx_posted_events, &ngx_posted_next_events);
        ngx_queue_init(&ngx_posted_next_events);
    }
}


static ngx_uint_t
idle(void)
{
    return ngx_queue_empty(&ngx_posted_events)
           && ngx_queue_empty(&ngx_posted_next_events);
}


/* Works that last so long each, none of them waiting yet. */

static void
begin(ngx_lockbox_turns_t *turns, work_t *works, long lasts)
{
    int  i;

    memset(works, 0, WORKS * sizeof(work_t));
    done[0] = '\0';

    for (i = 0; i < WORKS; i++) {
        works[i].turns = turns;
        works[i].name = i;
        works[i].lasts = lasts;
        works[i].turn.handler = work;
        works[i].turn.data = &works[i];
    }
}


static void
wait_all(work_t *works)
{
    int  i;

    for (i = 0; i < WORKS; i++) {
        ngx_lockbox_turn_wait(works[i].turns, &works[i].turn);
    }
}


static void
told(const char *want, const char *name)
{
    ok(strcmp(done, want) == 0, "%s: %s", name, done);
}


static void
test_order(ngx_lockbox_turns_t *turns)
{
    int     i;
    work_t  works[WORKS];

    begin(turns, works, 0);
    wait_all(works);

    told("", "nothing is done while it is asked for");

    for (i = 0; i < WORKS; i++) {
        loop();
    }

    told("abcde", "all have their turn, whoever came first first");
    ok(idle(), "and nothing is left to do");

    loop();
    told("abcde", "each has one turn");
}


static void
test_budget(ngx_lockbox_turns_t *turns)
{
    work_t  works[WORKS];

    begin(turns, works, LONG);
    wait_all(works);

    loop();
    told("a", "of what takes long, one is done in a turn of the loop");

    loop();
    told("ab", "and another one in the next");

    loop();
    loop();
    loop();
    told("abcde", "until all is done");
    ok(idle(), "and nothing is left to do then");
}


static void
test_leave(ngx_lockbox_turns_t *turns)
{
    int     i;
    work_t  works[WORKS];

    begin(turns, works, 0);

    ngx_lockbox_turn_leave(&works[0].turn);
    wait_all(works);

    ngx_lockbox_turn_leave(&works[1].turn);
    ngx_lockbox_turn_leave(&works[1].turn);
    works[2].leaves = &works[4].turn;

    for (i = 0; i < WORKS; i++) {
        loop();
    }

    told("acd", "whoever has left is not called");

    ngx_lockbox_turn_leave(&works[0].turn);
    ngx_lockbox_turn_wait(turns, &works[1].turn);
    loop();
    told("acdb", "and may come again");

    begin(turns, works, 0);
    ngx_lockbox_turn_wait(turns, &works[0].turn);
    ngx_lockbox_turn_leave(&works[0].turn);
    loop();
    told("", "nobody is called when the only one has left");
    ok(idle(), "and nothing is left to do");
}


static void
test_meanwhile(ngx_lockbox_turns_t *turns)
{
    work_t  works[WORKS];

    begin(turns, works, LONG);
    works[0].waits = &works[2].turn;

    ngx_lockbox_turn_wait(turns, &works[0].turn);
    ngx_lockbox_turn_wait(turns, &works[1].turn);

    loop();
    told("a", "who comes during a turn is not called in it");

    loop();
    told("ab", "and comes after who was there");

    loop();
    told("abc", "but comes");
    ok(idle(), "and nothing is left to do");

    begin(turns, works, LONG);
    works[0].waits = &works[0].turn;
    ngx_lockbox_turn_wait(turns, &works[0].turn);

    loop();
    loop();
    told("aa", "who waits again from its own turn has another one");

    works[0].waits = NULL;
    loop();
    told("aaa", "and another one");
    ok(idle(), "and nothing is left to do");
}


int
main(void)
{
    ngx_pool_t           *pool;
    ngx_lockbox_turns_t  *turns;

    ngx_queue_init(&ngx_posted_events);
    ngx_queue_init(&ngx_posted_next_events);

    pool = ngx_create_pool(4096, &quiet);

    ngx_shim_fail(1);
    ok(ngx_lockbox_turns_create(pool, &quiet) == NULL, "no memory");

    turns = ngx_lockbox_turns_create(pool, &quiet);
    ok(turns != NULL && idle(), "nobody waits");

    test_order(turns);
    test_budget(turns);
    test_leave(turns);
    test_meanwhile(turns);

    ngx_destroy_pool(pool);

    return tap_done();
}
