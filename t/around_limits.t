#!/usr/bin/perl

# Why: whoever guesses, or floods, is held off by what costs least: nginx's own
# limits come before a signature is looked at, they count what is refused, and
# it is on record who it was.

use strict;
use warnings;

use Test::Lockbox;
use Test::Lockbox::Admin;
use Test::Lockbox::Process qw(poll);
use Test::Lockbox::Refusal;

my $t = Test::Lockbox->new;

# A gated location of that service, with those directives.
sub gated {
    my ($service, @more) = @_;

    return join "\n", "location /tenants/acme/$service/ {", 'lockbox on;',
        'lockbox_tenant acme;', "lockbox_service $service;", @more,
        "proxy_pass http://127.0.0.1:%%PORT_8081%%;\n}\n";
}

my $real = "set_real_ip_from 127.0.0.1;\nreal_ip_header X-Real-IP;";

$t->redis;
$t->upstream(handler => sub {
    my ($request) = @_;

    # until the test lets it go, or is over
    poll(sub { $t->has_file('go') }) if $request->{uri} =~ /held/;

    return [ 200, {}, 'the secret' ];
});
$t->write_conf($t->conf(http => <<'EOF_HTTP', locations => join '',
    limit_req_zone    $binary_remote_addr$uri zone=rate:1m rate=1r/m;
    limit_req_status  429;
    limit_conn_zone   $binary_remote_addr zone=some:1m;
    limit_conn_status 429;
EOF_HTTP
    gated('rate', $real, 'limit_req zone=rate burst=2 nodelay;'),
    gated('some', $real, 'limit_conn some 1;'),
    gated('both', $real, 'limit_req zone=rate burst=2 nodelay;',
          'limit_conn some 1;'),
    <<"EOF_LOCATIONS"));
location /limited/ {
    $real
    limit_req      zone=rate burst=2 nodelay;
    lockbox_admin  on;
}
location /lockbox/ { lockbox_admin on; }
EOF_LOCATIONS
$t->run;
$Test::Lockbox::Admin::World = $t;

my %grant;

# A grant for the whole of that service.
sub grant {
    my ($service) = @_;

    return $grant{$service} //= $t->grant(life => 3600, access => [ {
        service => $service, methods => [ 'GET' ],
        paths => [ "/tenants/acme/$service/" ],
    } ]);
}

sub forged {
    my ($token) = @_;

    return $token =~ s/\.[^.]*\z/.AAAA/r;
}

sub get {
    my ($uri, $token, $address) = @_;

    return $t->http('GET', $uri, token => $token,
                    headers => { 'X-Real-IP' => $address });
}

# The records of ends since the last call, as "action reason status address
# user".
sub ends {
    return [ map {
        my $record = $_;
        join ' ', map { $_ // '-' }
                  @$record{qw(event.action event.reason
                              http.response.status_code source.ip user.id)};
    } grep { $_->{'event.type'} eq 'end' } records() ];
}


# Guesses

for my $service (qw(rate both)) {
    my $uri = "/tenants/acme/$service/x";
    my ($bad, $good) = ('192.0.2.66', '192.0.2.1');
    my $guess = forged(grant($service));

    refused(get($uri, $guess, $bad), 'bad_signature', "$service: guess $_")
        for 1 .. 3;
    is_deeply(ends(), [ ("access bad_signature 401 $bad -") x 3 ],
              "$service: guesses are on record, with the address");

    for my $case ([ 'another guess', $guess ], [ 'no token', undef ],
                  [ 'a grant', grant($service) ])
    {
        my ($name, $token) = @$case;
        my $answer = get($uri, $token, $bad);

        is($answer->status, 429, "$service: then $name is one too many");
        unlike($answer->body, qr/urn:lockbox/, "$service: $name is not judged");
        is_deeply(ends(), [ "access not_decided 429 $bad -" ],
                  "$service: $name is on record, with the address");
    }

    is($t->upstream_connections, $service eq 'rate' ? 0 : 1,
       "$service: nothing has arrived");

    let_through(get($uri, grant($service), $good), "$service: others go on");
    refused(get($uri, $guess, $good), 'bad_signature',
            "$service: and are judged");
    is_deeply(ends(), [ "access allow 200 $good erin",
                        "access bad_signature 401 $good -" ],
              "$service: on record, with theirs");
}

is($t->upstream_connections, 2, 'the tenant API saw what was allowed');


# One at a time

for my $service (qw(some both)) {
    my $uri = "/tenants/acme/$service";
    my ($busy, $idle) = ('192.0.2.77', '192.0.2.2');
    my $seen = $t->upstream_requests;

    unlink $t->testdir . '/go';

    my $held = $t->http_start('GET', "$uri/held", token => grant($service),
                              headers => { 'X-Real-IP' => $busy });
    $t->wait_for(sub { $t->upstream_requests > $seen }, undef,
                 'the held request to arrive');

    for my $case ([ 'a guess', forged(grant($service)) ],
                  [ 'no token', undef ], [ 'a grant', grant($service) ])
    {
        my ($name, $token) = @$case;

        is(get("$uri/$name" =~ s/ /_/r, $token, $busy)->status, 429,
           "$service: beside it, $name is one too many");
        is_deeply(ends(), [ "access not_decided 429 $busy -" ],
                  "$service: $name is on record");
    }

    let_through(get("$uri/x", grant($service), $idle),
                "$service: others go on");
    refused(get("$uri/y", forged(grant($service)), $idle), 'bad_signature',
            "$service: and are judged");
    is_deeply(ends(), [ "access allow 200 $idle erin",
                        "access bad_signature 401 $idle -" ],
              "$service: on record");

    $t->write_file('go', '');
    let_through($held->response, "$service: what was held");
    is_deeply(ends(), [ "access allow 200 $busy erin" ], "$service: on record");

    refused(get("$uri/z", forged(grant($service)), $busy), 'bad_signature',
            "$service: the next one is judged again");
    is_deeply(ends(), [ "access bad_signature 401 $busy -" ],
              "$service: on record");
}


# Guesses at the admin API

my ($bad, $good) = ('192.0.2.88', '192.0.2.3');
my $whoami = '/limited/v1/whoami';
my $guess = substr(token_of('customer'), 0, -8) . 'AAAAAAAA';

refused(get($whoami, $guess, $bad), 'bad_signature', "admin: guess $_")
    for 1 .. 3;
is_deeply([ map { s/^\S+ //r } @{ ends() } ],
          [ ("bad_signature 401 $bad -") x 3 ], 'admin: on record');

for my $token ($guess, token_of('customer')) {
    is(outcome(get($whoami, $token, $bad)), '429 too_many_requests',
       'admin: one too many');
    is_deeply([ map { s/^\S+ //r } @{ ends() } ],
              [ "too_many_requests 429 $bad -" ],
              'admin: on record, never looked at');
}

let_through(get($whoami, token_of('customer'), $good), 'admin: others go on');

done_testing;
