/*
 * Why: "a revoked grant is refused everywhere within one lease" must hold in
 * whatever order questions, answers, changes and messages meet.  So all orders
 * of a small world are tried: two workers with the cache that they share, a
 * Redis, two grants, and a clock.  The cache is the real one; the workers
 * follow the rules of the watch and of the gate, and a rule that is left out
 * must be missed.
 */

/* links: ngx_lockbox_cache.c */

#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_lockbox_cache.h"
#include "ngx_shim.h"
#include "tap.h"
#include "zone.h"


#define WORKERS  2
#define GRANTS   2
#define LEASE    1
#define LAST     2              /* tick of the clock */
#define NEVER    0xff
#define INBOX    6              /* messages on their way to a watch */
#define WORDS    64             /* of the zone that ever change */
#define STATES   (1 << 21)      /* places for those that were visited */

#define SMALL    (NGX_LOCKBOX_CACHE_SIZE_MIN / 2)


/* What a message to a watch is. */
enum {
    SUBSCRIBED = 1,
    PONG,
    FLUSHED,
    CHANGED                     /* + the number of the grant */
};


/* Rules, each of which can be left out. */
typedef enum {
    NO_RULE = 0,
    SINCE,                      /* what is older than a watch does not count */
    REMOVAL,                    /* a message takes questions away, too */
    TICKET,                     /* an answer is that to its own question */
    EPOCH,                      /* FLUSHALL changes all */
    SENT,                       /* a lease begins when the PING is sent */
    LEASED,                     /* and ends */
    AGE,                        /* an old answer does not let in */
    RULES
} rule_e;


static const char *const  rule_names[RULES] = {
    "", "what is older than the subscription does not count",
    "a message takes placeholders away", "an answer is that to its question",
    "FLUSHALL changes everything", "a lease begins with the PING",
    "a lease ends", "an answer may be too old"
};


/* Bytes all of them, so that there are no holes. */
typedef struct {
    uint8_t    inbox[INBOX];    /* in order, up to a zero */
    uint8_t    listens;         /* in the eyes of Redis */
    uint8_t    subscribed;      /* in its own */
    uint8_t    awaited;         /* PONG */
    uint8_t    sent;            /* when the PING was */
    uint8_t    trusted;
    uint8_t    seen;
    uint8_t    since;           /* ticket */

    uint8_t    asks;            /* the number of a grant, + 1 */
    uint8_t    asked;           /* when */
    uint8_t    ticket;
    uint8_t    answer;          /* of Redis, on its way: 1 no, 2 live */
} worker_t;


typedef struct {
    worker_t   workers[WORKERS];
    uint8_t    live[GRANTS];    /* the keys in Redis */
    uint8_t    over[GRANTS];    /* when they went */
    uint8_t    untold;          /* bits: changes of this turn of Redis */
    uint8_t    now;

    /* how much more may happen */
    uint8_t    questions;
    uint8_t    changes;
    uint8_t    losses;          /* of a connection */
    uint8_t    crashes;
} world_t;


typedef struct {
    world_t    world;
    uint64_t   words[WORDS];
} state_t;


static ngx_lockbox_cache_t   cache;
static size_t                places[WORDS];
static ngx_uint_t            nwords;

static rule_e                without;
static world_t               world;
static ngx_uint_t            violations;
static ngx_uint_t            accepted;
static uint64_t              states[STATES];
static ngx_uint_t            nstates;


static void explore(void);


static u_char *
name_of(ngx_uint_t grant)
{
    static u_char  name[NGX_LOCKBOX_CACHE_NAME_LEN];

    ngx_memset(name, 1 + (int) grant, sizeof(name));

    return name;
}


static void
save(state_t *state)
{
    ngx_uint_t  i;

    state->world = world;

    for (i = 0; i < nwords; i++) {
        ngx_memcpy(&state->words[i], (u_char *) cache.zone + places[i],
                   sizeof(uint64_t));
    }
}


static void
restore(const state_t *state)
{
    ngx_uint_t  i;

    world = state->world;

    for (i = 0; i < nwords; i++) {
        ngx_memcpy((u_char *) cache.zone + places[i], &state->words[i],
                   sizeof(uint64_t));
    }
}


/* What there is of a grant in the cache: 0, its placeholder's ticket, or
 * 16 and that of what is known. */

static uint8_t
look(ngx_uint_t grant, const state_t *state)
{
    uint8_t                 ticket, last;
    ngx_lockbox_decision_t  known;
    ngx_lockbox_question_t  question;

    last = (uint8_t) ngx_lockbox_cache_ticket(&cache);
    known = ngx_lockbox_cache_liveness(&cache, name_of(grant), 0, &question);
    restore(state);

    if (known != NGX_LOCKBOX_ALLOW) {
        return question.ticket > last ? 0 : (uint8_t) question.ticket;
    }

    for (ticket = 1; known == NGX_LOCKBOX_ALLOW; ticket++) {
        known = ngx_lockbox_cache_liveness(&cache, name_of(grant), ticket,
                                           &question);
        restore(state);
    }

    return 16 + ticket - 1;
}


/* What has no say in what can follow is the same for all. */

static void
simplify(worker_t *worker)
{
    if (!worker->awaited) {
        worker->sent = worker->sent == world.now ? 1 : 0;
    }

    if (without != LEASED && worker->trusted
        && world.now - worker->seen >= LEASE)
    {
        worker->trusted = 0;
    }

    if (!worker->trusted) {
        worker->seen = 0;

        if (!worker->subscribed) {
            worker->since = 0;
        }
    }
}


/* 1 for a state that is new. */

static ngx_uint_t
visit(const state_t *state)
{
    world_t         copy;
    uint64_t        hash;
    ngx_uint_t      i;
    const uint8_t  *p;

    copy = state->world;
    hash = 0xcbf29ce484222325 + ngx_lockbox_cache_ticket(&cache);

    for (i = 0; i < WORKERS; i++) {
        simplify(&copy.workers[i]);
    }

    for (i = 0; i < GRANTS; i++) {
        hash = hash * 32 + look(i, state);
    }

    p = (const uint8_t *) &copy;

    for (i = 0; i < sizeof(world_t); i++) {
        hash = (hash ^ p[i]) * 0x9e3779b97f4a7c15;
        hash ^= hash >> 29;
    }

    hash |= 1;

    for (i = hash >> 32; /* void */ ; i++) {
        i %= STATES;

        if (states[i] == hash) {
            return 0;
        }

        if (states[i] == 0) {
            break;
        }
    }

    states[i] = hash;

    if (++nstates == STATES - STATES / 8) {
        abort();
    }

    return 1;
}


static void
tell(worker_t *worker, uint8_t what)
{
    ngx_uint_t  i;

    for (i = 0; worker->inbox[i]; i++) {
        /* void */
    }

    if (i == INBOX - 1) {
        abort();
    }

    worker->inbox[i] = what;
}


static void
let_in(ngx_uint_t grant)
{
    accepted++;

    if (world.over[grant] != NEVER && world.now - world.over[grant] >= LEASE) {
        violations++;
    }
}


static uint64_t
trust(const worker_t *worker)
{
    if (!worker->trusted
        || (without != LEASED && world.now - worker->seen >= LEASE))
    {
        return NGX_LOCKBOX_CACHE_NO_TRUST;
    }

    return without == SINCE ? 0 : worker->since;
}


/* What the worker does */

static void
request(worker_t *worker, ngx_uint_t grant)
{
    state_t                 before;
    ngx_lockbox_decision_t  known;
    ngx_lockbox_question_t  question;

    save(&before);

    known = ngx_lockbox_cache_liveness(&cache, name_of(grant), trust(worker),
                                       &question);

    if (known == NGX_LOCKBOX_ALLOW) {
        let_in(grant);

    } else if (world.questions != 0 && !worker->asks) {
        world.questions--;
        worker->asks = 1 + (uint8_t) grant;
        worker->asked = world.now;
        worker->ticket = (uint8_t) question.ticket;
        return;
    }

    restore(&before);
}


static uint64_t
any_ticket(const ngx_lockbox_question_t *own)
{
    uint64_t                last;
    state_t                 before;
    ngx_lockbox_question_t  question;

    save(&before);

    question = *own;
    last = ngx_lockbox_cache_ticket(&cache);
    (void) ngx_lockbox_cache_liveness(&cache, own->name, 0, &question);

    restore(&before);

    return question.ticket <= last ? question.ticket : own->ticket;
}


static void
answered(worker_t *worker)
{
    ngx_uint_t              grant, vouched;
    ngx_lockbox_question_t  question;

    grant = worker->asks - 1;
    question.cache = &cache;
    question.ticket = worker->ticket;
    ngx_memcpy(question.name, name_of(grant), sizeof(question.name));

    if (without == TICKET) {
        question.ticket = any_ticket(&question);
    }

    vouched = ngx_lockbox_cache_answer(&question,
                                       worker->answer == 2
                                       ? NGX_LOCKBOX_ALLOW
                                       : NGX_LOCKBOX_NOT_LIVE, 0)
              && question.ticket > trust(worker);

    if (worker->answer == 2
        && (vouched || without == AGE || world.now - worker->asked < LEASE))
    {
        let_in(grant);
    }

    worker->asks = worker->asked = worker->ticket = worker->answer = 0;
}


static void
beat(worker_t *worker)
{
    worker->awaited = 1;
    worker->sent = world.now;
    tell(worker, PONG);
}


static void
changed(ngx_uint_t grant)
{
    state_t                 before;
    ngx_lockbox_decision_t  known;
    ngx_lockbox_question_t  question;

    if (without == REMOVAL) {
        save(&before);
        known = ngx_lockbox_cache_liveness(&cache, name_of(grant), 0,
                                           &question);
        restore(&before);

        if (known != NGX_LOCKBOX_ALLOW) {
            return;
        }
    }

    ngx_lockbox_cache_forget(&cache, name_of(grant));
}


static void
hear(worker_t *worker)
{
    uint8_t  what;

    what = worker->inbox[0];
    ngx_memmove(worker->inbox, worker->inbox + 1, INBOX - 1);

    switch (what) {

    case SUBSCRIBED:
        worker->subscribed = 1;
        worker->since = (uint8_t) ngx_lockbox_cache_ticket(&cache);
        beat(worker);
        break;

    case PONG:
        worker->awaited = 0;
        worker->seen = without == SENT ? world.now : worker->sent;
        worker->trusted = 1;
        break;

    case FLUSHED:
        if (without != EPOCH) {
            ngx_lockbox_cache_forget_all(&cache);
        }

        break;

    default:
        changed(what - CHANGED);
    }
}


static void
lose(worker_t *worker)
{
    ngx_memzero(worker->inbox, INBOX);
    worker->listens = worker->subscribed = 0;
    worker->awaited = 0;
}


/* What Redis does */

static void
change(ngx_uint_t what)
{
    ngx_uint_t  i;

    for (i = 0; i < GRANTS; i++) {
        if (what == FLUSHED || what == CHANGED + i) {
            world.live[i] = 0;
            world.over[i] = ngx_min(world.over[i], world.now);
        }
    }

    world.untold |= (uint8_t) (1 << what);
}


static void
end_turn(void)
{
    uint8_t      what;
    ngx_uint_t   i;

    for (i = 0; i < WORKERS; i++) {
        for (what = FLUSHED; what < CHANGED + GRANTS; what++) {
            if (world.workers[i].listens && (world.untold & 1 << what)) {
                tell(&world.workers[i], what);
            }
        }
    }

    world.untold = 0;
}


/* One step, number "step" of a worker or of the rest; 0 if it cannot be. */

static ngx_uint_t
worker_step(worker_t *worker, ngx_uint_t step)
{
    switch (step) {

    case 0:
        request(worker, 0);
        return 1;

    case 1:

        /* one of them is enough to ask for what nobody changes */

        if (worker != world.workers) {
            return 0;
        }

        request(worker, 1);
        return 1;

    case 2:
        if (worker->asks && !worker->answer) {
            worker->answer = 1 + world.live[worker->asks - 1];
            return 1;
        }

        return 0;

    case 3:
        if (worker->answer) {
            answered(worker);
            return 1;
        }

        return 0;

    case 4:
        if (worker->inbox[0]) {
            hear(worker);
            return 1;
        }

        return 0;

    case 5:
        if (!worker->listens) {
            worker->listens = 1;
            tell(worker, SUBSCRIBED);
            return 1;
        }

        return 0;

    case 6:
        if (worker->subscribed && !worker->awaited
            && worker->sent != world.now)
        {
            beat(worker);
            return 1;
        }

        return 0;

    default:
        if (worker->listens && world.losses != 0) {
            world.losses--;
            lose(worker);
            return 1;
        }

        return 0;
    }
}


static ngx_uint_t
other_step(ngx_uint_t step)
{
    switch (step) {

    case 0:
        if (world.untold != 0) {
            end_turn();
            return 1;
        }

        /* a turn of Redis takes no time */

        if (world.now < LAST) {
            world.now++;
            return 1;
        }

        return 0;

    case 1:
    case 2:
        if (world.changes != 0 && world.live[0]) {
            world.changes--;
            change(step == 1 ? CHANGED : FLUSHED);
            return 1;
        }

        return 0;

    default:
        if (world.crashes != 0) {
            world.crashes--;
            ngx_memzero(&world.workers[0], sizeof(worker_t));
            return 1;
        }

        return 0;
    }
}


static void
explore(void)
{
    state_t     state;
    ngx_uint_t  i, step;

    save(&state);

    /* one way to be wrong is enough */

    if (violations || !visit(&state)) {
        return;
    }

    for (i = 0; i < WORKERS; i++) {
        for (step = 0; step < 8; step++) {
            if (worker_step(&world.workers[i], step)) {
                explore();
                restore(&state);
            }
        }
    }

    for (step = 0; step < 4; step++) {
        if (other_step(step)) {
            explore();
            restore(&state);
        }
    }
}


/* Finds the words of the zone that change in so small a world. */

static void
find_places(void)
{
    size_t                  i;
    u_char                 *before;
    ngx_uint_t              n;
    ngx_lockbox_question_t  question;

    before = malloc(SMALL);
    if (before == NULL) {
        abort();
    }

    ngx_memcpy(before, cache.zone, SMALL);

    for (n = 0; n < 20; n++) {
        (void) ngx_lockbox_cache_liveness(&cache, name_of(n % 3 % GRANTS),
                                          n % 4, &question);
        (void) ngx_lockbox_cache_answer(&question, NGX_LOCKBOX_ALLOW, 0);

        if (n % 7 == 0) {
            ngx_lockbox_cache_forget(&cache, name_of(n % GRANTS));
            ngx_lockbox_cache_forget_all(&cache);
        }
    }

    for (i = 0, nwords = 0; i < SMALL; i += sizeof(uint64_t)) {

        if (ngx_memcmp((u_char *) cache.zone + i, before + i,
                       sizeof(uint64_t))
            != 0)
        {
            if (nwords == WORDS) {
                abort();
            }

            places[nwords++] = i;
        }
    }

    ngx_memcpy(cache.zone, before, SMALL);
    free(before);
}


/*
 * One worker has been there for some time, the other one is new.  "questions",
 * "losses" and "crashes" are how many there may be.
 */

static void
start(rule_e rule, const uint8_t *most)
{
    ngx_memzero(&world, sizeof(world_t));
    ngx_memzero(states, sizeof(states));

    world.live[0] = world.live[1] = 1;
    world.over[0] = world.over[1] = NEVER;
    world.workers[0].listens = world.workers[0].subscribed = 1;
    world.workers[0].trusted = 1;
    world.changes = 1;
    world.questions = most[0];
    world.losses = most[1];
    world.crashes = most[2];

    without = rule;
    violations = accepted = nstates = 0;

    cache = zone_create(SMALL);
    find_places();
    explore();
    zone_free(&cache);
}


int
main(void)
{
    rule_e      rule;
    ngx_uint_t  i, missed;

    static const uint8_t  most[][3] = {
        { 2, 0, 0 }, { 1, 1, 0 }, { 1, 1, 1 }
    };

    for (i = 0; i < 3; i++) {
        start(NO_RULE, most[i]);
        printf("# %d states\n", (int) nstates);
        ok(accepted > 0, "grants are accepted");
        is(violations, 0, "none is later than a lease after it was revoked");
    }

    for (rule = NO_RULE + 1; rule < RULES; rule++) {

        for (missed = 0, i = 0; i < 3 && !missed; i++) {
            start(rule, most[i]);
            missed = violations != 0;
        }

        ok(missed, "but for the rule: %s", rule_names[rule]);
    }

    return tap_done();
}
