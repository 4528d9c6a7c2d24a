/*
 * Why: what one worker keeps, all workers believe.  An answer that is older
 * than a change of its live key must never be believed, an end must never be
 * taken back, and a zone that is full or was left in the middle of a change
 * must cost time only.
 */

/* links: ngx_lockbox_cache.c ngx_lockbox_facts.c */

#include <ngx_config.h>
#include <ngx_core.h>

#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>

#include "ngx_lockbox_cache.h"
#include "ngx_lockbox_facts.h"
#include "ngx_shim.h"
#include "tap.h"
#include "zone.h"


/* a zone that is full soon */
#define SMALL       (NGX_LOCKBOX_CACHE_SIZE_MIN / 2)

/* bytes of facts in the first cell of a grant, and in each further one */
#define FIRST_CELL  8
#define CELL        76

#define NO_TRUST    NGX_LOCKBOX_CACHE_NO_TRUST

#define ALLOW       NGX_LOCKBOX_ALLOW
#define ASK         NGX_LOCKBOX_NOT_DECIDED
#define REVOKED     NGX_LOCKBOX_REVOKED
#define COMPLETED   NGX_LOCKBOX_COMPLETED
#define EXPIRED     NGX_LOCKBOX_EXPIRED


static sigjmp_buf  killed;


/*
 * Names and keys are digests; here their first bytes are those of a number,
 * which choose the bucket, and many share one.
 */

static u_char *
digest(uint32_t number)
{
    uint32_t       bucket;
    static u_char  bytes[NGX_LOCKBOX_CACHE_KEY_LEN];

    bucket = (number % 7) * 0x20000000;

    ngx_memset(bytes, 0xd1, sizeof(bytes));
    ngx_memcpy(bytes, &bucket, sizeof(uint32_t));
    ngx_memcpy(bytes + sizeof(uint32_t), &number, sizeof(uint32_t));

    return bytes;
}


/* Asks and is answered; what was known before. */

static ngx_lockbox_decision_t
ask(const ngx_lockbox_cache_t *cache, uint32_t name, uint64_t since,
    ngx_lockbox_decision_t answer)
{
    ngx_lockbox_decision_t  known;
    ngx_lockbox_question_t  question;

    known = ngx_lockbox_cache_liveness(cache, digest(name), since, &question);

    if (known == ASK) {
        (void) ngx_lockbox_cache_answer(&question, answer,
                                        zone_time.sec + 100);
    }

    return known;
}


static ngx_lockbox_decision_t
known(const ngx_lockbox_cache_t *cache, uint32_t name, uint64_t since)
{
    ngx_lockbox_question_t  question;

    return ngx_lockbox_cache_liveness(cache, digest(name), since, &question);
}


/* The name of the liveness that goes with facts. */

static const u_char *
name_of(uint32_t key)
{
    return digest(~key);
}


static void
keep(const ngx_lockbox_cache_t *cache, uint32_t key, size_t len)
{
    size_t         i;
    u_char         name[NGX_LOCKBOX_CACHE_NAME_LEN];
    static u_char  facts[NGX_LOCKBOX_CACHE_FACTS_MAX + 1];

    for (i = 0; i < len; i++) {
        facts[i] = (u_char) (key * 31 + i * 7 + len);
    }

    ngx_memcpy(name, name_of(key), NGX_LOCKBOX_CACHE_NAME_LEN);
    ngx_lockbox_cache_keep(cache, digest(key), name, facts, len);
}


/* Their length, 0 for none; -1 for others than were kept. */

static ssize_t
found(const ngx_lockbox_cache_t *cache, uint32_t key)
{
    size_t   i, len;
    u_char  *facts, name[NGX_LOCKBOX_CACHE_NAME_LEN];

    /* exactly as much as is promised to be enough */

    facts = malloc(NGX_LOCKBOX_CACHE_FACTS_MAX);
    if (facts == NULL) {
        abort();
    }

    len = ngx_lockbox_cache_find(cache, digest(key), name, facts);

    if (len != 0
        && ngx_memcmp(name, name_of(key), NGX_LOCKBOX_CACHE_NAME_LEN) != 0)
    {
        free(facts);
        return -1;
    }

    for (i = 0; i < len; i++) {
        if (facts[i] != (u_char) (key * 31 + i * 7 + len)) {
            free(facts);
            return -1;
        }
    }

    free(facts);

    return (ssize_t) len;
}


/* How many facts of that length a small zone holds. */

static ngx_uint_t
facts_capacity(size_t len)
{
    uint32_t             i;
    ngx_uint_t           n;
    ngx_lockbox_cache_t  cache;

    cache = zone_create(SMALL);

    for (i = 0; i < SMALL / 64; i++) {
        keep(&cache, i, len);
    }

    for (n = 0; found(&cache, --i) > 0; n++) {
        /* void */
    }

    zone_free(&cache);

    return n;
}


static ngx_uint_t
liveness_capacity(void)
{
    ngx_uint_t           n, i;
    ngx_lockbox_cache_t  cache;

    for (n = 1; /* void */ ; n++) {
        cache = zone_create(SMALL);

        for (i = 0; i < n; i++) {
            (void) ask(&cache, (uint32_t) i, 0, ALLOW);
        }

        i = known(&cache, 0, 0);
        zone_free(&cache);

        if (i != ALLOW) {
            return n - 1;
        }
    }
}


static void
test_create(void)
{
    void                 *memory;
    ngx_uint_t            size, wrong;
    ngx_lockbox_cache_t   cache;

    memory = malloc(SMALL);

    ok(ngx_lockbox_cache_create(memory, SMALL - 1) == NULL,
       "too little memory makes no zone");
    ok(ngx_lockbox_cache_create(memory, SMALL) == memory,
       "just enough does");

    free(memory);

    for (wrong = 0, size = SMALL; size < SMALL + 1200; size += 8) {
        cache = zone_create(size);

        for (uint32_t i = 0; i < 400; i++) {
            keep(&cache, i, FIRST_CELL + CELL);
            (void) ask(&cache, i, 0, ALLOW);
        }

        wrong += found(&cache, 399) != FIRST_CELL + CELL
                 || known(&cache, 399, 0) != ALLOW;

        zone_free(&cache);
    }

    is(wrong, 0, "a zone of any size is filled and not left");
}


static void
test_init(void)
{
    ngx_shm_zone_t        shm_zone;
    ngx_slab_pool_t       shpool;
    ngx_lockbox_cache_t   former, cache;

    ngx_memzero(&former, sizeof(ngx_lockbox_cache_t));
    ngx_memzero(&cache, sizeof(ngx_lockbox_cache_t));
    ngx_memzero(&shm_zone, sizeof(ngx_shm_zone_t));
    ngx_memzero(&shpool, sizeof(ngx_slab_pool_t));

    shpool.pfree = 15;
    shm_zone.shm.addr = (u_char *) &shpool;
    shm_zone.data = &former;

    zone_full = 1;
    is(ngx_lockbox_cache_init(&shm_zone, NULL), NGX_ERROR,
       "no zone without memory");
    zone_full = 0;

    is(ngx_lockbox_cache_init(&shm_zone, NULL), NGX_OK, "a zone is laid out");
    ok(former.zone == zone_memory && former.mutex == &shpool.mutex, "... in the slab");

    former.log = &zone_log;
    keep(&former, 1, 100);

    shm_zone.data = &cache;
    cache.log = &zone_log;

    is(ngx_lockbox_cache_init(&shm_zone, &former), NGX_OK, "a reload");
    is(found(&cache, 1), 100, "... takes over what is there");

    ngx_memzero(&cache, sizeof(ngx_lockbox_cache_t));
    shm_zone.shm.exists = 1;

    is(ngx_lockbox_cache_init(&shm_zone, NULL), NGX_OK, "memory that exists");
    cache.log = &zone_log;
    is(found(&cache, 1), 100, "... is taken over as well");

    free(zone_memory);

    shpool.pfree = 7;
    shm_zone.shm.exists = 0;
    is(ngx_lockbox_cache_init(&shm_zone, NULL), NGX_ERROR,
       "a zone that is too small is refused");
    free(zone_memory);
}


static void
test_facts(void)
{
    size_t                len;
    ngx_uint_t            wrong, cells;
    ngx_lockbox_cache_t   cache;

    cache = zone_create(SMALL);

    is(found(&cache, 1), 0, "nothing in an empty zone");

    for (wrong = 0, len = 1; len <= NGX_LOCKBOX_CACHE_FACTS_MAX; len++) {
        keep(&cache, (uint32_t) len, len);
        wrong += found(&cache, (uint32_t) len) != (ssize_t) len;
    }

    is(wrong, 0, "facts of all lengths");

    keep(&cache, 70000, 40);
    keep(&cache, 70000, 60);
    is(found(&cache, 70000), 40, "facts that are there stay as they are");

    keep(&cache, 70001, 0);
    is(found(&cache, 70001), 0, "no facts at all are none");

    zone_free(&cache);

    cache = zone_create(SMALL);
    keep(&cache, 1, 10);
    keep(&cache, 2, NGX_LOCKBOX_CACHE_FACTS_MAX + 1);
    is(found(&cache, 2), 0, "facts over the limit are not kept");
    is(found(&cache, 1), 10, "... and nobody makes way for them");
    zone_free(&cache);

    cells = facts_capacity(FIRST_CELL);
    is(facts_capacity(FIRST_CELL + 1), cells / 2, "one byte more, two cells");
    is(facts_capacity(FIRST_CELL + CELL), cells / 2, "two full cells");
    is(facts_capacity(FIRST_CELL + CELL + 1), cells / 3, "three cells");

    /* the least recently used one goes, and with it its cells only */

    cache = zone_create(SMALL);

    for (uint32_t i = 0; i < cells; i++) {
        keep(&cache, i, 1);
    }

    zone_time.sec++;
    is(found(&cache, 0), 1, "the zone is full");
    keep(&cache, 5000, FIRST_CELL + 2 * CELL);

    is(found(&cache, 0), 1, "what was used last stays");
    is(found(&cache, 1) + found(&cache, 2) + found(&cache, 3), 0,
       "what was not makes way, as much as is needed");
    is(found(&cache, 4), 1, "... and no more");

    keep(&cache, 5001, 1);
    is(found(&cache, 5), 0, "one for one");
    is(found(&cache, 6), 1, "... and no more");

    zone_free(&cache);
}


static void
test_name(void)
{
    ngx_str_t  key = ngx_string("lockbox:grant:{acme}:x");
    u_char     name[NGX_LOCKBOX_CACHE_NAME_LEN + 1];
    u_char     other[NGX_LOCKBOX_CACHE_NAME_LEN];

    ngx_lockbox_cache_t  cache;

    /* printf %s lockbox:grant:{acme}:x | sha256sum */
    static const u_char  want[NGX_LOCKBOX_CACHE_NAME_LEN] = {
        0xea, 0x91, 0x86, 0xf3, 0x5c, 0xa5, 0x25, 0xfe,
        0xd6, 0x4c, 0x7c, 0x60, 0xc4, 0xf9, 0x7e, 0x9b
    };

    ngx_memzero(&cache, sizeof(ngx_lockbox_cache_t));

    name[NGX_LOCKBOX_CACHE_NAME_LEN] = 0x77;
    is(ngx_lockbox_cache_name(&cache, &key, name), NGX_OK, "a name");
    ok(ngx_memcmp(name, want, sizeof(want)) == 0, "... is a digest");
    is(name[NGX_LOCKBOX_CACHE_NAME_LEN], 0x77, "... of its length");

    cache.store[NGX_LOCKBOX_CACHE_NAME_LEN - 1] = 1;
    is(ngx_lockbox_cache_name(&cache, &key, other), NGX_OK,
       "in another Redis");
    ok(ngx_memcmp(name, other, sizeof(other)) != 0, "... it is another one");
}


/* What may be believed: each row is an interleaving. */

#define ASKED(q)      { 'a', q, 0, 0 }
#define SINCE(q, s)   { 'a', q, s, 0 }
#define ANSWER(q, d)  { 'd', q, 0, d }
#define FORGET        { 'f', 0, 0, 0 }
#define FLUSH         { 'F', 0, 0, 0 }
#define BURY(d)       { 'b', 0, 0, d }
#define KNOWN(s, d)   { 'k', 0, s, d }
#define OTHERS        { 'o', 0, 0, 0 }

typedef struct {
    int                     what;
    int                     question;   /* its number */
    int64_t                 since;      /* -1: no trust; the number of a
                                           question: its ticket */
    ngx_lockbox_decision_t  decision;
} move_t;


typedef struct {
    const char  *name;
    move_t       moves[10];
} interleaving_t;


static const interleaving_t  interleavings[] = {
    { "an answer is believed",
      { ASKED(1), ANSWER(1, ALLOW), KNOWN(0, ALLOW) } },
    { "a placeholder is not",
      { ASKED(1), KNOWN(0, ASK) } },
    { "... by one who subscribed before it was asked",
      { OTHERS, ASKED(1), ANSWER(1, ALLOW), KNOWN(-2, ALLOW) } },
    { "... and not by one who did when it had been",
      { OTHERS, ASKED(1), ANSWER(1, ALLOW), KNOWN(1, ASK) } },
    { "... nor by one without trust",
      { ASKED(1), ANSWER(1, ALLOW), KNOWN(-1, ASK) } },

    { "a late answer after an invalidation",
      { ASKED(1), FORGET, ANSWER(1, ALLOW), KNOWN(0, ASK) } },
    { "a late answer and somebody else's placeholder",
      { ASKED(1), FORGET, ASKED(2), ANSWER(1, ALLOW), KNOWN(0, ASK) } },
    { "... which the right answer fills",
      { ASKED(1), FORGET, ASKED(2), ANSWER(1, ALLOW), ANSWER(2, ALLOW),
        KNOWN(0, ALLOW) } },
    { "an invalidation takes what is known",
      { ASKED(1), ANSWER(1, ALLOW), FORGET, KNOWN(0, ASK) } },
    { "a placeholder that an earlier subscriber left is not shared",
      { ASKED(1), SINCE(2, 1), ANSWER(1, ALLOW), KNOWN(0, ASK) } },
    { "... and what fills it is believed by all",
      { ASKED(1), SINCE(2, 1), ANSWER(2, ALLOW), KNOWN(1, ALLOW) } },
    { "one that stands is filled by whoever is answered first",
      { ASKED(1), ASKED(2), ANSWER(2, ALLOW), KNOWN(0, ALLOW) } },
    { "... or by the first of them",
      { ASKED(1), ASKED(2), ANSWER(1, ALLOW), KNOWN(0, ALLOW) } },
    { "... whose no takes it away for all",
      { ASKED(1), ASKED(2), ANSWER(1, NGX_LOCKBOX_NOT_LIVE),
        ANSWER(2, ALLOW), KNOWN(0, ASK) } },

    { "FLUSHALL takes what is known",
      { ASKED(1), ANSWER(1, ALLOW), FLUSH, KNOWN(0, ASK) } },
    { "FLUSHALL takes what is asked",
      { ASKED(1), FLUSH, ANSWER(1, ALLOW), KNOWN(0, ASK) } },
    { "... and leaves what is asked later",
      { ASKED(1), FLUSH, ASKED(2), ANSWER(1, ALLOW), KNOWN(0, ASK) } },
    { "... to be filled",
      { ASKED(1), FLUSH, ASKED(2), ANSWER(2, ALLOW), KNOWN(0, ALLOW) } },

    { "a key that is missing is asked for again",
      { ASKED(1), ANSWER(1, NGX_LOCKBOX_NOT_LIVE), KNOWN(0, ASK) } },
    { "so is one that nobody could ask for",
      { ASKED(1), ANSWER(1, NGX_LOCKBOX_STORE_UNAVAILABLE), KNOWN(0, ASK) } },
    { "a made-up answer is no permission",
      { ASKED(1), ANSWER(1, NGX_LOCKBOX_NOT_DECIDED), KNOWN(0, ASK) } },

    { "revoked",
      { ASKED(1), ANSWER(1, REVOKED), KNOWN(-1, REVOKED) } },
    { "completed",
      { ASKED(1), ANSWER(1, COMPLETED), KNOWN(-1, COMPLETED) } },
    { "expired",
      { ASKED(1), ANSWER(1, EXPIRED), KNOWN(-1, EXPIRED) } },
    { "an end counts however late it is",
      { ASKED(1), FORGET, ANSWER(1, REVOKED), KNOWN(0, REVOKED) } },
    { "an end outlives what comes then",
      { ASKED(1), ANSWER(1, REVOKED), FORGET, FLUSH, KNOWN(0, REVOKED) } },
    { "... and what is answered then",
      { ASKED(1), ASKED(2), ANSWER(1, REVOKED), ANSWER(2, ALLOW),
        KNOWN(0, REVOKED) } },
    { "... and another end",
      { ASKED(1), ASKED(2), ANSWER(1, REVOKED), ANSWER(2, EXPIRED),
        KNOWN(0, REVOKED) } },

    { "buried when unknown",
      { BURY(COMPLETED), KNOWN(0, COMPLETED) } },
    { "buried when live",
      { ASKED(1), ANSWER(1, ALLOW), BURY(REVOKED), KNOWN(0, REVOKED) } },
    { "buried when asked for",
      { ASKED(1), BURY(REVOKED), ANSWER(1, ALLOW), KNOWN(0, REVOKED) } },
    { "... is not asked for any more",
      { ASKED(1), BURY(REVOKED), ANSWER(1, NGX_LOCKBOX_NOT_LIVE),
        KNOWN(0, REVOKED) } },
    { "buried twice",
      { BURY(REVOKED), BURY(COMPLETED), KNOWN(0, REVOKED) } }
};


static void
test_interleaving(const interleaving_t *interleaving)
{
    uint64_t                since, before;
    ngx_uint_t              i;
    const move_t           *move;
    ngx_lockbox_cache_t     cache;
    ngx_lockbox_decision_t  got;
    ngx_lockbox_question_t  questions[4];

    cache = zone_create(SMALL);
    before = 0;
    got = ASK;

    for (i = 0; interleaving->moves[i].what; i++) {
        move = &interleaving->moves[i];

        since = move->since == -1 ? NO_TRUST
                : move->since == -2 ? before
                : move->since == 0 ? 0 : questions[move->since].ticket;

        switch (move->what) {

        case 'a':
            got = ngx_lockbox_cache_liveness(&cache, digest(1), since,
                                             &questions[move->question]);
            break;

        case 'd':
            (void) ngx_lockbox_cache_answer(&questions[move->question],
                                            move->decision,
                                            zone_time.sec + 100);
            break;

        case 'f':
            ngx_lockbox_cache_forget(&cache, digest(1));
            break;

        case 'F':
            ngx_lockbox_cache_forget_all(&cache);
            break;

        case 'b':
            ngx_lockbox_cache_bury(&cache, digest(1), move->decision,
                                   zone_time.sec + 100);
            break;

        case 'o':
            (void) ask(&cache, 2, 0, ALLOW);
            before = ngx_lockbox_cache_ticket(&cache);
            break;

        default:
            got = known(&cache, 1, since);
            is(got, move->decision, "%s", interleaving->name);
        }
    }

    zone_free(&cache);
}


static void
test_kept(void)
{
    ngx_lockbox_cache_t     cache;
    ngx_lockbox_question_t  one, two;

    cache = zone_create(SMALL);

    (void) ngx_lockbox_cache_liveness(&cache, digest(1), 0, &one);
    (void) ngx_lockbox_cache_liveness(&cache, digest(1), 0, &two);

    is(two.ticket, one.ticket, "a placeholder is shared while it stands");
    is(ngx_lockbox_cache_answer(&two, ALLOW, 0), 1, "an answer is kept");
    is(ngx_lockbox_cache_answer(&one, ALLOW, 0), 1, "... and one that agrees");

    ngx_lockbox_cache_forget(&cache, digest(1));
    is(ngx_lockbox_cache_answer(&one, ALLOW, 0), 0, "a late one is not");

    (void) ngx_lockbox_cache_liveness(&cache, digest(1), 0, &two);
    ok(two.ticket > one.ticket, "tickets go up");
    is(ngx_lockbox_cache_answer(&two, ALLOW, 0), 1, "another one is kept");
    is(ngx_lockbox_cache_answer(&one, ALLOW, 0), 0, "... but not for the first");
    is(ngx_lockbox_cache_answer(&one, NGX_LOCKBOX_NOT_LIVE, 0), 0,
       "a late no");
    is(known(&cache, 1, 0), ALLOW, "... takes nothing away");
    ngx_lockbox_cache_forget_all(&cache);
    is(ngx_lockbox_cache_answer(&two, ALLOW, 0), 0, "nothing after a flush");
    is(ngx_lockbox_cache_answer(&one, REVOKED, 0), 1, "an end always is");

    zone_free(&cache);
}


/* Ends are evicted last, and those whose time is over first. */

static void
test_eviction(void)
{
    ngx_uint_t           i, n, ends;
    ngx_lockbox_cache_t  cache;

    n = liveness_capacity();
    cache = zone_create(SMALL);

    ngx_lockbox_cache_bury(&cache, digest(0), REVOKED, zone_time.sec + 10);
    ngx_lockbox_cache_bury(&cache, digest(1), REVOKED, zone_time.sec + 20);

    for (i = 2; i < 10 * n; i++) {
        (void) ask(&cache, (uint32_t) i, 0, ALLOW);
    }

    ok(known(&cache, 0, 0) == REVOKED && known(&cache, 1, 0) == REVOKED,
       "ends outlast what is live");
    is(known(&cache, (uint32_t) (9 * n + 2), 0), ALLOW,
       "... all but two places are for what is live");

    zone_time.sec += 10;
    (void) ask(&cache, (uint32_t) (10 * n), 0, ALLOW);
    is(known(&cache, (uint32_t) (9 * n + 2), 0), ALLOW,
       "an end that is over goes before what is live");
    is(known(&cache, 1, 0), REVOKED, "... and before the others");
    is(known(&cache, 0, 0), ASK, "... it is gone");

    for (i = 0; i < 2 * n; i++) {
        ngx_lockbox_cache_bury(&cache, digest((uint32_t) (50000 + i)),
                               COMPLETED, zone_time.sec + 10000);
    }

    for (ends = 0, i = 0; i < n; i++) {
        ends += known(&cache, (uint32_t) (50000 + n + i), 0) == COMPLETED;
    }

    is(ends, n, "a zone full of ends has the latest of them");
    (void) ask(&cache, 1, 0, ALLOW);
    is(known(&cache, 1, 0), ALLOW, "... and still room for another grant");

    zone_free(&cache);
}


/* A worker that dies inside; the next one that enters finds the mark. */

static void
on_segv(int signo)
{
    (void) signo;

    siglongjmp(killed, 1);
}


static ngx_uint_t
die_inside(const ngx_lockbox_cache_t *cache, uint32_t key)
{
    void              *nowhere;
    volatile int       died;
    struct sigaction   sa, old;
    static u_char      name[NGX_LOCKBOX_CACHE_NAME_LEN];

    nowhere = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0);
    if (nowhere == MAP_FAILED) {
        abort();
    }

    ngx_memzero(&sa, sizeof(struct sigaction));
    sa.sa_handler = on_segv;
    sigaction(SIGSEGV, &sa, &old);

    died = 1;

    if (sigsetjmp(killed, 1) == 0) {
        ngx_lockbox_cache_keep(cache, digest(key), name, nowhere, 100);
        died = 0;
    }

    sigaction(SIGSEGV, &old, NULL);
    munmap(nowhere, 4096);

    died = died && zone_locked;
    zone_locked = 0;

    return died;
}


static void
test_dirty(void)
{
    uint64_t                ticket;
    ngx_lockbox_cache_t     cache;
    ngx_lockbox_question_t  question;

    cache = zone_create(SMALL);

    keep(&cache, 1, 100);
    (void) ask(&cache, 1, 0, ALLOW);
    ngx_lockbox_cache_bury(&cache, digest(2), REVOKED, zone_time.sec + 100);
    (void) ngx_lockbox_cache_liveness(&cache, digest(3), 0, &question);
    ticket = ngx_lockbox_cache_ticket(&cache);

    is(zone_warnings, 0, "nothing to complain of");
    is(die_inside(&cache, 4), 1, "a process dies inside");

    is(ngx_lockbox_cache_answer(&question, ALLOW, 0), 0,
       "what was asked before is worth nothing");
    is(zone_warnings, 1, "... and the log says so");
    is(found(&cache, 1), 0, "facts are gone");
    is(known(&cache, 1, 0), ASK, "liveness is gone");
    is(known(&cache, 2, 0), ASK, "ends are gone");
    is(zone_warnings, 1, "... once");
    ok(ngx_lockbox_cache_ticket(&cache) >= ticket, "tickets go on");

    keep(&cache, 1, 100);
    is(found(&cache, 1), 100, "the zone is used again");

    zone_free(&cache);
    zone_warnings = 0;
}


/* The same in the simplest of words, to compare with. */

#define NAMES      300
#define KEYS       120
#define QUESTIONS  16
#define STEPS      200000

typedef struct {
    uint32_t                id;
    uint32_t                used;
    size_t                  cells;

    ngx_lockbox_decision_t  state;
    uint64_t                ticket;
    uint64_t                epoch;
    time_t                  expires;
} thing_t;


typedef struct {
    thing_t                 things[NAMES];     /* the oldest first */
    ngx_uint_t              n;
} row_t;


typedef struct {
    row_t                   kept;
    row_t                   live;
    row_t                   ended;

    uint64_t                ticket;
    uint64_t                epoch;

    ngx_uint_t              places;
    ngx_uint_t              cells;
} model_t;


typedef struct {
    uint32_t                name;
    uint64_t                ticket;
    ngx_lockbox_question_t  question;
} asked_t;


static uint32_t
chance(uint32_t n)
{
    static uint64_t  state = 0x9e3779b97f4a7c15;

    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;

    return (uint32_t) (state >> 33) % n;
}


static thing_t *
row_find(row_t *row, uint32_t id)
{
    ngx_uint_t  i;

    for (i = 0; i < row->n; i++) {
        if (row->things[i].id == id) {
            return &row->things[i];
        }
    }

    return NULL;
}


static void
row_remove(row_t *row, const thing_t *thing)
{
    ngx_uint_t  i;

    row->n--;

    for (i = (ngx_uint_t) (thing - row->things); i < row->n; i++) {
        row->things[i] = row->things[i + 1];
    }
}


static thing_t *
row_add(row_t *row, thing_t thing)
{
    thing.used = 0;
    row->things[row->n] = thing;

    return &row->things[row->n++];
}


/* The oldest one that was not used, but who looks that far? */

static void
row_evict(row_t *row)
{
    thing_t     copy;
    ngx_uint_t  i;

    for (i = 0; i < 32 && row->things[0].used; i++) {
        copy = row->things[0];
        row_remove(row, row->things);
        (void) row_add(row, copy);
    }

    row_remove(row, row->things);
}


static thing_t *
model_entry(model_t *model, uint32_t name)
{
    thing_t  *thing, new;

    thing = row_find(&model->ended, name);
    if (thing == NULL) {
        thing = row_find(&model->live, name);
    }

    if (thing != NULL) {
        return thing;
    }

    if (model->live.n + model->ended.n == model->places) {

        if (model->live.n == 0
            || (model->ended.n != 0
                && model->ended.things[0].expires <= zone_time.sec))
        {
            row_remove(&model->ended, model->ended.things);

        } else {
            row_evict(&model->live);
        }
    }

    ngx_memzero(&new, sizeof(thing_t));
    new.id = name;
    new.state = ASK;
    new.epoch = model->epoch;

    return row_add(&model->live, new);
}


static ngx_lockbox_decision_t
model_ask(model_t *model, uint32_t name, uint64_t since, uint64_t *ticket)
{
    thing_t                 *thing;
    ngx_lockbox_decision_t   state;

    thing = model_entry(model, name);
    state = thing->state;

    if (state != ALLOW && state != ASK) {
        return state;
    }

    if (thing->ticket <= since || thing->epoch != model->epoch) {
        state = ASK;
        thing->ticket = ++model->ticket;
        thing->epoch = model->epoch;
    }

    thing->state = state;
    thing->used = (state == ALLOW);
    *ticket = thing->ticket;

    return state;
}


static void
model_end(model_t *model, uint32_t name, ngx_lockbox_decision_t end,
    time_t expires)
{
    thing_t  *thing, copy;

    thing = model_entry(model, name);

    if (thing->state == ALLOW || thing->state == ASK) {
        copy = *thing;
        copy.state = end;
        copy.expires = expires;

        row_remove(&model->live, thing);
        (void) row_add(&model->ended, copy);
    }
}


static ngx_uint_t
model_answer(model_t *model, const asked_t *asked,
    ngx_lockbox_decision_t answer, time_t expires)
{
    thing_t  *thing;

    if (answer == REVOKED || answer == COMPLETED || answer == EXPIRED) {
        model_end(model, asked->name, answer, expires);
        return 1;
    }

    thing = row_find(&model->live, asked->name);

    if (thing == NULL || thing->ticket != asked->ticket) {
        return 0;
    }

    if (thing->state == ASK
        && (answer != ALLOW || thing->epoch != model->epoch))
    {
        row_remove(&model->live, thing);
        return 0;
    }

    thing->state = ALLOW;

    return thing->epoch == model->epoch;
}


static void
model_keep(model_t *model, uint32_t key, size_t len)
{
    size_t      cells;
    thing_t     new;
    ngx_uint_t  i, used;

    if (row_find(&model->kept, key)) {
        return;
    }

    cells = len <= FIRST_CELL ? 1 : 1 + (len - FIRST_CELL + CELL - 1) / CELL;

    for ( ;; ) {
        for (used = cells, i = 0; i < model->kept.n; i++) {
            used += model->kept.things[i].cells;
        }

        if (used <= model->cells) {
            break;
        }

        row_evict(&model->kept);
    }

    ngx_memzero(&new, sizeof(thing_t));
    new.id = key;
    new.cells = cells;
    (void) row_add(&model->kept, new);
}


static ngx_uint_t
model_found(model_t *model, uint32_t key)
{
    thing_t  *thing;

    thing = row_find(&model->kept, key);

    if (thing != NULL) {
        thing->used = 1;
    }

    return thing != NULL;
}


static size_t
len_of(uint32_t key)
{
    return 1 + key * key % 900;
}


/* One step in both; 0 when they differ. */

static ngx_uint_t
step(const ngx_lockbox_cache_t *cache, model_t *model, asked_t *asked)
{
    ssize_t                 len;
    uint32_t                id, key;
    uint64_t                since, ticket;
    asked_t                *one;
    ngx_lockbox_decision_t  got, want;

    static const ngx_lockbox_decision_t  answers[] = {
        ALLOW, ALLOW, ALLOW, ALLOW, ALLOW, ALLOW, NGX_LOCKBOX_NOT_LIVE,
        NGX_LOCKBOX_STORE_UNAVAILABLE, REVOKED, COMPLETED, EXPIRED
    };
    static const ngx_lockbox_decision_t  ends[] = {
        REVOKED, COMPLETED, EXPIRED
    };

    id = chance(4) ? chance(20) : chance(NAMES);
    key = chance(KEYS);
    one = &asked[chance(QUESTIONS)];
    zone_time.sec += chance(10) == 0;

    switch (chance(1000)) {

    case 0:
        ngx_lockbox_cache_forget_all(cache);
        model->epoch++;
        return 1;

    case 1:
        if (chance(10) || !die_inside(cache, 100000 + chance(NAMES))) {
            return 1;
        }

        model->kept.n = model->live.n = model->ended.n = 0;
        model->epoch++;

        return ngx_lockbox_cache_ticket(cache) == model->ticket;

    default:
        break;
    }

    switch (chance(8)) {

    case 0:
        ngx_lockbox_cache_forget(cache, digest(id));

        if (row_find(&model->live, id)) {
            row_remove(&model->live, row_find(&model->live, id));
        }

        return 1;

    case 1:
        if (chance(8) == 0) {
            want = ends[chance(3)];
            ngx_lockbox_cache_bury(cache, digest(id), want,
                                   zone_time.sec + key);
            model_end(model, id, want, zone_time.sec + key);
        }

        return 1;

    case 2:
        keep(cache, key, len_of(key));
        model_keep(model, key, len_of(key));
        return 1;

    case 3:
        len = found(cache, key);
        return len == (model_found(model, key) ? (ssize_t) len_of(key) : 0);

    case 4:
    case 5:
        if (one->name == NAMES) {
            return 1;
        }

        want = answers[chance(sizeof(answers) / sizeof(answers[0]))];

        return ngx_lockbox_cache_answer(&one->question, want,
                                        zone_time.sec + key)
               == model_answer(model, one, want, zone_time.sec + key);

    default:
        since = chance(8) == 0 ? NO_TRUST
                : model->ticket - ngx_min(chance(50), model->ticket);

        want = model_ask(model, id, since, &ticket);
        got = ngx_lockbox_cache_liveness(cache, digest(id), since,
                                         &one->question);

        if (got == ASK) {
            one->name = id;
            one->ticket = ticket;

            if (one->question.ticket != ticket) {
                return 0;
            }
        }

        return got == want;
    }
}


static void
test_random(void)
{
    ngx_uint_t            i;
    static asked_t        asked[QUESTIONS];
    static model_t        model;
    ngx_lockbox_cache_t   cache;

    model.places = liveness_capacity();
    model.cells = facts_capacity(1);

    cache = zone_create(SMALL);

    for (i = 0; i < QUESTIONS; i++) {
        asked[i].name = NAMES;
    }

    for (i = 0; i < STEPS; i++) {
        if (!step(&cache, &model, asked)) {
            break;
        }
    }

    is(i, STEPS, "so many random steps, in zone and model alike");

    /* a place that was lost on the way would show now */

    for (i = 0; i < model.places; i++) {
        (void) ask(&cache, (uint32_t) (900000 + i), 0, REVOKED);
    }

    is(known(&cache, 900000, 0), REVOKED, "... and all places are still there");

    /* whoever was used is spared once */

    for (i = 0; i < 3 * model.cells; i++) {
        keep(&cache, (uint32_t) (900000 + i), 1);
    }

    is(found(&cache, (uint32_t) (900000 + 2 * model.cells)), 1,
       "... and all cells");

    zone_free(&cache);
    zone_warnings = 0;
}


/* What a grant of one item takes of a zone, facts and liveness together. */

static size_t
ordinary(u_char *facts, size_t size)
{
    ngx_str_t            method, path, label;
    ngx_lockbox_item_t   item;
    ngx_lockbox_grant_t  grant;

    method = ngx_shim_str("GET");
    path = ngx_shim_str("/tenants/acme/mail/");
    label = ngx_shim_str("confidential");

    item.service = ngx_shim_str("mail");
    item.methods.nelts = 1;
    item.methods.elts = &method;
    item.paths.nelts = 1;
    item.paths.elts = &path;
    item.labels.nelts = 1;
    item.labels.elts = &label;

    ngx_memzero(&grant, sizeof(ngx_lockbox_grant_t));
    grant.id = ngx_shim_str("01926fc4-7a3b-7c11-9d52-3f0f6a1b2c3d");
    grant.tenant = ngx_shim_str("acme");
    grant.engineer_iss = ngx_shim_str("https://login.vendor.example");
    grant.engineer_sub = ngx_shim_str("erin");
    grant.not_before = 1760000000;
    grant.expires = 1760014400;
    grant.scope.nelts = 1;
    grant.scope.elts = &item;

    return NGX_LOCKBOX_CACHE_NAME_LEN
           + ngx_lockbox_facts_pack(&grant, facts, size);
}


static void
test_size(void)
{
    size_t                len, bytes;
    u_char                facts[NGX_LOCKBOX_CACHE_FACTS_MAX];
    uint32_t              i;
    ngx_uint_t            n;
    ngx_lockbox_cache_t   cache;

    len = ordinary(facts, sizeof(facts));
    cache = zone_create(1024 * 1024);

    for (i = 0; i < 16384; i++) {
        keep(&cache, i, len);
        (void) ask(&cache, i, 0, ALLOW);
    }

    for (n = 0; found(&cache, --i) > 0 && known(&cache, i, 0) == ALLOW; n++) {
        /* void */
    }

    bytes = 1024 * 1024 / n;

    printf("# a megabyte holds %d ordinary grants with %d bytes of facts: "
           "%d bytes each\n", (int) n, (int) len, (int) bytes);
    ok(bytes <= 320, "an ordinary grant takes at most 320 bytes");

    zone_free(&cache);
}


int
main(void)
{
    ngx_uint_t  i;

    test_create();
    test_init();
    test_facts();
    test_name();

    for (i = 0; i < sizeof(interleavings) / sizeof(interleavings[0]); i++) {
        test_interleaving(&interleavings[i]);
    }

    test_kept();
    test_eviction();
    test_dirty();
    test_random();
    test_size();

    return tap_done();
}
