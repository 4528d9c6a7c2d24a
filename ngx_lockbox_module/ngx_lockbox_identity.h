/*
 * Identity: who somebody is, as far as the identity provider that says so is
 * allowed to say it.
 */

#ifndef _NGX_LOCKBOX_IDENTITY_H_INCLUDED_
#define _NGX_LOCKBOX_IDENTITY_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_lockbox_decision.h"
#include "ngx_lockbox_token.h"


#define NGX_LOCKBOX_ROLE_ENGINEER  0x01
#define NGX_LOCKBOX_ROLE_MANAGER   0x02
#define NGX_LOCKBOX_ROLE_CUSTOMER  0x04
#define NGX_LOCKBOX_ROLE_AUDITOR   0x08

#define NGX_LOCKBOX_ACR_MAX        255


typedef struct {
    const char     *name;
    ngx_uint_t      role;
} ngx_lockbox_role_name_t;


/* All roles by name, ended by a NULL name. */
extern const ngx_lockbox_role_name_t  ngx_lockbox_role_names[];


/* "role <role> <claim>=<value>": who has the value in the claim has the role */
typedef struct {
    ngx_uint_t      role;
    ngx_str_t       claim;        /* name, or RFC 6901 pointer */
    ngx_str_t       value;
} ngx_lockbox_role_rule_t;


typedef struct {
    ngx_array_t     roles;        /* of ngx_lockbox_role_rule_t */
    ngx_str_t       tenant_claim; /* name or pointer of the tenant's claim */
    ngx_str_t       tenant;       /* or the one tenant it speaks for */
} ngx_lockbox_issuer_t;


/* Two arrays in step: how tokens of an issuer are checked, what they mean. */
typedef struct {
    ngx_array_t     rules;        /* of ngx_lockbox_token_rule_t */
    ngx_array_t     issuers;      /* of ngx_lockbox_issuer_t */
} ngx_lockbox_issuers_t;


typedef struct {
    ngx_str_t       iss;
    ngx_str_t       sub;
    ngx_uint_t      roles;        /* NGX_LOCKBOX_ROLE_*, may be none */
    ngx_str_t       tenant;       /* of a customer or a tenant's auditor */
    time_t          expires;
    int64_t         auth_time;    /* Unix seconds; 0: not said */
    ngx_str_t       acr;          /* empty: not said */
    ngx_str_t       token_hash;   /* base64url of the token's SHA-256 */
} ngx_lockbox_identity_t;


/*
 * Opens an identity token: the door first, libjwt as a second opinion, then
 * what the issuer may assert.  All texts are pool memory.  "now" is Unix
 * seconds.  "auth_time" and "acr" (OpenID Connect Core section 2) may be
 * missing, but if they are there they are a time, and a text of at most
 * NGX_LOCKBOX_ACR_MAX bytes that shows.  A customer without a well-formed
 * tenant has no role; neither has an auditor whose issuer is bound to tenants.
 * An access token of the type "at+jwt" (RFC 9068) has to do without the second
 * opinion: libjwt 1.10 refuses the type unread.
 *
 * NGX_LOCKBOX_ALLOW, or what the door said, or INTERNAL_ERROR without memory.
 */
ngx_lockbox_decision_t ngx_lockbox_identity_open(ngx_pool_t *pool,
    const ngx_lockbox_issuers_t *issuers, const ngx_str_t *text, time_t now,
    ngx_lockbox_identity_t *identity);

/* 1 if one of the issuers can assert a customer of the tenant, else 0. */
ngx_uint_t ngx_lockbox_identity_customer_possible(
    const ngx_lockbox_issuers_t *issuers, const ngx_str_t *tenant);

/* 1 if the issuer of this name can assert a customer of the tenant, else 0. */
ngx_uint_t ngx_lockbox_identity_customer_of(
    const ngx_lockbox_issuers_t *issuers, const ngx_str_t *iss,
    const ngx_str_t *tenant);


#endif /* _NGX_LOCKBOX_IDENTITY_H_INCLUDED_ */
