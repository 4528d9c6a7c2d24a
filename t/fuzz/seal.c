/*
 * Chains of seals.
 *
 * The first line has two digits: how many approvals of the manager and of the
 * customer are needed; and an "x" if the request extends another one.  Each
 * two lines behind are a seal: who signs, "0" to
 * "3", right before the header; and the claims.  "$PREV" stands for the hash
 * of the seal before.  A line that begins with "r" is a seal as it comes.
 */

/* links: ngx_lockbox_seal.c ngx_lockbox_token.c ngx_lockbox_jwks.c */
/* links: ngx_lockbox_json.c ngx_lockbox_base64url.c */

#include "ngx_lockbox_seal.h"
#include "door.h"


static const char *const  mutate_lines[] = {
    "11", "10", "01", "00", "21", "11x", "r",
    "0{\"typ\":\"lockbox-seal+jwt\",\"alg\":\"ES256\",\"kid\":\"ec\"}",
    "3{\"typ\":\"lockbox-seal+jwt\",\"alg\":\"ES256\",\"kid\":\"ec\"}",
    NULL
};

static const char *const  mutate_names[] = {
    "request", "tenant", "engineer_iss", "engineer_sub", "access_hash",
    "stage", "decision", "by_iss", "sub", "version", "duration", "at", "prev",
    "text_hash", "token_hash", "acr", "auth_time", "extends", "begins",
    "policy_version", "policy_hash", "customers", "preapproval",
    "iss", "aud", "iat", "exp", NULL
};

#include "mutate.h"


#define SEALS_MAX  5
#define DURATION   3600
#define ID         "0192f3a4-b5c6-7d8e-9f01-23456789abcd"
#define VENDOR     "https://vendor.example"
#define ISSUER     "https://lockbox.example"
#define ACCESS     "narrow"
#define SAID       "said"
#define EXTENDS    "another"


/* A seal, and what it says if it is genuine. */

typedef struct {
    ngx_str_t   text;
    json_t     *claims;
} step_t;


int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
    static ngx_pool_t  *pool;

    (void) argc;
    (void) argv;

    pool = ngx_create_pool(1, NULL);
    door_keys(pool);

    return 0;
}


static ngx_str_t
hash_of(ngx_pool_t *pool, const ngx_str_t *text)
{
    u_char        md[EVP_MAX_MD_SIZE];
    unsigned int  len;

    fuzz_check(EVP_Digest(text->data, text->len, md, &len, EVP_sha256(), NULL)
               == 1);

    return door_base64url(pool, md, len);
}


static ngx_uint_t
read_steps(ngx_pool_t *pool, ngx_str_t *input,
    const ngx_lockbox_token_rule_t *rule, step_t *steps)
{
    ngx_str_t                 header, payload, prev;
    ngx_uint_t                n;
    const ngx_lockbox_key_t  *signer;

    ngx_str_null(&prev);

    for (n = 0; n < SEALS_MAX && input->len; n++) {
        header = fuzz_line(input);
        steps[n].claims = NULL;

        if (header.len == 0 || header.data[0] == 'r') {
            header.data += header.len != 0;
            header.len -= header.len != 0;

            steps[n].text = fuzz_copy(pool, header.data, header.len);

        } else {
            signer = &door_signers[*header.data++ % DOOR_SIGNERS];
            header.len--;

            payload = fuzz_line(input);
            header = door_expand(pool, header, &prev);
            payload = door_expand(pool, payload, &prev);

            steps[n].text = door_sign(pool, signer, &header, &payload);
            steps[n].claims = door_agreed(pool, rule, 1, signer, &header,
                                          &payload, &steps[n].text);
        }

        prev = hash_of(pool, &steps[n].text);
    }

    return n;
}


static ngx_uint_t
is_whole(const json_t *claims)
{
    size_t                    i;
    static const char *const  texts[] = {
        "request", "tenant", "engineer_iss", "engineer_sub", "access_hash",
        "stage", "decision", "by_iss", "sub", "text_hash", "token_hash"
    };
    static const char *const  numbers[] = { "version", "duration", "at" };
    static const char *const  more_texts[] = {
        "prev", "acr", "extends", "policy_hash", "preapproval"
    };
    static const char *const  more_numbers[] = {
        "auth_time", "begins", "policy_version", "customers"
    };

    for (i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        if (!json_has_text(claims, texts[i])) {
            return 0;
        }
    }

    for (i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        if (!json_is_integer(json_object_get(claims, numbers[i]))) {
            return 0;
        }
    }

    for (i = 0; i < sizeof(more_texts) / sizeof(more_texts[0]); i++) {
        if (json_object_get(claims, more_texts[i])
            && !json_has_text(claims, more_texts[i]))
        {
            return 0;
        }
    }

    for (i = 0; i < sizeof(more_numbers) / sizeof(more_numbers[0]); i++) {
        if (json_object_get(claims, more_numbers[i])
            && (!json_is_integer(json_object_get(claims, more_numbers[i]))
                || door_time(claims, more_numbers[i]) < 1))
        {
            return 0;
        }
    }

    return door_has_time(claims, "at");
}


static ngx_uint_t
is_by_engineer(const json_t *claims)
{
    return json_is_text(claims, "stage", "engineer")
           && json_is_text(claims, "by_iss", VENDOR)
           && json_is_text(claims, "sub", "erin");
}


/* What a step may follow: not as a table of its predecessors. */

static ngx_uint_t
may_follow(const json_t *claims, const json_t *before)
{
    ngx_uint_t  open, asked, approved;

    asked = json_is_text(before, "decision", "ask");
    approved = json_is_text(before, "decision", "approve");
    open = approved || json_is_text(before, "decision", "request")
           || json_is_text(before, "decision", "answer");

    if (json_is_text(claims, "decision", "answer")) {
        return asked && is_by_engineer(claims);
    }

    if (json_is_text(claims, "decision", "cancel")) {
        return (open || asked) && is_by_engineer(claims);
    }

    if (json_is_text(claims, "decision", "complete")) {
        return approved && is_by_engineer(claims);
    }

    if (!json_is_text(claims, "stage", "manager")
        && !json_is_text(claims, "stage", "customer"))
    {
        return 0;
    }

    if (json_is_text(claims, "decision", "deny")) {
        return open || asked;
    }

    if (json_is_text(claims, "decision", "revoke")) {
        return approved;
    }

    return open && (json_is_text(claims, "decision", "approve")
                    || json_is_text(claims, "decision", "ask"));
}


/* What is wanted of any link of the chain, and of the first. */

static ngx_uint_t
is_link(ngx_pool_t *pool, const step_t *step, const step_t *before,
    ngx_uint_t extends)
{
    ngx_str_t      prev, hash;
    const json_t  *claims;

    claims = step->claims;

    if (claims == NULL
        || !is_whole(claims)
        || !json_is_text(claims, "request", ID)
        || !json_is_text(claims, "tenant", "acme")
        || !json_is_text(claims, "engineer_iss", VENDOR)
        || !json_is_text(claims, "engineer_sub", "erin")
        || !json_is_text(claims, "text_hash", SAID)
        || (json_object_get(claims, "begins")
            && !(extends && json_is_text(claims, "decision", "approve"))))
    {
        return 0;
    }

    if (before == NULL) {
        return json_object_get(claims, "prev") == NULL
               && door_time(claims, "version") == 0
               && json_is_text(claims, "decision", "request")
               && is_by_engineer(claims)
               && json_object_get(claims, "preapproval") == NULL
               && (extends ? json_is_text(claims, "extends", EXTENDS)
                           : json_object_get(claims, "extends") == NULL);
    }

    hash = hash_of(pool, &before->text);
    prev = json_text_of(claims, "prev");

    return fuzz_same(&hash, &prev)
           && json_object_get(claims, "extends") == NULL
           && may_follow(claims, before->claims)
           && door_time(claims, "policy_version")
              >= door_time(before->claims, "policy_version")
           && (json_object_get(claims, "preapproval") == NULL
               || (json_is_text(claims, "stage", "customer")
                   && json_is_text(claims, "decision", "approve")
                   && door_time(claims, "policy_version") > 0))
           && door_time(claims, "version")
              > door_time(before->claims, "version")
           && door_time(claims, "at") + 10000
              >= door_time(before->claims, "at");
}


static ngx_uint_t
is_chain(ngx_pool_t *pool, const step_t *steps, ngx_uint_t n,
    ngx_uint_t extends)
{
    ngx_uint_t  i;

    for (i = 0; i < n; i++) {
        if (!is_link(pool, &steps[i], i ? &steps[i - 1] : NULL, extends)) {
            return 0;
        }
    }

    return n != 0
           && json_is_text(steps[n - 1].claims, "access_hash", ACCESS)
           && door_time(steps[n - 1].claims, "duration") == DURATION;
}


static ngx_uint_t
is_same_person(const json_t *a, const json_t *b)
{
    return json_equal(json_object_get(a, "by_iss"),
                      json_object_get(b, "by_iss"))
           && json_equal(json_object_get(a, "sub"), json_object_get(b, "sub"));
}


/*
 * The last approval, NULL if some are missing or wrong.  The chain is one: an
 * answer stands only behind a question, and nothing else does that goes on.
 */

static const json_t *
approval(const step_t *all, ngx_uint_t total, ngx_uint_t manager,
    ngx_uint_t customer)
{
    step_t         steps[SEALS_MAX];
    ngx_uint_t     i, j, n, approves, customers, given[2];
    const json_t  *last;

    /* without the answers, for each belongs to a question */

    n = 0;

    for (i = 0; i < total; i++) {
        if (!json_is_text(all[i].claims, "decision", "answer")) {
            steps[n++] = all[i];
        }
    }

    if (total == 0
        || json_is_text(all[total - 1].claims, "decision", "ask"))
    {
        return NULL;
    }

    last = NULL;
    given[0] = given[1] = 0;

    for (i = 1; i < n; i++) {
        approves = json_is_text(steps[i].claims, "decision", "approve");
        customers = json_is_text(steps[i].claims, "stage", "customer");

        if ((!approves && !json_is_text(steps[i].claims, "decision", "ask"))
            || (customers ? given[0] < manager : given[1] != 0))
        {
            return NULL;
        }

        for (j = 0; j < i; j++) {
            if (is_same_person(steps[i].claims, steps[j].claims)
                && !json_is_text(steps[j].claims, "decision", "ask"))
            {
                return NULL;
            }
        }

        given[customers] += approves;
        last = approves ? steps[i].claims : last;
    }

    return given[0] >= manager && given[1] >= customer
           && (json_int_t) given[1]
              >= door_time(all[total - 1].claims, "customers")
           ? last : NULL;
}


/* Sealed once more by the module itself, it is the same seal. */

static void
check_again(ngx_pool_t *pool, const ngx_lockbox_token_rule_t *rule,
    const ngx_lockbox_seal_subject_t *subject, const ngx_lockbox_seal_t *seal)
{
    ngx_str_t            text;
    ngx_lockbox_seal_t   again;

    if (seal->at < DOOR_NOW * 1000LL - 86400000
        || seal->at > DOOR_NOW * 1000LL)
    {
        return;
    }

    fuzz_check(ngx_lockbox_seal_sign(pool, &door_signers[0], &rule->issuer,
                                     seal, &text)
               == NGX_OK);

    /* only the first one, if it is the last one, is a chain by itself */

    if (ngx_lockbox_seal_open(pool, rule->keys, &rule->issuer, &text, 1,
                              DOOR_NOW, subject, &again)
        != NGX_OK)
    {
        fuzz_check(seal->prev.len || seal->duration != DURATION
                   || !fuzz_is(&seal->access_hash, ACCESS));
        return;
    }

    fuzz_check(again.at == seal->at && again.version == seal->version);
    fuzz_check(fuzz_same(&again.by_sub, &seal->by_sub));
}


static void
check_chain(ngx_pool_t *pool, const ngx_lockbox_token_rule_t *rule,
    const step_t *steps, ngx_uint_t n, ngx_uint_t manager,
    ngx_uint_t customer, ngx_uint_t extends)
{
    int64_t                      begins;
    ngx_int_t                    rc;
    ngx_str_t                    texts[SEALS_MAX], said[SEALS_MAX];
    ngx_uint_t                   i;
    const json_t                *want;
    ngx_lockbox_seal_t           seals[SEALS_MAX];
    const ngx_lockbox_seal_t    *last;
    ngx_lockbox_seal_subject_t   subject;

    subject.request = ngx_shim_str(ID);
    subject.tenant = ngx_shim_str("acme");
    subject.engineer_iss = ngx_shim_str(VENDOR);
    subject.engineer_sub = ngx_shim_str("erin");
    subject.access_hash = ngx_shim_str(ACCESS);
    subject.duration = DURATION;
    subject.extends = ngx_shim_str(extends ? EXTENDS : "");
    subject.text_hashes = said;

    for (i = 0; i < n; i++) {
        texts[i] = steps[i].text;
        said[i] = ngx_shim_str(SAID);
    }

    rc = ngx_lockbox_seal_open(pool, rule->keys, &rule->issuer, texts, n,
                               DOOR_NOW, &subject, seals);

    fuzz_check(rc == NGX_OK || rc == NGX_DECLINED);
    fuzz_check((rc == NGX_OK) == is_chain(pool, steps, n, extends));

    if (rc != NGX_OK) {
        return;
    }

    last = ngx_lockbox_seal_approved(seals, n, manager, customer);
    want = approval(steps, n, manager, customer);

    fuzz_check((last != NULL) == (want != NULL));

    if (last != NULL) {
        begins = door_time(want, "at") / 1000;

        if (json_object_get(want, "begins")
            && door_time(want, "begins") > begins)
        {
            begins = door_time(want, "begins");
        }

        fuzz_check(last->at == door_time(want, "at"));
        fuzz_check(ngx_lockbox_seal_begins(last) == begins);
    }

    check_again(pool, rule, &subject, &seals[0]);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    step_t                     steps[SEALS_MAX];
    ngx_str_t                  input, line;
    ngx_uint_t                 n;
    ngx_pool_t                *pool;
    ngx_lockbox_token_rule_t   rule;

    pool = fuzz_pool();
    input = fuzz_copy(pool, data, size);
    line = fuzz_line(&input);

    /* as ngx_lockbox_seal_open() asks the door */

    ngx_memzero(&rule, sizeof(ngx_lockbox_token_rule_t));
    rule.typ = "lockbox-seal+jwt";
    rule.issuer = ngx_shim_str(ISSUER);
    rule.audience = ngx_shim_str(ISSUER);
    rule.keys = &door_pair;
    rule.leeway = 10;
    rule.max_life = 75 * 86400;

    n = read_steps(pool, &input, &rule, steps);

    check_chain(pool, &rule, steps, n, fuzz_byte(&line, 0) % 4,
                fuzz_byte(&line, 1) % 4, fuzz_byte(&line, 2) == 'x');

    fuzz_pool_end(pool);

    return 0;
}
