/*
 * Why: Redis may say what it likes; only a chain of genuine seals opens
 * anything.
 */

/* links: ngx_lockbox_seal.c ngx_lockbox_token.c ngx_lockbox_jwks.c */
/* links: ngx_lockbox_json.c ngx_lockbox_base64url.c */

#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_lockbox_json.h"
#include "ngx_lockbox_seal.h"
#include "jose.h"
#include "oom.h"
#include "ngx_shim.h"
#include "tap.h"


#define NOW     1700000000
#define MSEC    (NOW * 1000LL)
#define DAY     86400
#define ISSUER  "https://lockbox.example"
#define ID      "0192f3a4-b5c6-7d8e-9f01-23456789abcd"
#define VENDOR  "https://vendor.example"
#define OTHERS  "https://customers.example"
#define LAST    2
#define SEALS   3


static ngx_lockbox_jwks_t    keys;
static ngx_lockbox_key_t    *key, foreign;


static void
make_keys(ngx_pool_t *pool)
{
    size_t              i;
    EVP_PKEY           *pkey;
    ngx_lockbox_jwks_t  other;

    jose_set(pool, &keys);
    jose_set(pool, &other);

    for (i = 0; i < 2; i++) {
        pkey = jose_pkey("P-256", 0);
        key = jose_add(pool, i ? &keys : &other, pkey);
        EVP_PKEY_free(pkey);
    }

    foreign = *(ngx_lockbox_key_t *) other.elts;
}


/* What they wrote; the last one is of a seal too many. */

static ngx_str_t  said[SEALS + 1] = {
    ngx_string("please"), ngx_string("well"), ngx_string("but less"),
    ngx_string("but less")
};


/* Filed by erin, approved by mona, cut down and approved by carl. */

static void
make_seals(ngx_lockbox_seal_t *seals)
{
    size_t  i;

    static const struct {
        const char  *stage;
        const char  *decision;
        const char  *iss;
        const char  *sub;
        const char  *access;
        int64_t      duration;
        const char  *token;
    } rows[SEALS] = {
        { "engineer", "request", VENDOR, "erin", "wide", 7200, "erins" },
        { "manager", "approve", VENDOR, "mona", "wide", 7200, "monas" },
        { "customer", "approve", OTHERS, "carl", "narrow", 3600, "carls" }
    };

    for (i = 0; i < SEALS; i++) {
        ngx_memzero(&seals[i], sizeof(ngx_lockbox_seal_t));

        seals[i].request = ngx_shim_str(ID);
        seals[i].tenant = ngx_shim_str("acme");
        seals[i].engineer_iss = ngx_shim_str(VENDOR);
        seals[i].engineer_sub = ngx_shim_str("erin");
        seals[i].version = (int64_t) i;
        seals[i].access_hash = ngx_shim_str(rows[i].access);
        seals[i].text_hash = said[i];
        seals[i].token_hash = ngx_shim_str(rows[i].token);
        seals[i].auth_time = i == 1 ? NOW - 60 : 0;
        seals[i].acr = ngx_shim_str(i == 1 ? "gold" : "");
        seals[i].duration = rows[i].duration;
        seals[i].stage = ngx_shim_str(rows[i].stage);
        seals[i].decision = ngx_shim_str(rows[i].decision);
        seals[i].by_iss = ngx_shim_str(rows[i].iss);
        seals[i].by_sub = ngx_shim_str(rows[i].sub);
        seals[i].at = MSEC + (int64_t) i;
    }
}


/* Signs fresh ones; "prev" is what it must be unless a seal says otherwise. */

static void
sign_seals(ngx_pool_t *pool, ngx_lockbox_seal_t *seals, ngx_uint_t n,
    ngx_str_t *texts)
{
    ngx_str_t   issuer;
    ngx_uint_t  i;

    issuer = ngx_shim_str(ISSUER);

    for (i = 0; i < n; i++) {
        if (i != 0 && seals[i].prev.data == NULL) {
            (void) ngx_lockbox_base64url_sha256(pool, &texts[i - 1],
                                                &seals[i].prev);
        }

        if (ngx_lockbox_seal_sign(pool, key, &issuer, &seals[i], &texts[i])
            != NGX_OK)
        {
            abort();
        }
    }
}


static const char  *extended = "";


static ngx_int_t
open_at(ngx_pool_t *pool, const ngx_str_t *texts, ngx_uint_t n, time_t now,
    ngx_lockbox_seal_t *seals)
{
    ngx_str_t                   issuer;
    ngx_lockbox_seal_subject_t  subject;

    issuer = ngx_shim_str(ISSUER);

    subject.request = ngx_shim_str(ID);
    subject.tenant = ngx_shim_str("acme");
    subject.engineer_iss = ngx_shim_str(VENDOR);
    subject.engineer_sub = ngx_shim_str("erin");
    subject.access_hash = ngx_shim_str("narrow");
    subject.duration = 3600;
    subject.extends = ngx_shim_str(extended);
    subject.text_hashes = said;

    return ngx_lockbox_seal_open(pool, &keys, &issuer, texts, n, now,
                                 &subject, seals);
}


static ngx_int_t
open_texts(ngx_pool_t *pool, const ngx_str_t *texts, ngx_uint_t n)
{
    ngx_lockbox_seal_t  seals[SEALS + 1];

    return open_at(pool, texts, n, NOW, seals);
}


static void
test_good(ngx_pool_t *pool)
{
    size_t              i;
    ngx_str_t           texts[SEALS];
    ngx_lockbox_seal_t  seals[SEALS], got[SEALS];

    make_seals(seals);
    sign_seals(pool, seals, SEALS, texts);

    is(open_at(pool, texts, SEALS, NOW, got), NGX_OK, "a chain of seals");

    for (i = 0; i < SEALS; i++) {
        is_text(&got[i].request, ID, "%d: request", (int) i);
        is_text(&got[i].tenant, "acme", "%d: tenant", (int) i);
        is_text(&got[i].engineer_iss, VENDOR, "%d: engineer's issuer",
                (int) i);
        is_text(&got[i].engineer_sub, "erin", "%d: engineer", (int) i);
        is(got[i].version, i, "%d: version", (int) i);
        is_text(&got[i].access_hash, (char *) seals[i].access_hash.data,
                "%d: access", (int) i);
        is(got[i].duration, seals[i].duration, "%d: duration", (int) i);
        is_text(&got[i].stage, (char *) seals[i].stage.data, "%d: stage",
                (int) i);
        is_text(&got[i].decision, (char *) seals[i].decision.data,
                "%d: decision", (int) i);
        is_text(&got[i].by_iss, (char *) seals[i].by_iss.data,
                "%d: decider's issuer", (int) i);
        is_text(&got[i].by_sub, (char *) seals[i].by_sub.data,
                "%d: decider", (int) i);
        is(got[i].at, MSEC + (int64_t) i, "%d: time", (int) i);
        is_text(&got[i].text_hash, (char *) said[i].data, "%d: what was said",
                (int) i);
        is_text(&got[i].token_hash, (char *) seals[i].token_hash.data,
                "%d: by which token", (int) i);
        is(got[i].auth_time, i == 1 ? NOW - 60 : 0, "%d: login", (int) i);
        is_text(&got[i].acr, i == 1 ? "gold" : "", "%d: kind of login",
                (int) i);
        is_text(&got[i].extends, "", "%d: extends nothing", (int) i);
        is(got[i].begins, 0, "%d: begins at once", (int) i);
    }

    ok(ngx_lockbox_seal_approved(got, SEALS, 1, 1) == &got[LAST],
       "approved when the customer approved");
    is(ngx_lockbox_seal_begins(&got[LAST]), NOW, "and from then");

    /* waiting for three sides, then for another one's end, and running */

    is(open_at(pool, texts, SEALS, NOW + 5 * 14 * 24 * 3600, got), NGX_OK,
       "when the longest request ends");
}


/* A request that goes on where another one ends. */

static void
test_extension(ngx_pool_t *pool)
{
    ngx_str_t            texts[SEALS];
    ngx_lockbox_seal_t   seals[SEALS], got[SEALS];

    extended = "another";

    make_seals(seals);
    sign_seals(pool, seals, SEALS, texts);
    is(open_texts(pool, texts, SEALS), NGX_DECLINED,
       "what extends nothing, stored as if it did");

    make_seals(seals);
    seals[0].extends = ngx_shim_str(extended);
    sign_seals(pool, seals, SEALS, texts);
    is(open_texts(pool, texts, SEALS), NGX_OK, "an extension");

    make_seals(seals);
    seals[0].extends = ngx_shim_str(extended);
    seals[1].begins = NOW + 7200;
    seals[LAST].begins = NOW + 3600;
    sign_seals(pool, seals, SEALS, texts);
    is(open_at(pool, texts, SEALS, NOW, got), NGX_OK, "that begins later");
    is(ngx_lockbox_seal_begins(ngx_lockbox_seal_approved(got, SEALS, 1, 1)),
       NOW + 3600, "as the last approval says");

    got[LAST].begins = NOW - 1;
    is(ngx_lockbox_seal_begins(&got[LAST]), NOW, "never before it");

    make_seals(seals);
    seals[0].extends = ngx_shim_str(extended);
    seals[1].extends = ngx_shim_str(extended);
    sign_seals(pool, seals, SEALS, texts);
    is(open_texts(pool, texts, SEALS), NGX_DECLINED,
       "an approval that extends something");

    make_seals(seals);
    seals[0].extends = ngx_shim_str(extended);
    seals[0].begins = NOW + 3600;
    sign_seals(pool, seals, SEALS, texts);
    is(open_texts(pool, texts, SEALS), NGX_DECLINED,
       "a filing that says when it begins");

    make_seals(seals);
    seals[0].extends = ngx_shim_str(extended);
    seals[LAST].decision = ngx_shim_str("deny");
    sign_seals(pool, seals, SEALS, texts);
    is(open_texts(pool, texts, SEALS), NGX_OK, "a denial");

    make_seals(seals);
    seals[0].extends = ngx_shim_str(extended);
    seals[LAST].decision = ngx_shim_str("deny");
    seals[LAST].begins = NOW + 3600;
    sign_seals(pool, seals, SEALS, texts);
    is(open_texts(pool, texts, SEALS), NGX_DECLINED,
       "a denial that says when it begins");

    make_seals(seals);
    seals[0].extends = ngx_shim_str("a third");
    sign_seals(pool, seals, SEALS, texts);
    is(open_texts(pool, texts, SEALS), NGX_DECLINED, "of another request");

    extended = "";

    make_seals(seals);
    seals[0].extends = ngx_shim_str("another");
    sign_seals(pool, seals, SEALS, texts);
    is(open_texts(pool, texts, SEALS), NGX_DECLINED,
       "an extension, stored as if it were none");

    make_seals(seals);
    seals[LAST].begins = NOW + 3600;
    sign_seals(pool, seals, SEALS, texts);
    is(open_texts(pool, texts, SEALS), NGX_DECLINED,
       "no extension, but it begins later");
}


/* Which step follows which: a line for each, by the first letters. */

typedef struct {
    const char  *decision;
    const char  *stage;
    const char  *after;
} follower_t;


static const follower_t  followers[] = {
    { "request", "engineer", "" },
    { "approve", "manager", "request approve answer" },
    { "deny", "customer", "request approve answer ask" },
    { "ask", "manager", "request approve answer" },
    { "answer", "engineer", "ask" },
    { "cancel", "engineer", "request approve answer ask" },
    { "complete", "engineer", "approve" },
    { "revoke", "manager", "approve" },
    { "lapse", "manager", "" },
    { "approves", "manager", "" }
};

#define FOLLOWERS  (sizeof(followers) / sizeof(follower_t))


static void
set_step(ngx_lockbox_seal_t *seal, const follower_t *step)
{
    ngx_uint_t  own;

    own = strcmp(step->stage, "engineer") == 0;

    seal->decision = ngx_shim_str(step->decision);
    seal->stage = ngx_shim_str(step->stage);
    seal->by_iss = ngx_shim_str(VENDOR);
    seal->by_sub = ngx_shim_str(own ? "erin" : "mona");
}


static ngx_uint_t
has_word(const char *list, const char *word)
{
    size_t       len;
    const char  *p;

    len = strlen(word);

    for (p = strstr(list, word); p != NULL; p = strstr(p + 1, word)) {
        if ((p == list || p[-1] == ' ') && (p[len] == ' ' || p[len] == '\0'))
        {
            return 1;
        }
    }

    return 0;
}


static void
test_followers(ngx_pool_t *pool)
{
    size_t               i, j;
    ngx_int_t            want;
    ngx_str_t            texts[SEALS + 2];
    ngx_lockbox_seal_t   seals[SEALS + 2], got[SEALS + 2];

    /* a question stands before each answer, so that it could be one */

    for (i = 0; i < FOLLOWERS; i++) {
        for (j = 0; j < FOLLOWERS; j++) {
            make_seals(seals);
            seals[3] = seals[LAST];
            seals[3].version = 3;
            seals[3].text_hash = said[3];

            set_step(&seals[1], &followers[3]);
            set_step(&seals[2], &followers[i]);
            set_step(&seals[3], &followers[j]);

            if (strcmp(followers[i].decision, "answer") != 0) {
                set_step(&seals[1], &followers[1]);
            }

            want = has_word(followers[j].after, followers[i].decision)
                   && i != 0 && *followers[i].after ? NGX_OK : NGX_DECLINED;

            sign_seals(pool, seals, 4, texts);
            is(open_at(pool, texts, 4, NOW, got), want, "%s after %s",
               followers[j].decision, followers[i].decision);
        }
    }

    /* whose steps they are */

    for (i = 1; i + 2 < FOLLOWERS; i++) {
        for (j = 0; j < 4; j++) {
            static const char  *const  stages[] = {
                "engineer", "manager", "customer", "auditor"
            };

            make_seals(seals);
            set_step(&seals[1], &followers[strcmp(followers[i].decision,
                                                  "answer") == 0 ? 3 : 1]);
            set_step(&seals[LAST], &followers[i]);
            seals[LAST].stage = ngx_shim_str(stages[j]);

            want = strcmp(followers[i].stage, "engineer") == 0
                   ? j == 0 : j == 1 || j == 2;

            sign_seals(pool, seals, SEALS, texts);
            is(open_texts(pool, texts, SEALS), want ? NGX_OK : NGX_DECLINED,
               "%s of the stage %s", followers[i].decision, stages[j]);
        }

        if (strcmp(followers[i].stage, "engineer") != 0) {
            continue;
        }

        make_seals(seals);
        set_step(&seals[1], &followers[strcmp(followers[i].decision,
                                              "answer") == 0 ? 3 : 1]);
        set_step(&seals[LAST], &followers[i]);
        seals[LAST].by_sub = ngx_shim_str("mona");
        sign_seals(pool, seals, SEALS, texts);
        is(open_texts(pool, texts, SEALS), NGX_DECLINED, "%s by another",
           followers[i].decision);

        make_seals(seals);
        set_step(&seals[1], &followers[strcmp(followers[i].decision,
                                              "answer") == 0 ? 3 : 1]);
        set_step(&seals[LAST], &followers[i]);
        seals[LAST].by_iss = ngx_shim_str(OTHERS);
        sign_seals(pool, seals, SEALS, texts);
        is(open_texts(pool, texts, SEALS), NGX_DECLINED,
           "%s by a namesake", followers[i].decision);
    }
}


/* One thing in one seal of the chain, and all signed anew. */

typedef struct {
    ngx_uint_t    seal;
    size_t        offset;
    const char   *text;         /* NULL: the number */
    int64_t       number;
    ngx_int_t     want;
} change_t;


#define text(seal, member, value, want)                                      \
    { seal, offsetof(ngx_lockbox_seal_t, member), value, 0, want }
#define number(seal, member, value, want)                                    \
    { seal, offsetof(ngx_lockbox_seal_t, member), NULL, value, want }


static const change_t  changes[] = {

    /* about this request */
    text(0, request, "0192f3a4-b5c6-7d8e-9f01-23456789abce", NGX_DECLINED),
    text(1, request, "0192f3a4-b5c6-7d8e-9f01-23456789abce", NGX_DECLINED),
    text(2, request, "0192f3a4-b5c6-7d8e-9f01-23456789abce", NGX_DECLINED),
    text(0, tenant, "globex", NGX_DECLINED),
    text(1, tenant, "globex", NGX_DECLINED),
    text(2, tenant, "acme2", NGX_DECLINED),
    text(0, engineer_iss, OTHERS, NGX_DECLINED),
    text(1, engineer_iss, OTHERS, NGX_DECLINED),
    text(2, engineer_iss, OTHERS, NGX_DECLINED),
    text(1, engineer_sub, "eve", NGX_DECLINED),
    text(2, engineer_sub, "eri", NGX_DECLINED),
    text(2, tenant, "", NGX_DECLINED),

    /* the first is the engineer's own filing */
    text(0, engineer_sub, "eve", NGX_DECLINED),
    text(0, by_sub, "eve", NGX_DECLINED),
    text(0, by_iss, OTHERS, NGX_DECLINED),
    text(0, stage, "manager", NGX_DECLINED),
    text(0, stage, "engineers", NGX_DECLINED),
    text(0, decision, "approve", NGX_DECLINED),
    text(0, decision, "requests", NGX_DECLINED),
    text(0, prev, "abc", NGX_DECLINED),

    /* over the texts that came with it */
    text(0, text_hash, "pleas", NGX_DECLINED),
    text(0, text_hash, "well", NGX_DECLINED),
    text(1, text_hash, "please", NGX_DECLINED),
    text(2, text_hash, "but more", NGX_DECLINED),
    text(2, text_hash, "", NGX_DECLINED),

    /* somebody's token, of which not all need say the same */
    text(1, token_hash, "", NGX_DECLINED),
    text(1, token_hash, "other", NGX_OK),
    text(1, acr, "", NGX_OK),
    number(1, auth_time, 0, NGX_OK),
    number(1, auth_time, -1, NGX_DECLINED),
    number(2, auth_time, 1, NGX_OK),

    number(0, version, 1, NGX_DECLINED),
    number(0, version, -1, NGX_DECLINED),

    /* each follows the one before */
    text(1, prev, "abc", NGX_DECLINED),
    text(2, prev, "abc", NGX_DECLINED),
    text(1, prev, "", NGX_DECLINED),
    number(1, version, 0, NGX_DECLINED),
    number(1, version, 2, NGX_DECLINED),
    number(2, version, 1, NGX_DECLINED),
    number(2, version, 2, NGX_OK),
    number(2, version, 9, NGX_OK),

    /* clocks of two proxies */
    number(1, at, MSEC - 10000, NGX_OK),
    number(1, at, MSEC - 10001, NGX_DECLINED),
    number(1, at, MSEC + 10002, NGX_OK),
    number(1, at, MSEC + 10003, NGX_DECLINED),

    /* the last one is over what is at hand */
    text(0, access_hash, "any", NGX_OK),
    text(1, access_hash, "any", NGX_OK),
    text(2, access_hash, "wide", NGX_DECLINED),
    text(2, access_hash, "narrow2", NGX_DECLINED),
    number(0, duration, 1, NGX_OK),
    number(1, duration, 1, NGX_OK),
    number(2, duration, 3601, NGX_DECLINED),
    number(2, duration, 3599, NGX_DECLINED)
};


static void
test_changes(ngx_pool_t *pool)
{
    size_t               i;
    u_char              *member;
    ngx_str_t            texts[SEALS];
    const change_t      *row;
    ngx_lockbox_seal_t   seals[SEALS];

    for (i = 0; i < sizeof(changes) / sizeof(change_t); i++) {
        row = &changes[i];
        make_seals(seals);
        member = (u_char *) &seals[row->seal] + row->offset;

        if (row->text) {
            *(ngx_str_t *) (void *) member = ngx_shim_str(row->text);
        } else {
            *(int64_t *) (void *) member = row->number;
        }

        sign_seals(pool, seals, SEALS, texts);
        is(open_texts(pool, texts, SEALS), row->want,
           "seal %d, member at %d: %s %lld", (int) row->seal,
           (int) row->offset, row->text ? row->text : "",
           (long long) row->number);
    }
}


/* The chain as a whole */

typedef struct {
    const char  *order;
    ngx_int_t    want;
} order_t;


static const order_t  orders[] = {
    { "012", NGX_OK },
    { "", NGX_DECLINED },
    { "0", NGX_DECLINED },
    { "01", NGX_DECLINED },
    { "2", NGX_DECLINED },
    { "12", NGX_DECLINED },
    { "02", NGX_DECLINED },
    { "021", NGX_DECLINED },
    { "102", NGX_DECLINED },
    { "0122", NGX_DECLINED },
    { "0012", NGX_DECLINED },
    { "0112", NGX_DECLINED }
};


/* What was in the memory before is no chain. */

/*
 * By which policy each of the three went, and what had been approved
 * beforehand: the approval of one of them.
 */

typedef struct {
    int64_t      policy[SEALS];
    int          given;         /* 0: the filing */
    const char  *name;          /* NULL: nothing was */
    ngx_int_t    want;
} policy_t;


static const policy_t  policies[] = {
    { { 0, 0, 0 }, 0, NULL, NGX_OK },
    { { 1, 1, 1 }, 0, NULL, NGX_OK },
    { { 0, 1, 9 }, 0, NULL, NGX_OK },
    { { 1, 0, 0 }, 0, NULL, NGX_DECLINED },
    { { 1, 1, 0 }, 0, NULL, NGX_DECLINED },
    { { 2, 1, 2 }, 0, NULL, NGX_DECLINED },
    { { 0, -1, 0 }, 0, NULL, NGX_DECLINED },
    { { 1, 1, 1 }, 2, "triage", NGX_OK },
    { { 0, 0, 1 }, 2, "triage", NGX_OK },
    { { 0, 0, 0 }, 2, "triage", NGX_DECLINED },
    { { 1, 1, 1 }, 1, "triage", NGX_DECLINED },
    { { 1, 1, 1 }, 0, "triage", NGX_DECLINED }
};


static void
test_policies(ngx_pool_t *pool)
{
    size_t               i, j;
    ngx_str_t            texts[SEALS];
    const policy_t      *row;
    ngx_lockbox_seal_t   seals[SEALS], got[SEALS];

    for (i = 0; i < sizeof(policies) / sizeof(policies[0]); i++) {
        row = &policies[i];
        make_seals(seals);

        for (j = 0; j < SEALS; j++) {
            seals[j].policy_version = row->policy[j];

            if (row->policy[j]) {
                seals[j].policy_hash = ngx_shim_str("hash");
            }
        }

        if (row->name) {
            seals[row->given].preapproval = ngx_shim_str(row->name);
        }

        sign_seals(pool, seals, SEALS, texts);
        is(open_at(pool, texts, SEALS, NOW, got), row->want,
           "policies %d %d %d, %s given to %d", (int) row->policy[0],
           (int) row->policy[1], (int) row->policy[2],
           row->name ? row->name : "nothing", row->given);

        if (row->want == NGX_OK && row->name) {
            is_text(&got[row->given].preapproval, row->name, "is said");
            is(got[row->given].policy_version, row->policy[row->given],
               "with its policy");
            is_text(&got[row->given].policy_hash, "hash", "and what that was");
        }
    }

    /* what was given is an approval */

    make_seals(seals);
    seals[LAST].policy_version = 1;
    seals[LAST].preapproval = ngx_shim_str("triage");
    seals[LAST].decision = ngx_shim_str("deny");
    sign_seals(pool, seals, SEALS, texts);
    is(open_at(pool, texts, SEALS, NOW, got), NGX_DECLINED,
       "no denial is given beforehand");
}


/*
 * What stands between filing and last step, where less is compared with what
 * is at hand: one claim is another or none.
 */

typedef struct {
    const char  *claim;
    const char  *value;         /* JSON; NULL: without it */
    ngx_int_t    want;
} claim_t;


static const claim_t  middle[] = {
    { "nothing", NULL, NGX_OK },
    { "request", NULL, NGX_DECLINED },
    { "tenant", NULL, NGX_DECLINED },
    { "engineer_iss", NULL, NGX_DECLINED },
    { "engineer_sub", NULL, NGX_DECLINED },
    { "access_hash", NULL, NGX_DECLINED },
    { "access_hash", "\"any\"", NGX_OK },
    { "text_hash", NULL, NGX_DECLINED },
    { "stage", NULL, NGX_DECLINED },
    { "decision", NULL, NGX_DECLINED },
    { "by_iss", NULL, NGX_DECLINED },
    { "sub", NULL, NGX_DECLINED },
    { "token_hash", NULL, NGX_DECLINED },
    { "version", NULL, NGX_DECLINED },
    { "duration", NULL, NGX_DECLINED },
    { "duration", "1", NGX_OK },
    { "at", NULL, NGX_DECLINED },
    { "acr", NULL, NGX_OK },
    { "acr", "\"\"", NGX_DECLINED },
    { "acr", "1", NGX_DECLINED },
    { "auth_time", NULL, NGX_OK },
    { "auth_time", "0", NGX_DECLINED },
    { "auth_time", "-1", NGX_DECLINED },
    { "auth_time", "\"1\"", NGX_DECLINED },
    { "customers", "1", NGX_OK },
    { "customers", "0", NGX_DECLINED },
    { "customers", "-1", NGX_DECLINED },
    { "customers", "1.5", NGX_DECLINED },
    { "prev", NULL, NGX_DECLINED }
};


static void
test_middle(ngx_pool_t *pool)
{
    size_t                     i;
    json_t                    *claims;
    ngx_str_t                  texts[SEALS];
    const claim_t             *row;
    ngx_lockbox_seal_t         seals[SEALS];
    ngx_lockbox_token_t        token;
    ngx_lockbox_token_rule_t   rule;

    ngx_memzero(&rule, sizeof(rule));
    rule.typ = NGX_LOCKBOX_SEAL_TYP;
    rule.issuer = ngx_shim_str(ISSUER);
    rule.audience = rule.issuer;
    rule.keys = &keys;
    rule.max_life = NGX_LOCKBOX_SEAL_LIFE;

    for (i = 0; i < sizeof(middle) / sizeof(claim_t); i++) {
        row = &middle[i];
        make_seals(seals);
        sign_seals(pool, seals, 2, texts);

        is(ngx_lockbox_token_open(pool, &rule, 1, &texts[1], NOW, &token),
           NGX_LOCKBOX_ALLOW, "a seal");
        ok(json_object_get(token.claims, "customers") == NULL
           && json_object_get(token.claims, "policy_version") == NULL,
           "nothing is said of no policy");

        claims = json_deep_copy(token.claims);

        if (row->value == NULL) {
            (void) json_object_del(claims, row->claim);
        } else {
            (void) json_object_set_new(claims, row->claim,
                                       json_loads(row->value,
                                                  JSON_DECODE_ANY, NULL));
        }

        (void) ngx_lockbox_token_sign(pool, key, NGX_LOCKBOX_SEAL_TYP, claims,
                                      &texts[1]);
        json_decref(claims);

        (void) ngx_lockbox_base64url_sha256(pool, &texts[1],
                                            &seals[LAST].prev);
        (void) ngx_lockbox_seal_sign(pool, key, &rule.issuer, &seals[LAST],
                                     &texts[LAST]);

        is(open_texts(pool, texts, SEALS), row->want, "%s: %s", row->claim,
           row->value ? row->value : "missing");
    }
}


/* Of memory that has nothing before it. */

static void
test_none_approved(void)
{
    ngx_lockbox_seal_t  *none;

    none = malloc(1);
    ok(none != NULL && ngx_lockbox_seal_approved(none, 0, 0, 0) == NULL,
       "no seal, no approval");
    free(none);
}


static void
test_empty(ngx_pool_t *pool)
{
    ngx_lockbox_seal_t  seals[SEALS + 1];

    make_seals(seals);
    is(open_at(pool, NULL, 0, NOW, &seals[SEALS]), NGX_DECLINED,
       "no seal, behind the memory of good ones");
}


static void
test_orders(ngx_pool_t *pool)
{
    size_t              i, j;
    ngx_str_t           texts[SEALS], list[SEALS + 1];
    const order_t      *row;
    ngx_lockbox_seal_t  seals[SEALS];

    make_seals(seals);
    sign_seals(pool, seals, SEALS, texts);

    for (i = 0; i < sizeof(orders) / sizeof(order_t); i++) {
        row = &orders[i];

        for (j = 0; row->order[j]; j++) {
            list[j] = texts[row->order[j] - '0'];
        }

        is(open_texts(pool, list, j), row->want, "the seals \"%s\"",
           row->order);
    }
}


static void
test_genuine(ngx_pool_t *pool)
{
    size_t                     i;
    json_t                    *claims;
    ngx_str_t                  issuer, texts[SEALS];
    ngx_lockbox_seal_t         seals[SEALS];
    ngx_lockbox_token_t        token;
    ngx_lockbox_token_rule_t   rule;

    issuer = ngx_shim_str(ISSUER);

    for (i = 0; i < SEALS; i++) {
        make_seals(seals);
        sign_seals(pool, seals, SEALS, texts);

        foreign.kid = key->kid;
        (void) ngx_lockbox_seal_sign(pool, &foreign, &issuer, &seals[i],
                                     &texts[i]);
        is(open_texts(pool, texts, SEALS), NGX_DECLINED,
           "seal %d by another key of that name", (int) i);

        foreign.kid = foreign.thumbprint;
        (void) ngx_lockbox_seal_sign(pool, &foreign, &issuer, &seals[i],
                                     &texts[i]);
        is(open_texts(pool, texts, SEALS), NGX_DECLINED,
           "seal %d by a key that is unknown", (int) i);

        make_seals(seals);
        sign_seals(pool, seals, SEALS, texts);
        is(open_texts(pool, texts, SEALS), NGX_OK, "the good twin");

        jose_spoil(&texts[i]);
        is(open_texts(pool, texts, SEALS), NGX_DECLINED,
           "seal %d with another signature", (int) i);
    }

    make_seals(seals);
    sign_seals(pool, seals, SEALS, texts);
    issuer = ngx_shim_str("https://evil.example");
    (void) ngx_lockbox_seal_sign(pool, key, &issuer, &seals[LAST],
                                 &texts[LAST]);
    is(open_texts(pool, texts, SEALS), NGX_DECLINED, "of another issuer");

    /* a grant by the same key over the same claims is no seal */

    make_seals(seals);
    sign_seals(pool, seals, SEALS, texts);
    ngx_memzero(&rule, sizeof(rule));
    rule.typ = NGX_LOCKBOX_SEAL_TYP;
    rule.issuer = ngx_shim_str(ISSUER);
    rule.audience = rule.issuer;
    rule.keys = &keys;
    rule.max_life = NGX_LOCKBOX_SEAL_LIFE;

    is(ngx_lockbox_token_open(pool, &rule, 1, &texts[LAST], NOW, &token),
       NGX_LOCKBOX_ALLOW, "a seal is a token for us, for 60 days");

    claims = json_deep_copy(token.claims);
    (void) ngx_lockbox_token_sign(pool, key, NGX_LOCKBOX_GRANT_TYP, claims,
                                  &texts[LAST]);
    is(open_texts(pool, texts, SEALS), NGX_DECLINED, "another type");

    (void) ngx_lockbox_token_sign(pool, key, NGX_LOCKBOX_SEAL_TYP, claims,
                                  &texts[LAST]);
    is(open_texts(pool, texts, SEALS), NGX_OK, "its good twin");
    json_decref(claims);
}


/* Claims that no seal of ours has, under our own signature: a filing's. */

static const char  *members[] = {
    "request", "tenant", "engineer_iss", "engineer_sub", "access_hash",
    "text_hash", "token_hash",
    "stage", "decision", "by_iss", "sub", "version", "duration", "at",
    "iss", "aud", "iat", "exp",

    /* these may be missing */
    "prev", "acr", "auth_time", "extends", "begins"
};

#define MEMBERS   (sizeof(members) / sizeof(members[0]))
#define OPTIONAL  (MEMBERS - 5)


static void
test_claims(ngx_pool_t *pool)
{
    size_t                     i, j;
    json_t                    *claims;
    ngx_int_t                  want;
    ngx_str_t                  text;
    ngx_lockbox_seal_t         seals[SEALS];
    ngx_lockbox_token_t        token;
    ngx_lockbox_token_rule_t   rule;

    static const char  *wrong[] = { NULL, "true", "\"\"", "1.5" };

    static const struct {
        int64_t    at;
        ngx_int_t  want;
    } times[] = {
        { 0, NGX_OK }, { -1, NGX_DECLINED },
        { 1LL << 53, NGX_OK }, { (1LL << 53) + 1, NGX_DECLINED },
        { INT64_MAX, NGX_DECLINED }
    };

    make_seals(seals);
    seals[0].access_hash = seals[LAST].access_hash;
    seals[0].duration = seals[LAST].duration;
    sign_seals(pool, seals, 1, &text);
    is(open_texts(pool, &text, 1), NGX_OK, "a filing alone");

    ngx_memzero(&rule, sizeof(rule));
    rule.typ = NGX_LOCKBOX_SEAL_TYP;
    rule.issuer = ngx_shim_str(ISSUER);
    rule.audience = rule.issuer;
    rule.keys = &keys;
    rule.max_life = NGX_LOCKBOX_SEAL_LIFE;

    (void) ngx_lockbox_token_open(pool, &rule, 1, &text, NOW, &token);

    for (i = 0; i < MEMBERS; i++) {
        for (j = 0; j < 4; j++) {
            claims = json_deep_copy(token.claims);

            if (wrong[j]) {
                (void) json_object_set_new(claims, members[i],
                                 json_loads(wrong[j], JSON_DECODE_ANY, NULL));
            } else {
                (void) json_object_del(claims, members[i]);
            }

            (void) ngx_lockbox_token_sign(pool, key, NGX_LOCKBOX_SEAL_TYP,
                                          claims, &text);
            json_decref(claims);

            want = wrong[j] == NULL && i >= OPTIONAL ? NGX_OK : NGX_DECLINED;
            is(open_texts(pool, &text, 1), want, "%s %s", members[i],
               wrong[j] ? wrong[j] : "missing");
        }
    }

    for (i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
        claims = json_deep_copy(token.claims);
        (void) json_object_set_new(claims, "at", json_integer(times[i].at));
        (void) ngx_lockbox_token_sign(pool, key, NGX_LOCKBOX_SEAL_TYP, claims,
                                      &text);
        json_decref(claims);

        is(open_texts(pool, &text, 1), times[i].want, "at %lld",
           (long long) times[i].at);
    }
}


/* The same of a seal that others stand before. */

static void
test_later_claims(ngx_pool_t *pool)
{
    size_t                     i;
    json_t                    *claims;
    ngx_str_t                  texts[SEALS];
    ngx_lockbox_seal_t         seals[SEALS];
    ngx_lockbox_token_t        token;
    ngx_lockbox_token_rule_t   rule;

    make_seals(seals);
    sign_seals(pool, seals, SEALS, texts);

    ngx_memzero(&rule, sizeof(rule));
    rule.typ = NGX_LOCKBOX_SEAL_TYP;
    rule.issuer = ngx_shim_str(ISSUER);
    rule.audience = rule.issuer;
    rule.keys = &keys;
    rule.max_life = NGX_LOCKBOX_SEAL_LIFE;

    (void) ngx_lockbox_token_open(pool, &rule, 1, &texts[LAST], NOW, &token);

    /* of what may be missing, this one has no predecessor missing */

    for (i = 0; i <= OPTIONAL; i++) {
        claims = json_deep_copy(token.claims);
        (void) json_object_del(claims, members[i]);
        (void) ngx_lockbox_token_sign(pool, key, NGX_LOCKBOX_SEAL_TYP, claims,
                                      &texts[LAST]);
        json_decref(claims);

        is(open_texts(pool, texts, SEALS), NGX_DECLINED,
           "the last one without %s", members[i]);
    }
}


static void
test_life(ngx_pool_t *pool)
{
    size_t              i;
    ngx_str_t           texts[SEALS];
    ngx_lockbox_seal_t  seals[SEALS];

    static const struct {
        time_t     now;
        ngx_int_t  want;
    } rows[] = {
        { NOW, NGX_OK }, { NOW - 10, NGX_OK }, { NOW - 11, NGX_DECLINED },
        { NOW + NGX_LOCKBOX_SEAL_LIFE - 1, NGX_OK },
        { NOW + NGX_LOCKBOX_SEAL_LIFE, NGX_DECLINED }
    };

    make_seals(seals);
    sign_seals(pool, seals, SEALS, texts);

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        is(open_at(pool, texts, SEALS, rows[i].now, seals), rows[i].want,
           "%d seconds later", (int) (rows[i].now - NOW));
    }
}


/*
 * Who approved: m for the manager's stage, c for the customer's, e for the
 * engineer's; a person, where v is the vendor's and c the customers' issuer;
 * "!" for a denial, "?" for a question, "=" for an answer.  Erin of the vendor
 * has filed.
 */

typedef struct {
    const char  *steps;
    ngx_uint_t   manager;
    ngx_uint_t   customer;
    int64_t      want;          /* the step that completes it; 0: none */
} approved_t;


static const approved_t  approvals[] = {
    { "m:mona@v c:carl@c", 1, 1, 2 },
    { "", 1, 1, 0 },
    { "", 0, 0, 0 },
    { "m:mona@v", 1, 1, 0 },
    { "m:mona@v", 1, 0, 1 },
    { "c:carl@c", 1, 1, 0 },
    { "c:carl@c", 0, 1, 1 },
    { "c:carl@c m:mona@v", 1, 1, 0 },
    { "c:carl@c m:mona@v", 0, 1, 0 },

    /* several */
    { "m:mona@v m:mike@v c:carl@c", 2, 1, 3 },
    { "m:mona@v c:carl@c", 2, 1, 0 },
    { "m:mona@v m:mike@v", 2, 1, 0 },
    { "m:mona@v c:carl@c m:mike@v", 2, 1, 0 },
    { "m:mona@v c:carl@c c:cora@c", 1, 2, 3 },
    { "m:mona@v c:carl@c", 1, 2, 0 },

    /* nobody twice, and nobody for himself */
    { "m:mona@v m:mona@v c:carl@c", 2, 1, 0 },
    { "m:mona@v m:mona@v c:carl@c", 1, 1, 0 },
    { "m:mona@v c:carl@c c:carl@c", 1, 2, 0 },
    { "m:mona@v c:mona@v", 1, 1, 0 },
    { "m:mona@v c:mona@c", 1, 1, 2 },
    { "m:erin@v c:carl@c", 1, 1, 0 },
    { "m:mona@v c:erin@v", 1, 1, 0 },
    { "m:mona@v c:erin@c", 1, 1, 2 },

    /* nothing but approvals of these two stages */
    { "m!mona@v c:carl@c", 1, 1, 0 },
    { "m:mona@v c!carl@c", 1, 1, 0 },
    { "m:mona@v c:carl@c c!cora@c", 1, 1, 0 },
    { "m:mona@v c:carl@c e!eve@v", 1, 1, 0 },
    { "e:eve@v m:mona@v c:carl@c", 1, 1, 0 },
    { "m:mona@v e:eve@v c:carl@c", 1, 1, 0 },
    { "m:mona@v c:carl@c e:eve@v", 1, 1, 0 },

    /* but for questions and their answers; whoever asks may approve */
    { "m?mona@v e=erin@v m:mona@v c:carl@c", 1, 1, 4 },
    { "m?mike@v e=erin@v m:mona@v c:carl@c", 1, 1, 4 },
    { "m:mona@v c?carl@c e=erin@v c:carl@c", 1, 1, 4 },
    { "m:mona@v c?carl@c e=erin@v c?cora@c e=erin@v c:carl@c", 1, 1, 6 },
    { "m:mona@v m?mike@v e=erin@v m:mike@v c:carl@c", 2, 1, 5 },
    { "m:mona@v c:cora@c c?carl@c e=erin@v c:carl@c", 1, 2, 5 },
    { "m:mona@v c:cora@c c?carl@c e=erin@v", 1, 1, 2 },
    { "m?mona@v m:mona@v c:carl@c", 1, 1, 0 },
    { "m?mona@v e:erin@v c:carl@c", 1, 1, 0 },
    { "m?mona@v e=eve@v m:mona@v c:carl@c", 1, 1, 0 },
    { "m?mona@v e=erin@c m:mona@v c:carl@c", 1, 1, 0 },
    { "m?mona@v m=erin@v m:mona@v c:carl@c", 1, 1, 0 },
    { "m?mona@v m?mike@v e=erin@v m:mona@v c:carl@c", 1, 1, 0 },
    { "e=erin@v m:mona@v c:carl@c", 1, 1, 0 },
    { "m:mona@v c:carl@c e=erin@v", 1, 1, 0 },
    { "m?mona@v e=erin@v e=erin@v m:mona@v c:carl@c", 1, 1, 0 },
    { "m?mona@v e=erin@v", 1, 1, 0 },
    { "m?mona@v e=erin@v c:carl@c", 1, 1, 0 },
    { "m?erin@v e=erin@v m:mona@v c:carl@c", 1, 1, 0 },
    { "e?mona@v e=erin@v m:mona@v c:carl@c", 1, 1, 0 },
    { "c?carl@c e=erin@v m:mona@v c:carl@c", 1, 1, 0 },
    { "m:mona@v c:cora@c m?mike@v e=erin@v c:carl@c", 1, 2, 0 },
    { "m:mona@v m?mona@v e=erin@v m:mike@v c:carl@c", 2, 1, 0 },
    { "m:mona@v c:carl@c c?cora@c", 1, 1, 0 },
    { "m?mona@v e=erin@v m:mona@v m:mona@v c:carl@c", 2, 1, 0 }
};


static const char *
decision_of(char mark)
{
    return mark == ':' ? "approve" : mark == '!' ? "deny"
           : mark == '?' ? "ask" : "answer";
}


static ngx_uint_t
read_steps(ngx_pool_t *pool, const char *steps, ngx_lockbox_seal_t *seals)
{
    char         who[16], mark[2], stage[2], from[2];
    ngx_uint_t   n;
    ngx_str_t    name;
    const char  *p;

    make_seals(seals);
    p = steps;

    for (n = 1; sscanf(p, " %1[mce]%1[:!?=]%15[a-z]@%1[vc]", stage, mark, who,
                       from) == 4; n++)
    {
        ngx_memzero(&seals[n], sizeof(ngx_lockbox_seal_t));
        seals[n].engineer_iss = ngx_shim_str(VENDOR);
        seals[n].engineer_sub = ngx_shim_str("erin");
        seals[n].stage = ngx_shim_str(*stage == 'm' ? "manager"
                                      : *stage == 'c' ? "customer"
                                      : "engineer");
        seals[n].decision = ngx_shim_str(decision_of(*mark));
        seals[n].by_iss = ngx_shim_str(*from == 'v' ? VENDOR : OTHERS);

        name = ngx_shim_str(who);
        seals[n].by_sub.data = ngx_pstrdup(pool, &name);
        seals[n].by_sub.len = name.len;
        seals[n].at = (int64_t) n;

        p = strchr(p, '@') + 2;
    }

    return n;
}


static void
test_approved(ngx_pool_t *pool)
{
    size_t                     i;
    ngx_uint_t                 n;
    const approved_t          *row;
    ngx_lockbox_seal_t         seals[SEALS + 5];
    const ngx_lockbox_seal_t  *last;

    for (i = 0; i < sizeof(approvals) / sizeof(approved_t); i++) {
        row = &approvals[i];
        n = read_steps(pool, row->steps, seals);

        last = ngx_lockbox_seal_approved(seals, n, row->manager,
                                         row->customer);
        is(last ? last->at : 0, row->want, "%s, of %d and %d", row->steps,
           (int) row->manager, (int) row->customer);
    }

    ok(ngx_lockbox_seal_approved(seals, 0, 1, 1) == NULL, "no seal at all");
    ok(ngx_lockbox_seal_approved(seals, 1, 0, 0) == NULL,
       "nobody is asked, and nobody has approved");
}


/* The last seal says how many customers it takes, and never fewer. */

static void
test_customers(ngx_pool_t *pool)
{
    ngx_uint_t          n;
    ngx_lockbox_seal_t  seals[SEALS + 5];

    n = read_steps(pool, "m:mona@v c:carl@c", seals);

    seals[1].customers = 2;
    seals[LAST].customers = 1;
    ok(ngx_lockbox_seal_approved(seals, n, 1, 1) == &seals[LAST],
       "one by the last");
    ok(ngx_lockbox_seal_approved(seals, n, 1, 0) == &seals[LAST],
       "where nobody was needed");

    seals[LAST].customers = 2;
    ok(ngx_lockbox_seal_approved(seals, n, 1, 1) == NULL, "two by the last");
    ok(ngx_lockbox_seal_approved(seals, n, 1, 0) == NULL,
       "though the operator needs none");

    n = read_steps(pool, "m:mona@v c:carl@c c:cora@c", seals);

    seals[3].customers = 2;
    ok(ngx_lockbox_seal_approved(seals, n, 1, 1) == &seals[3], "both");
    ok(ngx_lockbox_seal_approved(seals, n, 1, 3) == NULL,
       "but for an operator who needs three");

    n = read_steps(pool, "m:mona@v", seals);

    seals[1].customers = 1;
    ok(ngx_lockbox_seal_approved(seals, n, 1, 0) == NULL,
       "a manager alone, where the customer wants to be heard");
    seals[1].customers = 0;
    ok(ngx_lockbox_seal_approved(seals, n, 1, 0) == &seals[1],
       "and where not");
}


static ngx_int_t
walk_sign(ngx_pool_t *pool, const void *data)
{
    ngx_str_t   issuer, text;

    issuer = ngx_shim_str(ISSUER);

    return ngx_lockbox_seal_sign(pool, key, &issuer, data, &text);
}


/* Without memory a text cannot be told from one that is no JSON. */

static ngx_uint_t  errors;


static ngx_int_t
walk_open(ngx_pool_t *pool, const void *texts)
{
    ngx_int_t  rc;

    rc = open_texts(pool, texts, SEALS);
    errors += rc == NGX_ERROR;

    return rc == NGX_OK ? NGX_OK : NGX_ERROR;
}


static ngx_int_t
walk_forged(ngx_pool_t *pool, const void *texts)
{
    return open_texts(pool, texts, SEALS) == NGX_OK ? NGX_DECLINED : NGX_OK;
}


static void
test_no_memory(ngx_pool_t *pool)
{
    ngx_str_t           texts[SEALS];
    ngx_lockbox_seal_t  seals[SEALS];

    make_seals(seals);
    sign_seals(pool, seals, SEALS, texts);

    ok(ngx_shim_walk(walk_sign, &seals[LAST]) > 50, "no seal without memory");
    ok(ngx_shim_walk(walk_open, texts) > 50, "and no chain");
    is(errors, 3 * SEALS,
       "which is noticed for header, signature and hash of each seal");
    ok(oom_walk(walk_sign, &seals[LAST], 1) > 100,
       "no seal, and OpenSSL without");
    ok(oom_walk(walk_open, texts, 1) > 100, "and no chain");

    jose_spoil(&texts[1]);
    ok(oom_walk(walk_forged, texts, 1) > 50, "none with a forgery");
}


int
main(void)
{
    ngx_pool_t  *pool;

    pool = ngx_create_pool(0, NULL);

    make_keys(pool);

    test_good(pool);
    test_extension(pool);
    test_followers(pool);
    test_changes(pool);
    test_middle(pool);
    test_none_approved();
    test_empty(pool);
    test_orders(pool);
    test_genuine(pool);
    test_claims(pool);
    test_later_claims(pool);
    test_life(pool);
    test_approved(pool);
    test_policies(pool);
    test_customers(pool);
    test_no_memory(pool);

    ngx_destroy_pool(pool);

    is(ngx_shim_live(), 0, "nothing is left behind");

    return tap_done();
}
