#!/usr/bin/env perl

# Why: the grant must say what was approved, no more and no longer, be the same
# whenever it is collected, and open exactly that.

use strict;
use warnings;

use Time::Local qw(timegm);

use Lockbox::Jose qw(decode jwk thumbprint verify);
use Test::Lockbox;
use Test::Lockbox::Admin;

my $SIGNING = Test::Lockbox::Conf::signing_key();
my $VENDOR = 'https://login.vendor.example';

# of lockbox_lease, milliseconds
my $LEASE = 2000;
my $CUSTOMERS = 'https://login.customers.example';
my $BOX = '/tenants/acme/mail';

my @WIDE = (
    { service => 'mail', methods => [ 'DELETE', 'GET', 'POST' ],
      paths => [ "$BOX/a/", "$BOX/b/" ], labels => [ 'confidential',
                                                     'secret' ] },
    { service => 'files', methods => ['GET'],
      paths => ['/tenants/acme/files/'], labels => [] },
);

my $LOCATIONS = <<'EOF_LOCATIONS';
location ~ ^/tenants/(?<tenant>[^/]+)/(?<service>[^/]+)/ {
    lockbox          on;
    lockbox_tenant   $tenant;
    lockbox_service  $service;
    proxy_pass       http://127.0.0.1:%%PORT_8081%%;

    location ~ /secret$ {
        lockbox_label  confidential secret;
        proxy_pass     http://127.0.0.1:%%PORT_8081%%;
    }
}

location /lockbox/ {
    lockbox_admin  on;
}
EOF_LOCATIONS

my $t = Test::Lockbox->new;

begin($t, locations => $LOCATIONS);

what_is_shown();
the_token();
the_window();
bare_tokens();
narrowed();
widened();
two_grants();
ends();
reasons_for_an_end();
over_for_redis();
collecting_against_revoking();
large_ones();

done_testing();


# RFC 3339 in milliseconds since the epoch.
sub msec {
    my ($text) = @_;

    my ($year, $month, @rest) =
        $text =~ /^(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)\.(\d{3})Z$/
        or die "no time: $text\n";
    my ($day, $hour, $minute, $second, $msec) = @rest;

    return timegm($second, $minute, $hour, $day, $month - 1, $year) * 1000
           + $msec;
}

# What becomes of requests with the grant: "GET $BOX/a/x" => "200 ok", ...
sub probed {
    my ($grant, @probes) = @_;

    return { map { $_ => outcome(knock($grant, split)) } @probes };
}


# All of it, and nothing that only the module needs.
sub what_is_shown {
    my $id = file(ticket => 'SR-4711', access => \@WIDE);

    approve('manager', $id, comment => 'Go.');
    my $shown = approve('customer', $id);
    my %times = map { $_ => delete $shown->{$_} }
                    qw(created_at answer_by lapses_at approved_at starts_at
                       expires_at);
    my @decided = map { delete $_->{at} } @{ $shown->{decisions} };

    is_deeply($shown, {
        id => $id, tenant => 'acme', state => 'approved', version => 3,
        engineer => { iss => $VENDOR, sub => 'erin' },
        justification => 'The inbox of acme does not open.',
        reason => 'customer_initiated_support', ticket => 'SR-4711',
        duration => 3600, access => \@WIDE, ended_at => undef,
        asked_by_stage => undef,
        decisions => [
            { stage => 'manager', decision => 'approve', comment => 'Go.',
              by => { iss => $VENDOR, sub => 'mona' } },
            { stage => 'customer', decision => 'approve',
              by => { iss => $CUSTOMERS, sub => 'carl' } },
        ],
        actions => ['revoke'],
    }, 'a request as its customer sees it');

    my ($created, $decided) = (msec($times{created_at}), msec($decided[1]));

    is(msec($times{approved_at}), $decided, '... approved when he did');
    is(msec($times{answer_by}) > $decided + 11.9 * 3_600_000 ? 1 : 0, 1,
       '... which had time');
    is(msec($times{starts_at}), int($decided / 1000) * 1000,
       '... to the second');
    is(msec($times{lapses_at}), $created + (1 + 12 + 24) * 3_600_000,
       '... and would have lapsed');
    is($created <= msec($decided[0]) && msec($decided[0]) <= $decided ? 1 : 0,
       1, '... in order');
    is_deeply(act('engineer', 'show', file())->json->{ticket}, undef,
              'what was not given is not there');
}

sub the_token {
    my $id = approved(access => \@WIDE);
    my $shown = act('engineer', 'show', $id)->json;
    my $before = time;
    my $response = act('engineer', 'grant', $id);
    my $after = time;
    my $answer = $response->json;
    my $grant = $answer->{access_token};
    my $token = decode($grant);
    my $begins = int(msec($shown->{approved_at}) / 1000);

    is_deeply([ sort keys %$answer ], [qw(access_token expires_in token_type)],
              'the answer is that of OAuth');
    is($answer->{token_type}, 'Bearer', '... for a bearer token');
    is($response->header('content-type'), 'application/json', '... in JSON');
    is($response->header('cache-control'), 'no-store', '... not to be kept');
    cmp_ok($answer->{expires_in}, '<=', $begins + 3600 - $before,
           '... good for the rest of the window');
    cmp_ok($answer->{expires_in}, '>=', $begins + 3600 - $after,
           '... and all of it');

    is_deeply($token->{header}, {
        typ => 'lockbox-grant+jwt', alg => 'ES256',
        kid => thumbprint($SIGNING),
    }, 'the header of the token');
    is_deeply($token->{payload}, {
        iss => 'https://lockbox.vendor.example', aud => 'tenant-api',
        engineer_iss => $VENDOR, sub => 'erin', tenant => 'acme', jti => $id,
        iat => $begins, nbf => $begins, exp => $begins + 3600,
        authorization_details => [ map { { type => 'lockbox', %$_ } } @WIDE ],
    }, '... and its claims, all of them');

    my ($public) = grep { $_->{kid} eq $token->{header}{kid} }
        @{ $t->http('GET', '/lockbox/v1/jwks.json')->json->{keys} };

    is_deeply({ map { $_ => $public->{$_} } qw(kty crv x y kid) },
              { map { $_ => jwk($SIGNING)->{$_} } qw(kty crv x y kid) },
              '... by a key that is published');
    ok(!exists $public->{d}, '... as far as it is public');
    ok(verify($grant, $SIGNING), '... which verifies it');

    my $version = stored($id)->{version};

    for my $again (1 .. 5) {
        is_deeply(decode(collect($id))->{payload}, $token->{payload},
                  'collected again, the same grant (W05)');
    }

    is(stored($id)->{version}, $version, '... of the same version');
    is(outcome(knock($grant, 'GET', "$BOX/a/x")), '200 ok',
       '... and the first is as good');
}

# From the last approval, however long the first has been waiting.
sub the_window {
    my $id = file(duration => 14400);

    approve('manager', $id);
    my $waited = now() + 1100;
    $t->wait_for(sub { now() > $waited }, undef, 'another second');
    approve('customer', $id);

    my $shown = act('customer', 'show', $id)->json;
    my ($manager, $customer) = map { msec($_->{at}) } @{ $shown->{decisions} };
    my $grant = collect($id);
    my $claims = decode($grant)->{payload};

    cmp_ok($customer - $manager, '>', 1000, 'the customer takes his time');
    is(msec($shown->{approved_at}), $customer, 'the last approval');
    is($claims->{nbf}, int($customer / 1000), '... opens the window');
    is($claims->{exp}, $claims->{nbf} + 14400, '... of the longest duration');
    is(msec($shown->{expires_at}), $claims->{exp} * 1000, '... as is shown');
    is(redis('PEXPIRETIME', live_key($id)), $claims->{exp} * 1000,
       '... and no key lives longer');
    is(outcome(knock($grant)), '200 ok', '... which the gate takes');
}

sub bare_tokens {
    my $id = approved();
    my $claims = decode(collect($id))->{payload};
    my %types = (
        'application/jwt' => 1, 'Application/JWT' => 1,
        'application/jwt;q=0.5' => 1, 'application/jwt, text/plain' => 1,
        '*/*, application/jwt' => 1, 'text/plain,application/jwt;v=1' => 1,
        'application/json;q=0.9, application/jwt' => 1,
        'application/json;q=0, */*' => 1,
        'text/plain | application/jwt' => 1,
        'application/json;q=0.9 | application/jwt' => 1,
        'application/json' => 0, '*/*' => 0, 'text/plain' => 0,
        'application/jwts' => 0, 'application/jwt;q=0' => 0,
        '*/*, application/jwt;q=0' => 0, '*/* | application/jwt;q=0' => 0,
        'application/jwt, application/json' => 0,
        'application/jwt;q=0.9, application/json' => 0,
        'application/json;q=0' => 0, '' => 0,
    );

    # several fields have bars between
    for my $accept (sort keys %types) {
        my $response = act('engineer', 'grant', $id, undef, headers =>
                           [ map { [ Accept => $_ ] } split / \| /, $accept ]);

        is($response->header('content-type'),
           $types{$accept} ? 'application/jwt' : 'application/json',
           "for \"$accept\"");
        is_deeply(decode($types{$accept} ? $response->body =~ s/\n\z//r
                         : $response->json->{access_token})->{payload},
                  $claims, '... the grant');
        is($response->header('cache-control'), 'no-store',
           '... not to be kept');
    }
}


# Cut down on the way: the manager's part, the customer's part, and what then
# passes the gate (W19).
sub narrowed {
    my @probes = ("GET $BOX/a/x", "GET $BOX/b/x", "DELETE $BOX/a/x",
                  "GET $BOX/a/secret", 'GET /tenants/acme/files/x');
    my $item = sub { return { %{ $WIDE[0] }, @_ } };
    my @cases = (
        [ 'nothing', {}, {}, 3600,
          qw(200 200 200 200 200) ],
        [ 'the same', { access => \@WIDE, duration => 3600 },
          { access => \@WIDE, duration => 3600 }, 3600,
          qw(200 200 200 200 200) ],
        [ 'the service', { access => [ $WIDE[0] ] }, {}, 3600,
          qw(200 200 200 200 403) ],
        [ 'the path', {}, { access => [ $item->(paths => ["$BOX/a/"]) ] },
          3600, qw(200 403 200 200 403) ],
        [ 'the path, below it', {},
          { access => [ $item->(paths => ["$BOX/a/x"]) ] }, 3600,
          qw(200 403 200 403 403) ],
        [ 'the methods', { access => [ $item->(methods => ['GET']) ] }, {},
          3600, qw(200 200 403 200 403) ],
        [ 'a label', {}, { access => [ $item->(labels => ['secret']) ] },
          3600, qw(200 200 200 403 403) ],
        [ 'all labels', {}, { access => [ $item->(labels => []) ] }, 3600,
          qw(200 200 200 403 403) ],
        [ 'in two steps', { access => [ $item->(paths => ["$BOX/a/"]) ],
                            duration => 1800 },
          { access => [ $item->(paths => ["$BOX/a/"], methods => ['GET'],
                                labels => []) ], duration => 60 }, 60,
          qw(200 403 403 403 403) ],
        [ 'into parts',
          { access => [ $item->(paths => ["$BOX/a/"], methods => ['GET']),
                        $item->(paths => ["$BOX/b/"], methods => ['POST']) ] },
          {}, 3600, qw(200 403 403 200 403) ],
        [ 'the time', { duration => 61 }, {}, 61, qw(200 200 200 200 200) ],
    );

    for (@cases) {
        my ($name, $manager, $customer, $duration, @statuses) = @$_;

        my $id = file(access => \@WIDE);
        approve('manager', $id, %$manager);
        approve('customer', $id, %$customer);

        my $access = $customer->{access} // $manager->{access} // \@WIDE;
        my $shown = act('customer', 'show', $id)->json;
        my $grant = collect($id);
        my $claims = decode($grant)->{payload};

        is_deeply($claims->{authorization_details},
                  [ map { { type => 'lockbox', %$_ } } @$access ],
                  "cut down, $name: the access (W19)");
        is($claims->{exp} - $claims->{nbf}, $duration, '... the duration');
        is_deeply([ @$shown{qw(access duration)} ], [ $access, $duration ],
                  '... both are shown');

        my $got = probed($grant, @probes);
        is_deeply([ map { substr $got->{$_}, 0, 3 } @probes ], \@statuses,
                  '... and hold');
    }

    my $id = approved();
    my $grant = collect($id);
    is(outcome(knock($grant, 'HEAD', $MAIL)), '200 ok', 'HEAD goes with GET');
}

# What is gone does not come back, at any stage (W20).
sub widened {
    my @part = ({ %{ $WIDE[0] }, paths => ["$BOX/a/"], methods => ['GET'] });
    my %wider = (
        access => [ \@WIDE, [ { %{ $part[0] }, paths => ["$BOX/"] } ],
                    [ @part, $WIDE[1] ],
                    [ { %{ $part[0] }, methods => [ 'GET', 'PUT' ] } ],
                    [ { %{ $part[0] }, labels => ['top'] } ] ],
        duration => [ 3600, 1801, 14401 ],
    );
    my $id = file(access => \@WIDE);

    approve('manager', $id, access => \@part, duration => 1800);
    my $before = contents();

    for my $member (sort keys %wider) {
        for my $value (@{ $wider{$member} }) {
            my $response = act('customer', 'approve', $id,
                               { version => 2, $member => $value });

            is(outcome($response), '400 invalid_member',
               "a wider $member (W20)");
            is($response->json->{member}, "/$member", '... is named');
        }
    }

    is_deeply(contents(), $before, '... and changes nothing');
    is(approve('customer', $id)->{state}, 'approved', 'as it stands, it goes');
}


# Only the grant that is shown counts, whatever else is live (W21).
sub two_grants {
    my ($first, $second) = map {
        approved(access => [ { service => 'mail', methods => ['GET'],
                               paths => ["$BOX/$_/"], labels => [] } ]);
    } qw(a b);
    my ($a, $b) = (collect($first), collect($second));
    my $wide = collect(approved(access => \@WIDE));
    my @probes = ("GET $BOX/a/x", "GET $BOX/b/x");

    is_deeply(probed($a, @probes), { $probes[0] => '200 ok',
              $probes[1] => '403 wrong_path' }, 'the one opens its own (W21)');
    is_deeply(probed($b, @probes), { $probes[0] => '403 wrong_path',
              $probes[1] => '200 ok' }, 'so does the other (W21)');
    is_deeply(probed($wide, @probes), { map { $_ => '200 ok' } @probes },
              'and a wide one both');

    took('customer', 'revoke', $first);
    is(outcome(knock($a, split ' ', $probes[0])), '401 revoked',
       'the one ends');
    is(outcome(knock($b, split ' ', $probes[1])), '200 ok',
       '... and not the other');
}

sub ends {
    my %words = (
        completed => [ 'engineer', 'complete' ],
        revoked => [ 'manager', 'revoke' ],
        'revoked by the customer' => [ 'customer', 'revoke' ],
    );

    for my $name (sort keys %words) {
        my $id = approved();
        my $grant = collect($id);
        my $word = $name =~ s/ .*//r;

        is(outcome(knock($grant)), '200 ok', "before it is $name");

        my $answer = took(@{ $words{$name} }, $id);

        is(outcome(knock($grant)), "401 $word", "... $name at the gate");
        is($answer->{state}, $word, '... and in the answer');
        is(outcome(act('engineer', 'grant', $id)), '409 conflict',
           '... and not to be collected');
        is(abs(msec($answer->{effective_by}) - msec($answer->{ended_at})
               - $LEASE) < 1000 ? 1 : 0, 1,
           '... everywhere within the lease') if $word eq 'revoked';
    }
}

# Either side can say why, and so can the engineer; all see it.
sub reasons_for_an_end {
    my @cases = (
        [ 'manager', 'revoke', 'manager' ],
        [ 'customer', 'revoke', 'customer' ],
        [ 'engineer-manager', 'revoke', 'manager' ],
        [ 'engineer', 'complete', 'engineer' ],
    );

    for (@cases) {
        my ($who, $action, $stage) = @$_;
        my $id = approved();
        my $reason = "It is over, says $who.";
        my $view = took($who, $action, $id, comment => $reason);
        my $last = $view->{decisions}[-1];

        is_deeply([ @$last{qw(stage decision comment)} ],
                  [ $stage, $action, $reason ], "$action by $who, and why");
        is_deeply($last->{by}{sub}, $who =~ /engineer/ ? 'erin'
                  : $who eq 'manager' ? 'mona' : 'carl', '... by name');
        is_deeply(act('customer', 'show', $id)->json->{decisions}[-1], $last,
                  '... for the customer to see');
        is_deeply(act('engineer', 'show', $id)->json->{decisions}[-1], $last,
                  '... and the engineer');
    }

    my $id = approved();
    ok(!exists took('customer', 'revoke', $id)->{decisions}[-1]{comment},
       'nobody has to say why');
}

# A clock here that is behind, or was set back, revives nothing that Redis has
# seen the end of, whatever Redis says later.
sub over_for_redis {
    my $id = approved();
    my $grant = collect($id);

    is(outcome(knock($grant)), '200 ok', 'good by all clocks');

    make_due($id);
    $t->wait_for(sub { stored($id)->{state} eq 'expired' }, undef,
                 'the sweep');
    cmp_ok(decode($grant)->{payload}{exp}, '>', time,
           'over for Redis, and not for the clock here');
    eventually($grant, qr/^401 (?:expired|not_live)$/);
    like(outcome(knock($grant)), qr/^401 /, '... is over (W22)');

    redis('SET', live_key($id), 'live', 'PX', 60_000);
    like(outcome(knock($grant)), qr/^401 /, '... for good (W22)')
        for 1 .. 3;
}

# Whatever was collected meanwhile is worth nothing after the answer (W08).
sub collecting_against_revoking {
    my $id = approved();
    my @collectors = map { $t->http_connect } 1 .. 20;
    my $revoker = $t->http_connect;

    for my $i (0 .. $#collectors) {
        $revoker->request('POST', uri($id, 'revoke'),
                          token => token_of('customer')) if $i == 10;
        $collectors[$i]->request('POST', uri($id, 'grant'),
                                 token => token_of('engineer'));
    }

    is($revoker->response->status, 200, 'revoked amid collecting (W08)');

    my %outcomes;

    for my $collector (@collectors) {
        my $response = $collector->response;
        my $outcome = outcome($response);

        $outcome = 'collected, then '
                   . outcome(knock($response->json->{access_token}))
            if $outcome eq '200 ok';
        $outcomes{$outcome}++;
    }

    is_deeply([ grep { !/^(409 conflict|collected, then 401 revoked)$/ }
                     sort keys %outcomes ], [],
              '... whoever has a grant has nothing');
}

# What is approved must not turn out too long for a header field.
sub large_ones {
    my $access = sub {
        my ($items) = @_;
        return [ map { my $item = $_; {
            service => 'mail', methods => ['GET'], labels => [],
            paths => [ map { "$BOX/$item/$_/" . 'x' x 20 } 1 .. 16 ],
        } } 1 .. $items ];
    };
    my %seen;

    for my $items (1 .. 8) {
        my $response = ask('engineer', 'POST', $REQUESTS,
                           json => filing(access => $access->($items)));
        my $outcome = outcome($response);

        if ($response->status == 201) {
            my $id = $response->json->{id};

            approve($_, $id) for qw(manager customer);
            $outcome = outcome(knock(collect($id), 'GET',
                                     "$BOX/$items/16/" . 'x' x 20));
        }

        $seen{$outcome}++;
    }

    is_deeply([ sort keys %seen ], [ '200 ok', '400 invalid_member' ],
              'what is too much for a grant is refused at once');

    my $id = file();
    my $response = act('manager', 'approve', $id,
                       { version => 1, access => $access->(8) });

    is(outcome($response) . $response->json->{member},
       '400 invalid_member/access', '... or when it is cut into too many');
    is(approve('manager', $id, access => $access->(1))->{state},
       'awaiting_customer', '... but not into a few');
}
