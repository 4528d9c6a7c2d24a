#!/usr/bin/perl

# Why: where a request ends is what decides which bytes are the next one.  What
# nginx and the tenant API could read differently is refused, with all that
# follows; and nobody is asked for a body that will not be taken.

use strict;
use warnings;

use Test::Lockbox;
use Test::Lockbox::Admin;
use Test::Lockbox::Http2;
use Test::Lockbox::Refusal;

my $t = Test::Lockbox->new;

begin($t, server => 'listen 127.0.0.1:%%PORT_8443%% http2;');

my $mail = '/tenants/acme/mail/x';
my $grant = $t->grant(life => 3600, access => [ {
    service => 'mail', methods => [ 'GET', 'POST' ],
    paths => [ '/tenants/acme/mail/' ],
} ]);
my $reading = $t->grant(life => 3600);
my $CHUNKS = "1\r\na\r\n0\r\n\r\n";

# The bytes of a request with a grant that covers it.  Options: method, version,
# host (undef for none), fields (lines, before the others), body.
sub bytes {
    my (%options) = @_;

    my %request = (method => 'POST', version => '1.1', host => 'localhost',
                   fields => [], body => '', %options);

    return join "\r\n", "$request{method} $mail HTTP/$request{version}",
        @{ $request{fields} },
        defined $request{host} ? "Host: $request{host}" : (),
        "Authorization: Bearer $grant", '', $request{body};
}

# What is said to the bytes; whatever is behind them is no second request if
# nginx has refused them.
sub try_bytes {
    my ($name, $said, $bytes) = @_;

    my $connection = $t->http_connect;
    my $nginx = $said =~ /^[\d|]+$/;
    my $hidden = bytes(method => 'GET', fields => [ 'Connection: close' ]);

    $connection->send($bytes . ($nginx ? $hidden : ''));

    my $response = $connection->response;
    my $more = $nginx ? $connection->read_all : '';

    # until then nginx may still wait for what is left of the body
    $connection->close;
    judged($response, $said, $name);
    is($more, '', "$name: and nothing else");
}

# With those fields, and a body that would do.
sub try_fields {
    my ($name, $said, @fields) = @_;

    try_bytes($name, $said,
              bytes(fields => [ @fields ],
                    body => (grep { /chunked/i } @fields) ? $CHUNKS : 'a'));
}


# Length

try_fields('P30 a length', 'allow', 'Content-Length: 1');
try_fields('P30 chunks', 'allow', 'Transfer-Encoding: chunked');
try_fields('P30 chunks in capitals', 'allow', 'Transfer-Encoding: CHUNKED');
try_fields("P30 $_->[0]", 400, @{ $_->[1] }) for (
    [ 'a length and chunks', [ 'Content-Length: 1',
                               'Transfer-Encoding: chunked' ] ],
    [ 'chunks and a length', [ 'Transfer-Encoding: chunked',
                               'Content-Length: 1' ] ],
    [ 'chunks and no length', [ 'Content-Length: 0',
                                'Transfer-Encoding: chunked' ] ],
);
try_fields("P30 Transfer-Encoding: $_", '400|501', "Transfer-Encoding: $_")
    for ('gzip', 'identity', 'xchunked', 'chunkedx', 'chunked, chunked',
         'gzip, chunked', 'chunked, identity', 'chunked;a=b', "\x0bchunked",
         '"chunked"', 'chunked,');
try_fields('P30 chunks twice', '400|501', ('Transfer-Encoding: chunked') x 2);
try_fields('P30 chunks, and not', '400|501', 'Transfer-Encoding: chunked',
           'Transfer-Encoding: identity');

try_bytes('P31 chunks in HTTP/1.0', 400,
          bytes(version => '1.0', fields => [ 'Transfer-Encoding: chunked' ],
                body => $CHUNKS));
try_bytes('P31 a length in HTTP/1.0', 'allow',
          bytes(version => '1.0', fields => [ 'Content-Length: 1' ],
                body => 'a'));

try_fields("P32 Content-Length: $_", 400, "Content-Length: $_")
    for ('1, 1', '1,1', '1, 2', '+1', '-1', '0x1', '1 1', '1;', '1.0', '1e0',
         'one', '', '9223372036854775808', '99999999999999999999', "1\x0b",
         "\xef\xbc\x91");
try_fields('P32 a length twice', 400, ('Content-Length: 1') x 2);
try_fields('P32 two lengths', 400, 'Content-Length: 1', 'Content-Length: 2');
try_fields('P32 a length with zeros', 'allow', 'Content-Length: 0001');


# Lines

for my $ending ("\n", "\r\n") {
    my $name = $ending eq "\n" ? 'a bare LF' : 'CRLF';

    for my $token ($grant, undef) {
        my $with = defined $token ? 'with a grant' : 'without';
        my $response = $t->http_raw(join $ending, "GET $mail HTTP/1.1",
            'Host: localhost', 'Connection: close',
            defined $token ? "Authorization: Bearer $token" : (), '', '');

        # nginx takes it, and may refuse it
        judged($response, $ending eq "\n" && $response->status == 400 ? 400
                          : defined $token ? 'allow' : 'no_token',
               "P29 $name, $with");
    }
}

try_fields("a line: $_->[0]", 400, $_->[1], 'Content-Length: 1') for (
    [ 'a blank before the colon', 'X-A : b' ],
    [ 'a length with a blank before its colon', 'Content-Length : 1' ],
    [ 'that goes on', "X-A: b\r\n c" ],
    [ 'that goes on with a TAB', "X-A: b\r\n\tc" ],
    [ 'a token that goes on', "Authorization: Bearer\r\n a" ],
    [ 'a NUL in a name', "X-\0A: b" ],
    [ 'a NUL in a value', "X-A: \0" ],
);
try_fields('a line: as it should be', 'allow', 'X-A: b', 'Content-Length: 1');

try_bytes("a version: $_", '400|505', bytes(version => $_))
    for ('2.0', '1.', '.1', '1.1.1', '1,1', '3', '11111.1');
try_bytes("a protocol: $_", 400, bytes(method => 'GET') =~ s/HTTP\//$_/r)
    for ('HTTPS/', 'http/', 'ICY/', 'HTTP');

for my $bytes ("Bearer $grant\0", "Bearer \0$grant", "\0Bearer $grant",
               "Bearer\0$grant", "Bearer $grant\0.evil")
{
    my $where = sprintf 'at %d of %d', index($bytes, "\0"), length $bytes;
    my $h2 = Test::Lockbox::Http2->new($t->port(8443));
    my @fields = (headers => [ [ authorization => $bytes ] ]);

    judged($t->http('GET', $mail, @fields), 400,
           "P26 NUL in Authorization, $where, HTTP/1");
    judged($h2->ask('GET', $mail, @fields), '0|400',
           "P26 NUL in Authorization, $where, HTTP/2");
    $h2->close;
}

judged($t->http('GET', $mail, token => $grant), 'allow',
       'P26 no NUL in Authorization');


# Host

try_bytes("P28 $_->[0]", 400, bytes(method => 'GET', host => $_->[1],
                                    fields => $_->[2] // [])) for (
    [ 'twice the same', 'localhost', [ 'Host: localhost' ] ],
    [ 'two hosts', 'localhost', [ 'Host: other.example' ] ],
    [ 'one without a name', 'localhost', [ 'Host:' ] ],
    [ 'none', undef ],
    [ 'an empty one', '' ],
    [ 'a path', 'localhost/tenants' ],
    [ 'a blank', 'local host' ],
    [ 'a NUL', "localhost\0" ],
    [ 'two dots', 'localhost..' ],
);
try_bytes("P28 $_->[0]", 'allow',
          bytes(method => 'GET', host => $_->[1],
                fields => [ 'Connection: close' ])) for (
    [ 'one', 'localhost' ], [ 'another name', 'other.example' ],
    [ 'with a port', 'localhost:8080' ],
);


# A body that waits to be asked for

# The first thing that comes back for the head of a POST.
sub asked {
    my ($uri, @fields) = @_;

    my $connection = $t->http_connect;

    $connection->send(join "\r\n", "POST $uri HTTP/1.1", 'Host: localhost',
                      'Content-Length: 4', 'Content-Type: application/json',
                      @fields, '', '');

    my $head = $connection->read_until(qr/\r\n\r\n/);
    my $response = Test::Lockbox::Response->parse($head);

    $connection->body($response);
    $connection->close;

    return $response;
}

for my $case (
    [ 'no_token', $mail ],
    [ 'malformed_token', $mail, 'Authorization: Bearer x' ],
    [ 'wrong_method', $mail, "Authorization: Bearer $reading" ],
    [ 'wrong_tenant', '/tenants/globex/mail/x',
      "Authorization: Bearer $grant" ],
    [ 'ambiguous_target', "$mail/..", "Authorization: Bearer $grant" ],
    [ 'no_token', $REQUESTS ],
    [ 'wrong_type', $REQUESTS, "Authorization: Bearer $grant" ],
) {
    my ($word, $uri, @fields) = @$case;
    my $name = "P34 $word, $uri";

    for my $expect ('100-continue', '100-Continue') {
        my $answer = asked($uri, @fields, "Expect: $expect");

        judged($answer, $word, "$name: the body is not asked for");
        is($answer->header('connection'), 'close',
           "$name: and nothing can follow");
    }
}

my $connection = $t->http_connect;

$connection->send(bytes(fields => [ 'Content-Length: 4',
                                    'Expect: 100-continue' ]));
is($connection->read_until(qr/\r\n\r\n/), "HTTP/1.1 100 Continue\r\n\r\n",
   'P34 allowed: the body is asked for');
$connection->send('body');

my $response = $connection->response;

judged($response, 'allow', 'P34 allowed');
is($response->json->{body}, 'body', 'P34 allowed: with its body');


# Chunks that are none are not passed on

for my $chunks ("x\r\n", "-1\r\na\r\n", "1\r\naa\r\n0\r\n\r\n",
                "ffffffffffffffffff\r\na", "0x1\r\na\r\n0\r\n\r\n")
{
    my $name = 'chunks: ' . $chunks =~ s/\r\n/ /gr;
    my $answer = $t->http_raw(bytes(fields => [ 'Transfer-Encoding: chunked' ],
                                    body => $chunks));

    is($answer->status, 400, $name);
    is_deeply([ map { join ' ', grep { defined }
                      @$_{qw(event.type event.reason
                             http.response.status_code)} } records() ],
              [ 'start', 'end allow 400' ], "$name: on record");
    is(arrivals(), 0, "$name: nothing arrives");
}

done_testing;
