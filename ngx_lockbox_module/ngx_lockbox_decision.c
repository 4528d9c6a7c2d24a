/*
 * The table of decisions: status codes of RFC 9110, error codes of RFC 6750
 * section 3.1, titles and details of RFC 9457.
 */

#include "ngx_lockbox_decision.h"


#define NGX_LOCKBOX_INVALID_REQUEST     ngx_string("invalid_request")
#define NGX_LOCKBOX_INVALID_TOKEN       ngx_string("invalid_token")
#define NGX_LOCKBOX_INSUFFICIENT_SCOPE  ngx_string("insufficient_scope")

#define ngx_lockbox_row(decision, word, status, error, title, detail)         \
    [NGX_LOCKBOX_##decision] = {                                              \
        ngx_string(word), status, error, ngx_string(title), ngx_string(detail)\
    }


static const ngx_lockbox_decision_info_t
    ngx_lockbox_decision_table[NGX_LOCKBOX_DECISIONS] =
{
    ngx_lockbox_row(NOT_DECIDED, "not_decided", 0, ngx_null_string,
        "Not decided", ""),

    ngx_lockbox_row(ALLOW, "allow", 0, ngx_null_string,
        "Allowed", ""),

    ngx_lockbox_row(AMBIGUOUS_TARGET, "ambiguous_target", 400,
        NGX_LOCKBOX_INVALID_REQUEST, "Ambiguous target",
        "The target can be read in more than one way. Send the path in its "
        "plain form, without dot segments, double or encoded slashes, "
        "backslashes or semicolons, and no other host than in the Host "
        "field."),

    ngx_lockbox_row(OVERRIDE_HEADER, "override_header", 400,
        NGX_LOCKBOX_INVALID_REQUEST, "Overriding header",
        "The request carries a header that renames its method or target."),

    ngx_lockbox_row(TWO_TOKENS, "two_tokens", 400,
        NGX_LOCKBOX_INVALID_REQUEST, "Two tokens",
        "The request carries more than one Authorization field."),

    ngx_lockbox_row(NO_TOKEN, "no_token", 401,
        ngx_null_string, "No token",
        "Send the token in an Authorization field of the scheme Bearer."),

    ngx_lockbox_row(MALFORMED_TOKEN, "malformed_token", 401,
        NGX_LOCKBOX_INVALID_TOKEN, "Malformed token",
        "The token is not in the form that is expected here."),

    ngx_lockbox_row(UNKNOWN_KEY, "unknown_key", 401,
        NGX_LOCKBOX_INVALID_TOKEN, "Unknown key",
        "The token names a key that is not configured here."),

    ngx_lockbox_row(BAD_SIGNATURE, "bad_signature", 401,
        NGX_LOCKBOX_INVALID_TOKEN, "Bad signature",
        "The signature of the token does not verify."),

    ngx_lockbox_row(WRONG_TYPE, "wrong_type", 401,
        NGX_LOCKBOX_INVALID_TOKEN, "Wrong type of token",
        "The token was made for another use."),

    ngx_lockbox_row(WRONG_ISSUER, "wrong_issuer", 401,
        NGX_LOCKBOX_INVALID_TOKEN, "Wrong issuer",
        "The token comes from an issuer that is not accepted here."),

    ngx_lockbox_row(WRONG_AUDIENCE, "wrong_audience", 401,
        NGX_LOCKBOX_INVALID_TOKEN, "Wrong audience",
        "The token was made for another audience."),

    ngx_lockbox_row(NOT_YET_VALID, "not_yet_valid", 401,
        NGX_LOCKBOX_INVALID_TOKEN, "Not yet valid",
        "The token is not valid yet."),

    ngx_lockbox_row(EXPIRED, "expired", 401,
        NGX_LOCKBOX_INVALID_TOKEN, "Expired",
        "The token has expired. File a new request if access is still "
        "needed."),

    ngx_lockbox_row(TOO_LONG_LIVED, "too_long_lived", 401,
        NGX_LOCKBOX_INVALID_TOKEN, "Too long-lived",
        "The token lives longer than is accepted here."),

    ngx_lockbox_row(WRONG_CERTIFICATE, "wrong_certificate", 401,
        NGX_LOCKBOX_INVALID_TOKEN, "Wrong certificate",
        "A grant that is bound to a client certificate is collected and used "
        "over TLS connections with that certificate."),

    ngx_lockbox_row(REVOKED, "revoked", 401,
        NGX_LOCKBOX_INVALID_TOKEN, "Revoked",
        "The grant was revoked."),

    ngx_lockbox_row(COMPLETED, "completed", 401,
        NGX_LOCKBOX_INVALID_TOKEN, "Completed",
        "The grant was handed back."),

    ngx_lockbox_row(NOT_LIVE, "not_live", 401,
        NGX_LOCKBOX_INVALID_TOKEN, "Not live",
        "The grant is not live."),

    ngx_lockbox_row(WRONG_TENANT, "wrong_tenant", 403,
        NGX_LOCKBOX_INSUFFICIENT_SCOPE, "Wrong tenant",
        "The grant is for another tenant."),

    ngx_lockbox_row(WRONG_SERVICE, "wrong_service", 403,
        NGX_LOCKBOX_INSUFFICIENT_SCOPE, "Wrong service",
        "The grant does not cover this service."),

    ngx_lockbox_row(WRONG_METHOD, "wrong_method", 403,
        NGX_LOCKBOX_INSUFFICIENT_SCOPE, "Wrong method",
        "The grant does not cover this method on this path."),

    ngx_lockbox_row(WRONG_PATH, "wrong_path", 403,
        NGX_LOCKBOX_INSUFFICIENT_SCOPE, "Wrong path",
        "The grant does not cover this path."),

    ngx_lockbox_row(WRONG_LABEL, "wrong_label", 403,
        NGX_LOCKBOX_INSUFFICIENT_SCOPE, "Wrong label",
        "The grant does not name all labels of what was asked for."),

    ngx_lockbox_row(STORE_UNAVAILABLE, "store_unavailable", 503,
        ngx_null_string, "Store unavailable",
        "The store that knows which grants are live does not answer."),

    ngx_lockbox_row(AUDIT_UNAVAILABLE, "audit_unavailable", 503,
        ngx_null_string, "Audit unavailable",
        "The access cannot be recorded, so it is not given."),

    ngx_lockbox_row(INTERNAL_ERROR, "internal_error", 503,
        ngx_null_string, "Internal error",
        "The request could not be decided."),

    ngx_lockbox_row(INVALID_JSON, "invalid_json", 400,
        ngx_null_string, "Invalid JSON",
        "The body is not one JSON object without duplicate names."),

    ngx_lockbox_row(INVALID_MEMBER, "invalid_member", 400,
        ngx_null_string, "Invalid member",
        "A member of the request is missing, unknown or out of range."),

    ngx_lockbox_row(FORBIDDEN_ROLE, "forbidden_role", 403,
        ngx_null_string, "Forbidden for this role",
        "None of your roles may do this."),

    ngx_lockbox_row(OWN_REQUEST, "own_request", 403,
        ngx_null_string, "Own request",
        "Nobody decides on a request of their own."),

    ngx_lockbox_row(SAME_PERSON, "same_person", 403,
        ngx_null_string, "Same person",
        "You have decided on this request already."),

    ngx_lockbox_row(NOT_FOUND, "not_found", 404,
        ngx_null_string, "Not found",
        "There is nothing here that you may see."),

    ngx_lockbox_row(METHOD_NOT_ALLOWED, "method_not_allowed", 405,
        ngx_null_string, "Method not allowed",
        "This resource does not know this method."),

    ngx_lockbox_row(CONFLICT, "conflict", 409,
        ngx_null_string, "Conflict",
        "The request is not, or no longer, in a state that allows this."),

    ngx_lockbox_row(TOO_LARGE, "too_large", 413,
        ngx_null_string, "Too large",
        "The body is larger than 64 kB."),

    ngx_lockbox_row(UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", 415,
        ngx_null_string, "Unsupported media type",
        "Send the body as application/json."),

    ngx_lockbox_row(TOO_MANY_REQUESTS, "too_many_requests", 429,
        ngx_null_string, "Too many requests",
        "You have as many of these as you may have at once: come back when "
        "one has ended."),
};


const ngx_lockbox_decision_info_t *
ngx_lockbox_decision_info(ngx_lockbox_decision_t decision)
{
    if ((ngx_uint_t) decision >= NGX_LOCKBOX_DECISIONS) {
        decision = NGX_LOCKBOX_INTERNAL_ERROR;
    }

    return &ngx_lockbox_decision_table[decision];
}
