#!/usr/bin/env perl

# Why: whatever HTTP carries a call, it is the same call or none.  Each wrong
# one gets its status and word, changes nothing and is recorded once; beside
# each stands what just passes.

use strict;
use warnings;

use Test::Lockbox;
use Test::Lockbox::Admin;
use Test::Lockbox::Calls;

my $LIMIT = 65536;

my $t = Test::Lockbox->new;

begin($t, server => <<'EOF_SERVER');
client_body_buffer_size 1k;
location /small/ { client_max_body_size 1k; lockbox_admin on; }
location /paged/ {
    client_max_body_size 1k;
    error_page 413 /page;
    lockbox_admin on;
}
location = /page { return 413 "A page."; }
EOF_SERVER

media_types();
sizes();
pieces();
methods();
places();
queries();
strangers();
browsers();

done_testing();


sub media_types {
    my $id = file();
    my @calls = ([ 'engineer', $REQUESTS, filing_text() ],
                 [ 'manager', uri($id, 'approve'), '{"version":1}' ],
                 [ 'engineer', uri($id, 'cancel'), '{}' ]);
    my @wrong = (undef, '', 'text/plain', 'text/json', 'application/jsonx',
                 'application/json-patch+json', 'application/jso',
                 'application/x-www-form-urlencoded', 'multipart/form-data',
                 'x application/json', 'application/json, text/plain');
    my @right = ($JSON_TYPE, 'application/json; charset=utf-8',
                 'application/json ;x=y', 'Application/JSON');

    for my $type (@wrong) {
        for my $call (@calls) {
            my ($who, $uri, $text) = @$call;

            refused((defined $type ? "\"$type\"" : 'no type') . ' (W17)',
                    '415 unsupported_media_type', sub {
                ask($who, 'POST', $uri, body => $text, headers =>
                    defined $type ? { 'Content-Type' => $type } : {});
            });
        }
    }

    for my $type (@right) {
        accepted("\"$type\"", sub {
            post_filing(filing_text(), headers => { 'Content-Type' => $type });
        });
    }

    redis('FLUSHALL');
}


sub chunked {
    my ($text, $size) = @_;

    return join '', map({ sprintf "%x\r\n%s\r\n", length $_, $_ }
                        unpack "(a$size)*", $text), "0\r\n\r\n";
}

sub sizes {
    my $padded = sub { filing_text() . ' ' x ($_[0] - length filing_text()) };
    my %chunked = (headers => { 'Transfer-Encoding' => 'chunked' });
    my $token = token_of('engineer');

    refused('64 kB and a byte', '413 too_large',
            sub { post_filing($padded->($LIMIT + 1)) });
    refused('... in chunks', '413 too_large', sub {
        post_filing(chunked($padded->($LIMIT + 1), 1000), %chunked);
    });
    refused('... only announced', '413 too_large', sub {
        $t->http_raw("POST $REQUESTS HTTP/1.1\r\nHost: localhost\r\n"
            . "Authorization: Bearer $token\r\nContent-Type: $JSON_TYPE\r\n"
            . 'Content-Length: ' . ($LIMIT + 1) . "\r\n\r\n");
    });

    for my $body ([ 'more than nginx takes', ' ' x 1_100_000 ],
                  [ '... in chunks', chunked(' ' x 1_100_000, 50_000),
                    %chunked ])
    {
        my ($name, $text, %how) = @$body;

        nginx_refuses($name, sub { post_filing($text, %how) });
    }

    nginx_refuses('more than is taken there, of a read', sub {
        ask('engineer', 'GET', '/small/v1/whoami', body => 'x' x 2000);
    });
    nginx_refuses('more than is taken there, of nobody', sub {
        $t->http('POST', $REQUESTS =~ s/lockbox/small/r, body => 'x' x 2000);
    });
    refused('... and less', '401 no_token', sub {
        $t->http('POST', $REQUESTS =~ s/lockbox/small/r, body => 'x' x 1000);
    });

    my $paged = $t->http('POST', '/paged/v1/whoami', body => 'x' x 2000);
    is($paged->status . ' ' . $paged->body, '413 A page.',
       'the operator\'s own page stays');

    accepted('64 kB', sub { post_filing($padded->($LIMIT)) });
    accepted('... in chunks', sub {
        post_filing(chunked($padded->($LIMIT), 1000), %chunked);
    });
    accepted('a body in chunks', sub {
        post_filing(chunked(filing_text(), 7), %chunked);
    });
    refused('an empty body in chunks', '400 invalid_json',
            sub { post_filing(chunked('', 7), %chunked) });

    my $id = file();
    accepted('... where none is needed', sub {
        post('engineer', uri($id, 'cancel'), chunked('', 7), %chunked);
    });

    redis('FLUSHALL');
}

# By client_max_body_size, whatever the call is and whoever makes it.
sub nginx_refuses {
    my ($name, $call) = @_;

    my $before = contents();
    records();

    my $response = $call->();

    is($response->status . ' ' . $response->json->{code}, '413 too_large',
       $name);
    is($response->header('content-type'), 'application/problem+json',
       '... in words that programs read');
    is($response->header('cache-control'), 'no-store', '... not to be kept');
    is($response->json->{status}, 413, '... all of them');
    eventually_recorded('too_large');
    is_deeply(contents(), $before, '... and changes nothing');
}

# nginx is not done with a request before it has thrown its body away.
sub eventually_recorded {
    my ($word) = @_;

    my @seen;
    $t->wait_for(sub { push @seen, records(); @seen }, undef, 'a record');
    is(join(', ', map { join ' ', @$_{qw(event.type event.reason
                                         http.response.status_code)} } @seen),
       "end $word 413", '... is recorded once');
}

# The worker has seen each piece before the next one is sent.
sub pieces {
    my $text = filing_text(justification => '"' . 'x' x 2000 . '"',
                           access => list_of(20, item()));

    cmp_ok(length $text, '>', 2048, 'more than the buffer takes');

    my $connection = $t->http_connect;
    $connection->request('POST', $REQUESTS, body => '', headers => {
        'Content-Type' => $JSON_TYPE, 'Content-Length' => length $text,
        Authorization => 'Bearer ' . token_of('engineer'),
    });

    for my $piece (unpack '(a700)*', $text) {
        settle();
        $connection->send($piece);
    }

    my $response = $connection->response;
    is($response->status, 201, 'a body in pieces');
    is(scalar @{ $response->json->{access} }, 20, '... is read whole');

    my %expecting = (
        'Content-Type' => $JSON_TYPE, 'Content-Length' => length $text,
        Expect => '100-continue',
    );

    $connection = $t->http_connect;
    $connection->request('POST', $REQUESTS, body => '', headers => {
        %expecting, Authorization => 'Bearer ' . token_of('engineer') });
    like($connection->read_until(qr/\r\n\r\n/), qr/^HTTP\/1.1 100 /,
         'a body that is asked for');
    $connection->send($text);
    is($connection->response->status, 201, '... comes');

    $connection = $t->http_connect;
    $connection->request('POST', $REQUESTS, body => '',
                         headers => \%expecting);
    like($connection->read_until(qr/\r\n\r\n/), qr/^HTTP\/1.1 401 /,
         'a body that is not wanted is not asked for');

    redis('FLUSHALL');
}


sub methods {
    my $id = file();
    my @wrong = (
        [ '/lockbox/v1/whoami', 'GET, HEAD', qw(POST PUT DELETE OPTIONS) ],
        [ '/lockbox/v1/jwks.json', 'GET, HEAD', qw(POST DELETE) ],
        [ '/lockbox/v1/requests', 'GET, HEAD', qw(POST PATCH) ],
        [ $REQUESTS, 'GET, HEAD, POST', qw(PUT DELETE PATCH OPTIONS) ],
        [ uri($id), 'GET, HEAD', qw(POST PUT DELETE PATCH X) ],
        map({ [ uri($id, $_), 'POST', qw(GET HEAD PUT DELETE OPTIONS) ] }
            qw(approve deny ask answer cancel complete revoke grant)),
    );

    for (@wrong) {
        my ($uri, $allow, @methods) = @$_;

        for my $method (@methods) {
            my $response = refused("$method $uri", '405 method_not_allowed',
                sub { ask('engineer', $method, $uri) });

            is($response->header('allow'), $allow, '... but for these');
        }
    }

    my $seen = ask('engineer', 'HEAD', uri($id));

    is($seen->status, 200, 'HEAD goes with GET');
    is($seen->header('content-length'),
       length ask('engineer', 'GET', uri($id))->body, '... without the body');

    redis('FLUSHALL');
}


sub places {
    my $id = file();
    my $upper = uc $id;
    my $version_4 = $id =~ s/^(.{14})7/${1}4/r;

    my @wrong = (
        map({ "/lockbox/$_" } '', 'v1', 'v1/', 'v2/whoami', 'V1/whoami',
            'whoami', 'v1/Whoami', 'v1/whoami/', 'v1/whoami/x', 'v1/whoam',
            'v1/whoamix', 'v1/jwks', 'v1/requests/', "v1/requests/$id",
            'v1/tenants', 'v1/tenants/', 'v1/tenants/acme',
            'v1/tenants/acme/', 'v1/tenants//requests'),
        map({ "/lockbox/v1/tenants/$_/requests" } 'ac%20me', 'acme%0a',
            'acme;x', 'acme,globex', 'acme:', '%7bacme%7d', 'a' x 65, '*',
            'acm%c3%a9', 'acme/acme'),
        map({ "$REQUESTS/$_" } '', $upper, $version_4, "$id/", "$id.json",
            "$id%20", "$id%0a", "$id;x", "{$id}", "%7b$id%7d", '*', 'x',
            substr($id, 1), "0$id", "$id/approve/", "$id/approvex",
            "$id/Approve", "$id/show", "$id/asks", "$id/sweep", "$id/due",
            "x/$id", "$id/$id"),
    );

    for my $uri (@wrong) {
        for my $method (qw(GET POST)) {
            refused("$method $uri", '404 not_found',
                    sub { ask('engineer', $method, $uri) });
        }
    }

    my %other = (
        'ACME' => 404, 'acme.' => 404, 'globex' => 404, 'acme' => 200,
    );

    for my $tenant (sort keys %other) {
        is(ask('engineer', 'GET', uri($id, undef, $tenant))->status,
           $other{$tenant}, "the request at $tenant");
    }

    my %filed_at = ('a' x 64 => 201, '.' => 404, '0._-Z' => 201);

    for my $tenant (sort keys %filed_at) {
        is(ask('engineer', 'POST', "/lockbox/v1/tenants/$tenant/requests",
               json => filing())->status,
           $filed_at{$tenant}, "a filing at $tenant");
    }

    redis('FLUSHALL');
}


sub queries {
    my @lists = ('/lockbox/v1/requests', $REQUESTS);
    my @wrong = (
        map({ [ limit => "limit=$_" ] } '', 0, 101, -1, '1.5', 'x', '0x10',
            '1%30', '99999999999999999999'),
        map({ [ state => "state=$_" ] } '', 'Approved', 'open', 'approved,',
            '%61pproved', ',approved', 'approved,approved', 'approved,open',
            'approved;denied', 'approved%20', 'approved,+denied'),
        map({ [ view => "view=$_" ] } '', 'all', 'Mine', 'mine,live',
            '%6dine'),
        map({ [ cursor => "cursor=$_" ] } '', 'x', '1.', '.1', '1.2', '-1',
            '1x', '%201', '1' x 17, '1' x 65),
        map({ my $name = $_; map { [ $name => "$name=$_" ] }
            '', 'now', '0', '2026-01-31', '2026-01-31T12:00:00',
            '2026-01-31T12:00:00+00:00', '2026-02-29T12:00:00Z',
            '1969-12-31T23:59:59Z', '10000-01-01T00:00:00Z' }
            qw(since until)),
        map({ my $name = $_; map { [ $name => "$name=$_&engineer=x" ] }
            '', 'a+b', '%00', '%0A', 'a' x 1025, '%c3', '%61', '%e2%82' }
            qw(engineer_iss)),
        map({ [ engineer => "engineer=$_" ] }
            '', 'a+b', '%00', '%0A', 'a' x 1025, '%c3', '%61', '%c2%85'),
        [ engineer_iss => 'engineer_iss=https://login.vendor.example' ],
        [ limit => 'limit=1&limit=1' ],
        [ state => 'state=denied&state=approved' ],
        [ view => 'view=mine&view=mine' ],
        [ engineer => 'engineer=a&engineer=a' ],
        [ since => 'since=2026-01-31T12:00:00Z&since=2026-01-31T12:00:00Z' ],
        [ cursor => 'cursor=1&cursor=1' ],
        [ tenant => 'tenant=acme&tenant=globex' ],
        [ tenant => 'tenant=acme&tenant=acme' ],
        map({ [ tenant => "tenant=$_" ] } '', '..', 'a%2Fb', 'acme,globex',
            'a' x 65),
        map({ [ $_ => "$_=1" ] } qw(page Limit access_token)),
        [ limit => 'limit' ],
    );

    for my $list (@lists) {
        for (@wrong) {
            my ($name, $query) = @$_;

            refused("$list?$query" . ($name eq 'tenant' ? ' (W13)' : ''),
                    "400 invalid_member $name",
                    sub { ask('manager', 'GET', "$list?$query") });
        }

        for my $query ('', 'limit=1', 'limit=100', 'state=needs_info',
                       'state=approved&limit=5&cursor=1',
                       'state=approved,denied', 'state=denied%2Capproved',
                       'cursor=' . '9' x 16,
                       map({ "view=$_" } qw(awaiting mine live history)),
                       map({ ("since=$_", "until=$_") }
                           '2026-01-31T12:00:00Z', '2026-01-31T12:00:00.123Z',
                           '2026-01-31T12%3A00%3A00%2B01:00',
                           '2024-02-29T12:00:00-23:59',
                           '1970-01-01T00:00:00Z', '9999-12-31T23:59:59Z'),
                       map({ ("engineer=$_", "engineer=x&engineer_iss=$_") }
                           'erin', 'a' x 1024, '%20', 'a%2Bb', '%e2%82%ac',
                           'https://login.vendor.example'),
                       'view=live&state=approved&engineer=erin&limit=7'
                       . '&since=2026-01-31T12:00:00Z&cursor=5'
                       . '&until=2025-01-31T12:00:00Z')
        {
            accepted("$list?$query",
                     sub { ask('manager', 'GET', "$list?$query") });
        }
    }

    accepted("tenant=$_",
             sub { ask('manager', 'GET', "/lockbox/v1/requests?tenant=$_") })
        for 'acme', 'a' x 64;
    refused('a tenant for a list that has one (W13)',
            '400 invalid_member tenant',
            sub { ask('manager', 'GET', "$REQUESTS?tenant=acme") });
}


# Whoever may not see a request learns nothing of it.
sub strangers {
    my $id = approved();
    my $none = Test::Lockbox::Conf::uuid7();
    my $saved = save_all();

    for my $who (qw(other-engineer other-customer roleless false-customer)) {
        for my $action (qw(show approve deny ask answer cancel complete
                           revoke grant)) {
            my @bodies = map {
                my $request = $_;
                refused("$who: $action of "
                        . ($request eq $id ? 'another\'s' : 'nothing')
                        . ' (W11)', '404 not_found', sub {
                    act($who, $action, $request,
                        $action =~ /approve|deny/ ? { version => 3 }
                        : $action =~ /ask|answer/
                            ? { version => 3, comment => '?' } : undef);
                })->body;
            } $id, $none;

            is($bodies[0], $bodies[1], '... reads the same');
        }
    }

    redis('FLUSHALL');
}


# What a browser can be made to send on its own (W17), and what it must not be
# told (W18).
sub browsers {
    my $token = token_of('engineer');
    my %other_site = (Origin => 'https://evil.example');

    refused('a cookie (W17)', '401 no_token', sub {
        $t->http('POST', $REQUESTS, json => filing(), headers => {
            %other_site, Cookie => "token=$token; Authorization=$token" });
    });
    refused('a parameter', '401 no_token', sub {
        $t->http('POST', "$REQUESTS?access_token=$token", json => filing());
    });
    is($t->http('POST', $REQUESTS, json => filing(), headers =>
                [ map { [ Authorization => "Bearer $token" ] } 1, 2 ])->status,
       400, 'two tokens');

    my @responses = (
        refused('a preflight (W18)', '405 method_not_allowed', sub {
            $t->http('OPTIONS', $REQUESTS, headers => {
                %other_site, 'Access-Control-Request-Method' => 'POST',
                'Access-Control-Request-Headers' => 'authorization' });
        }),
        accepted('a read from another origin', sub {
            ask('engineer', 'GET', $REQUESTS, headers => \%other_site);
        }),
    );

    unlike($_->head, qr/^Access-Control-/mi, '... allows no other origin')
        for @responses;
}
