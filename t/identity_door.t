#!/usr/bin/perl

# Why: who somebody is, and what he may do, is only what his own identity
# provider may say.  Each token here differs in one thing from one that passes.

use strict;
use warnings;

use POSIX qw(strftime);

use Lockbox::Jose qw(jwk jwks key sign thumbprint token);
use Test::Lockbox;
use Test::Lockbox::Admin;
use Test::Lockbox::Refusal;

my $WHOAMI = '/lockbox/v1/whoami';

# The algorithms, each with a key of its own.
my %KEY = (
    RS256 => key('RSA2048', 'rs256'), RS384 => key('RSA2048', 'rs384'),
    RS512 => key('RSA2048', 'rs512'), ES256 => key('P-256', 'es256'),
    ES384 => key('P-384', 'es384'), ES512 => key('P-521', 'es512'),
);

my $single = key('P-256', 'single');
my $rsa = key('RSA2048', 'customers');
my $pinned = key('P-256', 'pinned');

my $ISSUERS = <<'EOF_ISSUERS';
lockbox_issuer https://single.example {
    keys      %%TESTDIR%%/single.json;
    audience  lockbox;
    role      engineer  groups=support;
    role      manager   /realm/roles=managers;
    role      auditor   groups=auditors;
}
lockbox_issuer https://several.example {
    keys      %%TESTDIR%%/several.json;
    audience  lockbox;
    leeway    1m;
    max_life  10m;
    role      engineer  groups=support;
}
lockbox_issuer https://customers.example {
    keys          %%TESTDIR%%/customers.json;
    audience      lockbox;
    role          customer  /org/kinds=approver;
    role          auditor   kind=auditor;
    tenant_claim  /org/id;
}
lockbox_issuer https://pinned.example {
    keys      %%TESTDIR%%/pinned.json;
    audience  lockbox;
    role      customer  kind=approver;
    tenant    globex;
}
EOF_ISSUERS

my $t = Test::Lockbox->new;

$t->write_file('single.json', jwks(jwk($single, alg => undef)));
$t->write_file('several.json',
               jwks(map { jwk($KEY{$_}, alg => $_) } sort keys %KEY));
$t->write_file('customers.json', jwks(jwk($rsa, alg => undef)));
$t->write_file('pinned.json', jwks($pinned));

begin($t, issuers => $ISSUERS);

my $now = time;

# Who it is by default at each of the issuers.
my %PERSON = (
    single    => { key => $single, claims => { groups => [ 'support' ] } },
    several   => { key => $KEY{ES256}, claims => { groups => [ 'support' ] } },
    customers => { key => $rsa, claims => {
        org => { kinds => [ 'approver' ], id => 'acme' } } },
    pinned    => { key => $pinned, claims => { kind => 'approver' } },
);

# A token of pat at that issuer; further options are those of token().
sub pat {
    my ($at, %options) = @_;

    my %person = %{ $PERSON{$at} };

    return token(
        iss => "https://$at.example", sub => 'pat', aud => 'lockbox',
        iat => $now, %person, %options,
        claims => { %{ $person{claims} }, %{ $options{claims} // {} } });
}

# The answer to whoami must be that word, or these roles and this tenant.
sub judge {
    my ($want, $name, $token) = @_;

    my $response = $t->http('GET', $WHOAMI, token => $token);

    if (!ref $want) {
        refused($response, $want, $name);
        recorded([ $want ], "$name: on record");
        return;
    }

    my ($roles, $tenant) = @$want;
    my $answer = $response->status == 200 ? $response->json : {};

    is_deeply([ sort @{ $answer->{roles} // [ 'none' ] } ],
              [ sort split ' ', $roles ], "$name: roles")
        or diag $response->body;
    is($answer->{tenant}, $tenant, "$name: tenant");
    recorded([], "$name: who reads about himself is not on record");
}

my $ENGINEER = [ 'engineer' ];
my $CUSTOMER = [ 'customer', 'acme' ];


# Keys

judge($_->[0], "T17 kid: $_->[1]", pat($_->[2], header => { kid => $_->[3] }))
    for (
        [ $ENGINEER, 'none, of one key', 'single', undef ],
        [ 'unknown_key', 'another one, of one key', 'single', 'x' ],
        [ $ENGINEER, 'of several keys', 'several', thumbprint($KEY{ES256}) ],
        [ 'unknown_key', 'none, of several keys', 'several', undef ],
        [ 'unknown_key', "another issuer's", 'several', thumbprint($single) ],
    );

for my $alg (sort keys %KEY) {
    my %usual = (key => $KEY{$alg}, header => { alg => $alg });

    judge($ENGINEER, $alg, pat('several', %usual));
    judge('bad_signature', "$alg by another key",
          pat('several', %usual, key => key($KEY{$alg}{type}, 'other'),
              header => { alg => $alg, kid => thumbprint($KEY{$alg}) }));

    judge('bad_signature', "T06 HS256 with the public key of $alg as secret",
          pat('several', key => $KEY{$alg}{public_pem},
              header => { alg => 'HS256', kid => thumbprint($KEY{$alg}) }));
    judge('bad_signature', "T09 $alg in small letters",
          pat('several', %usual, alg => $alg, header => { alg => lc $alg }));
}

# The algorithm is the key's own; a JWK without one means RS256.
for my $other (grep { $_ ne 'RS256' } qw(RS384 RS512)) {
    judge('bad_signature', "T10 $other by a key for RS256",
          pat('several', key => $KEY{RS256}, header => { alg => $other }));
    judge('bad_signature', "T10 $other by a key without alg",
          pat('customers', header => { alg => $other }));
}
judge($CUSTOMER, 'T10 RS256 by a key without alg', pat('customers'));
judge('bad_signature', 'T11 ES256 by a key for ES512',
      pat('several', key => $KEY{ES512}, alg => 'ES256',
          header => { alg => 'ES256' }));


# Issuers: each is another, whatever their tokens have in common

judge($_->[0], "T49 $_->[1]", pat('single', claims => { iss => $_->[2] }))
    for (
        [ 'wrong_issuer', 'an unknown iss', 'https://none.example' ],
        [ 'unknown_key', "another's iss", 'https://several.example' ],
        [ $ENGINEER, 'its own iss', 'https://single.example' ],
    );


# Times: one issuer without leeway, one with a minute and ten minutes of life

judge($_->[0], $_->[1], pat($_->[2], claims => $_->[3]))
    for (
        [ 'expired', 'T48 exp is now, leeway', 'several', { exp => $now } ],
        [ 'not_yet_valid', 'T46 nbf to come', 'single', { nbf => $now + 40 } ],
        [ $ENGINEER, 'T46 nbf within the leeway', 'several',
          { nbf => $now + 40 } ],
        [ 'not_yet_valid', 'T46 nbf beyond it', 'several',
          { nbf => $now + 200 } ],
        [ 'not_yet_valid', 'T47 iat to come', 'single', { iat => $now + 40 } ],
        [ $ENGINEER, 'T47 iat within the leeway', 'several',
          { iat => $now + 40 } ],
        [ $ENGINEER, 'T45 ten minutes', 'several', { exp => $now + 600 } ],
        [ 'too_long_lived', 'T45 more', 'several', { exp => $now + 601 } ],
        [ $ENGINEER, 'T45 a day', 'single', { exp => $now + 86400 } ],
        [ 'too_long_lived', 'T45 more than a day', 'single',
          { exp => $now + 86401 } ],
    );


# Roles and tenants

my $org = sub { { org => { kinds => [ 'approver' ], @_ } } };

judge([ $_->[0], $_->[1] ], "roles: $_->[2]", pat($_->[3], claims => $_->[4]))
    for (
        [ 'engineer', undef, 'a text', 'single', { groups => 'support' } ],
        [ 'engineer auditor', undef, 'two of a list', 'single',
          { groups => [ 'support', 'x', 'auditors' ] } ],
        [ '', undef, 'other case', 'single', { groups => [ 'Support' ] } ],
        [ '', undef, 'a longer one', 'single', { groups => 'supporters' } ],
        [ '', undef, 'no text', 'single', { groups => { support => 1 } } ],
        [ '', undef, 'none', 'single', { groups => undef } ],
        [ 'engineer manager', undef, 'by a pointer', 'single',
          { realm => { roles => [ 'managers' ] } } ],
        [ 'engineer', undef, 'not where the pointer points', 'single',
          { roles => [ 'managers' ], '/realm/roles' => 'managers' } ],
        [ 'engineer', undef, 'of a customer at the vendor', 'single',
          { kind => 'approver', org => { kinds => [ 'approver' ],
                                         id => 'acme' } } ],
        [ 'customer', 'acme', 'of the vendor at a customer', 'customers',
          { groups => [ 'support' ], realm => { roles => [ 'managers' ] } } ],
        [ 'customer', 'globex', 'the tenant of the claim', 'customers',
          $org->(id => 'globex') ],
        [ '', undef, 'no tenant', 'customers', $org->() ],
        [ '', undef, 'a tenant with a slash', 'customers',
          $org->(id => 'acme/mail') ],
        [ '', undef, 'the tenant ..', 'customers', $org->(id => '..') ],
        [ '', undef, 'a list of tenants', 'customers',
          $org->(id => [ 'acme' ]) ],
        [ 'auditor', 'acme', "a tenant's auditor", 'customers',
          { kind => 'auditor', org => { id => 'acme' } } ],
        [ '', undef, "nobody's auditor", 'customers',
          { kind => 'auditor', org => {} } ],
        [ 'customer', 'globex', 'the pinned tenant', 'pinned', {} ],
        [ 'customer', 'globex', 'whatever the token says', 'pinned',
          { tenant => 'acme', org => { id => 'acme' } } ],
    );


# A person is an issuer and a subject

my %pat = map { $_ => pat($_) } qw(single several);
my $filed = $t->http('POST', $REQUESTS, token => $pat{single},
                     json => filing());

is($filed->status, 201, 'pat files');

my $uri = uri($filed->json->{id});

is($t->http('GET', $uri, token => $pat{single})->status, 200,
   'pat sees the request');
is($t->http('GET', $uri, token => $pat{several})->status, 404,
   "another issuer's pat does not");

my $me = $t->http('GET', $WHOAMI, token => $pat{several})->json;

is_deeply($me, {
    iss => 'https://several.example', sub => 'pat', roles => [ 'engineer' ],
    tenant => undef,
    expires_at => strftime('%Y-%m-%dT%H:%M:%S.000Z', gmtime $now + 300),
}, 'who pat is, and until when');

is($t->upstream_connections, 0, 'nothing of this reaches the tenant API');

done_testing;
