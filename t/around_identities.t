#!/usr/bin/perl

# Why: a name is somebody's only together with who gave it, and a token says
# only what it was made to say.  Namesakes at two issuers are two people; what
# lets one in is not what tells who he is, nor what proves a decision.

use strict;
use warnings;

use Lockbox::Jose qw(decode jwks key sign thumbprint token);
use Test::Lockbox;
use Test::Lockbox::Admin;
use Test::Lockbox::Refusal;
use Test::Lockbox::Seals qw(seals_of);

# Two issuers for the vendor's people, and two for the customers'.
my %AT = (
    one   => { key => key('P-256', 'vendor'), claims => {
                 groups => [ 'engineers', 'managers' ] } },
    two   => { key => key('P-256', 'second-vendor'), claims => {
                 groups => [ 'engineers', 'managers' ] } },
    acme  => { key => key('RSA2048', 'customers'),
               claims => { kind => 'approver' } },
    other => { key => key('RSA2048', 'other-customers'),
               claims => { kind => 'approver', tenant_id => 'acme' } },
);

my $t = Test::Lockbox->new;

$t->write_file("$_.json", jwks($AT{$_}{key})) for keys %AT;
begin($t, directives => { lockbox_approvals => 'manager=2 customer=2' },
      issuers => join '', map({ <<"EOF_VENDOR" } qw(one two)),
lockbox_issuer https://$_.example {
    keys      %%TESTDIR%%/$_.json;
    audience  lockbox;
    role      engineer  groups=engineers;
    role      manager   groups=managers;
}
EOF_VENDOR
      map { my ($name, $tenant) = @$_; <<"EOF_CUSTOMERS" }
lockbox_issuer https://$name.example {
    keys      %%TESTDIR%%/$name.json;
    audience  lockbox;
    role      customer  kind=approver;
    $tenant
}
EOF_CUSTOMERS
      [ acme => 'tenant acme;' ], [ other => 'tenant_claim tenant_id;' ]);

my %tokens;

# The token of somebody, "pat at one".
sub token_at {
    my ($who) = @_;

    my ($sub, $at) = $who =~ /^(\w+) at (\w+)$/;

    return $tokens{$who} //= token(
        iss => "https://$at.example", sub => $sub, aud => 'lockbox',
        life => 7200, %{ $AT{$at} });
}

# Status and word of a step, and the answer.
sub stepped {
    my ($who, $step, $id, %body) = @_;

    my $method = $step eq 'show' ? 'GET' : 'POST';
    my $response = $t->http(
        $method, uri($id, $step eq 'show' ? () : $step),
        token => token_at($who), %body ? (json => \%body) : ());

    return wantarray ? (outcome($response), $response) : outcome($response);
}

sub decided {
    my ($who, $step, $id) = @_;

    return scalar stepped($who, $step, $id,
                          version => stored($id)->{version} + 0);
}

sub filed {
    my ($who) = @_;

    my $response = $t->http('POST', $REQUESTS, token => token_at($who),
                            json => filing());
    is($response->status, 201, "$who files a request")
        or diag $response->body;

    return $response->json->{id};
}


# Namesakes decide as two people, one person as one

my $id = filed('pat at one');

for my $case (
    [ 'pat at one', '403 own_request' ],
    [ 'pat at two', '200 ok' ],
    [ 'pat at two', '403 same_person' ],
    [ 'mona at one', '200 ok' ],
    [ 'pat at acme', '200 ok' ],
    [ 'pat at acme', '403 same_person' ],
    [ 'mona at acme', '200 ok' ],
) {
    my ($who, $outcome) = @$case;
    my $before = stored($id)->{state};

    records();
    is(decided($who, 'approve', $id), $outcome, "$who approves: $outcome");

    my ($word) = $outcome =~ /(\w+)$/;
    my ($sub, $at) = $who =~ /^(\w+) at (\w+)$/;

    is_deeply([ map { join ' ', @$_{qw(event.reason user.id user.domain)} }
                grep { $_->{'event.type'} eq 'end' } records() ],
              [ join ' ', $word eq 'ok' ? 'allow' : $word, $sub,
                "https://$at.example" ], "$who: on record, with the issuer");
    is(stored($id)->{state}, $before, "$who: changes nothing")
        if $word ne 'ok';
}

is(stored($id)->{state}, 'approved', 'four people have approved');

my (undef, $shown) = stepped('pat at one', 'show', $id);

is_deeply([ map { "$_->{by}{sub} $_->{by}{iss}" }
            @{ $shown->json->{decisions} } ],
          [ map { my ($sub, $at) = split / at /; "$sub https://$at.example" }
            'pat at two', 'mona at one', 'pat at acme', 'mona at acme' ],
          'who they are');


# What is one's is not his namesake's

for my $step (qw(grant complete cancel)) {
    is(scalar stepped('pat at two', $step, $id), '403 forbidden_role',
       "the namesake's $step");
}

my ($outcome, $answer) = stepped('pat at one', 'grant', $id);
my $grant = $answer->json->{access_token};

is($outcome, '200 ok', 'the grant of whoever has asked');
records();
let_through(knock($grant), 'is good');
is_deeply([ map { join ' ', @$_{qw(user.id user.domain)} } records() ],
          [ ('pat https://one.example') x 2 ],
          'and on record it is his');

my $second = filed('pat at two');

is(decided($_, 'approve', $second), '200 ok', "$_ approves")
    for 'pat at one', 'mona at two', 'mona at acme', 'mona at other';
(undef, $answer) = stepped('pat at two', 'grant', $second);
my $namesakes = $answer->json->{access_token};

is(scalar stepped('pat at two', 'complete', $second), '200 ok',
   'the namesake hands back');
is(outcome(knock($namesakes)), '401 completed', 'what was his');
is(outcome(knock($grant)), '200 ok', 'and nothing else');
records();


# A token is what it was made for

my ($seal) = reverse seals_of($id);
my $identity = token_at('pat at one');
for my $case (
    # the token; what the gate says, and the admin API
    [ 'a grant', $grant, 'ok', 'wrong_type' ],
    [ 'a seal', $seal, 'wrong_type', 'wrong_type' ],
    [ 'an identity token', $identity, 'wrong_type', 'ok' ],
) {
    my ($name, $token, $gate, $admin) = @$case;
    my $seen = $t->upstream_connections;

    is(word_of(knock($token)), $gate, "$name at the gate: $gate");
    is(word_of($t->http('GET', '/lockbox/v1/whoami', token => $token)),
       $admin, "$name at the admin API: $admin");
    is($t->upstream_connections, $seen + ($gate eq 'ok'),
       "$name: what arrives");
    is_deeply([ map { $_->{'event.reason'} }
                grep { $_->{'event.type'} eq 'end' } records() ],
              [ $gate eq 'ok' ? 'allow' : $gate,
                $admin eq 'ok' ? () : $admin ], "$name: on record");
}

# Nor does a key speak for another one

my $signing = Test::Lockbox::Conf::signing_key();

# What that token says, signed by another key, under its name or the right one.
sub resigned {
    my ($token, $key, $named) = @_;

    my $parts = decode($token);
    my %header = (%{ $parts->{header} }, kid => thumbprint($named),
                  alg => $key->{alg});

    return sign(\%header, $parts->{payload}, $key);
}

my $whoami = '/lockbox/v1/whoami';

for my $case (
    [ "a grant by a vendor's key", $MAIL, $grant, $AT{one}{key}, $signing ],
    [ "a grant by a customer's key", $MAIL, $grant, $AT{acme}{key}, $signing ],
    [ 'an identity by the key for grants', $whoami, $identity, $signing,
      $AT{one}{key} ],
    [ "an identity by a namesake's key", $whoami, $identity, $AT{two}{key},
      $AT{one}{key} ],
) {
    my ($name, $uri, $token, $key, $right) = @$case;

    for my $try ([ 'unknown_key', $key, $key ],
                 [ 'bad_signature', $key, $right ], [ 'ok', $right, $right ])
    {
        my ($word, @keys) = @$try;
        my $seen = $t->upstream_connections;

        is(word_of($t->http('GET', $uri, token => resigned($token, @keys))),
           $word, "$name: $word");
        is($t->upstream_connections,
           $seen + ($word eq 'ok' && $uri eq $MAIL), "$name: what arrives");
    }
}

done_testing;
