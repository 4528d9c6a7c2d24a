#!/usr/bin/perl

# The whole road once: filed, decided by the manager and then the customer,
# collected, used, revoked, with the records that all of it leaves.

use strict;
use warnings;

use Test::Lockbox;

my $t = Test::Lockbox->new;

$t->redis;
$t->upstream;
$t->write_conf($t->conf);
$t->run;

my %token = map { $_ => $t->identity($_) } qw(engineer manager customer);
my $mail = '/tenants/acme/mail/inbox';
my $base = '/lockbox/v1/tenants/acme/requests';

sub call {
    my ($who, $method, $uri, $body) = @_;

    return $t->http($method, $uri,
        headers => { Authorization => "Bearer $token{$who}" },
        defined $body ? (json => $body) : ());
}

sub knock {
    my ($grant, $method, $uri) = @_;

    return $t->http($method, $uri,
        headers => { Authorization => "Bearer $grant" });
}

sub refused {
    my ($response, $status, $word, $name) = @_;

    is_deeply([ $response->status, $response->json->{code} ],
              [ $status, $word ], $name);
}

refused($t->http('GET', $mail), 401, 'no_token', 'no access without a grant');

my $filed = call('engineer', 'POST', $base, {
    justification => 'The inbox of acme does not open.',
    reason => 'customer_initiated_support', ticket => 'SR-4711',
    duration => 600,
    access => [ { service => 'mail', methods => ['GET'],
                  paths => ['/tenants/acme/mail/'] } ],
});

is($filed->status, 201, 'filed');

my $id = $filed->json->{id};
my $uri = "$base/$id";

is($filed->header('location'), $uri, 'at its place');
is($filed->json->{state}, 'awaiting_manager', 'for the manager');
is_deeply($filed->json->{actions}, ['cancel'], 'may be withdrawn');

refused(call('customer', 'POST', "$uri/approve", { version => 1 }),
        409, 'conflict', 'the customer comes after the manager');
refused(call('engineer', 'POST', "$uri/grant"), 409, 'conflict',
        'nothing to collect yet');

is(call('manager', 'POST', "$uri/approve",
        { version => 1, comment => 'Go.' })->json->{state},
   'awaiting_customer', 'the manager approves');

my $approved = call('customer', 'POST', "$uri/approve", { version => 2 });

is($approved->json->{state}, 'approved', 'the customer approves');

my $grant = call('engineer', 'POST', "$uri/grant")->json->{access_token};

my $read = knock($grant, 'GET', $mail);

is($read->status, 200, 'mail is read');
is($read->header('lockbox-expires'), $approved->json->{expires_at},
   'the answer says how long');
is($read->header('cache-control'), 'no-store', 'and is for nobody else');

refused(knock($grant, 'GET', '/tenants/globex/mail/inbox'), 403,
        'wrong_tenant', 'not the other tenant');
refused(knock($grant, 'DELETE', $mail), 403, 'wrong_method',
        'not the other method');
refused(knock($grant, 'GET', '/tenants/acme/files/a'), 403, 'wrong_service',
        'not the other service');

my $revoked = call('customer', 'POST', "$uri/revoke");

is($revoked->json->{state}, 'revoked', 'the customer revokes');
like($revoked->json->{effective_by}, qr/^\d{4}-.*Z$/, 'and knows since when');

refused(knock($grant, 'GET', $mail), 401, 'revoked', 'and it is over');

is(scalar $t->upstream_requests, 1, 'the tenant API saw one request');

my @records = $t->wait_for(sub {
    my @seen = $t->audit;
    return @seen == 19 ? @seen : ();
}, undef, 'all records');

is_deeply([ map {
    my $r = $_;
    join ' ', grep { defined } @$r{qw(event.type event.action event.reason)}
} $t->audit ], [
    'end access no_token',
    'start request', 'end request allow',
    'end approve conflict',
    'end collect conflict',
    'start approve', 'end approve allow',
    'start approve', 'end approve allow',
    'start collect', 'end collect allow',
    'start access', 'end access allow',
    'end access wrong_tenant',
    'end access wrong_method',
    'end access wrong_service',
    'start revoke', 'end revoke allow',
    'end access revoked',
], 'every step is on record, in order');

done_testing;
