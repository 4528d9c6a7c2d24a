/*
 * Policies of tenants.
 *
 * The first line has a letter: "n" for one that is being set, anything else
 * for one that was set before.  Then comes the policy.
 */

/* links: ngx_lockbox_policy.c ngx_lockbox_body.c ngx_lockbox_query.c */
/* links: ngx_lockbox_scope.c ngx_lockbox_json.c ngx_lockbox_name.c */
/* links: ngx_lockbox_path.c ngx_lockbox_base64url.c ngx_lockbox_unicode.c */

#include "ngx_lockbox_body.h"
#include "ngx_lockbox_policy.h"
#include "ngx_lockbox_text.h"
#include "json.h"


static const char *const  mutate_lines[] = { "n", "s", NULL };

static const char *const  mutate_names[] = {
    "max_duration", "approvals", "services", "reasons", "labels_never",
    "preapprovals", "name", "access", "until", "service", "methods", "paths",
    "labels", "x", NULL
};

#include "mutate.h"


#define NOW  1767225600000LL    /* 2026-01-01T00:00:00Z */


static const ngx_lockbox_policy_limits_t  limits = { 14400, 2 };


int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void) argc;
    (void) argv;

    json_object_seed(1);

    return 0;
}


/* Tickets are not the matter here. */

ngx_int_t
ngx_regex_exec(ngx_regex_t *re, ngx_str_t *s, int *captures, ngx_uint_t size)
{
    (void) re;
    (void) s;
    (void) captures;
    (void) size;

    return -1;
}


static ngx_uint_t
has_text(const ngx_lockbox_strings_t *strings, const ngx_str_t *text)
{
    ngx_uint_t  i;

    for (i = 0; i < strings->nelts; i++) {
        if (ngx_lockbox_text_same(&strings->elts[i], text)) {
            return 1;
        }
    }

    return 0;
}


/* The texts of a list, in their order, and each of them once. */

static void
check_strings(const json_t *object, const char *name,
    const ngx_lockbox_strings_t *strings, size_t min)
{
    size_t                  i;
    json_t                 *value;
    const json_t           *list;
    ngx_lockbox_strings_t   before;

    list = json_object_get(object, name);

    fuzz_check(strings->nelts == json_array_size(list));
    fuzz_check(list == NULL || (strings->nelts >= min && strings->nelts <= 64));

    json_array_foreach(list, i, value) {
        before.elts = strings->elts;
        before.nelts = i;

        fuzz_check(fuzz_is(&strings->elts[i], json_string_value(value)));
        fuzz_check(!has_text(&before, &strings->elts[i]));
    }
}


static void
check_number(const json_t *object, const char *name, int64_t value,
    int64_t min, int64_t max)
{
    const json_t  *number;

    number = json_object_get(object, name);

    if (number == NULL) {
        fuzz_check(value == 0);
        return;
    }

    fuzz_check(json_is_integer(number));
    fuzz_check(json_integer_value(number) == value);
    fuzz_check(value >= min && value <= max);
}


static void
check_preapproval(const json_t *object,
    const ngx_lockbox_preapproval_t *preapproval, ngx_uint_t fresh)
{
    size_t                     i, j;
    const ngx_lockbox_item_t  *item;

    fuzz_check(fuzz_is(&preapproval->name,
                       json_string_value(json_object_get(object, "name"))));
    check_number(object, "max_duration", preapproval->max_duration, 60,
                 fresh ? limits.max_duration : INT64_MAX);
    check_strings(object, "reasons", &preapproval->reasons, 1);

    fuzz_check(preapproval->until >= 0);
    fuzz_check(!fresh || (preapproval->until > NOW
                          && preapproval->until
                             <= NOW + 90LL * 24 * 3600 * 1000));

    fuzz_check(preapproval->scope.nelts != 0);

    for (i = 0; i < preapproval->scope.nelts; i++) {
        item = &preapproval->scope.elts[i];

        fuzz_check(item->methods.nelts != 0 && item->paths.nelts != 0);

        for (j = 0; j < item->paths.nelts; j++) {
            fuzz_check(item->paths.elts[j].len > 1);
        }

        for (j = 0; j < item->methods.nelts; j++) {
            fuzz_check(!fuzz_is(&item->methods.elts[j], "UPGRADE"));
        }
    }
}


static void
check_policy(const json_t *object, const ngx_lockbox_policy_t *policy,
    ngx_uint_t fresh)
{
    size_t   i, known;
    json_t  *value, *list;

    static const char *const  names[] = {
        "max_duration", "approvals", "services", "reasons", "labels_never",
        "preapprovals"
    };

    known = 0;

    for (i = 0; i < 6; i++) {
        known += json_object_get(object, names[i]) != NULL;
    }

    fuzz_check(json_object_size(object) == known);

    check_number(object, "max_duration", policy->max_duration, 60,
                 fresh ? limits.max_duration : INT64_MAX);
    check_number(object, "approvals", (int64_t) policy->approvals,
                 fresh ? (int64_t) limits.approvals : 1, 9);
    check_strings(object, "services", &policy->services, 1);
    check_strings(object, "reasons", &policy->reasons, 1);
    check_strings(object, "labels_never", &policy->labels_never, 0);

    list = json_object_get(object, "preapprovals");
    fuzz_check(policy->npreapprovals == json_array_size(list));
    fuzz_check(policy->npreapprovals <= 16);

    json_array_foreach(list, i, value) {
        check_preapproval(value, &policy->preapprovals[i], fresh);
    }
}


/* Stricter than either, and no different if it is done once more. */

static void
check_clamp(ngx_lockbox_policy_t *policy)
{
    int64_t     duration;
    ngx_uint_t  approvals;

    duration = policy->max_duration;
    approvals = policy->approvals;

    ngx_lockbox_policy_clamp(policy, &limits);

    fuzz_check(policy->max_duration <= limits.max_duration);
    fuzz_check(duration == 0 || policy->max_duration <= duration);
    fuzz_check(policy->max_duration == duration
               || policy->max_duration == limits.max_duration);
    fuzz_check(policy->approvals >= limits.approvals);
    fuzz_check(policy->approvals >= approvals);
    fuzz_check(policy->approvals == approvals
               || policy->approvals == limits.approvals);
}


/* What is covered is allowed, and within what it is covered by. */

static void
check_wish(ngx_pool_t *pool, const ngx_lockbox_policy_t *policy,
    const ngx_lockbox_policy_wish_t *wish, int64_t now)
{
    size_t                            i, j;
    ngx_int_t                         rc;
    ngx_uint_t                        good;
    ngx_lockbox_fault_t               fault;
    const ngx_lockbox_item_t         *item;
    const ngx_lockbox_preapproval_t  *covering;

    good = wish->duration <= policy->max_duration
           && (policy->reasons.nelts == 0
               || has_text(&policy->reasons, &wish->reason));

    for (i = 0; i < wish->scope->nelts; i++) {
        item = &wish->scope->elts[i];
        good = good && (policy->services.nelts == 0
                        || has_text(&policy->services, &item->service));

        for (j = 0; j < item->labels.nelts; j++) {
            good = good && !has_text(&policy->labels_never,
                                     &item->labels.elts[j]);
        }
    }

    rc = ngx_lockbox_policy_allows(pool, policy, wish, &fault);
    fuzz_check(rc == (good ? NGX_OK : NGX_DECLINED));
    fuzz_check(good || (fault.member.len && fault.member.data[0] == '/'
                        && *fault.reason));

    covering = ngx_lockbox_policy_preapproval(policy, wish, now);

    if (covering == NULL) {
        return;
    }

    fuzz_check(good && now < covering->until);
    fuzz_check(covering->max_duration == 0
               || wish->duration <= covering->max_duration);
    fuzz_check(covering->reasons.nelts == 0
               || has_text(&covering->reasons, &wish->reason));
    fuzz_check(ngx_lockbox_scope_within(wish->scope, &covering->scope));
}


/* Each preapproval itself, and more than it. */

static void
check_wishes(ngx_pool_t *pool, const ngx_lockbox_policy_t *policy)
{
    size_t                            i;
    const char *const                *reason;
    ngx_lockbox_policy_wish_t         wish;
    const ngx_lockbox_preapproval_t  *preapproval;

    for (i = 0; i < policy->npreapprovals; i++) {
        preapproval = &policy->preapprovals[i];
        wish.scope = &preapproval->scope;

        for (reason = ngx_lockbox_body_reasons; *reason; reason++) {
            wish.reason.data = (u_char *) *reason;
            wish.reason.len = ngx_strlen(*reason);

            wish.duration = policy->max_duration;
            check_wish(pool, policy, &wish, NOW);
            wish.duration = preapproval->max_duration;
            check_wish(pool, policy, &wish, preapproval->until - 1);
            check_wish(pool, policy, &wish, preapproval->until);
        }
    }
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_t                *object;
    ngx_int_t              rc, starved;
    ngx_str_t              input, line;
    ngx_uint_t             fresh;
    ngx_pool_t            *pool;
    ngx_lockbox_fault_t    fault;
    ngx_lockbox_policy_t   policy, again;

    pool = fuzz_pool();
    input = fuzz_copy(pool, data, size);
    line = fuzz_line(&input);
    fresh = fuzz_byte(&line, 0) == 'n';

    object = json_agreed(pool, &input);

    if (object) {
        rc = ngx_lockbox_policy_parse(pool, object, "/policy",
                                      fresh ? &limits : NULL, NOW, &policy,
                                      &fault);

        if (rc == NGX_DECLINED) {
            fuzz_check(fault.reason && *fault.reason);
            fuzz_check(fault.member.len >= 7
                       && memcmp(fault.member.data, "/policy", 7) == 0);

        } else {
            fuzz_check(rc == NGX_OK);

            /* what could be set can be read for ever */

            fuzz_check(ngx_lockbox_policy_parse(pool, object, "", NULL, 0,
                                                &again, NULL)
                       == NGX_OK);

            check_policy(object, &policy, fresh);
            check_clamp(&policy);
            check_wishes(pool, &policy);
        }

        fuzz_starve(data, size, 40);
        starved = ngx_lockbox_policy_parse(pool, object, "/policy",
                                           fresh ? &limits : NULL, NOW,
                                           &policy, &fault);
        ngx_shim_fail(0);

        fuzz_check(starved == rc || starved == NGX_ERROR);
    }

    fuzz_pool_end(pool);

    return 0;
}
