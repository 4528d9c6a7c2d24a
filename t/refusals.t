#!/usr/bin/perl

# Why: whoever is refused acts on the word, the status and the body; so each
# word of the closed list is provoked here, and what a refusal offers is filed.

use strict;
use warnings;

use JSON::PP ();

use Lockbox::Jose qw(key);
use Test::Lockbox;
use Test::Lockbox::Admin;
use Test::Lockbox::Refusal;

my $HELP = 'https://help.vendor.example/lockbox';
my $LOCATIONS = <<'EOF_LOCATIONS';
location ~ ^/tenants/(?<tenant>[^/]+)/(?<service>[^/]+)/ {
    lockbox          on;
    lockbox_tenant   $tenant;
    lockbox_service  $service;
    proxy_pass       http://127.0.0.1:%%PORT_8081%%;
    location ~ ^/tenants/(?<tenant>[^/]+)/(?<service>[^/]+)/secret/ {
        lockbox_label  secret;
        proxy_pass     http://127.0.0.1:%%PORT_8081%%;
    }
    location ~ ^/tenants/(?<tenant>[^/]+)/(?<service>[^/]+)/said/ {
        return 200 "the answer";
    }
}
location /lockbox/ { lockbox_admin on; }
EOF_LOCATIONS

my $t = Test::Lockbox->new;

begin($t, locations => $LOCATIONS, directives => {
    lockbox_help_url => $HELP, lockbox_max_duration => '1h',
});

my $now = time;
my $iss = 'https://lockbox.vendor.example';
my %seen;

# A request whose refusal must have that word.  Only with a genuine grant,
# which is the third one then, it says more than the link.
sub provoke {
    my ($word, $grant, %options) = @_;

    my $method = delete $options{method} // 'GET';
    my $uri = delete $options{uri} // $MAIL;
    my $genuine = delete $options{genuine};
    my $response = $t->http($method, $uri,
        defined $grant ? (token => $grant) : (), %options);

    refused($response, $word, 'provoked', 'help',
            $genuine ? qw(asked granted request) : ());
    is($response->json->{help}, $HELP, "$word: the link for help");
    recorded([ $word ], "$word: on record");
    $seen{$word} = 1;

    return $response;
}

# One that a genuine grant has been shown with.
sub help_for {
    my ($word, $grant, %options) = @_;

    my $response = provoke($word, $grant, %options, genuine => 1);
    my $problem = $response->json;
    my $claims = Lockbox::Jose::decode($grant)->{payload};
    my @access = map { my %item = %$_; delete $item{type};
                       { labels => [], %item } }
                 @{ $claims->{authorization_details} };

    is($problem->{granted}{id}, $claims->{jti}, "$word: the grant's id");
    is($problem->{granted}{tenant}, $claims->{tenant}, "$word: its tenant");
    is_deeply($problem->{granted}{access}, \@access, "$word: its access");
    like($problem->{granted}{expires_at}, qr/^\d{4}-.*Z$/, "$word: its end");

    return $problem;
}

# A grant that Redis does not know.
sub dead {
    return $t->grant(live => 0, @_);
}


# What is refused before anybody has shown a genuine grant

my $good = $t->grant;

provoke('ambiguous_target', $good, uri => "$MAIL/%2e%2e/x");
provoke('override_header', $good, headers => { 'X-Original-URL' => '/' });
provoke('no_token', undef);
provoke('malformed_token', 'a.b.c');
provoke('unknown_key', $t->grant(key => key('P-256', 'foreign')));
provoke('bad_signature', $good =~ s/\.[^.]*\z/.AAAA/r);
provoke('wrong_type', $t->grant(header => { typ => 'JWT' }));
provoke('wrong_issuer', $t->grant(iss => "$iss/"));
provoke('wrong_certificate', $t->grant(
    claims => { cnf => { 'x5t#S256' => 'A' x 43 } }));
provoke('internal_error', $good, uri => '/tenants/acme/mail/said/x');


# What is refused to a genuine grant

help_for('wrong_audience', $t->grant(aud => 'another'));
help_for('too_long_lived', $t->grant(claims => { exp => $now + 7200 }));
help_for('not_yet_valid', $t->grant(claims => { nbf => $now + 250 }));
help_for('expired', $t->grant(claims => { iat => $now - 9, exp => $now - 1 }));
help_for('not_live', dead());
help_for('wrong_tenant', $good, uri => '/tenants/globex/mail/x');
help_for('wrong_service', $good, uri => '/tenants/acme/files/x');
help_for('wrong_method', $good, method => 'DELETE');
help_for('wrong_path', $t->grant(access => [ {
    service => 'mail', methods => [ 'GET' ], paths => [ '/other/' ] } ]));
my $label = help_for('wrong_label', $good,
                     uri => '/tenants/acme/mail/secret/x');

is_deeply($label->{asked}, {
    tenant => 'acme', service => 'mail', method => 'GET',
    path => '/tenants/acme/mail/secret/x', labels => [ 'secret' ],
}, 'what was asked');


# What ended, and how

for my $case ([ revoked => 'revoke', 'customer' ],
              [ completed => 'complete', 'engineer' ])
{
    my ($word, $action, $who) = @$case;
    my $id = approved();
    my $grant = collect($id);

    let_through(knock($grant), "a grant that is to be $word");
    took($who, $action, $id);
    records();
    help_for($word, $grant);
}

my $due = approved();
my $over = collect($due);
make_due($due);
$t->wait_for(sub { stored($due)->{state} eq 'expired' }, undef,
             'the end to be noticed');
records();
help_for('expired', $over);


# What is offered can be filed, by whoever adds why

for my $case (
    [ 'GET', '/tenants/acme/files/x', 'wrong_service' ],
    [ 'DELETE', '/tenants/acme/mail/secret/a%20b', 'wrong_method' ],
    [ 'GET', '/tenants/globex/mail/%E2%82%AC', 'wrong_tenant' ],
) {
    my ($method, $uri, $word) = @$case;
    my $response = $t->http($method, $uri, token => $good);
    my $body = $response->json->{request};
    my $tenant = $response->json->{asked}{tenant};

    is($response->json->{code}, $word, "$method $uri is refused");

    my $requests = "/lockbox/v1/tenants/$tenant/requests";

    is(ask('engineer', 'POST', $requests, json => $body)->json->{member},
       '/justification', "$method $uri: only the reason is missing");

    $body->{justification} = 'The customer has asked for help.';
    my $filed = ask('engineer', 'POST', $requests, json => $body);

    is($filed->status, 201, "$method $uri: what is offered can be filed")
        or diag $filed->body;
    next if $tenant ne 'acme';

    my $id = $filed->json->{id};
    approve($_, $id) for qw(manager customer);
    let_through(knock(collect($id), $method, $uri),
                "$method $uri: and then it opens");
}


# What is not there

my $unknown = $t->grant;

records();
$t->redis_stop;
provoke('store_unavailable', $unknown, genuine => 1);
$t->redis;
Test::Lockbox::Admin::reconnect();

is_deeply([ sort grep { !$seen{$_} } keys %REFUSALS ],
          [ qw(audit_unavailable two_tokens) ],
          'each word of the list, but for two that have tests of their own');

done_testing;
