#!/usr/bin/perl

# Why: on one connection there are many requests, and what is refused to one
# must not slip through as part of another.

use strict;
use warnings;

use Test::Lockbox;
use Test::Lockbox::Admin;
use Test::Lockbox::Http;
use Test::Lockbox::Refusal;

my $t = Test::Lockbox->new;

begin($t, server => 'proxy_set_header X-Lockbox-Subject $lockbox_subject;');

my $grant = $t->grant(life => 3600);
my $writing = $t->grant(life => 3600, access => [ {
    service => 'mail', methods => [ 'POST' ],
    paths => [ '/tenants/acme/mail/' ],
} ]);
my $mail = '/tenants/acme/mail/x';

# The bytes of a request that keeps its connection.
sub bytes {
    my ($method, $uri, %options) = @_;

    return Test::Lockbox::Http::request_bytes($method, $uri, keepalive => 1,
                                              %options);
}

# Sends all at once on one connection; the statuses of that many responses,
# which must be all that come back.
sub statuses {
    my ($count, @requests) = @_;

    my $connection = $t->http_connect;
    $connection->send(join '', @requests);
    my @statuses = map { $connection->response->status } 1 .. $count;
    $connection->send(bytes('GET', '/lockbox/v1/jwks.json', keepalive => 0));

    # the last one is ours, and behind it the connection ends
    my $last = $connection->response;
    push @statuses, 'more' if $last->status != 200
                              || $last->body !~ /^\{"keys"/
                              || $connection->read_all ne '';

    return "@statuses";
}


# Requests in a row are judged one by one

is(statuses(6, bytes('GET', $mail, token => $grant), bytes('GET', $mail),
            bytes('GET', $mail, token => $writing),
            bytes('GET', $mail, token => $grant),
            bytes('GET', '/tenants/globex/mail/x', token => $grant),
            bytes('GET', $mail, token => "$grant.")),
   '200 401 403 200 403 401', 'pipelined requests with different grants');
recorded([ qw(allow no_token wrong_method allow wrong_tenant
              malformed_token) ], 'each by its own');
is(scalar $t->upstream_requests, 2, 'two arrive');


# Who somebody was is not who comes next

my $gus = $t->grant(sub => 'gus', life => 3600);
my $forged = $gus =~ s/\.[^.]*\z/.AAAA/r;
my %subject = ($grant => 'erin', $gus => 'gus');
my $kept = $t->http_connect;
my (@said, @want);

for my $token ($grant, undef, $gus, $forged, $grant, $gus, undef) {
    $kept->request('GET', $mail, token => $token, keepalive => 1);

    my $response = $kept->response;
    my $subject = defined $token ? $subject{$token} : undef;

    push @said, [ $response->status,
        $response->json->{headers}{'x-lockbox-subject'} // '' ];
    push @want, [ $subject ? 200 : 401, $subject // '' ];
}

is_deeply(\@said, \@want, 'one after the other, each for himself');
is_deeply([ map { [ $_->{'http.response.status_code'}, $_->{'user.id'} // '' ] }
            grep { $_->{'event.type'} eq 'end' } records() ], \@want,
          'and on record as himself');


# What a client says of itself, or of its connection, counts for nothing

my $heard = $t->http('GET', $mail, token => $grant, headers => {
    'X-Lockbox-Subject' => 'root', Connection => 'close, Authorization',
})->json->{headers};

is($heard->{'x-lockbox-subject'}, 'erin',
   'P36 a name that the client brings along');
is($heard->{authorization}, "Bearer $grant",
   'P37 a token that the client calls a matter of the connection');
is($t->http('GET', $mail, headers => {
       'X-Lockbox-Subject' => 'erin', Connection => 'close, Authorization',
   })->status, 401, 'P36 P37 nor do they stand for a grant');
recorded([ qw(allow no_token) ], 'on record');


# A body is no request

my $hidden = bytes('GET', $mail, token => $grant);

for my $case (
    [ 'of a length', body => $hidden ],
    [ 'in chunks', headers => { 'Transfer-Encoding' => 'chunked' },
      body => sprintf("%x\r\n%s\r\n0\r\n\r\n", length $hidden, $hidden) ],
    [ 'longer than all buffers', body => $hidden x 1000 ],
) {
    my ($name, %options) = @$case;

    is(statuses(2, bytes('POST', $mail, %options), bytes('GET', $mail)),
       '401 401', "P33 refused, with a body $name, and the connection goes on");
    recorded([ qw(no_token no_token) ], "P33 a body $name: on record");
    is(statuses(2, bytes('POST', $mail, %options, token => $grant),
                bytes('GET', $mail, token => $grant)),
       '403 200', "P33 refused for its method, with a body $name");
    recorded([ qw(wrong_method allow) ], "P33 a body $name: on record");
    is(statuses(1, bytes('POST', $mail, %options, token => $writing)), '200',
       "P33 allowed, with a body $name");
    recorded([ 'allow' ], "P33 a body $name: one request on record");
}

my @bodies = grep { length } map { $_->{body} } $t->upstream_requests;
is_deeply(\@bodies, [ $hidden, $hidden, $hidden x 1000 ],
          'P33 bodies arrive whole where they may');


# A body that comes late, or never

my $connection = $t->http_connect;
$connection->request('POST', $mail, keepalive => 1,
                     headers => { 'Content-Length' => 5 });
refused($connection->response, 'no_token', 'refused before its body comes');
$connection->send('12345');
$connection->request('GET', $mail, token => $grant);
let_through($connection->response, 'the request behind that body');
recorded([ qw(no_token allow) ], 'on record');


# Older protocols

for my $case (
    [ '1.0 with a grant', 200, "GET $mail HTTP/1.0\r\n"
                               . "Authorization: Bearer $grant\r\n\r\n" ],
    [ '1.0 without', 401, "GET $mail HTTP/1.0\r\n\r\n" ],
) {
    my ($name, $status, $request) = @$case;
    my $response = $t->http_raw($request);

    is($response->status, $status, "P27 HTTP/$name");
    ok($response->complete, "HTTP/$name: complete");
    recorded([ $status == 200 ? 'allow' : 'no_token' ],
             "HTTP/$name: on record");
}

my $seen = $t->upstream_requests;
$connection = $t->http_connect;
$connection->send("GET $mail\r\n");
unlike($connection->read_all, qr/"uri"/,
       'P27 HTTP/0.9: nothing of the tenant API');
recorded([ 'no_token' ], 'P27 HTTP/0.9: on record');
is(scalar $t->upstream_requests, $seen, 'P27 HTTP/0.9: nothing arrives');

done_testing;
