/*
 * Why: clients, logs and operators act on these words and numbers; this is the
 * list as it was promised, written down a second time.
 */

/* links: ngx_lockbox_decision.c */

#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_lockbox_decision.h"
#include "ngx_shim.h"
#include "tap.h"


#define REQUEST  "invalid_request"
#define TOKEN    "invalid_token"
#define SCOPE    "insufficient_scope"


typedef struct {
    ngx_lockbox_decision_t   decision;
    const char              *word;
    ngx_uint_t               status;
    const char              *error;
} row_t;


static const row_t  rows[] = {
    { NGX_LOCKBOX_NOT_DECIDED, "not_decided", 0, "" },
    { NGX_LOCKBOX_ALLOW, "allow", 0, "" },

    { NGX_LOCKBOX_AMBIGUOUS_TARGET, "ambiguous_target", 400, REQUEST },
    { NGX_LOCKBOX_OVERRIDE_HEADER, "override_header", 400, REQUEST },
    { NGX_LOCKBOX_TWO_TOKENS, "two_tokens", 400, REQUEST },
    { NGX_LOCKBOX_NO_TOKEN, "no_token", 401, "" },
    { NGX_LOCKBOX_MALFORMED_TOKEN, "malformed_token", 401, TOKEN },
    { NGX_LOCKBOX_UNKNOWN_KEY, "unknown_key", 401, TOKEN },
    { NGX_LOCKBOX_BAD_SIGNATURE, "bad_signature", 401, TOKEN },
    { NGX_LOCKBOX_WRONG_TYPE, "wrong_type", 401, TOKEN },
    { NGX_LOCKBOX_WRONG_ISSUER, "wrong_issuer", 401, TOKEN },
    { NGX_LOCKBOX_WRONG_AUDIENCE, "wrong_audience", 401, TOKEN },
    { NGX_LOCKBOX_NOT_YET_VALID, "not_yet_valid", 401, TOKEN },
    { NGX_LOCKBOX_EXPIRED, "expired", 401, TOKEN },
    { NGX_LOCKBOX_TOO_LONG_LIVED, "too_long_lived", 401, TOKEN },
    { NGX_LOCKBOX_WRONG_CERTIFICATE, "wrong_certificate", 401, TOKEN },
    { NGX_LOCKBOX_REVOKED, "revoked", 401, TOKEN },
    { NGX_LOCKBOX_COMPLETED, "completed", 401, TOKEN },
    { NGX_LOCKBOX_NOT_LIVE, "not_live", 401, TOKEN },
    { NGX_LOCKBOX_WRONG_TENANT, "wrong_tenant", 403, SCOPE },
    { NGX_LOCKBOX_WRONG_SERVICE, "wrong_service", 403, SCOPE },
    { NGX_LOCKBOX_WRONG_METHOD, "wrong_method", 403, SCOPE },
    { NGX_LOCKBOX_WRONG_PATH, "wrong_path", 403, SCOPE },
    { NGX_LOCKBOX_WRONG_LABEL, "wrong_label", 403, SCOPE },
    { NGX_LOCKBOX_STORE_UNAVAILABLE, "store_unavailable", 503, "" },
    { NGX_LOCKBOX_AUDIT_UNAVAILABLE, "audit_unavailable", 503, "" },
    { NGX_LOCKBOX_INTERNAL_ERROR, "internal_error", 503, "" },

    { NGX_LOCKBOX_INVALID_JSON, "invalid_json", 400, "" },
    { NGX_LOCKBOX_INVALID_MEMBER, "invalid_member", 400, "" },
    { NGX_LOCKBOX_FORBIDDEN_ROLE, "forbidden_role", 403, "" },
    { NGX_LOCKBOX_OWN_REQUEST, "own_request", 403, "" },
    { NGX_LOCKBOX_SAME_PERSON, "same_person", 403, "" },
    { NGX_LOCKBOX_NOT_FOUND, "not_found", 404, "" },
    { NGX_LOCKBOX_METHOD_NOT_ALLOWED, "method_not_allowed", 405, "" },
    { NGX_LOCKBOX_CONFLICT, "conflict", 409, "" },
    { NGX_LOCKBOX_TOO_LARGE, "too_large", 413, "" },
    { NGX_LOCKBOX_UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", 415, "" },
    { NGX_LOCKBOX_TOO_MANY_REQUESTS, "too_many_requests", 429, "" }
};


#define ROWS  (sizeof(rows) / sizeof(rows[0]))


static void
test_rows(void)
{
    size_t                              i;
    const ngx_lockbox_decision_info_t  *info;

    is(ROWS, NGX_LOCKBOX_DECISIONS, "every decision is in the list here");

    for (i = 0; i < ROWS; i++) {
        info = ngx_lockbox_decision_info(rows[i].decision);

        is_text(&info->word, rows[i].word, "the word %s", rows[i].word);
        is(info->status, rows[i].status, "%s: status", rows[i].word);
        is_text(&info->error, rows[i].error, "%s: error", rows[i].word);

        ok(info->title.len != 0, "%s: has a title", rows[i].word);
        ok(info->status == 0 || info->detail.len != 0,
           "%s: says what to do", rows[i].word);
    }
}


/* RFC 6750 section 3: what stands between quotes in a challenge */

static void
test_titles(void)
{
    size_t                              i, j, odd;
    const ngx_lockbox_decision_info_t  *info;

    for (i = 0; i < ROWS; i++) {
        info = ngx_lockbox_decision_info(rows[i].decision);
        odd = 0;

        for (j = 0; j < info->title.len; j++) {
            odd += info->title.data[j] < 0x20 || info->title.data[j] > 0x7e
                   || info->title.data[j] == '"'
                   || info->title.data[j] == '\\';
        }

        is(odd, 0, "%s: the title can be quoted", rows[i].word);
    }
}


static void
test_outside(void)
{
    size_t                              i;
    const ngx_lockbox_decision_info_t  *info;
    static const long                   values[] = {
        NGX_LOCKBOX_DECISIONS, NGX_LOCKBOX_DECISIONS + 1, 1000, -1
    };

    is(NGX_LOCKBOX_NOT_DECIDED, 0, "memory of zeros has not decided");

    for (i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        info = ngx_lockbox_decision_info((ngx_lockbox_decision_t) values[i]);
        is_text(&info->word, "internal_error", "the value %ld", values[i]);
    }
}


int
main(void)
{
    test_rows();
    test_titles();
    test_outside();

    is(ngx_shim_live(), 0, "nothing is left behind");

    return tap_done();
}
