#!/usr/bin/perl

# Why: behind a switched protocol nobody looks at methods and paths any more.
# So it takes a grant that says so, whatever it is that is switched to, and
# whoever has asked for it.

use strict;
use warnings;

use Test::Lockbox;
use Test::Lockbox::Admin;
use Test::Lockbox::Http2;
use Test::Lockbox::Refusal;

my $t = Test::Lockbox->new;

# What lets a client switch, and what does without being asked.
my $ASKED = <<'EOF_HEADERS';
proxy_set_header  Upgrade $http_upgrade;
proxy_set_header  Connection upgrade;
EOF_HEADERS
my $CONSTANT = $ASKED =~ s/\$http_upgrade/websocket/r;

my $CHAT = '/tenants/acme/chat/switch';

# A gated location of that service.
sub gated {
    my ($service, $more) = @_;

    return <<"EOF_LOCATION";
location /tenants/acme/$service/ {
    lockbox            on;
    lockbox_tenant     acme;
    lockbox_service    $service;
    proxy_http_version 1.1;
    $more
    proxy_pass         http://127.0.0.1:%%PORT_8081%%;
}
EOF_LOCATION
}

$t->write_file('page.html',
               '<!--# include virtual="/tenants/acme/chat/switch" -->');
$t->redis;
$t->upstream(handler => \&answer);
$t->write_conf($t->conf(
    server => 'listen 127.0.0.1:%%PORT_8443%% http2;',
    locations => join '', gated('chat', $ASKED), gated('constant', $CONSTANT),
        gated('files', ''),
        "location /beyond/ { internal; proxy_http_version 1.1; $CONSTANT"
        . 'proxy_pass http://127.0.0.1:%%PORT_8081%%; }',
        'location = /page.html { root %%TESTDIR%%; ssi on; }',
        "location /masked/ { error_page 404 =200 $CHAT; return 404; }",
        'location /lockbox/ { lockbox_admin on; }'));
$t->run;
use_world($t);

my @HELP = qw(asked granted request);
my $CONSTANTLY = '/tenants/acme/constant/switch';

my $plain = grant('GET');
my $switching = grant('GET', 'UPGRADE');

a_conversation();
refused_without();
what_is_offered();
any_value();
methods();
two_items();
asked_by_the_configuration();
subrequests();
http2();

done_testing;


sub grant {
    return items([ @_ ]);
}

# A grant with an item for each list of methods.
sub items {
    return $t->grant(access => [ map { my $methods = $_; map { {
        service => $_, methods => $methods, paths => [ "/tenants/acme/$_/" ],
    } } qw(chat constant files) } @_ ]);
}

# Switches at ".../switch", and says everything in upper case from then on.
sub answer {
    my ($request, $client) = @_;

    return [ 200, { 'X-Accel-Redirect' => '/beyond/switch' }, '' ]
        if $request->{uri} =~ /accel$/;
    return Test::Lockbox::Upstream::echo($request)
        if $request->{uri} !~ /switch$/;

    my $log = $t->testdir . '/switched.log';

    print {$client} "HTTP/1.1 101 Switching Protocols\r\n",
        "Upgrade: websocket\r\nConnection: upgrade\r\n\r\nwelcome;";
    $client->flush;

    while (sysread $client, my $bytes, 100) {
        Test::Lockbox::Upstream::append($log, "said $bytes\n");
        syswrite $client, uc $bytes;
    }

    Test::Lockbox::Upstream::append($log, "ended\n");

    return;
}

# How often a switched connection has ended at the tenant API.
sub ends {
    return 0 unless $t->has_file('switched.log');
    return () = $t->read_file('switched.log') =~ /^ended$/mg;
}

sub seen {
    return scalar(() = $t->upstream_requests);
}

sub request {
    my ($method, $uri, $grant, @headers) = @_;

    return $t->http_start($method, $uri, token => $grant,
                          headers => [ [ 'Connection', 'close, upgrade' ],
                                       @headers ]);
}

sub websocket {
    my ($uri, $grant) = @_;

    return request('GET', $uri, $grant, [ 'Upgrade', 'websocket' ]);
}


sub a_conversation {
    my $client = websocket($CHAT, $switching);
    my $head = $client->head;

    is($head->status, 101, 'switched');
    is($head->header('upgrade'), 'websocket', '... to what was asked for');
    like($head->header('lockbox-expires'), qr/^\d{4}-.*Z$/,
         '... and for how long');
    is($client->read_until(qr/;/), 'welcome;', 'the tenant API speaks');

    for my $word ('hello;', "\0\x81\x05bytes;", 'good bye;') {
        $client->send($word);
        is($client->read_until(qr/;/), uc $word, '... and answers');
    }

    my ($intent, @more) = records();

    is_deeply([ record_words($intent, @more) ], [ 'start access' ],
              'the intent is on record while it lasts');
    is_deeply($intent->{'lockbox.methods'}, [ 'GET', 'UPGRADE' ],
              '... with what was let through');

    $client->close;
    $t->wait_for(sub { ends() == 1 }, undef, 'the tenant API to be left');

    my @records;

    $t->wait_for(sub { push @records, records(); @records }, undef,
                 'the outcome');
    is_deeply([ record_words(@records) ], [ 'end access allow' ],
              'the outcome is on record in the end');
    is_deeply([ @{ $records[0] }{qw(http.request.method lockbox.methods
                                    http.response.status_code)} ],
              [ 'GET', [ 'GET', 'UPGRADE' ], 101 ], '... and what it was');

    let_through($t->http('GET', '/tenants/acme/chat/x', token => $switching),
                'who may switch need not');
    my ($record) = records();
    is($record->{'lockbox.methods'}, undef, '... and the record says so');
}

sub refused_without {
    my $before = $t->upstream_connections;
    my $refused = websocket($CHAT, $plain)->response;

    refused($refused, 'wrong_method', 'a grant that says nothing of it',
            @HELP);
    is_deeply($refused->json->{asked}, {
        tenant => 'acme', service => 'chat', path => $CHAT, labels => [],
        method => 'GET', methods => [ 'GET', 'UPGRADE' ],
    }, '... with what was asked');
    is_deeply($refused->json->{request}{access}[0]{methods},
              [ 'GET', 'UPGRADE' ], '... and what is to be requested');

    my @records = records();

    is_deeply([ record_words(@records) ], [ 'end access wrong_method' ],
              '... once on record');
    is_deeply($records[0]{'lockbox.methods'}, [ 'GET', 'UPGRADE' ],
              '... with what was refused');
    is($t->upstream_connections, $before, '... and the tenant API saw nothing');
}

# The way from the refusal to a grant.
sub what_is_offered {
    my $body = websocket($CHAT, $plain)->response->json->{request};

    $body->{justification} = 'The customer has asked for help.';

    my $filed = ask('engineer', 'POST', $REQUESTS, json => $body);
    is($filed->status, 201, 'what is offered can be filed');

    my $id = $filed->json->{id};
    approve($_, $id) for qw(manager customer);

    my $client = websocket($CHAT, collect($id));

    is($client->head->status, 101, '... and opens');
    is($client->read_until(qr/;/), 'welcome;', '... what it says');
    $client->close;
    $t->wait_for(sub { ends() == 2 }, undef, 'the tenant API to be left');

    my $bad = filing(access => [ { %{ $body->{access}[0] },
                                   methods => [ 'GET', 'upgrade' ] } ]);

    is(ask('engineer', 'POST', $REQUESTS, json => $bad)->json->{member},
       '/access/0/methods/1', 'it is written in upper case');
}

# At a service that never switches, so that what is let through is answered.
sub any_value {
    my $uri = '/tenants/acme/files/x';

    records();

    for my $case (
        [ 'another protocol', [ 'Upgrade', 'h2c' ] ],
        [ 'a list', [ 'Upgrade', 'websocket, foo/1' ] ],
        [ 'a field twice', [ 'Upgrade', 'a' ], [ 'Upgrade', 'b' ] ],
        [ 'nothing', [ 'Upgrade', '' ] ],
        [ 'another case', [ 'uPGRADE', 'websocket' ] ],
        [ 'a word', [ 'Upgrade', 'no' ] ],
    ) {
        my ($name, @headers) = @$case;
        my $before = seen();

        refused(request('GET', $uri, $plain, @headers)->response,
                'wrong_method', "$name", @HELP);
        is(seen(), $before, "$name: the tenant API saw nothing");
        let_through(request('GET', $uri, $switching, @headers)->response,
                    "$name, with a grant for it");
        recorded([ 'wrong_method', 'allow' ], "$name: on record");
    }

    let_through($t->http('GET', $uri, token => $plain,
                         headers => { Connection => 'upgrade' }),
                'a Connection field alone asks for nothing');
    refused($t->http_raw("GET $uri HTTP/1.0\r\nUpgrade: a\r\n"
                         . "Authorization: Bearer $plain\r\n\r\n"),
            'wrong_method', 'HTTP/1.0', @HELP);
    records();
}

# The request's own method is needed besides.
sub methods {
    my $uri = '/tenants/acme/files/x';
    my @websocket = [ 'Upgrade', 'websocket' ];

    for my $case (
        # the item's methods, the request's, the word
        [ [ 'GET', 'UPGRADE' ], 'POST', 'wrong_method' ],
        [ [ 'POST', 'UPGRADE' ], 'POST', 'allow' ],
        [ [ 'POST', 'UPGRADE' ], 'GET', 'wrong_method' ],
        [ [ 'UPGRADE' ], 'GET', 'wrong_method' ],
        [ [ 'GET', 'UPGRADE' ], 'UPGRADE', 'wrong_method' ],
        [ [ 'UPGRADE' ], 'UPGRADE', 'wrong_method' ],
        [ [ 'GET', 'POST' ], 'POST', 'wrong_method' ],
    ) {
        my ($methods, $method, $word) = @$case;
        my $name = "@$methods for $method";
        my $got = request($method, $uri, grant(@$methods),
                          @websocket)->response;

        if ($word eq 'allow') {
            let_through($got, $name);
        } else {
            refused($got, $word, $name, @HELP);
        }

        recorded([ $word ], "$name: on record");
    }

    for my $methods ([ 'GET', 'UPGRADE' ], [ 'UPGRADE' ]) {
        refused(request('UPGRADE', $uri, grant(@$methods))->response,
                'wrong_method', "@$methods for UPGRADE without the field",
                @HELP);
    }

    for my $case ([ 200, 'GET', 'UPGRADE' ], [ 403, 'GET' ],
                  [ 403, 'POST', 'UPGRADE' ])
    {
        my ($status, @methods) = @$case;

        is(request('HEAD', $uri, grant(@methods),
                   @websocket)->response->status,
           $status, "@methods for HEAD");
    }

    records();
}

# One item must name both, not two of them together.
sub two_items {
    my @request = ('GET', '/tenants/acme/files/x');
    my @websocket = [ 'Upgrade', 'websocket' ];

    refused(request(@request, items([ 'GET' ], [ 'UPGRADE' ]),
                    @websocket)->response, 'wrong_method', 'two items', @HELP);
    let_through(request(@request, items([ 'POST' ], [ 'GET', 'UPGRADE' ]),
                        @websocket)->response, 'one of two items');
    recorded([ 'wrong_method', 'allow' ], 'on record');
}

# It is the grant that has to allow it, not the configuration.
sub asked_by_the_configuration {
    my $led = '/tenants/acme/chat/accel';

    for my $case ([ 'without UPGRADE', $plain, $CONSTANTLY ],
                  [ 'with UPGRADE, unasked', $switching, $CONSTANTLY ],
                  [ 'where it was led to', $plain, $led ],
                  [ 'where it was led to, unasked', $switching, $led ])
    {
        my ($name, $grant, $uri) = @$case;
        my $before = ends();
        my $client = $t->http_connect->request('GET', $uri, token => $grant);
        my $stopped = $client->response;

        refused($stopped, 'internal_error', "a constant field, $name");
        unlike($stopped->head, qr/upgrade/i, '... and nothing is switched');
        is($client->read_all, '', '... and nothing comes behind it');
        $t->wait_for(sub { ends() == $before + 1 }, undef,
                     'the tenant API to be left');
        recorded([ 'internal_error' ], '... on record');
    }

    like($t->read_file('error.log'),
         qr/\[error\].* lockbox: .* must not switch protocols/,
         'the error log says why');

    for my $uri ($CONSTANTLY, $led) {
        my $client = websocket($uri, $switching);

        is($client->head->status, 101, "$uri, asked for and granted");
        is($client->read_until(qr/;/), 'welcome;', '... is switched');
        $client->close;
        $t->wait_for(sub { grep { ($_->{'event.reason'} // '') eq 'allow' }
                           records() }, undef, 'the outcome');
    }

    my $before = seen();

    refused(websocket($CONSTANTLY, $plain)->response, 'wrong_method',
            'asked for and not granted', @HELP);
    is(seen(), $before, '... the tenant API saw nothing');
    records();
}

# They ask with the fields of the client, and have no connection to switch.  A
# part that fails so late takes the whole page with it.
sub subrequests {
    my $before = ends();

    for my $case ([ $plain, 'wrong_method' ],
                  [ $switching, 'internal_error' ])
    {
        my ($grant, $word) = @$case;
        my $page = request('GET', '/page.html', $grant,
                           [ 'Upgrade', 'websocket' ])->read_all;

        unlike($page, qr/welcome|HTTP.* 101/, 'a page has no part that '
               . 'switches');
        recorded([ $word ], '... on record');
    }

    $t->wait_for(sub { ends() == $before + 1 }, undef,
                 'the tenant API to be left');
}

# A stream has no connection of its own either.  Later versions of nginx
# refuse the field themselves.
sub http2 {
    my $before = seen();

    for my $case ([ $plain, qr/^(?:403 wrong_method|400 .*)$/ ],
                  [ $switching, qr/^(?:503 internal_error|400 .*)$/ ])
    {
        my ($grant, $outcome) = @$case;
        my $h2 = Test::Lockbox::Http2->new($t->port(8443));
        my $got = $h2->ask('GET', $CHAT, token => $grant,
                           headers => { upgrade => 'websocket' });

        like($got->status . ' ' . (eval { $got->json->{code} } // ''),
             $outcome, 'a field of HTTP/2');
        is(seen(), $before, '... the tenant API saw nothing')
            if $grant eq $plain;
        is($h2->ask('GET', '/tenants/acme/chat/x', token => $plain)->status,
           200, '... and the connection goes on');
        $h2->close;
        $before = seen();
    }

    # a switch whose status was replaced is one all the same

    my $h2 = Test::Lockbox::Http2->new($t->port(8443));

    like($h2->ask('GET', '/masked/', token => $switching,
                  headers => { upgrade => 'websocket' })->status,
         qr/^(?:503|400)$/, 'a hidden switch');
    is($h2->ask('GET', '/tenants/acme/chat/x', token => $plain)->status, 200,
       '... and the connection goes on');
    $h2->close;
}
