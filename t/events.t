#!/usr/bin/env perl

# Why: whoever learns by events what happened must hear all of it, in order,
# once, and nothing of what happens to others.

use strict;
use warnings;

use JSON::PP ();

use Test::Lockbox;
use Test::Lockbox::Admin;
use Test::Lockbox::Events;

my $t = Test::Lockbox->new;

begin($t);

is_deeply(page('manager'), { events => [], next => '0-0' }, 'nothing yet');

my $before = now();
my $first = file();
approve('manager', $first);
approve('customer', $first);
collect($first);

my $second = file(who => 'other-engineer');
took('manager', 'deny', $second, version => 1);

my $third = file(tenant => 'globex');
my $fourth = file();
make_due($fourth);
wait_for_state($fourth, 'lapsed');
my $fifth = file();
took('engineer', 'cancel', $fifth);

views();
shapes();
stages();
pages();
cursors();
parameters();
methods();
gaps();
after_retention();
forged_entries();
of_a_tenant();
without_redis();

done_testing();


sub wait_for_state {
    my ($id, $state) = @_;

    $t->wait_for(sub { stored($id)->{state} eq $state }, 30, $state);
}

# Who sees what: other people's events are not there (W11, W12).
sub views {
    my @erin = ('filed acme', 'approved acme', 'approved acme',
                'collected acme');
    my @emil = ('filed acme', 'denied acme');
    my @globex = ('filed globex');
    my @late = ('filed acme', 'lapsed acme', 'filed acme', 'cancelled acme');
    my @all = (@erin, @emil, @globex, @late);
    my @acme = (@erin, @emil, @late);

    my %sees = (
        'engineer'         => [ @erin, @globex, @late ],
        'other-engineer'   => [ @emil ],
        'engineer-manager' => [ @all ],
        'former-engineer'  => [ @all ],
        'manager'          => [ @all ],
        'second-manager'   => [ @all ],
        'customer'         => [ @acme ],
        'second-customer'  => [ @acme ],
        'other-customer'   => [ @globex ],
        'auditor'          => [ @all ],
        'roleless'         => [],
        'false-customer'   => [],
        'false-manager'    => [],
    );

    is_deeply([ sort keys %sees ], [ sort keys %PEOPLE ], 'all people');

    for my $who (sort keys %sees) {
        is_deeply(happened($who), $sees{$who}, "what $who sees (W12)");

        # a look at some of it does not tell more
        my $page = page($who, limit => 1);
        is(scalar @{ $page->{events} }, @{ $sees{$who} } ? 1 : 0,
           '... and at once');
        is($page->{next}, '0-0', '... of nothing, nothing goes on')
            unless @{ $sees{$who} };
    }

    my %ids = map { $_->{id} => $_ }
                  @{ page('manager', limit => 100)->{events} };
    my @customer = @{ page('customer', limit => 100)->{events} };

    is_deeply([ map { $ids{ $_->{id} } } @customer ], \@customer,
              'an event is the same to all');
}

sub shapes {
    my @events = @{ page('manager', limit => 100)->{events} };
    my ($event) = @events;
    my $vendor = 'https://login.vendor.example';

    like($event->{id}, qr/^\d{13}-\d+$/, 'an id');
    like($event->{time}, qr/^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/,
         'a time');
    is_deeply({ %$event, id => 'id', time => 'time',
                data => { %{ $event->{data} }, at => 'time' } }, {
        specversion => '1.0', id => 'id', time => 'time',
        source => 'https://lockbox.vendor.example',
        type => 'lockbox.request.filed', subject => $first,
        datacontenttype => 'application/json',
        data => {
            event => 'filed', tenant => 'acme', request => $first,
            state => 'awaiting_manager', version => 1, at => 'time',
            stage => 'manager', opens => 'manager',
            actor => { iss => $vendor, sub => 'erin' },
            engineer => { iss => $vendor, sub => 'erin' },
        },
    }, 'a CloudEvent');
    is($event->{data}{at}, $event->{time}, 'the same time');

    my ($lapsed) = grep { $_->{data}{event} eq 'lapsed' } @events;
    is($lapsed->{data}{actor}, undef, 'a lapse is nobody\'s');
    ok(exists $lapsed->{data}{actor}, '... and says so');
    is($lapsed->{data}{engineer}{sub}, 'erin', '... but is about somebody');

    is_deeply([ map { $_->{data}{version} } @events[0 .. 3] ],
              [ 1, 2, 3, 3 ], 'versions');
}

# What opens a stage may be withdrawn by what settles it.
sub stages {
    my %data;

    push @{ $data{ $_->{subject} } }, $_->{data}
        for @{ page('manager', limit => 100)->{events} };

    my $told = sub {
        return [ map { my $e = $_; join ' ', map { $e->{$_} // '-' }
                       qw(event stage opens settles) } @{ $data{ $_[0] } } ];
    };

    is_deeply($told->($first), [
        'filed manager manager -', 'approved customer customer manager',
        'approved - - customer', 'collected - - -',
    ], 'approved by both');
    is_deeply($told->($second), [ 'filed manager manager -',
                                  'denied - - manager' ], 'denied');
    is_deeply($told->($fourth), [ 'filed manager manager -',
                                  'lapsed - - manager' ], 'lapsed');
    is_deeply($told->($fifth), [ 'filed manager manager -',
                                 'cancelled - - manager' ], 'cancelled');
}

sub pages {
    for my $who (qw(manager customer engineer)) {
        my $all = page($who, limit => 100);

        for my $limit (1, 2, 3, 100) {
            my ($page, @events) = { next => undef };

            for (1 .. 100) {
                my $cursor = $page->{next};

                $page = page($who, limit => $limit,
                             defined $cursor ? (cursor => $cursor) : ());
                push @events, @{ $page->{events} };
                is($page->{next}, $cursor, 'an empty page keeps the cursor')
                    if !@{ $page->{events} };
                last if !@{ $page->{events} };
            }

            is_deeply(\@events, $all->{events}, "$who, by $limit");
            is($page->{next}, $all->{events}[-1]{id}, '... to the last');
        }
    }

    my $cursor = page('customer', limit => 100)->{next};
    took('customer', 'revoke', $first);
    is_deeply(happened('customer', cursor => $cursor), [ 'revoked acme' ],
              'a cursor at the end is good for what comes');
    is_deeply(happened('other-customer', cursor => $cursor), [],
              'somebody else\'s shows nothing more (W12)');
    is_deeply(happened('other-customer', cursor => '0-0'), [ 'filed globex' ],
              '... nor does one of nobody\'s');
}

sub cursors {
    my $ahead = now() + 1_000_000;

    for my $cursor ('x', '1', '-', '1-', '-1', '1-2-3', '0x1-0', '-1-0',
                    '1--1', '1.5-0', '%2B', '*', '$', '(1-0', '1234.5',
                    '1-0%20', '1%2D0', '9' x 16 . '-0', '0-' . '9' x 16,
                    '18446744073709551615-18446744073709551615',
                    "$ahead-0", '99999999999999-0', '9' x 64, '9' x 65)
    {
        my $response = ask('manager', 'GET', "$EVENTS?cursor=$cursor");

        is(outcome($response), '400 invalid_member', "cursor $cursor");
        is($response->json->{member}, 'cursor', '... is named');
    }

    is(ask('manager', 'GET', "$EVENTS?cursor=$before-0")->status, 200,
       'a time of the past is as good as any');
    is_deeply([ record_words(records()) ]->[-1],
              'end events invalid_member', 'a refusal is on record');
}

sub parameters {
    for my $query ('limit=0', 'limit=101', 'limit=x', 'limit=-1', 'limit=',
                   'limit=1&limit=1', 'cursor=0-0&cursor=0-0', 'cursor=',
                   'tenant=acme', 'state=approved', 'x')
    {
        my $response = ask('manager', 'GET', "$EVENTS?$query");

        is(outcome($response), '400 invalid_member', $query);
        is($response->json->{member}, $query =~ s/=.*//r, '... is named');
    }

    is(ask('manager', 'GET', "$EVENTS?$_")->status, 200, $_)
        for 'limit=1', 'limit=100', 'cursor=0-0';
}

sub methods {
    records();

    for my $method (qw(POST PUT DELETE)) {
        my $response = ask('manager', $method, $EVENTS);

        is(outcome($response), '405 method_not_allowed', $method);
        is($response->header('allow'), 'GET, HEAD', '... and what is');
    }

    is(outcome(ask('nobody', 'GET', $EVENTS)), '401 no_token', 'no token');
    is(outcome($t->http('GET', $EVENTS, token => collect(approved()))),
       '401 wrong_type', 'a grant is no identity (W15)');

    is_deeply([ grep { /events/ } record_words(records()) ],
              [ 'end events no_token', 'end events wrong_type' ],
              'refusals are on record');

    my $head = ask('manager', 'HEAD', $EVENTS);
    is($head->status, 200, 'HEAD');
    is($head->header('content-type'), 'application/json', '... as for GET');

    my $get = ask('manager', 'GET', $EVENTS);
    is($get->header('cache-control'), 'no-store', 'nothing is stored');
    is($get->header('content-type'), 'application/json', 'it is JSON');
    is_deeply([ records() ], [], 'to look is not recorded');
}

# Whoever comes too late for some of them is told so, and nobody else.
sub gaps {
    my @all = map { $_->{id} } @{ page('customer', limit => 100)->{events} };

    redis('XTRIM', 'lockbox:{acme}:events', 'MAXLEN', 3);

    my $page = page('customer', cursor => $all[0]);
    ok($page->{gap}, 'whoever has missed something is told');
    is_deeply([ map { $_->{id} } @{ $page->{events} } ], [ @all[-3 .. -1] ],
              '... and gets what is there');
    ok(!exists page('customer', cursor => $_)->{gap}, 'who has seen it is not')
        for $page->{next}, $all[-3];
    ok(!exists page('customer')->{gap}, 'nor is whoever begins');
    ok(!exists page($_, cursor => $all[0])->{gap},
       'nor is who sees other ones (W12)')
        for qw(manager engineer other-customer roleless);

    redis('XTRIM', 'lockbox:{acme}:events', 'MAXLEN', 0);
    $page = page('customer', cursor => $all[0]);
    is_deeply($page, { events => [], gap => JSON::PP::true,
                       next => $all[-1] }, 'where nothing is left');
    is_deeply(page('customer', cursor => $page->{next}),
              { events => [], next => $all[-1] }, '... it is told once');

    redis('DEL', 'lockbox:{acme}:events');
    file();
}

# Who may see an event does not hang on the request.
sub after_retention {
    my %before = map { $_ => happened($_) } qw(customer engineer manager
                                               other-customer);

    redis('DEL', request_key($first));

    for my $who (sort keys %before) {
        is_deeply(happened($who), $before{$who},
                  "$who still sees what was his to see");
    }
}

# Redis is not trusted: an entry in the wrong stream does not show there.
sub forged_entries {
    my $seen = happened('customer');
    my $last = page('customer', limit => 100)->{next};

    redis('XADD', 'lockbox:{acme}:events', '*', event => 'filed',
          id => $third, tenant => 'globex', at => now(), iss => 'x',
          sub => 'x', engineer_iss => 'x', engineer_sub => 'x',
          state => 'approved', version => 1);

    my $page = page('customer', cursor => $last, limit => 1);

    is_deeply($page->{events}, [], 'an event of another tenant');
    isnt($page->{next}, $last, '... does not stop what comes behind');
    is_deeply(happened('customer'), $seen, '... and does not show');

    file();
    is_deeply(happened('customer', cursor => $page->{next}), [ 'filed acme' ],
              'the next one comes in all streams');
    is_deeply(happened('manager', cursor => $page->{next}), [ 'filed acme' ],
              '... with one id');

    # a name that nothing of ours has
    redis('XADD', 'lockbox:events', '*', event => "x\ndata: y", tenant => 'a',
          at => 1, iss => 'x', sub => 'x');
    is(outcome(ask('manager', 'GET', "$EVENTS?limit=100")),
       '503 internal_error', 'a name that is none is not shown');
    redis('XTRIM', 'lockbox:events', 'MAXLEN', 0);
}

# What is about a tenant and no request.
sub of_a_tenant {
    my $iss = 'https://login.customers.example';

    redis('XADD', 'lockbox:events', '*', event => 'policy_changed', tenant => 'acme',
          at => 1795321882329, iss => $iss, sub => 'carl', version => 2);

    my ($event) = @{ page('manager')->{events} };
    delete $event->{id};

    is_deeply($event, {
        specversion => '1.0', source => 'https://lockbox.vendor.example',
        type => 'lockbox.policy.changed', subject => 'acme',
        time => '2026-11-22T04:31:22.329Z',
        datacontenttype => 'application/json',
        data => { event => 'policy_changed', tenant => 'acme', version => 2,
                  at => '2026-11-22T04:31:22.329Z',
                  actor => { iss => $iss, sub => 'carl' } },
    }, 'an event of a tenant');
}

sub without_redis {
    $t->redis_stop;
    is(outcome(ask('manager', 'GET', $EVENTS)), '503 store_unavailable',
       'without Redis');
}
