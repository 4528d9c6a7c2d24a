#!/usr/bin/env perl

# Why: a list must show all that somebody may see and nothing else, stay in
# place while requests are filed, and never keep Redis busy for long.

use strict;
use warnings;

use Digest::SHA qw(sha1_hex);

use Test::Lockbox;
use Test::Lockbox::Workflow;

my $OPEN = qr/^(?:awaiting_.*|needs_info|approved)$/;

my $t = Test::Lockbox->new;

start($t);

lists();
list_visibility();
views();
one_by_one();
changes_meanwhile();
people_and_times();
list_bounds();
places();
old_entries();

done_testing();


sub lists {
    flush();

    my @ids = map { id($_) } 1 .. 25;
    file('engineer', request => { id => $_ }) for @ids;
    my @newest = reverse sorted(@ids);

    for my $who (qw(engineer manager customer auditor tenant-auditor
                    engineer-customer))
    {
        is_deeply([ pages($who, 10) ],
                  [ [ @newest[0 .. 9] ], [ @newest[10 .. 19] ],
                    [ @newest[20 .. 24] ] ], "$who: pages, newest first");
        is_deeply([ pages($who, 25) ], [ \@newest ],
                  "$who: a full last page ends the list");
    }

    my $first = listed('manager', limit => 10);
    my @later = map { id($_) } 26 .. 30;
    file('engineer', request => { id => $_ }) for @later;
    my $second = listed('manager', limit => 10, cursor => $first->{next});

    is_deeply($second->{ids}, [ @newest[10 .. 19] ],
              'what is filed meanwhile moves nothing');
    like($first->{next}, qr/^[0-9]{16}$/, 'a cursor names no request');

    my $page = listed('engineer', limit => 1);
    my $id = $page->{ids}[0];
    my $whole = called('show', 'engineer', id => $id)->{fields};

    delete $whole->{'decision:0'};
    is_deeply($page->{requests}[0]{fields}, $whole,
              'an entry is the whole request but for the filing');
    is_deeply($page->{requests}[0]{actions}, [ 'cancel' ],
              'with the actions of the caller');

    is_deeply(listed('manager', limit => 1)->{requests}[0]{actions},
              [ 'approve', 'deny', 'ask' ], 'whoever it is');

    did('approve', 'manager', id => $id);

    my $decision = stored('acme', $id)->{'decision:1'};

    is(decision_listed($id), $decision =~ s/"seal":"\K[^"]+//r,
       'but for the seals');
    redis('HSET', request_key('acme', $id), 'decision:1',
          $decision =~ s/as agreed/,\\"seal\\":\\"x\\",/r);
    like(decision_listed($id), qr/,\\"seal\\":\\"x\\",.*"seal":""/,
         'and not for what a comment says');
}

sub decision_listed {
    my ($id) = @_;

    return listed('manager', limit => 1)->{requests}[0]{fields}{'decision:1'};
}

sub list_visibility {
    flush();

    my %at = (
        eve => [ 'engineer', 'acme', 1 ],
        emil => [ 'other-engineer', 'acme', 2 ],
        eve2 => [ 'engineer', 'globex', 3 ],
        emil2 => [ 'other-engineer', 'globex', 4 ],
    );
    my %id;

    for my $name (sort { $at{$a}[2] <=> $at{$b}[2] } keys %at) {
        my ($who, $tenant, $i) = @{ $at{$name} };
        file($who, request => { id => id($i), tenant => $tenant });
        $id{id($i)} = $name;
    }

    my %want = (
        'engineer'           => 'eve eve2',
        'engineer-manager'   => 'emil emil2 eve eve2',
        'engineer-customer'  => 'emil eve eve2',
        'engineer-as-both'   => 'emil emil2 eve eve2',
        'engineer-no-longer' => '',
        'other-engineer'     => 'emil emil2',
        'namesake'           => '',
        'manager'            => 'emil emil2 eve eve2',
        'third-manager'      => 'emil emil2 eve eve2',
        'manager-decided'    => 'emil emil2 eve eve2',
        'decided-customer'   => 'emil eve',
        'decided-as-both'    => 'emil emil2 eve eve2',
        'decided-namesake'   => 'emil emil2 eve eve2',
        'customer'           => 'emil eve',
        'second-customer'    => 'emil eve',
        'other-customer'     => 'emil2 eve2',
        'tenantless'         => '',
        'auditor'            => 'emil emil2 eve eve2',
        'tenant-auditor'     => 'emil eve',
        'other-auditor'      => 'emil2 eve2',
        'customer-auditor'   => 'emil2 eve2',
        'nobody'             => '',
    );

    for my $tenant (undef, 'acme', 'globex', 'initech') {
        my (%got, %expected);

        for my $who (keys %ACTOR) {
            my $page = listed($who, tenant => $tenant);

            $got{$who} = join ' ', sort map { $id{$_} } @{ $page->{ids} };
            $expected{$who} = join ' ', grep {
                my $of = /2/ ? 'globex' : 'acme';
                !$tenant || $of eq $tenant;
            } split / /, $want{$who};
        }

        is_deeply(\%got, \%expected,
                  'who sees what of ' . ($tenant // 'all tenants'));
    }

    # where a list goes on must not tell of other people's requests
    for my $who (sort keys %ACTOR) {
        for my $tenant (undef, 'acme', 'globex') {
            next if $tenant && $who =~ /^(?:other-)?engineer$/;

            my $all = listed($who, tenant => $tenant);
            my $n = @{ $all->{ids} } || 1;
            my $page = listed($who, tenant => $tenant, limit => $n);

            is($page->{next}, '', "$who: the end of the list is the end"
                                  . ($tenant ? " at $tenant" : ''));
        }
    }

    # the state that counts is the one in effect
    overdue(id(1));
    my %states = (
        lapsed => [ id(1) ], awaiting_manager => [ id(4), id(3), id(2) ],
        awaiting_customer => [], approved => [], nonsense => [],
    );

    $states{'lapsed,approved'} = [ id(1) ];
    $states{'awaiting_customer,awaiting_manager'} = [ map { id($_) } 4, 3, 2 ];
    $states{'awaiting_manager,lapsed'} = [ map { id($_) } 4, 3, 2, 1 ];

    for my $states (sort keys %states) {
        is_deeply(listed('manager', states => $states)->{ids},
                  $states{$states}, "the $states ones");
    }

    is_deeply(listed('customer', states => 'awaiting_manager')->{ids},
              [ id(2) ], 'the awaiting ones of a tenant');
    is_deeply(listed('manager', states => 'awaiting_manager',
                     tenant => 'globex')->{ids}, [ id(4), id(3) ],
              'the awaiting ones of one tenant');
    is_deeply(listed('engineer', states => 'lapsed')->{ids}, [ id(1) ],
              'the lapsed ones of an engineer');
}

# A request in each state, and who finds it in which view.
sub views {
    # who has to decide or to answer
    my %awaited = (
        awaiting_manager => 'manager third-manager decided-namesake',
        awaiting_customer => 'customer second-customer',
        needs_info => 'engineer engineer-manager engineer-customer',
    );

    for my $name (sort keys %STATE) {
        my ($state) = $name =~ /^(\w+)/;

        fresh($name);

        for my $who (sort keys %ACTOR) {
            my %found = map {
                $_ => @{ listed($who, view => $_)->{ids} } ? 1 : 0;
            } qw(awaiting mine live history);

            is_deeply(\%found, {
                awaiting => ($awaited{$state} // '') =~ /(?<!\S)$who(?!\S)/
                            ? 1 : 0,
                mine => !$BLIND{$who}
                        && $ACTOR{$who}{iss} eq 'https://vendor.example'
                        && $ACTOR{$who}{sub} eq 'eve' ? 1 : 0,
                live => !$BLIND{$who} && $state eq 'approved' ? 1 : 0,
                history => !$BLIND{$who}
                           && $state !~ $OPEN ? 1 : 0,
            }, "$name: the views of $who");
        }
    }

    fresh('approved');
    is_deeply(listed('manager', view => 'live', states => $_)->{ids},
              /approved/ ? [ $ID ] : [], "the live ones that are $_")
        for 'approved', 'awaiting_manager', 'denied', 'denied,approved', 'x';
    is_deeply(listed('manager', view => 'history', states => $_)->{ids}, [],
              "a live one is no history, though $_")
        for 'approved', 'denied', 'approved,denied';

    for my $args ({ view => 'all' }, { view => '' }, { states => 'approved' },
                  { states => { approved => 1 } }, { states => [ 'approved' ] })
    {
        like(called('list', 'manager', limit => 1, %$args)->{error},
             qr/bad argument/, join ' ', 'no such', %$args);
    }
}

# Requests of two engineers at two tenants, each in one of four states, are
# found by whoever combines roles, in whatever pages, each once and in order.
sub one_by_one {
    flush();

    my @all;

    for my $i (1 .. 24) {
        my $who = $i % 2 ? 'engineer' : 'other-engineer';
        my $tenant = $i % 3 ? 'acme' : 'globex';
        my $id = id($i);
        my %at = (id => $id, tenant => $tenant);
        my $customer = $tenant eq 'acme' ? 'customer' : 'other-customer';
        my $state = (qw(awaiting_manager awaiting_customer approved denied))
                        [ $i / 2 % 4 ];

        file($who, request => \%at);
        did('approve', 'manager', %at)
            if $state =~ /awaiting_customer|approved/;
        did('approve', $customer, %at) if $state eq 'approved';
        did('deny', 'manager', %at) if $state eq 'denied';

        unshift @all, { id => $id, tenant => $tenant, state => $state,
                        sub => $ACTOR{$who}{sub} };
    }

    my %sees = (
        'manager' => sub { 1 },
        'engineer-manager' => sub { 1 },
        'engineer' => sub { $_->{sub} eq 'eve' },
        'customer' => sub { $_->{tenant} eq 'acme' },
        'engineer-customer' => sub {
            $_->{sub} eq 'eve' || $_->{tenant} eq 'acme';
        },
        'nobody' => sub { 0 },
    );

    my @filters = (
        [ {}, sub { 1 } ],
        [ { tenant => 'globex' }, sub { $_->{tenant} eq 'globex' } ],
        [ { states => 'awaiting_manager,approved' },
          sub { $_->{state} =~ /manager|approved/ } ],
        [ { states => 'approved,denied' },
          sub { $_->{state} =~ /denied|approved/ } ],
        [ { view => 'live', tenant => 'acme' },
          sub { $_->{state} eq 'approved' && $_->{tenant} eq 'acme' } ],
        [ { view => 'history' }, sub { $_->{state} eq 'denied' } ],
        [ { engineer => { sub => 'emil' } }, sub { $_->{sub} eq 'emil' } ],
        [ { engineer => { sub => 'emil', iss => 'https://vendor.example' },
            tenant => 'acme' },
          sub { $_->{sub} eq 'emil' && $_->{tenant} eq 'acme' } ],
    );

    for my $who (sort keys %sees) {
        for my $filter (@filters) {
            my ($args, $is_meant) = @$filter;
            my @meant = map { $_->{id} }
                        grep { $sees{$who}->() && $is_meant->() } @all;
            my $name = "$who: " . join ' ', map { "$_=$args->{$_}" }
                                            sort keys %$args;

            for my $limit (1, 2, 5, 100) {
                my @pages = pages($who, $limit, %$args);

                is_deeply([ map { @$_ } @pages ], \@meant,
                          "$name, by $limit");
                is(scalar(grep { !@$_ } @pages), @meant ? 0 : 1,
                   '... and no page is empty');
            }
        }
    }
}

# Between two pages requests come, change, end and go.
sub changes_meanwhile {
    my %change = (
        'the last one shown is decided' => [ sub {
            did('approve', 'manager', id => id(18));
        } ],
        'the last one shown ends' => [ sub {
            did('deny', 'manager', id => id(18));
        } ],
        'the last one shown goes' => [ sub {
            redis('DEL', request_key('acme', id(18)));
        } ],
        'the next one is decided' => [ sub {
            did('approve', 'manager', id => id(17));
        }, 17 ],
        'the next one goes' => [ sub {
            redis('DEL', request_key('acme', id(17)));
        }, 17 ],
        'others come' => [ sub {
            file('engineer', request => { id => id($_) }) for 21 .. 30;
        } ],
        'others come, and most go' => [ sub {
            file('engineer', request => { id => id($_) }) for 21 .. 30;
            did('deny', 'manager', id => id($_)) for 2 .. 30;
        }, 2 .. 17 ],
        'nothing' => [ sub { } ],
    );

    for my $name (sort keys %change) {
        my ($work, @missing) = @{ $change{$name} };
        my %missing = map { $_ => 1 } @missing;

        for my $view ({ view => 'awaiting' },
                      { states => 'awaiting_manager' })
        {
            flush();
            file('engineer', request => { id => id($_) }) for 1 .. 20;

            my $first = listed('manager', limit => 3, %$view);

            is_deeply($first->{ids}, [ map { id($_) } 20, 19, 18 ],
                      "$name: the first page");
            $work->();
            is_deeply([ map { @$_ } pages('manager', 3, %$view,
                                          cursor => $first->{next}) ],
                      [ map { id($_) } grep { !$missing{$_} }
                                       reverse 1 .. 17 ],
                      '... and the rest, each once');
        }
    }
}

sub people_and_times {
    flush();

    file('engineer', request => { id => id(1) });
    file('other-engineer', request => { id => id(2) });
    file('engineer', request => { id => id(3) });
    redis('HSET', request_key('acme', id(3)), 'engineer_iss',
          'https://other.example');
    file('engineer', request => { id => id(4) });

    for my $case (
        [ { sub => 'eve' }, 4, 3, 1 ],
        [ { sub => 'eve', iss => 'https://vendor.example' }, 4, 1 ],
        [ { sub => 'emil' }, 2 ],
        [ { sub => 'ev' } ],
        [ { sub => 'eve', iss => 'https://vendor.exampl' } ],
        [ { sub => 'emil', iss => 'https://other.example' } ],
    ) {
        my ($person, @meant) = @$case;
        my $name = join ' of ', map { $person->{$_} // () } qw(sub iss);

        is_deeply(listed('customer', engineer => $person)->{ids},
                  [ map { id($_) } @meant ], "the requests of $name");
    }

    # the index of engineers has the one that is another's, too
    is_deeply(listed('manager', engineer => $ACTOR{engineer})->{ids},
              [ id(4), id(1) ], 'a manager finds one engineer\'s');
    is_deeply(listed('other-engineer', engineer => { sub => 'eve' }),
              { result => 'ok', next => '', requests => [], ids => [] },
              'an engineer finds nothing of another');
    is_deeply(listed('engineer', view => 'mine',
                     engineer => { sub => 'emil' })->{ids}, [],
              'what is mine is not another\'s');

    # each some milliseconds after the one before
    flush();

    my @at;

    for my $i (1 .. 4) {
        file('engineer', request => { id => id($i) });
        push @at, stored('acme', id($i))->{created_at} + 0;
        $t->wait_for(sub { now() > $at[-1] + 2 });
    }

    for my $case (
        [ { since => $at[1] }, 4, 3, 2 ], [ { since => $at[1] + 1 }, 4, 3 ],
        [ { before => $at[2] }, 2, 1 ], [ { before => $at[2] + 1 }, 3, 2, 1 ],
        [ { since => $at[1], before => $at[3] }, 3, 2 ],
        [ { since => $at[1], before => $at[1] } ],
        [ { since => $at[3], before => $at[0] } ],
        [ { since => 0 }, 4, 3, 2, 1 ], [ { before => 0 } ],
        [ { since => 253_402_300_799_999 } ],
        [ { before => 253_402_300_799_999 }, 4, 3, 2, 1 ],
    ) {
        my ($times, @meant) = @$case;
        my @ids = map { id($_) } @meant;
        my $name = join ' ', map { "$_ $times->{$_}" } sort keys %$times;

        for my $args ({}, { view => 'mine' }, { states => 'awaiting_manager' })
        {
            is_deeply(listed('engineer', %$times, %$args)->{ids}, \@ids,
                      $name);
            is_deeply([ map { @$_ } pages('engineer', 1, %$times, %$args) ],
                      \@ids, '... in pages');
        }
    }

    for my $name (qw(since before)) {
        ok(called('list', 'manager', limit => 1, $name => $_)->{error},
           "$name $_") for -1, 0.5, 1e15, 'now';
    }

    ok(called('list', 'manager', limit => 1, engineer => $_)->{error},
       'a person without a name') for {}, { iss => 'x' }, 'eve';
}

sub list_bounds {
    flush();
    file('engineer', request => { id => id($_) }) for 1 .. 3;

    for my $limit (0, 101, -1, 1.5, 'ten') {
        like(called('list', 'manager', limit => $limit)->{error},
             qr/bad argument "limit"/, "a limit of $limit");
    }
    ok(!called('list', 'manager', limit => 100)->{error}, 'a limit of 100');

    for my $cursor ('', '1.1', '.1', '1.', 'x', ' 1', "1\n", '-1', '1e3', '1x',
                    '9' x 17, "acme:$ID", '0x1', '(1', '+inf')
    {
        my $page = called('list', 'manager', limit => 10, cursor => $cursor);
        my $shown = $cursor =~ s/\n/\\n/r;

        is($page->{result}, 'invalid_cursor', "a cursor of \"$shown\"");
        is_deeply($page->{requests}, [], '... leads nowhere');
    }

    is_deeply(listed('manager', cursor => '1')->{ids}, [],
              'a cursor beyond the end');
    is_deeply(listed('nobody', cursor => '9' x 16)->{ids}, [],
              'a cursor opens nothing');

    # an open one, a denied one, and in front of them 1200 that are neither
    flush();
    file('engineer', request => { id => id($_) }) for 0, 1;
    step('cancel', 'engineer', id => id(1));
    copies(id(1), map { id($_) } 2 .. 1201);
    redis('HSET', request_key('acme', id(1)), 'state', 'denied');

    my ($calls, $cursor, @found) = (0);

    do {
        my $page = listed('manager', states => 'denied', cursor => $cursor);
        push @found, @{ $page->{ids} };
        $cursor = $page->{next};
    } while ($cursor ne '' && ++$calls < 10);

    is($calls, 2, 'a call looks at a bounded number of requests');
    is_deeply(\@found, [ id(1) ], 'and in the end finds what there is');
    is_deeply(listed('manager', %$_)->{ids}, [ id(0) ],
              'open ones are found at once')
        for { states => 'awaiting_manager' }, { view => 'awaiting' },
            { view => 'awaiting', tenant => 'acme' },
            { states => 'awaiting_manager', engineer => $ACTOR{engineer} };

    # what they cost does not hang on what there is besides
    for my $args ({ view => 'awaiting' }, { view => 'live' },
                  { states => 'awaiting_manager' },
                  { view => 'awaiting', tenant => 'acme' })
    {
        my $found = @{ listed('manager', %$args)->{ids} };

        cmp_ok(commands(sub { listed('manager', %$args) }), '<=',
               4 + 2 * $found, join ' ', 'few commands for', %$args);
    }

    cmp_ok(commands(sub { listed('manager', limit => 1, view => 'mine') }),
           '<', 500, 'and never more than it may look at');

    for my $case ([ 'other-customer', 'acme' ], [ 'other-engineer', 'acme' ],
                  [ 'nobody', 'acme' ], [ 'engineer-customer', 'globex' ],
                  [ 'other-customer' ], [ 'other-engineer' ], [ 'nobody' ])
    {
        my ($who, $tenant) = @$case;

        is(listed($who, tenant => $tenant)->{next}, '',
           "$who: no way on past what is not there"
           . ($tenant ? " at $tenant" : ''));
    }
}

# How many commands Redis runs for that, but for those of the test.
sub commands {
    my ($work) = @_;

    redis('CONFIG', 'RESETSTAT');
    $work->();

    my $sum = 0;
    my $stats = redis('INFO', 'commandstats');

    $sum += $2 while $stats =~ /^cmdstat_(?!config)(\w+)\S*:calls=(\d+)/mg;

    return $sum;
}

# Further requests like that one, filed after it.
sub copies {
    my ($id, @ids) = @_;

    my $copy = redis('DUMP', request_key('acme', $id));
    my $time = now() * 1000;

    for my $new (@ids) {
        my $key = request_key('acme', $new);

        redis('RESTORE', $key, 0, $copy);
        redis('HSET', $key, 'id', $new);
        redis('ZADD', 'lockbox:requests', ++$time, "acme:$new");
        redis('ZADD', 'lockbox:{acme}:requests', $time, $new);
    }
}

# Whatever the clock says, no two requests have one place, so that a cursor
# stands between two of them.
sub places {
    flush();

    my $time = now();
    my ($seconds, $micro) = (int $time / 1000, $time % 1000 * 1000 + 998);

    call_as(Frozen->new($t->redis_client, $seconds, $micro), sub {
        file('engineer', decided_at => $time, request => { id => id($_) })
            for 1 .. 4;
    });

    my @places = map { redis('ZSCORE', 'lockbox:requests', "acme:$_") }
                     map { id($_) } 1 .. 4;
    my $first = $time * 1000 + 998;

    is_deeply(\@places, [ $first .. $first + 3 ],
              'a request takes the next place that is free');
    is_deeply([ map { stored('acme', id($_))->{created_at} - $time } 1 .. 4 ],
              [ 0, 0, 1, 1 ], '... and has the time of its place');
    is_deeply([ pages('manager', 1) ], [ map { [ id($_) ] } 4, 3, 2, 1 ],
              '... and one after the other is listed');
}

sub old_entries {
    flush();
    file('engineer', request => { id => id($_) }) for 1 .. 6;
    my $index = 'lockbox:requests';

    redis('DEL', request_key('acme', id($_))) for 2, 4, 6;
    redis('ZADD', $index, 1, 'rubbish');
    redis('ZADD', "$index:awaiting_manager", 1, 'rubbish');

    is_deeply([ map { @$_ } pages('manager', 2, view => 'awaiting') ],
              [ id(5), id(3), id(1) ], 'so they are in a view');
    is(redis('ZCARD', "$index:awaiting_manager"), 3, 'and forgotten');
    is(redis('ZCARD', $index), 7, '... there');
    is_deeply([ map { @$_ } pages('manager', 2) ], [ id(5), id(3), id(1) ],
              'requests that have gone are passed over');
    is(redis('ZCARD', $index), 3, 'and forgotten');
    is_deeply([ map { @$_ } pages('customer', 1) ], [ id(5), id(3), id(1) ],
              'in a tenant\'s list, too');

    flush();
    file('engineer', request => { id => id($_) }) for 1 .. 3;
    redis('DEL', request_key('acme', id($_))) for 1, 3;
    file('engineer', request => { id => id(4) });

    my $eve = sha1_hex("https://vendor.example\neve");

    for my $name ('lockbox:requests', 'lockbox:{acme}:requests',
                  "lockbox:engineer:$eve")
    {
        is_deeply([ map { /(.{36})$/ } @{ redis('ZRANGE', $name, 0, -1) } ],
                  [ id(2), id(3), id(4) ],
                  "a filing clears the old end of $name");
    }
}

# By time of filing, and within a millisecond by id, as the index has them.
sub sorted {
    my (@ids) = @_;

    my %at = map { $_ => redis('HGET', request_key('acme', $_), 'created_at') }
                 @ids;

    return sort { $at{$a} <=> $at{$b} || $a cmp $b } @ids;
}


# Calls the script with a clock that stands still.
package Frozen;

sub new {
    my ($class, $client, $seconds, $micro) = @_;

    my $script = Test::Lockbox::Workflow::script();
    my $clock = "local real = redis\n"
        . "local redis = setmetatable({ call = function(name, ...)\n"
        . "    return name == 'TIME' and { '$seconds', '$micro' }\n"
        . "           or real.call(name, ...)\n"
        . "end }, { __index = real })\n";

    return bless {
        client => $client,
        sha => $client->command('SCRIPT', 'LOAD', $clock . $script),
    }, $class;
}

sub send_command {
    my ($self, $name, undef, @rest) = @_;

    $self->{client}->send_command($name, $self->{sha}, @rest);
}

sub reply {
    return $_[0]{client}->reply;
}
