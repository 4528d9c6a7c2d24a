#!/usr/bin/perl

# Why: over HTTP/2 many requests share a connection and none has a line of its
# own.  Each must be judged by its own token and target, refused once, and be
# on record; and what HTTP/2 can say and HTTP/1 cannot must open nothing.

use strict;
use warnings;

use Test::Lockbox;
use Test::Lockbox::Admin;
use Test::Lockbox::FakeRedis;
use Test::Lockbox::Http2;

my $t = Test::Lockbox->new;
my $fake = Test::Lockbox::FakeRedis->new($t, lease => 0);

begin($t, server => <<'EOF_SERVER',
listen 127.0.0.1:%%PORT_8443%% http2;
proxy_set_header X-Lockbox-Subject $lockbox_subject;
EOF_SERVER
    directives => {
        lockbox_redis => 'unix:%%TESTDIR%%/fake.sock timeout=60s',
    });

my $access = [ { service => 'mail', methods => [ 'GET', 'POST' ],
                 paths => ['/tenants/acme/mail/'] } ];
my $grant = $t->grant(access => $access);
my $dead = $t->grant(access => $access, live => 0);
my $revoked = revoked();

let_in();
words();
many_at_once();
bodies();
odd_requests();
the_admin_api();

done_testing;


sub connection {
    return Test::Lockbox::Http2->new($t->port(8443));
}

sub revoked {
    my $id = Test::Lockbox::Conf::uuid7();

    redis('HSET', request_key($id), 'state', 'revoked');

    return $t->grant(id => $id, live => 0);
}

sub let_in {
    my $h2 = connection();
    my $got = $h2->ask('GET', $MAIL, token => $grant);

    is($got->status, 200, 'let in');
    ok($got->complete, '... to the end');
    is($got->json->{uri}, $MAIL, '... at its target');
    is($got->json->{headers}{'x-lockbox-subject'}, 'erin', '... by its name');
    is($got->header('cache-control'), 'no-store', '... for nobody else');
    like($got->header('lockbox-expires'), qr/^\d{4}-.*Z$/, '... and how long');

    my $head = $h2->ask('HEAD', $MAIL, token => $grant);

    is($head->status . $head->body, '200', 'HEAD goes with GET');
    is(join(' ', map { $_->{method} } $t->upstream_requests), 'GET HEAD',
       '... as what it is');
    is_deeply([ record_words(records()) ],
              [ ('start access', 'end access allow') x 2 ], 'on record');
}

# On one connection: what is refused leaves nothing behind for the next.
sub words {
    my $mail = '/tenants/acme/mail';
    my $h2 = connection();
    my $before = $t->upstream_connections;

    my @refusals = (
        [ '401 no_token', 'GET', $MAIL ],
        [ '401 no_token', 'GET', $MAIL,
          headers => { authorization => 'Basic Og==' } ],
        [ '401 malformed_token', 'GET', $MAIL, token => 'a.b' ],
        [ '401 malformed_token', 'GET', $MAIL, token => "$grant, $grant" ],
        [ '401 bad_signature', 'GET', $MAIL,
          token => substr($grant, 0, -8) . 'AAAAAAAA' ],
        [ '401 wrong_type', 'GET', $MAIL,
          token => $t->grant(header => { typ => 'JWT' }) ],
        [ '401 expired', 'GET', $MAIL,
          token => $t->grant(iat => time - 90, life => 60, live => 0) ],
        [ '401 not_live', 'GET', $MAIL, token => $dead ],
        [ '401 revoked', 'GET', $MAIL, token => $revoked ],
        [ '403 wrong_tenant', 'GET', '/tenants/globex/mail/inbox',
          token => $grant ],
        [ '403 wrong_service', 'GET', '/tenants/acme/files/a',
          token => $grant ],
        [ '403 wrong_method', 'DELETE', $MAIL, token => $grant ],
        [ '403 wrong_method', 'OPTIONS', $MAIL, token => $grant ],
        [ '401 no_token', 'OPTIONS', $MAIL ],
        [ '403 wrong_path', 'GET', $MAIL, token => $t->grant(access => [ {
              service => 'mail', methods => ['GET'],
              paths => ["$mail/a"] } ]) ],
        [ '400 ambiguous_target', 'GET', "$mail/a%5cb", token => $grant ],
        [ '400 override_header', 'GET', $MAIL, token => $grant,
          headers => { 'x-http-method-override' => 'DELETE' } ],
    );

    for (@refusals) {
        my ($outcome, @request) = @$_;
        my $refused = $h2->ask(@request);
        my ($status, $word) = split ' ', $outcome;

        is(outcome($refused), $outcome, "$outcome, to $request[0]");
        ok($refused->complete, '... to the end');
        is($refused->header('content-type'), 'application/problem+json',
           '... as a problem');
        like($refused->header('www-authenticate'), qr/^Bearer realm="lockbox"/,
             '... with a challenge');

        my @records = records();

        is_deeply([ record_words(@records) ], [ "end access $word" ],
                  '... once on record');
        is($records[0]{'http.response.status_code'}, $status,
           '... with its status');
    }

    is($t->upstream_connections, $before, 'nobody was let in');
    is($h2->ask('GET', $MAIL, token => $grant)->status, 200,
       '... and then somebody is, on the same connection');
    records();
}

# Redis answers none of them before all have asked.
sub many_at_once {
    my $h2 = connection();
    my $before = () = $t->upstream_requests;
    my (@grants, %expected);

    for my $i (0 .. 4) {
        push @grants, $t->grant(sub => "erin$i", access => $access);
        $grants[$i] = [ $grants[$i], '200 ok', "erin$i" ];
    }

    my @tokens = (
        @grants, [ $dead, '401 not_live', 'erin' ],
        [ $revoked, '401 revoked', 'erin' ],
        [ $t->grant(tenant => 'globex', sub => 'gus'), '403 wrong_tenant',
          'gus' ],
        [ substr($grant, 0, -8) . 'AAAAAAAA', '401 bad_signature', undef ],
        [ undef, '401 no_token', undef ],
    );

    $fake->forget;
    $fake->rules({ match => qr/^GETEX /, times => 1,
                   play => [ [ 'wait', 'all' ], [ 'reply' ] ] });

    for my $i (0 .. 99) {
        my ($token, $outcome, $user) = @{ $tokens[$i % @tokens] };
        my $path = "/tenants/acme/mail/$i";
        my $stream = $h2->request('GET', $path, token => $token);

        $expected{$path} = [ $stream, $outcome, $user ];
    }

    # all but those that need no asking: what is revoked stays so
    $fake->await(qr/^HGET /, 70);
    $fake->release('all');

    my @wrong;

    for my $path (sort keys %expected) {
        my ($stream, $outcome, $user) = @{ $expected{$path} };
        my $response = $h2->response($stream);
        my $got = outcome($response);

        if ($got eq '200 ok') {
            my $seen = $response->json;
            $got .= " $seen->{uri} $seen->{headers}{'x-lockbox-subject'}";
            $outcome .= " $path $user";
        }

        push @wrong, "$path: $got" if $got ne $outcome;
    }

    is("@wrong", '', 'P42 a hundred at once, each by its own token');

    my @seen = $t->upstream_requests;
    splice @seen, 0, $before;
    is(scalar @seen, 50, 'P42 ... and no more than are let in');

    my %records;

    push @{ $records{ $_->{'url.path'} } }, $_ for records();
    is(scalar keys %records, 100, 'P42 ... all on record');

    for my $path (sort keys %expected) {
        my ($stream, $outcome, $user) = @{ $expected{$path} };
        my ($word) = $outcome =~ / (.*)/;
        my @records = @{ $records{$path} // [] };
        my @words = $word eq 'ok' ? ('start access', 'end access allow')
                                  : ("end access $word");

        push @wrong, $path
            if "@{ [ record_words(@records) ] }" ne "@words"
               || grep { ($_->{'user.id'} // '') ne ($user // '') } @records;
    }

    is("@wrong", '', 'P42 ... each with what became of it, and of whom');
    $fake->rules;
}

# A body is not what is judged, nor is it a second request.
sub bodies {
    my $h2 = connection();
    my $before = () = $t->upstream_requests;
    my $smuggled = "GET $MAIL HTTP/1.1\r\nHost: localhost\r\n"
                   . "Authorization: Bearer $grant\r\n\r\n";

    my $refused = $h2->ask('POST', $MAIL, token => $dead, body => $smuggled);

    is(outcome($refused), '401 not_live', 'refused with its body');
    is_deeply([ record_words(records()) ], [ 'end access not_live' ],
              '... once');

    my $early = $h2->request('POST', $MAIL, token => $dead, open => 1,
                             body => 'the first bytes');

    is(outcome($h2->response($early)), '401 not_live',
       'refused before the body is there');
    $h2->data($early, $smuggled);
    is($h2->response($early)->error // 0, 0, '... which nobody waits for');
    is_deeply([ record_words(records()) ], [ 'end access not_live' ],
              '... once');

    my $bytes = $h2->request('POST', $MAIL, token => $dead, open => 1);

    $h2->data($bytes, 'x', 0) for 1 .. 50;
    is(outcome($h2->response($bytes)), '401 not_live',
       'refused whatever still comes');
    is(scalar(() = $t->upstream_requests), $before, '... nobody was let in');

    my $sent = $h2->ask('POST', $MAIL, token => $grant, body => $smuggled);

    is(outcome($sent), '200 ok', 'let in with a body');
    is($sent->json->{body}, $smuggled, '... which is passed on');

    my $open = $h2->request('POST', $MAIL, token => $grant, open => 1);

    $h2->data($open, $_, 0) for split //, 'bit by bit';
    $h2->data($open, '');
    is($h2->response($open)->json->{body}, 'bit by bit',
       '... however it comes');

    my $short = $h2->request('POST', $MAIL, token => $grant, open => 1,
                             headers => { 'content-length' => 100 });

    $h2->data($short, 'less');
    isnt($h2->response($short)->status, 200, 'less than was announced');
    is(scalar(() = $t->upstream_requests), $before + 2,
       '... is nothing to pass on');
    records();
}

# With a grant that covers the target, and on a connection of its own.
sub odd_requests {
    my $reset = qr/^(?:0|400)$/;
    my @odd = (
        # what is odd, what nginx or the gate says, the request
        [ 'a path without a slash', 400, 'GET', substr $MAIL, 1 ],
        [ 'an asterisk', 400, 'GET', '*' ],
        [ 'an absolute path', 400, 'GET', "http://localhost$MAIL" ],
        [ 'no path at all', 400, 'GET', '' ],
        [ 'no path field', 400, 'GET', undef ],
        [ 'a fragment', 400, 'GET', "$MAIL#a" ],
        [ 'a fragment that goes elsewhere', 400, 'GET',
          '/tenants/acme/mail/#/../../../globex/mail/x' ],
        [ 'a blank in the path', 400, 'GET', "$MAIL a" ],
        [ 'a line end in the path', $reset, 'GET', "$MAIL\r\nx: y" ],
        [ 'two paths', 400, 'GET', $MAIL, headers => { ':path' => $MAIL } ],
        [ 'no method', 400, undef, $MAIL ],
        [ 'a method in lower case', 400, 'get', $MAIL ],
        [ 'two methods', 400, 'GET', $MAIL, headers => { ':method' => 'GET' } ],
        [ 'CONNECT to a path', qr/^40[05]$/, 'CONNECT', $MAIL ],
        [ 'CONNECT as it should be', 400, 'CONNECT', undef,
          pseudo => { ':scheme' => undef,
                      ':authority' => 'localhost:443' } ],
        [ 'TRACE', qr/^40[35]$/, 'TRACE', $MAIL ],
        [ 'a field in upper case', $reset, 'GET', $MAIL,
          headers => { 'X-Upper' => 1 } ],
        [ 'a second token in upper case', $reset, 'GET', $MAIL,
          headers => { 'Authorization' => 'Bearer x' } ],
        [ 'a pseudo field that is none', 400, 'GET', $MAIL,
          headers => { ':protocol' => 'websocket' } ],
        [ 'a line end in a field', $reset, 'GET', $MAIL,
          headers => { 'x-a' => "b\r\nAuthorization: Bearer x" } ],
        [ 'an end in a field', $reset, 'GET', $MAIL,
          headers => { 'x-a' => "\0" } ],
        [ 'another host', 400, 'GET', $MAIL,
          headers => { host => 'other.example' } ],
        [ 'two hosts', 400, 'GET', $MAIL, pseudo => { ':authority' => undef },
          headers => [ [ 'host', 'a' ], [ 'host', 'b' ] ] ],
        [ 'no host', 400, 'GET', $MAIL,
          pseudo => { ':authority' => undef } ],
        [ 'a host with a path', 400, 'GET', $MAIL,
          pseudo => { ':authority' => 'localhost/tenants' } ],
        [ 'two tokens', 400, 'GET', $MAIL,
          headers => [ ([ 'authorization', "Bearer $grant" ]) x 2 ] ],
        [ 'no scheme', 400, 'GET', $MAIL, pseudo => { ':scheme' => undef } ],
    );

    for (@odd) {
        my ($name, $status, @request) = @$_;
        my $before = $t->upstream_connections;

        for my $token ($grant, undef) {
            my $h2 = connection();
            my $response = $h2->ask(@request, token => $token);
            my $got = $response->status // 0;

            like($got, ref $status ? $status : qr/^$status$/, "P42 $name")
                if defined $token;
            isnt($got, 200, "P42 $name, and without a token")
                if !defined $token;
            $h2->close;
        }

        is($t->upstream_connections, $before, "P42 $name: nobody is let in");
    }

    is_deeply([ grep { !/^end access / } record_words(records()) ], [],
              'P42 nor is anything on record but refusals');

    my %fine = (
        'the Host field' => { pseudo => { ':authority' => undef },
                              headers => { host => 'localhost' } },
        'another name' => { pseudo => { ':authority' => 'other.example' } },
        'a query' => { path => "$MAIL?a=%2e%2e#b" =~ s/#.*//r },
        'the other scheme' => { pseudo => { ':scheme' => 'https' } },
    );

    for my $name (sort keys %fine) {
        my %options = %{ $fine{$name} };
        my $path = delete $options{path} // $MAIL;

        is(outcome(connection()->ask('GET', $path, token => $grant,
                                     %options)),
           '200 ok', "P42 $name is nothing odd");
    }

    records();
}

sub the_admin_api {
    my $h2 = connection();
    my $token = token_of('engineer');
    my $filed = $h2->ask('POST', $REQUESTS, token => $token,
                         json => filing());

    is($filed->status, 201, 'a request is filed');

    my $uri = $filed->header('location');
    my $open = $h2->request('POST', "$uri/approve", open => 1,
                            token => token_of('manager'),
                            headers => { 'content-type' =>
                                         'application/json' });

    $h2->data($open, $_, 0) for split //, '{"version": 1}';
    $h2->data($open, '');
    is($h2->response($open)->json->{state}, 'awaiting_customer',
       '... and approved, bit by bit');
    is($h2->ask('GET', $uri, token => token_of('customer'))->json->{state},
       'awaiting_customer', '... and seen');
    is(outcome($h2->ask('GET', $uri)), '401 no_token',
       '... by those concerned');

    my $large = $h2->request('POST', $REQUESTS, open => 1, token => $token,
                             headers => { 'content-length' => 2_000_000 });

    is(outcome($h2->response($large)), '413 too_large',
       'nginx takes no large body, and says so like the API');
    is(outcome($h2->ask('GET', $uri, token => $token)), '200 ok',
       '... and goes on');
}
