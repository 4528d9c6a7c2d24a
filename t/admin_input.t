#!/usr/bin/env perl

# Why: what comes in is read in one way or not at all.  Each wrong body gets
# its status, its word and the member that is wrong, changes nothing and is
# recorded once; beside each stands what just passes.

use strict;
use warnings;

use Test::Lockbox;
use Test::Lockbox::Admin;
use Test::Lockbox::Calls;

# No number of anything: what each integer has to refuse (W27).
my @NO_INTEGERS = ('1.5', '3600.0', '36e2', '"3600"', 'true', 'false', 'null',
                   '[]', '{}', '[3600]', '-1', '0');
my @NO_TEXTS = ('""', 'null', 'true', '1', '[]', '{}', '["x"]');

my $t = Test::Lockbox->new;

begin($t);

texts_that_are_no_json();
filings();
access_items();
decisions();
parameters();
tickets();

done_testing();


# The beginning of a value, for the name of a test.
sub shown {
    my ($value) = @_;

    return defined $value ? substr($value, 0, 30) =~ s/[^ -~]/?/gr : 'missing';
}


# One reading of a text, or none.
sub texts_that_are_no_json {
    my $good = filing_text();
    my $deep = sub { '{"a":' x $_[0] . 1 . '}' x $_[0] };
    my %texts = (
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
        'overlong UTF-8' => filing_text(
            justification => "\"overlong: \xc0\xaf..\""),
        'half a surrogate pair' => filing_text(
            justification => '"half: \ud83d ....."'),
        'an escaped NUL' => filing_text(
            justification => '"NUL: \u0000 ......"'),
        'a raw control' => filing_text(
            justification => "\"control: \t .....\""),
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

    members_twice();
    refused('no body', '400 invalid_json',
            sub { ask('engineer', 'POST', $REQUESTS) });
    refused('sixteen levels are JSON', '400 invalid_member /a',
            sub { post_filing($deep->(16)) });
    accepted('blanks around JSON', sub { post_filing(" \r\n$good\t\n") });
    accepted('escapes in JSON', sub {
        post_filing(filing_text() =~ s/"reason"/"re\\u0061son"/r);
    });
    accepted('surrogate pairs in JSON', sub {
        post_filing(filing_text(
            justification => '"whole: \ud83d\ude00 ....."'));
    });
    redis('FLUSHALL');
}

# Which one is said, wherever it is; the twins differ in that name alone.
sub members_twice {
    my $good = filing_text();
    my $nested = sub {
        my ($name) = @_;
        return qq({"a":{"b/c":[0,[],{"d~e":1,"$name":2}]}});
    };

    for ([ '/reason', filing_text(reason => '"production_alert",'
                                  . '"reason":"production_alert"') ],
         [ '/duration', filing_text(
            duration => '60,"dur\u0061tion":3600') ],
         [ '/access/0/service', filing_text(access => '['
            . item(service => '"mail","service":"mail"') . ']') ],
         [ '/access/1/paths', filing_text(access => '[' . item() . ','
            . item(paths => '["/a"],"paths":["/a"]') . ']') ],
         [ '/a/b~1c/2/d~0e', $nested->('d~e') ],
         [ '/reason', substr($good, 0, -1) . ',"reason":"x"' ])
    {
        my ($member, $text) = @$_;
        my $response = refused("$member twice (W26)",
                               "400 invalid_json $member",
                               sub { post_filing($text) });

        is($response->json->{detail}, 'The member is there twice.',
           '... which says so');
    }

    refused('another beside it', '400 invalid_member /a',
            sub { post_filing($nested->('d/e')) });
    refused('a member of items once each', '400 invalid_member /access/1/d',
            sub { post_filing(filing_text(access =>
                      '[' . item() . ',' . item(d => 1) . ']')) });

    my $response = refused('no JSON for another reason', '400 invalid_json',
                           sub { post_filing("$good$good") });

    unlike($response->json->{detail}, qr/twice/, '... says nothing of that');
}

sub filings {
    my @wrong = (
        map({ [ justification => $_ ] } @NO_TEXTS, undef, '"too short"',
            '"' . 'x' x 2001 . '"', '"' . "\xc3\xa9" x 2001 . '"',
            '"' . "\xf0\x9f\x98\x80" x 9 . '"', '"an escape: \u001b..."',
            '"a delete: \u007f..."', '"a tab: \t......"', '"          "'),
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

    # nobody files for another one (W03)
    push @wrong, map { [ $_ => '"emil"' ] }
                     qw(beneficiary on_behalf_of engineer_sub sub);
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
        my $text = shown($value);

        $member //= '/' . $name =~ s/\\u0069/i/r;
        my $case = $text eq '"emil"' ? ' (W03)' : '';

        refused("$name $text$case", "400 invalid_member $member",
                sub { post_filing(filing_text($name => $value)) });
    }

    for (@right) {
        my ($name, $value) = @$_;
        my $text = shown($value);

        accepted("$name $text", sub {
            post_filing(filing_text($name => $value));
        });
    }

    # kept as it came, and handed out as nothing but JSON
    my $script = '<script>alert(1)</script> "><img onerror=x>';
    my $response = ask('engineer', 'POST', $REQUESTS,
                       json => filing(justification => $script));

    is($response->json->{justification}, $script, 'a script (W28)');
    is($response->header('content-type'), $JSON_TYPE, '... is a text');

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
        my $text = shown($value);
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
        my $text = shown($value);
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
    my $asked = file();
    took('manager', 'ask', $asked, version => 1, comment => 'Which one?');
    my $saved = save_all();
    my %request = (approve => $id, deny => $id, ask => $id, answer => $asked,
                   cancel => $id, complete => $live, revoke => $live,
                   grant => $live);
    my %version = ($id => 1, $live => 3, $asked => 2);
    my %who = (approve => 'manager', deny => 'manager', ask => 'manager',
               answer => 'engineer', cancel => 'engineer',
               complete => 'engineer', revoke => 'customer',
               grant => 'engineer');
    my %comment = (ask => 1, answer => 1);
    my $step = sub {
        my ($action, $text) = @_;
        return sub {
            post($who{$action}, uri($request{$action}, $action), $text);
        };
    };
    my $is_wrong = sub {
        my ($action, $name, $value, $member) = @_;

        my $text = object($action eq 'grant' ? []
                          : [ version => $version{ $request{$action} },
                              $comment{$action} ? (comment => '"Why?"') : () ],
                          $name => $value);

        refused("$action: $name " . shown($value),
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

        $is_wrong->($action, 'comment', undef) if $comment{$action};

        next if $action eq 'approve';

        $is_wrong->($action, 'duration', 60);
        $is_wrong->($action, 'access', '[' . item() . ']');
    }

    for my $action (qw(approve deny ask answer)) {
        $is_wrong->($action, 'version', undef) if $action ne 'answer';
        refused("$action without a body", '400 invalid_json', sub {
            ask($who{$action}, 'POST', uri($request{$action}, $action));
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
        $is_wrong->('approve', 'access',
                    '[' . item() . ',' . item(@$wider) . ']');
    }

    for my $action (sort keys %who) {
        my @right = $action eq 'grant' ? ('{}')
            : $action =~ /approve|deny|ask/
                ? ('{"version":1,"comment":"' . 'x' x 2000 . '"}')
            : $action eq 'answer'
                ? ('{"comment":"one\ntwo"}', '{"version":2,"comment":"x"}')
                : ('{}', '{"comment":"one\ntwo"}',
                   '{"version":' . $version{ $request{$action} } . '}');

        for my $text (@right) {
            accepted("$action: " . substr($text, 0, 40),
                     $step->($action, $text));
            load_all($saved);
        }

        next if $action =~ /approve|deny|ask|answer/;

        accepted("$action without a body", sub {
            ask($who{$action}, 'POST', uri($request{$action}, $action));
        });
        load_all($saved);
    }

    redis('FLUSHALL');
}


# Calls that take no parameter, each with who may make it and what of.
sub calls {
    my ($id, $asked, $live) = @_;

    my $policy = '/lockbox/v1/tenants/acme/policy';

    return (
        [ 'nobody', 'GET', '/lockbox/v1/jwks.json' ],
        [ 'nobody', 'GET', '/lockbox/v1/openapi.json' ],
        [ 'engineer', 'GET', '/lockbox/v1/whoami' ],
        [ 'engineer', 'HEAD', '/lockbox/v1/whoami' ],
        [ 'manager', 'GET', uri($id) ],
        [ 'manager', 'HEAD', uri($id) ],
        [ 'customer', 'GET', $policy ],
        [ 'customer', 'PUT', $policy, '{"version":0,"policy":{}}' ],
        [ 'engineer', 'POST', $REQUESTS, filing_text() ],
        map({ [ 'manager', 'POST', uri($id, $_),
                '{"version":1,"comment":"Why?"}' ] } qw(approve deny ask)),
        [ 'engineer', 'POST', uri($asked, 'answer'), '{"comment":"So."}' ],
        [ 'engineer', 'POST', uri($asked, 'cancel') ],
        [ 'engineer', 'POST', uri($live, 'complete') ],
        [ 'customer', 'POST', uri($live, 'revoke') ],
        [ 'engineer', 'POST', uri($live, 'grant') ],
    );
}

# What a call does not know it does not pass over.
sub parameters {
    my $id = file();
    my $live = approved();
    my $asked = file();
    took('manager', 'ask', $asked, version => 1, comment => 'Which one?');
    my $saved = save_all();

    for (calls($id, $asked, $live)) {
        my ($who, $method, $uri, $body) = @$_;
        my ($name) = "$method $uri" =~ s/$id|$asked|$live/{id}/r;
        my $call = sub {
            my ($query) = @_;
            return ask($who, $method, $uri . $query, !defined $body ? ()
                       : (body => $body,
                          headers => { 'Content-Type' => $JSON_TYPE }));
        };

        refused("$name with x=1", '400 invalid_member x',
                sub { $call->('?x=1') });
        refused("$name with version=1", '400 invalid_member version',
                sub { $call->('?version=1&x=1') });
        accepted("$name with no parameter", sub { $call->('?') });
        load_all($saved);
    }

    my $whoami = '/lockbox/v1/whoami';

    for ([ 'x', 'x' ], [ 'x=', 'x' ], [ '=1', '' ], [ '&', '' ],
         [ 'limit=1', 'limit' ], [ 'Whoami=1', 'Whoami' ], [ 'x%3D1', 'x%3D1' ])
    {
        my ($query, $member) = @$_;
        my $response = refused("whoami?$query", "400 invalid_member $member",
                               sub { ask('engineer', 'GET',
                                         "$whoami?$query") });

        is($response->json->{detail}, 'The parameter is unknown.',
           '... which says why');
    }

    refused('who calls is asked first', '401 no_token',
            sub { ask('nobody', 'GET', "$whoami?x=1") });
    refused('a parameter comes before its body', '400 invalid_member x',
            sub { post('engineer', "$REQUESTS?x=1", '{') });

    redis('FLUSHALL');
}

sub tickets {
    change_conf(directives => {
        lockbox_ticket_pattern => '"^SR-[0-9]{4,6}$"',
    });

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
