#!/usr/bin/env perl

# Why: what comes in is read in one way or not at all.  Each wrong call gets
# its status, its word and the member that is wrong, changes nothing and is
# recorded once; beside each stands what just passes.

use strict;
use warnings;

use Test::Lockbox;
use Test::Lockbox::Admin;

my $JSON_TYPE = 'application/json';
my $LIMIT = 65536;

# Member => its JSON text: a filing and an access item that are right.
my @FILING = (
    justification => '"The inbox of acme does not open."',
    reason => '"customer_initiated_support"',
    duration => 3600,
    access => undef,
);
my @ITEM = (
    service => '"mail"', methods => '["GET"]',
    paths => '["/tenants/acme/mail/"]',
);

# No number of anything: what each integer has to refuse (W27).
my @NO_INTEGERS = ('1.5', '3600.0', '36e2', '"3600"', 'true', 'false', 'null',
                   '[]', '{}', '[3600]', '-1', '0');
my @NO_TEXTS = ('""', 'null', 'true', '1', '[]', '{}', '["x"]');

my $t = Test::Lockbox->new;

begin($t, server => 'client_body_buffer_size 1k;');

texts_that_are_no_json();
filings();
access_items();
decisions();
media_types();
sizes();
pieces();
methods();
places();
queries();
strangers();
browsers();
tickets();

done_testing();


# The JSON text of an object: the pairs, with the changes; undef leaves one
# out, and what is new comes last.
sub object {
    my ($pairs, %changes) = @_;

    my @members;

    for (my $i = 0; $i < @$pairs; $i += 2) {
        my ($name, $value) = @$pairs[$i, $i + 1];

        $value = delete $changes{$name} if exists $changes{$name};
        push @members, qq("$name":$value) if defined $value;
    }

    for my $name (grep { defined $changes{$_} } sort keys %changes) {
        push @members, qq("$name":$changes{$name});
    }

    return '{' . join(',', @members) . '}';
}

sub item {
    return object(\@ITEM, @_);
}

sub filing_text {
    my (%changes) = @_;

    return object(\@FILING, access => '[' . item() . ']', %changes);
}

# A list of so many JSON texts, each made of its number.
sub list_of {
    my ($count, $text) = @_;

    return '[' . join(',', map { $text =~ s/%d/$_/r } 1 .. $count) . ']';
}

sub post {
    my ($who, $uri, $text, %options) = @_;

    return ask($who, 'POST', $uri, body => $text,
               headers => { 'Content-Type' => $JSON_TYPE,
                            %{ $options{headers} // {} } });
}

sub post_filing {
    return post('engineer', $REQUESTS, @_);
}


# The call is refused like this, and nothing else comes of it.
sub refused {
    my ($name, $want, $call) = @_;

    my $before = contents();
    records();

    my $response = $call->();
    my $json = eval { $response->json } // {};
    my @records = records();

    is(join(' ', $response->status, grep { defined }
                                    @$json{qw(code member)}), $want, $name)
        if $response->body ne '';

    my ($status, $word) = split ' ', $want;
    my @seen = map {
        join ' ', @$_{qw(event.type event.reason http.response.status_code)}
    } @records;

    is("@seen", "end $word $status", '... is recorded once');
    is_deeply(contents(), $before, '... and changes nothing');

    return $response;
}

sub accepted {
    my ($name, $call) = @_;

    my $response = $call->();

    like($response->status, qr/^20[01]$/, $name)
        or diag $response->head, $response->body;

    return $response;
}


# One reading of a text, or none.
sub texts_that_are_no_json {
    my $good = filing_text();
    my $deep = sub { '{"a":' x $_[0] . 1 . '}' x $_[0] };
    my %texts = (
        'a member twice (W26)' => filing_text(reason => '"production_alert",'
                                              . '"reason":"production_alert"'),
        'a member twice, once escaped' => filing_text(
            duration => '60,"dur\u0061tion":3600'),
        'a member of an item twice' => filing_text(access => '['
            . item(service => '"mail","service":"mail"') . ']'),
        'something behind it' => "$good x",
        'another one behind it' => "$good$good",
        'a NUL behind it' => "$good\0",
        'an array' => "[$good]",
        'a text' => '"text"',
        'a number' => '1',
        'nothing' => 'null',
        'blanks' => "  \n",
        'half of one' => substr($good, 0, -1),
        'a BOM' => "\xef\xbb\xbf$good",
        'UTF-16' => join("\0", split //, $good) . "\0",
        'no UTF-8' => filing_text(justification => "\"no UTF-8: \xff\xfe\""),
        'overlong UTF-8' => filing_text(justification => "\"over: \xc0\xaf..\""),
        'half a surrogate pair' => filing_text(
            justification => '"half: \ud83d ....."'),
        'an escaped NUL' => filing_text(justification => '"NUL: \u0000 ......"'),
        'a raw control' => filing_text(justification => "\"control: \t .....\""),
        'a comment' => "/* x */ $good",
        'a comma too many' => filing_text(access => '[' . item() . ',]'),
        'single quotes' => $good =~ tr/"/'/r,
        'no quotes' => $good =~ s/"reason"/reason/r,
        'NaN' => filing_text(duration => 'NaN'),
        'infinity' => filing_text(duration => '1e400'),
        'two to the 63rd (W27)' => filing_text(
            duration => '9223372036854775808'),
        'a plus' => filing_text(duration => '+3600'),
        'a leading zero' => filing_text(duration => '03600'),
        'hexadecimal' => filing_text(duration => '0xe10'),
        'seventeen levels' => $deep->(17),
        'two thousand levels' => $deep->(2000),
    );

    for my $name (sort keys %texts) {
        refused("$name for JSON", '400 invalid_json',
                sub { post_filing($texts{$name}) });
    }

    refused('no body', '400 invalid_json',
            sub { ask('engineer', 'POST', $REQUESTS) });
    refused('sixteen levels are JSON', '400 invalid_member /a',
            sub { post_filing($deep->(16)) });
    accepted('blanks around JSON', sub { post_filing(" \r\n$good\t\n") });
    accepted('escapes in JSON', sub {
        post_filing(filing_text() =~ s/"reason"/"re\\u0061son"/r);
    });
    accepted('surrogate pairs in JSON', sub {
        post_filing(filing_text(justification => '"whole: \ud83d\ude00 ....."'));
    });
    redis('FLUSHALL');
}

sub filings {
    my @wrong = (
        map({ [ justification => $_ ] } @NO_TEXTS, undef, '"too short"',
            '"' . 'x' x 2001 . '"', '"' . "\xc3\xa9" x 2001 . '"',
            '"' . "\xf0\x9f\x98\x80" x 9 . '"', '"an escape: \u001b..."',
            '"a delete: \u007f..."', '"a tab: \t......"'),
        map({ [ reason => $_ ] } @NO_TEXTS, undef, '"because"',
            '"production_aler"', '"production_alert "', '"Production_alert"'),
        map({ [ duration => $_ ] } @NO_INTEGERS, undef, 59, 14401,
            '9223372036854775807'),
        map({ [ ticket => $_ ] } @NO_TEXTS, '"' . 'x' x 129 . '"',
            '"SR\u0007"', '"SR-1\nSR-2"'),
        map({ [ access => $_ ] } undef, 'null', '{}', '[]', '"mail"', 1,
            list_of(33, item())),
        map({ [ $_ => 1 ] } qw(Reason version id tenant engineer state),
            'not\u0069ng'),
        [ 'a/b~c' => 1, '/a~1b~0c' ],
    );
    my @right = (
        map({ [ justification => $_ ] } '"ten chars."', '"' . 'x' x 2000 . '"',
            '"' . "\xf0\x9f\x98\x80" x 10 . '"',
            '"' . "\xc3\xa9" x 2000 . '"', '"two lines:\n..."'),
        map({ [ reason => qq("$_") ] } qw(customer_initiated_support
            vendor_initiated_service vendor_initiated_review
            third_party_data_request production_alert)),
        map({ [ duration => $_ ] } 60, 14400),
        map({ [ ticket => $_ ] } undef, '"x"', '"' . "\xc3\xa9" x 128 . '"'),
        [ access => list_of(32, item()) ],
    );

    for (@wrong) {
        my ($name, $value, $member) = @$_;
        my $text = defined $value ? substr $value, 0, 30 : 'missing';

        $member //= '/' . $name =~ s/\\u0069/i/r;
        refused("$name $text", "400 invalid_member $member",
                sub { post_filing(filing_text($name => $value)) });
    }

    for (@right) {
        my ($name, $value) = @$_;
        my $text = defined $value ? substr $value, 0, 30 : 'missing';

        accepted("$name $text", sub {
            post_filing(filing_text($name => $value));
        });
    }

    redis('FLUSHALL');
}

sub access_items {
    my $letters = sub {
        return '[' . join(',', map { '"' . chr(64 + $_) . '"' } 1 .. $_[0])
               . ']';
    };
    my @wrong = (
        map({ [ service => $_ ] } @NO_TEXTS, undef, '"Mail"', '"-mail"',
            '".mail"', '"ma il"', '"mail/"', '"' . 'x' x 65 . '"'),
        map({ [ methods => $_ ] } undef, 'null', '{}', '"GET"', '[]', 1,
            $letters->(17)),
        map({ [ methods => qq([$_]), '/0' ] } '"get"', '"Get"', '"HEAD"',
            '"CONNECT"', '"TRACE"', '""', 1, 'null', '["GET"]', '"GET "',
            '"G3T"', '"*"', '"' . 'X' x 33 . '"'),
        [ methods => '["GET","POST","GET"]', '/2' ],
        map({ [ paths => $_ ] } undef, 'null', '{}', '"/"', '[]', 1,
            list_of(17, '"/%d"')),
        map({ [ paths => qq(["$_"]), '/0' ] } '', 'a', 'a/b', './a', '/a//b',
            '//a', '/.', '/..', '/a/../b', '/a/./b', '/a/..', '/a%2fb', '/a%',
            '/%61', '/a;b', '/a;', '/a\\\\b', '/a?b', '/a#b', '/a\u000ab',
            '/a\u007f', '/\u2025/b', '/\uff0fb', '/\uff0e\uff0e/b',
            '/' . 'x' x 1024),
        [ paths => '[1]', '/0' ], [ paths => '["/a",null]', '/1' ],
        [ paths => '["/a","/b","/a"]', '/2' ],
        map({ [ labels => $_ ] } 'null', '{}', '"secret"', 1,
            list_of(17, '"l%d"')),
        map({ [ labels => qq([$_]), '/0' ] } '""', '"Secret"', '"-a"', '"a b"',
            1, 'null', '"' . 'x' x 65 . '"'),
        [ labels => '["a","b","a"]', '/2' ],
        map({ [ $_ => '"lockbox"' ] } qw(type colour Service)),
    );
    my @right = (
        [ service => '"' . 'x' x 64 . '"' ], [ service => '"0.a_b-c"' ],
        [ methods => $letters->(16) ], [ methods => '["M-SEARCH","A_B"]' ],
        map({ [ paths => $_ ] } list_of(16, '"/%d"'), '["/"]',
            '["/a..b/.../c d/\u20ac/\u540d"]', '["/' . 'x' x 1023 . '"]'),
        map({ [ labels => $_ ] } undef, '[]', list_of(16, '"l%d"'),
            '["' . 'x' x 64 . '"]'),
    );

    for (@wrong) {
        my ($name, $value, $at) = @$_;
        my $text = defined $value ? substr $value, 0, 30 : 'missing';
        my $access = '[' . item() . ',' . item($name => $value) . ']';

        refused("$name $text of an item", '400 invalid_member /access/1/'
                . "$name" . ($at // ''),
                sub { post_filing(filing_text(access => $access)) });
    }

    for my $value (qw(null 1 "mail" [] true)) {
        my $access = '[' . item() . ",$value]";

        refused("$value for an item", '400 invalid_member /access/1',
                sub { post_filing(filing_text(access => $access)) });
    }

    for (@right) {
        my ($name, $value) = @$_;
        my $text = defined $value ? substr $value, 0, 30 : 'missing';
        my $access = '[' . item($name => $value) . ']';

        accepted("$name $text of an item", sub {
            post_filing(filing_text(access => $access));
        });
    }

    redis('FLUSHALL');
}


sub decisions {
    my $id = file();
    my $live = approved();
    my $saved = save_all();
    my %request = (approve => $id, deny => $id, cancel => $id,
                   complete => $live, revoke => $live, grant => $live);
    my %who = (approve => 'manager', deny => 'manager', cancel => 'engineer',
               complete => 'engineer', revoke => 'customer',
               grant => 'engineer');
    my $step = sub {
        my ($action, $text) = @_;
        return sub {
            post($who{$action}, uri($request{$action}, $action), $text);
        };
    };
    my $is_wrong = sub {
        my ($action, $name, $value, $member) = @_;

        my $text = object($action eq 'grant' ? []
                          : [ version => $request{$action} eq $id ? 1 : 3 ],
                          $name => $value);
        my $shown = defined $value ? substr $value, 0, 30 : 'missing';

        refused("$action: $name $shown",
                '400 invalid_member ' . ($member // "/$name"),
                $step->($action, $text));
    };

    for my $action (sort keys %who) {
        refused("$action with no object", '400 invalid_json',
                $step->($action, '[]'));
        $is_wrong->($action, qw(reason 1));

        next if $action eq 'grant';

        $is_wrong->($action, 'version', $_) for @NO_INTEGERS;
        $is_wrong->($action, 'comment', $_)
            for @NO_TEXTS, '"' . 'x' x 2001 . '"', '"\u0007"', '"\u007f"';

        next if $action eq 'approve';

        $is_wrong->($action, 'duration', 60);
        $is_wrong->($action, 'access', '[' . item() . ']');
    }

    for my $action (qw(approve deny)) {
        $is_wrong->($action, 'version', undef);
        refused("$action without a body", '400 invalid_json', sub {
            ask($who{$action}, 'POST', uri($id, $action));
        });
    }

    $is_wrong->('grant', 'version', 3);
    $is_wrong->('approve', 'duration', $_) for @NO_INTEGERS, 59;
    $is_wrong->('approve', 'duration', $_) for 3601, '9223372036854775807';
    $is_wrong->('approve', 'access', $_) for 'null', '[]', '{}', '"mail"', 1;
    $is_wrong->('approve', 'access', '[' . item(paths => '["a"]') . ']',
                '/access/0/paths/0');

    for my $wider ([ service => '"files"' ], [ methods => '["DELETE"]' ],
                   [ paths => '["/"]' ], [ paths => '["/tenants/acme/"]' ],
                   [ paths => '["/tenants/acme/mail"]' ],
                   [ paths => '["/tenants/acme/mail/a","/tenants/acme/m"]' ],
                   [ labels => '["secret"]' ])
    {
        $is_wrong->('approve', 'access', '[' . item() . ',' . item(@$wider)
                    . ']', '/access (W20)' =~ s/ .*//r);
    }

    for my $action (sort keys %who) {
        my @right = $action eq 'grant' ? ('{}')
            : $action =~ /approve|deny/
                ? ('{"version":1,"comment":"' . 'x' x 2000 . '"}')
                : ('{}', '{"comment":"one\ntwo"}',
                   '{"version":' . ($request{$action} eq $id ? 1 : 3) . '}');

        for my $text (@right) {
            accepted("$action: " . substr($text, 0, 40),
                     $step->($action, $text));
            load_all($saved);
        }

        next if $action =~ /approve|deny/;

        accepted("$action without a body", sub {
            ask($who{$action}, 'POST', uri($request{$action}, $action));
        });
        load_all($saved);
    }

    redis('FLUSHALL');
}


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

        records();
        is(post_filing($text, %how)->status, 413, $name);
        is_deeply([ map { $_->{'event.reason'} } records() ],
                  ['not_decided'], '... is recorded, too');
    }

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
            qw(approve deny cancel complete revoke grant)),
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
            "$id/Approve", "$id/show", "$id/ask", "$id/sweep", "$id/due",
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
            '%61pproved'),
        map({ [ cursor => "cursor=$_" ] } '', 'x', '1', '1.', '.1', '1.2.3',
            '-1.0', '1.0x', '1' x 16 . '.0', '1.' . '1' x 10, '1' x 65),
        [ limit => 'limit=1&limit=1' ],
        [ state => 'state=denied&state=approved' ],
        [ cursor => 'cursor=1.0&cursor=1.0' ],
        [ tenant => 'tenant=acme' ],
        [ tenant => 'tenant=acme&tenant=globex' ],
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
                       'state=approved&limit=5&cursor=1.0')
        {
            accepted("$list?$query",
                     sub { ask('manager', 'GET', "$list?$query") });
        }
    }
}


# Whoever may not see a request learns nothing of it.
sub strangers {
    my $id = approved();
    my $none = Test::Lockbox::Conf::uuid7();
    my $saved = save_all();

    for my $who (qw(other-engineer other-customer roleless false-customer)) {
        for my $action (qw(show approve deny cancel complete revoke grant)) {
            my @bodies = map {
                my $request = $_;
                refused("$who: $action of "
                        . ($request eq $id ? 'another\'s' : 'nothing')
                        . ' (W11)', '404 not_found', sub {
                    act($who, $action, $request,
                        $action =~ /approve|deny/ ? { version => 3 } : undef);
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


sub tickets {
    $t->write_conf($t->conf(directives => {
        lockbox_ticket_pattern => '"^SR-[0-9]{4,6}$"',
    }));
    $t->reload;

    for my $ticket (undef, @NO_TEXTS, '"SR-47"', '"sr-4711"', '"XSR-4711"',
                    '"SR-4711 "', '"SR-4711\n"', '"x\nSR-4711"')
    {
        refused('ticket ' . ($ticket // 'missing') . ' where it has a form',
                '400 invalid_member /ticket',
                sub { post_filing(filing_text(ticket => $ticket)) });
    }

    is(accepted('ticket SR-4711', sub {
        post_filing(filing_text(ticket => '"SR-4711"'));
    })->json->{ticket}, 'SR-4711', '... is shown');
}
