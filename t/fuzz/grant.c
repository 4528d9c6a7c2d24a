/*
 * Claims to a grant, and the decision.
 *
 * The lines of the input: tenant, service, method (behind a "^" if the request
 * wants to switch protocols), path, labels (one blank between them),
 * thumbprint of the certificate (behind a "!" where grants have to be bound),
 * seconds from now; then the claims.
 */

/* links: ngx_lockbox_grant.c ngx_lockbox_scope.c ngx_lockbox_json.c */
/* links: ngx_lockbox_name.c ngx_lockbox_path.c ngx_lockbox_base64url.c */
/* links: ngx_lockbox_token.c ngx_lockbox_jwks.c */

#include "ngx_lockbox_grant.h"
#include "ngx_lockbox_name.h"
#include "ngx_lockbox_path.h"
#include "json.h"


static const char *const  mutate_lines[] = {
    "acme", "globex", "mail", "GET", "HEAD", "POST", "^GET", "UPGRADE",
    "^UPGRADE", "/", "/tenants/acme/mail/1", "/tenants/acme/mailbox",
    "confidential", "confidential secret", "secret other", "!", "60", "-31",
    "!QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWY", NULL
};

static const char *const  mutate_names[] = {
    "sub", "nbf", "exp", "jti", "tenant", "engineer_iss", "cnf", "x5t#S256",
    "authorization_details", "type", "service", "methods", "paths", "labels",
    NULL
};

#include "mutate.h"


#define NOW         1700000000
#define LEEWAY      30
#define LABELS_MAX  8


int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void) argc;
    (void) argv;

    json_object_seed(1);

    return 0;
}


/* The line, and whether this mark stands before it. */

static ngx_str_t
marked_line(ngx_str_t *input, u_char mark, ngx_uint_t *marked)
{
    ngx_str_t  line;

    line = fuzz_line(input);
    *marked = line.len != 0 && line.data[0] == mark;

    if (*marked) {
        line.data++;
        line.len--;
    }

    return line;
}


static void
read_target(ngx_str_t *input, ngx_lockbox_target_t *target, ngx_str_t *labels)
{
    u_char     *blank;
    ngx_str_t   line;

    target->tenant = fuzz_line(input);
    target->service = fuzz_line(input);
    target->method = marked_line(input, '^', &target->upgrade);
    target->path = fuzz_line(input);
    target->labels.elts = labels;
    target->labels.nelts = 0;

    line = fuzz_line(input);
    blank = line.len ? line.data : NULL;

    while (blank && target->labels.nelts < LABELS_MAX) {
        blank = line.len ? memchr(line.data, ' ', line.len) : NULL;

        labels->data = line.data;
        labels->len = blank ? (size_t) (blank - line.data) : line.len;

        if (blank) {
            line.data += labels->len + 1;
            line.len -= labels->len + 1;
        }

        labels++;
        target->labels.nelts++;
    }

    target->certificate = marked_line(input, '!', &target->bound);
}


static ngx_uint_t
lists(const json_t *item, const char *name, const ngx_str_t *text)
{
    size_t      i;
    json_t     *value;
    ngx_str_t   listed;

    json_array_foreach(json_object_get(item, name), i, value) {
        listed.data = (u_char *) json_string_value(value);
        listed.len = json_string_length(value);

        if (fuzz_same(&listed, text)) {
            return 1;
        }
    }

    return 0;
}


static ngx_uint_t
leads_to(const json_t *item, const ngx_str_t *path)
{
    size_t       i, n;
    json_t      *value;
    const char  *prefix;

    json_array_foreach(json_object_get(item, "paths"), i, value) {
        prefix = json_string_value(value);
        n = json_string_length(value);

        if (path->len < n || memcmp(path->data, prefix, n) != 0) {
            continue;
        }

        if (path->len == n || prefix[n - 1] == '/' || path->data[n] == '/') {
            return 1;
        }
    }

    return 0;
}


static ngx_uint_t
item_opens(const json_t *item, const ngx_lockbox_target_t *target)
{
    ngx_str_t   service, get, upgrade;
    ngx_uint_t  i;

    service = json_text_of(item, "service");
    get = ngx_shim_str("GET");
    upgrade = ngx_shim_str("UPGRADE");

    if (fuzz_is(&target->method, "UPGRADE")
        || (target->upgrade && !lists(item, "methods", &upgrade)))
    {
        return 0;
    }

    for (i = 0; i < target->labels.nelts; i++) {
        if (!lists(item, "labels", &target->labels.elts[i])) {
            return 0;
        }
    }

    return fuzz_same(&service, &target->service)
           && leads_to(item, &target->path)
           && (lists(item, "methods", &target->method)
               || (fuzz_is(&target->method, "HEAD")
                   && lists(item, "methods", &get)));
}


static ngx_uint_t
is_held(const json_t *claims, const ngx_lockbox_target_t *target)
{
    json_t     *cnf;
    ngx_str_t   thumbprint;

    cnf = json_object_get(claims, "cnf");
    thumbprint = json_text_of(cnf, "x5t#S256");

    return cnf ? fuzz_same(&thumbprint, &target->certificate)
               : !target->bound;
}


/* The decision once more, from the text of the claims. */

static ngx_uint_t
opens(const json_t *claims, const ngx_lockbox_target_t *target, time_t now)
{
    size_t      i;
    json_t     *item;
    ngx_str_t   tenant;

    tenant = json_text_of(claims, "tenant");

    if (!fuzz_same(&tenant, &target->tenant)
        || !is_held(claims, target)
        || json_integer_value(json_object_get(claims, "nbf")) > now + LEEWAY
        || json_integer_value(json_object_get(claims, "exp")) <= now)
    {
        return 0;
    }

    json_array_foreach(json_object_get(claims, "authorization_details"), i,
                       item)
    {
        if (item_opens(item, target)) {
            return 1;
        }
    }

    return 0;
}


static void
check_decision(const ngx_lockbox_grant_t *grant, const json_t *claims,
    const ngx_lockbox_target_t *target, time_t now)
{
    ngx_lockbox_decision_t  decision;

    decision = ngx_lockbox_grant_decide(grant, target, now, LEEWAY);

    fuzz_check(decision == ngx_lockbox_grant_decide(grant, target, now,
                                                    LEEWAY));
    fuzz_check((decision == NGX_LOCKBOX_ALLOW) == opens(claims, target, now));
}


/* What the grant names is open, as long as it runs, and to its tenant only. */

static void
check_named(ngx_pool_t *pool, const ngx_lockbox_grant_t *grant,
    const json_t *claims)
{
    ngx_uint_t                 i, j;
    ngx_str_t                  below;
    ngx_lockbox_item_t        *item;
    ngx_lockbox_target_t       target;
    ngx_lockbox_decision_t     want;

    for (i = 0; i < grant->scope.nelts; i++) {
        item = &grant->scope.elts[i];

        fuzz_check(ngx_lockbox_name_valid(&item->service));

        ngx_memzero(&target, sizeof(ngx_lockbox_target_t));

        target.tenant = grant->tenant;
        target.certificate = grant->certificate;
        target.bound = grant->certificate.len != 0;
        target.service = item->service;
        target.labels = item->labels;
        target.method = item->methods.elts[0];

        for (j = 0; j < item->paths.nelts; j++) {
            fuzz_check(ngx_lockbox_path_canonical(&item->paths.elts[j]));

            target.path = item->paths.elts[j];
            want = grant->not_before > NOW + LEEWAY
                   ? NGX_LOCKBOX_NOT_YET_VALID
                   : grant->expires <= NOW ? NGX_LOCKBOX_EXPIRED
                                           : NGX_LOCKBOX_ALLOW;

            if (fuzz_is(&target.method, "UPGRADE")) {
                check_decision(grant, claims, &target, NOW);
                continue;
            }

            fuzz_check(ngx_lockbox_grant_decide(grant, &target, NOW, LEEWAY)
                       == want);

            /* a name that only begins like a path is another one */

            below.len = target.path.len + 1;
            below.data = ngx_pnalloc(pool, below.len);
            *ngx_cpymem(below.data, target.path.data, target.path.len) = 'x';

            target.path = below;
            check_decision(grant, claims, &target, NOW);

            below.data[below.len - 1] = '/';
            check_decision(grant, claims, &target, NOW);
        }

        fuzz_check(ngx_lockbox_grant_decide(grant, &target, grant->expires,
                                            0)
                   != NGX_LOCKBOX_ALLOW);

        ngx_str_set(&target.tenant, "another");
        check_decision(grant, claims, &target, NOW);
    }
}


/* Written and read again, it is the same grant. */

static void
check_again(ngx_pool_t *pool, const ngx_lockbox_grant_t *grant)
{
    json_t               *claims;
    ngx_str_t             issuer, audience, first, second, hash, other;
    ngx_lockbox_grant_t   again;

    issuer = ngx_shim_str("https://lockbox.example");
    audience = ngx_shim_str("gate");

    claims = ngx_lockbox_json_own(pool,
                                  ngx_lockbox_grant_claims(grant, &issuer,
                                                           &audience));

    fuzz_check(ngx_lockbox_json_dump(pool, claims, &first) == NGX_OK);

    claims = ngx_lockbox_json_parse(pool, first.data, first.len);
    fuzz_check(claims != NULL);
    fuzz_check(ngx_lockbox_grant_parse(pool, claims, &again) == NGX_OK);

    fuzz_check(fuzz_same(&grant->id, &again.id));
    fuzz_check(fuzz_same(&grant->tenant, &again.tenant));
    fuzz_check(fuzz_same(&grant->certificate, &again.certificate));
    fuzz_check(fuzz_same(&grant->engineer_iss, &again.engineer_iss));
    fuzz_check(fuzz_same(&grant->engineer_sub, &again.engineer_sub));
    fuzz_check(grant->not_before == again.not_before);
    fuzz_check(grant->expires == again.expires);

    claims = ngx_lockbox_json_own(pool,
                                  ngx_lockbox_grant_claims(&again, &issuer,
                                                           &audience));

    fuzz_check(ngx_lockbox_json_dump(pool, claims, &second) == NGX_OK);
    fuzz_check(fuzz_same(&first, &second));

    fuzz_check(ngx_lockbox_scope_hash(pool, &grant->scope, &hash) == NGX_OK);
    fuzz_check(ngx_lockbox_scope_hash(pool, &again.scope, &other) == NGX_OK);
    fuzz_check(fuzz_same(&hash, &other));

    fuzz_check(ngx_lockbox_scope_within(&grant->scope, &again.scope));
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    time_t                 now;
    json_t                *claims;
    ngx_int_t              rc, starved;
    ngx_str_t              input, line, labels[LABELS_MAX];
    ngx_uint_t             before;
    ngx_pool_t            *pool;
    ngx_lockbox_grant_t    grant, other;
    ngx_lockbox_target_t   target;

    pool = fuzz_pool();
    input = fuzz_copy(pool, data, size);

    read_target(&input, &target, labels);

    line = marked_line(&input, '-', &before);
    now = NOW + (before ? -1 : 1) * (time_t) fuzz_number(&line);

    claims = json_agreed(pool, &input);

    if (claims) {
        rc = ngx_lockbox_grant_parse(pool, claims, &grant);
        fuzz_check(rc == NGX_OK || rc == NGX_DECLINED);

        if (rc == NGX_OK) {
            check_decision(&grant, claims, &target, now);
            check_named(pool, &grant, claims);
            check_again(pool, &grant);
        }

        fuzz_starve(data, size, 60);
        starved = ngx_lockbox_grant_parse(pool, claims, &other);
        ngx_shim_fail(0);

        fuzz_check(starved == rc || starved == NGX_ERROR);
    }

    fuzz_pool_end(pool);

    return 0;
}
